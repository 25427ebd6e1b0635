"""Tests the findings before a run starts: all at once."""

import json
import shutil

import pytest

pytest.importorskip("verl")
pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from frpo_verl.trainers import examination  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tokenizer with the configuration of a model, a reference of another size, and graded responses."""
    from frpo_verl.quickstart import tiny

    folder = tmp_path_factory.mktemp("made")
    tokenizer = tiny.make_tokenizer()
    for name, vocabulary in (("policy", len(tokenizer)), ("other", 1000)):
        tokenizer.save_pretrained(folder / name)
        (folder / name / "config.json").write_text(json.dumps({"vocab_size": vocabulary, "model_type": "qwen2"}))
    (folder / "bare").mkdir()
    shutil.copy(folder / "policy" / "config.json", folder / "bare")
    rows = {"prompt_ids": [[5, 6]] * 4, "response_ids": [[[7], [8, 9]]] * 4, "scores": [[1.0, 0.0]] * 3 + [[1.0, 1.0]]}
    parquet.write_table(pa.table(rows), folder / "graded.parquet")
    parquet.write_table(pa.table({**rows, "scores": [[1.0, 1.0]] * 4}), folder / "right.parquet")
    asked = {"prompt": [{"role": "user", "content": "1 + 1 ="}], "data_source": "mine"}
    rows = [asked | {"reward_model": {"style": "rule", "ground_truth": "2"}}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "prompts.parquet")
    (folder / "raising.py").write_text("raise RuntimeError('while imported')\n")
    return folder


@pytest.fixture
def examined(made):
    from hydra import compose, initialize_config_module

    import frpo_verl.verl_plugin  # noqa: F401

    def examine(*overrides, ranks=1):
        with initialize_config_module("frpo_verl.trainers.config", version_base=None):
            config = compose(
                "fpa_trainer",
                [
                    f"model.path={made / 'policy'}",
                    f"data.train_files={made / 'graded.parquet'}",
                    "data.train_batch_size=2",
                    *overrides,
                ],
            )
        return examination.examine(config, ranks), config

    return examine


def refused(found):
    assert found.graded is None and found.summary == ""
    return found.problems


def test_the_primary_configuration_has_nothing_wrong_in_it(examined):
    found, config = examined()
    assert found.problems == []
    assert found.summary == (
        "outcome, weights of the future policy, lambda 1: 8 responses to 4 prompts, 1 of them with one score for all"
    )
    assert len(examination.dataset(config, found.settings, found.graded)) == 8


def test_lambda_zero_is_called_what_it_is(examined):
    assert "dpo, without FPA (lambda 0): 8 responses" in examined("fpa.lam=0", "fpa.loss=dpo")[0].summary


@pytest.mark.parametrize(
    ("overrides", "items"),
    [
        (["fpa.loss=dpo", "data.pairs_per_prompt=null"], 3),
        (["fpa.advantage=standardised"], 6),
        (["fpa.threshold=0.9"], 8),
    ],
)
def test_a_step_is_drawn_from(examined, overrides, items):
    found, config = examined(*overrides)
    assert len(examination.dataset(config, found.settings, found.graded)) == items


def test_all_findings_come_at_once(examined, made):
    problems = refused(
        examined("fpa.lam=-1", "model.use_fused_kernels=True", "data.max_length=3", "data.train_batch_size=3", ranks=2)[
            0
        ]
    )
    told = "\n".join(problems)
    assert len(problems) == 4
    for part in ("fpa.lam=-1", "model.use_fused_kernels=True", "data.max_length=3", "data.train_batch_size=3"):
        assert part in told


@pytest.mark.parametrize(
    ("overrides", "ranks", "sentence"),
    [
        (
            ["fpa.loss=dpo", "data.train_files={made}/right.parquet"],
            1,
            "data.train_files have no prompt with two differ",
        ),
        (
            ["data.train_batch_size=9"],
            1,
            "data.train_batch_size=9: data.train_files make 8 responses with an advantage",
        ),
        (["fpa.loss=rpo", "data.train_batch_size=4"], 1, "data.train_batch_size=4: data.train_files make 3 pairs"),
        (
            ["fpa.reference_path={made}/other"],
            1,
            "it has a vocabulary of 1000 and model.path one of 328; take a reference",
        ),
        (
            ["engine=megatron", "optim=megatron", "engine.pipeline_model_parallel_size=2"],
            2,
            "engine.pipeline_model_par",
        ),
        (
            ["engine.ulysses_sequence_parallel_size=2"],
            3,
            "engine.*_parallel_size: 3 ranks do not divide into parts of 2",
        ),
        (
            ["data.use_dynamic_bsz=False", "data.train_batch_size=6"],
            1,
            "data.micro_batch_size_per_gpu=4: it does not di",
        ),
        (["data.max_token_len_per_gpu=3"], 1, "a micro-batch must hold the longest response with its prompt, 4 tokens"),
        (["fpa.loss=dpo", "data.max_token_len_per_gpu=6"], 1, "must hold the longest pair with its prompt, 7 tokens"),
        (["data.pad_mode=right"], 1, "data.pad_mode=right: verl's engines take no_padding"),
        (["data.train_files=[]"], 1, "data.train_files: it names no file"),
        (
            ["data.val_files={made}/none.parquet"],
            1,
            "data.val_files={made}/none.parquet: there is no such file; correct",
        ),
        (["data.val_files={made}/graded.parquet"], 1, "graded.parquet: it has no column prompt, data_source, reward_m"),
        (["data.val_files=[a,b]"], 1, "data.val_files: it names 2 files; validation reads one"),
        (["model.path={made}/none"], 1, "model.path={made}/none: there is no such folder with a config.json; give"),
        (
            ["fpa.reference_path={made}/none"],
            1,
            "fpa.reference_path={made}/none: there is no such folder with a config",
        ),
        (
            ["fpa.threshold=1"],
            1,
            "fpa.threshold=1: no response scores more, 1 at most, so that none is right; lower it",
        ),
        (
            ["fpa.advantage=standardised", "data.train_files={made}/right.parquet"],
            1,
            "fpa.advantage=standardised: data.train_files have no prompt with two different scores, so that no",
        ),
        (["fpa.loss=rpo", "data.train_batch_size=4"], 1, "lower it, raise data.pairs_per_prompt, or give more"),
        (["model.path=nobody/nothing"], 1, "model.path=nobody/nothing: its tokenizer cannot be loaded ("),
        (["model.tokenizer_path={made}/bare"], 1, "bare: its folder has no files of a tokenizer; put them there"),
        (["data.train_files=null"], 1, "data.train_files: it names no file; give a parquet file of graded responses"),
        (
            ["data.val_files={made}/prompts.parquet"],
            1,
            "prompts.parquet: its reward: it raises NotImplementedError: Reward function is not implemented for",
        ),
        (
            ["data.val_files={made}/prompts.parquet", "reward.custom_reward_function.path={made}/raising.py"],
            1,
            "reward.custom_reward_function: it cannot be loaded (RuntimeError: while imported); correct it",
        ),
        (["+fpa.lambda=1"], 1, "fpa.lambda: there is no such key"),
    ],
)
def test_refuses_in_a_sentence(examined, made, monkeypatch, overrides, ranks, sentence):
    # Where there is no network, the hub is asked for most of a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    problems = refused(examined(*(override.format(made=made) for override in overrides), ranks=ranks)[0])
    assert sentence.format(made=made) in problems[0]
    assert len(problems) == (2 if "[a,b]" in overrides[0] else 1)


@pytest.mark.parametrize("files", ["{made}/prompts.parquet", "[{made}/prompts.parquet]"])
def test_validation_that_would_fail_after_the_models_are_loaded_is_refused(examined, made, files):
    (made / "good.py").write_text("def compute_score(*asked, **more):\n    return 1.0\n")
    words = [f"data.val_files={files.format(made=made)}", f"reward.custom_reward_function.path={made}/good.py"]
    assert examined(*words)[0].problems == []
    server = "validation.tensor_model_parallel_size=2"
    assert examined(*words, server, ranks=2)[0].problems == []
    (problem,) = refused(examined(*words, server, ranks=1)[0])
    assert problem.startswith(f"{server}: 1 ranks do not divide into servers of so many")
    (problem,) = refused(examined(*words, "validation.max_prompt_length=1")[0])
    assert problem.startswith(f"validation.max_prompt_length=1: {made}/prompts.parquet has a prompt of ")


def test_the_program_ends_with_all_problems_before_anything_starts(examined):
    from frpo_verl.trainers import fpa

    _, config = examined("fpa.lam=-1", "model.path=/none")
    with pytest.raises(SystemExit) as ended:
        fpa.examined(config, 1)
    assert "fpa.lam=-1: it must not be negative" in str(ended.value)
    assert "model.path=/none: there is no" in str(ended.value)


def test_the_cpu_platform_has_one_value_for_some_keys(examined, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    keys = ["engine.strategy", "model.use_remove_padding", "model.override_config.attn_implementation"]
    assert [problem.split("=")[0] for problem in refused(examined()[0])] == keys
    fits = "engine.strategy=fsdp2", "model.use_remove_padding=False", "+model.override_config.attn_implementation=sdpa"
    assert examined(*fits)[0].problems == []
    assert examined("engine=megatron", "optim=megatron")[0].problems == []


def test_files_of_another_tokenizer_are_refused(examined, made, tmp_path):
    table = parquet.read_table(made / "graded.parquet")
    metadata = {"frpo_verl": json.dumps({"tokenizer": "of another", "model": "llama"})}
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "other.parquet")
    (found,) = refused(examined(f"data.train_files={tmp_path / 'other.parquet'}")[0])
    assert "its token ids are those of llama" in found
