"""Sources: the kind that a word names, and the steps that are read."""

import json

import pytest
from eval.written import dump, line

from frpo_verl.eval.sources import DUMPS, GRADED, MODEL, Source, recognise, steps_of


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_dumps_are_a_folder_a_run_or_a_file(tmp_path):
    file = dump(tmp_path / "run" / "validation", 20, [line()])
    for word in (tmp_path / "run", tmp_path / "run" / "validation"):
        assert recognise(str(word)) == Source(str(word), DUMPS, file.parent, {20: file})
    assert recognise(str(file)) == Source(str(file), DUMPS, file, {20: file})


def test_a_parquet_file_is_graded_responses(tmp_path):
    word = str(touched(tmp_path, "g.parquet") / "g.parquet")
    assert recognise(word).kind == GRADED


def whole(folder):
    return [f"{folder}/config.json", f"{folder}/model.safetensors"]


@pytest.mark.parametrize(
    "there, path, backend",
    [
        (["config.json"], ".", ""),
        (["actor/fsdp_config.json", "actor/huggingface/config.json"], "actor", "fsdp"),
        (["fsdp_config.json", "huggingface/config.json"], ".", "fsdp"),
        (["actor/transformer_config.json", "actor/model/huggingface/config.json"], "actor", "megatron"),
        # the model is there whole: nothing is merged
        (["actor/fsdp_config.json", *whole("actor/huggingface")], "actor/huggingface", ""),
        (["transformer_config.json", *whole("model/huggingface")], "model/huggingface", ""),
    ],
)
def test_a_model_is_a_folder_of_hugging_face_or_a_checkpoint_of_verl(tmp_path, there, path, backend):
    word = str(touched(tmp_path / "global_step_10", *there))
    assert recognise(word) == Source(word, MODEL, tmp_path / "global_step_10" / path, backend=backend)


def test_an_adapter_is_merged_or_refused_and_its_base_is_not_taken_for_it(tmp_path):
    of_fsdp = touched(tmp_path / "a", "fsdp_config.json", "lora_train_meta.json", *whole("huggingface"))
    assert recognise(str(of_fsdp)) == Source(str(of_fsdp), MODEL, of_fsdp, backend="fsdp")
    of_megatron = touched(tmp_path / "b", "actor/transformer_config.json", *whole("actor/model/huggingface"))
    for is_one in (False, True):
        (of_megatron / "actor" / "ckpt_contents.json").write_text(json.dumps({"backend": {"peft": is_one}}))
        found = recognise(str(of_megatron))
        assert ("an adapter of Megatron's" in found) if is_one else found.kind == MODEL


def test_megatrons_shards_without_the_models_configuration_are_refused(tmp_path):
    word = str(touched(tmp_path, "actor/transformer_config.json", "actor/model/dist_ckpt/metadata.json"))
    assert recognise(word) == (
        f"{word}: verl saved Megatron's shards without a config.json, which its merger reads; copy config.json "
        f"and the tokenizer's files of the model that was trained to {tmp_path}/actor/model/huggingface"
    )


def test_a_name_of_the_hub_is_a_model():
    assert recognise("Qwen/Qwen3-1.7B").kind == MODEL


def test_everything_else_is_a_sentence(tmp_path):
    assert recognise("/none") == "/none: there is no such file or folder; correct the path"
    assert "there is no such file or folder" in recognise("./a/b")
    assert "nothing there can be evaluated; give a folder of STEP.jsonl" in recognise(str(tmp_path))
    word = str(touched(tmp_path, "metrics.jsonl") / "metrics.jsonl")
    assert "it is neither STEP.jsonl, as verl dumps it, nor a parquet file" in recognise(word)


def source_of(folder, *steps, cut=()):
    for step in (*steps, *cut):
        dump(folder, step, [line(step=step)], end="" if step in cut else "\n")
    return recognise(str(folder))


def test_the_last_step_that_every_source_has_is_read(tmp_path):
    sources = [source_of(tmp_path / "a", 10, 9, 100), source_of(tmp_path / "b", 9, 10, 20)]
    assert steps_of(sources, None) == ({10: sources}, [], [])
    steps, (remark,), problems = steps_of(sources, (9, 20))
    assert steps == {9: sources, 10: sources, 20: sources[1:]} and list(steps) == [9, 10, 20] and problems == []
    assert remark == f"step 20: {tmp_path / 'a'} has no whole dump of it"
    assert steps_of([], None) == ({}, [], [])


def test_a_file_that_is_being_written_is_left_out_and_named(tmp_path):
    source = source_of(tmp_path / "a", 10, cut=[20])
    steps, (remark,), problems = steps_of([source], None)
    assert (steps, problems) == ({10: [source]}, [])
    assert remark.startswith(f"{tmp_path / 'a' / '20.jsonl'}, line 1: it is cut off") and "left out" in remark
    assert steps_of([source], (0, 10)).remarks == []


def test_without_a_step_there_is_a_sentence(tmp_path):
    sources = [source_of(tmp_path / "a", 10, 11, 12, 13), source_of(tmp_path / "b", 20)]
    (problem,) = steps_of(sources, None).problems
    assert problem.startswith("no step has a whole dump in every source (")
    assert f"({tmp_path / 'a'}: 11, 12, 13; {tmp_path / 'b'}: 20)" in problem
    (problem,) = steps_of(sources, (30, 40)).problems
    assert problem.startswith("no step has a whole dump within --steps (")
    assert steps_of([source_of(tmp_path / "c", cut=[1])], None).problems != []
