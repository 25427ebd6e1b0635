"""Reading verl's validation dumps: as verl writes them, half-written, missing, empty and corrupt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation.run_log import RunLogError, finished_dumps, read_dump


@pytest.fixture
def write(tmp_path):
    def write_bytes(content, name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write_bytes


def dump(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_scores_are_grouped_by_the_input_text(write):
    rows = [{"input": text, "score": score} for text, score in [("1+1", 1.0), ("2+2", 0.0), ("1+1", 0), ("2+2", 0.5)]]
    assert read_dump(write(dump(*rows), "0.jsonl")) == {"1+1": [1.0, 0.0], "2+2": [0.0, 0.5]}


@given(st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False), min_size=1), min_size=1))
def test_any_text_survives_as_a_group(tmp_path_factory, problems):
    path = tmp_path_factory.mktemp("dump") / "0.jsonl"
    # verl writes with ensure_ascii=False in UTF-8, where lone surrogates have no bytes.
    problems = {text.encode(errors="replace").decode(): scores for text, scores in problems.items()}
    path.write_bytes(dump(*({"input": text, "score": score} for text in problems for score in problems[text])))
    assert read_dump(path) == problems


def test_line_separators_inside_a_text_do_not_break_a_line(write):
    rows = [{"input": "a\u2028b\x85c\rd\ne", "score": 1.0}]
    assert read_dump(write(dump(*rows), "0.jsonl")) == {"a\u2028b\x85c\rd\ne": [1.0]}


def test_a_rollout_with_several_outputs_counts_once(write):
    # Rollout 0 of problem p has two outputs, the second with a longer input; both carry the rollout's score.
    rows = [
        {"input": "p", "score": 1.0, "uid": "p-1_0_0"},
        {"input": "p and a tool's answer", "score": 1.0, "uid": "p-1_0_1"},
        {"input": "p", "score": 0.0, "uid": "p-1_1_0"},
    ]
    assert read_dump(write(dump(*rows), "0.jsonl")) == {"p": [1.0, 0.0]}


def test_rows_with_a_uid_that_is_not_the_key_of_an_output_all_count(write):
    rows = [{"input": "p", "score": score, "uid": "math_train_easy"} for score in (1.0, 0.0)]
    assert read_dump(write(dump(*rows), "0.jsonl")) == {"p": [1.0, 0.0]}


def test_another_field_can_be_the_score(write):
    rows = [{"input": "p", "score": -0.5, "acc": True}, {"input": "p", "score": 0.5, "acc": False}]
    assert read_dump(write(dump(*rows), "0.jsonl"), "acc") == {"p": [1.0, 0.0]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input": "p", "score": 1.0}, "line 1 is not a JSON object with 'input' and 'acc'"),
        ({"input": "p", "score": 1.0, "acc": None}, "line 1: 'acc' is None, not a number"),
    ],
)
def test_a_score_that_is_absent_is_named(write, row, message):
    with pytest.raises(RunLogError, match=message):
        read_dump(write(dump(row), "0.jsonl"), "acc")


def test_a_missing_or_empty_dump_is_named(write, tmp_path):
    with pytest.raises(RunLogError, match="7.jsonl does not exist: set trainer.validation_data_dir"):
        read_dump(tmp_path / "7.jsonl")
    with pytest.raises(RunLogError, match="0.jsonl is empty"):
        read_dump(write(b"", "0.jsonl"))


def test_dumps_are_ordered_by_step_and_other_files_ignored(write, tmp_path):
    for step in (100, 20, 0):
        write(dump({"input": "p", "score": float(step)}), f"{step}.jsonl")
    write(b"notes", "notes.jsonl")
    write(b"notes", "5.txt")
    dumps = {step: read_dump(path) for step, path in finished_dumps(tmp_path).items()}
    assert list(dumps.items()) == [(0, {"p": [0.0]}), (20, {"p": [20.0]}), (100, {"p": [100.0]})]


@pytest.mark.parametrize("unfinished", [b"", b'{"input": "p", "score": 1.0}\n{"input": "q", "sc'])
def test_a_dump_that_is_still_being_written_is_left_out(write, tmp_path, unfinished):
    write(dump({"input": "p", "score": 1.0}), "0.jsonl")
    write(unfinished, "20.jsonl")
    assert finished_dumps(tmp_path) == {0: tmp_path / "0.jsonl"}


@pytest.mark.verl
def test_what_verl_s_trainer_dumps_is_what_is_read(tmp_path):
    trainer_base = pytest.importorskip("verl.trainer.ppo.v1.trainer_base")
    infos = {"reward": [1.0, 0.0, 0.0], "uid": ["a_0_0", "a_1_0", "b_0_0"]}
    trainer_base.PPOTrainer._write_generations(
        ["1+1", "1+1", "é\u2028"], ["2", "3", "4"], ["2", "2", "5"], [1.0, 0.0, 0.0], infos, str(tmp_path), 20
    )
    assert read_dump(tmp_path / "20.jsonl") == {"1+1": [1.0, 0.0], "é\u2028": [0.0]}
