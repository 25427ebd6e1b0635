"""Reading verl's dumps: as verl writes them, half-written, missing, empty and corrupt; no line is skipped silently."""

import json
import os

import pytest
from eval.written import dump, line
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation import dumps


def read(folder, lines, step=20, score_key="score", end="\n"):
    """The scores of each problem, in the order of the file."""
    return list(dumps.scores(dump(folder, step, lines, end), step, score_key).values())


def refused(folder, lines, **more):
    with pytest.raises(dumps.UnfitDump) as refusal:
        read(folder, lines, **more)
    return refusal.value.sentences


def asked(text, score, **more):
    return {"input": text, "output": "", "score": score, **more}


def test_scores_are_grouped_by_the_problem(tmp_path):
    rows = [asked("1+1", 1.0), asked("2+2", 0.0), asked("1+1", 0), asked("2+2", 0.5)]
    assert read(tmp_path, rows) == [[1.0, 0.0], [0.0, 0.5]]


def test_the_same_text_with_another_answer_or_source_is_another_problem(tmp_path):
    assert read(tmp_path, [line(), line(gts="3"), line(data_source="s"), line(data_source=None)]) == [
        [1.0, 1.0],
        [1.0],
        [1.0],
    ]


@given(st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), min_size=1))
def test_any_text_survives_as_a_problem(tmp_path_factory, problems):
    # verl writes with ensure_ascii=False in UTF-8, where lone surrogates have no bytes.
    problems = {text.encode(errors="replace").decode(): scores for text, scores in problems.items()}
    file = tmp_path_factory.mktemp("dump") / "0.jsonl"
    rows = [asked(text, score) for text, scores in problems.items() for score in scores]
    file.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    assert list(dumps.scores(file, 0).values()) == list(problems.values())


def test_line_separators_inside_a_text_do_not_break_a_line(tmp_path):
    text = json.dumps(asked("a\u2028b\x85c\rd\ne", 1.0), ensure_ascii=False)
    assert read(tmp_path, [text]) == [[1.0]]


def test_a_rollout_with_several_outputs_is_one_sample_and_its_first_input_the_problem(tmp_path):
    rows = [asked("p", 1.0, uid="p-1_0_0"), asked("p and a tool's answer", 1.0, uid="p-1_0_1")]
    rows += [asked("p", 0.0, uid="p-1_1_0"), asked("p", 0.5, uid="x"), asked("p", 0.5, uid="math_train_easy")]
    assert read(tmp_path, rows) == [[1.0, 0.0, 0.5, 0.5]]


def test_another_field_can_be_the_score(tmp_path):
    assert read(tmp_path, [line(score=-1.0, acc=True), line(acc=False)], score_key="acc") == [[1.0, 0.0]]


@pytest.mark.parametrize(
    "bad, said",
    [
        ("{", "line 2, column 1: it is not a JSON object"),
        ("[1]", "line 2, column 1: it is not a JSON object"),
        ("", "line 2, column 1: it is not a JSON object"),
        ("[" * 200_000, "line 2, column 1: it is not a JSON object"),
        ('{"step": 1, "data": {}}', "line 2, column input: there is none, only step, data"),
        (line(score=float("nan")), "line 2, column score: nan is not a finite number"),
        (line(score=float("inf")), "line 2, column score: inf is not a finite number"),
        (line(score=10**400), "line 2, column score: 10000"),
        (line(score="good"), "line 2, column score: 'good' is not a finite number"),
        ({**line(), "score": None}, "line 2, column score: None is not a finite number"),
        (line(step=19), "line 2, column step: it is 19 in a file of step 20"),
    ],
)
def test_a_bad_line_is_named_and_the_file_is_not_used(tmp_path, bad, said):
    (problem,) = refused(tmp_path, [line(), bad, line()])
    assert problem.startswith(f"{tmp_path / '20.jsonl'}, {said}") and "; " in problem


def test_all_kinds_are_said_at_once_each_with_a_count(tmp_path):
    nan = line(score=float("nan"))
    problems = refused(tmp_path, [nan, "{", nan, nan, line()])
    assert [problem.split(": ")[0].rpartition("/")[2] for problem in problems] == [
        "20.jsonl, line 1 (and 2 more), column score",
        "20.jsonl, line 2, column 1",
    ]


def test_a_cut_line_is_named_even_where_it_is_whole_json(tmp_path):
    (problem,) = refused(tmp_path, [line(), line()], end="")
    assert "line 2, column its end: it is cut off" in problem


def test_an_empty_file_is_a_sentence(tmp_path):
    assert refused(tmp_path, []) == [f"{tmp_path / '20.jsonl'}: it holds no line; wait until verl has written it"]


def test_a_file_that_changes_while_it_is_read_is_not_used(tmp_path):
    file = dump(tmp_path, 20, [line()])
    with pytest.raises(dumps.UnfitDump, match="it was written to while it was read"):
        list(dumps.samples(file, 20, told=lambda count: os.utime(file, ns=(1, 1))))


def test_the_bytes_of_every_line_are_told(tmp_path):
    told = []
    file = dump(tmp_path, 20, [line(), line(said="é\u2028\x85")])
    list(dumps.samples(file, 20, told=told.append))
    assert sum(told) == file.stat().st_size and len(told) == 2


def test_dumps_are_ordered_by_step_and_whatever_else_is_there_is_ignored(tmp_path):
    for step in (100, 20, 0):
        dump(tmp_path, step, [line(step=step)])
    (tmp_path / "notes.jsonl").write_text("notes")
    (tmp_path / "5.txt").write_text("notes")
    (tmp_path / "40.jsonl").mkdir()
    assert list(dumps.files(tmp_path).items()) == [(step, tmp_path / f"{step}.jsonl") for step in (0, 20, 100)]
    assert dumps.files(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("lines", "end", "number"), [([line()], "\n", None), ([], "", 1), ([line(), '{"input": "q", "sc'], "", 2)]
)
def test_a_dump_that_is_still_being_written_is_named(tmp_path, lines, end, number):
    file = dump(tmp_path, 20, lines, end)
    assert dumps.cut(file).startswith(f"{file}, line {number}: it is cut off") if number else dumps.cut(file) == ""


@pytest.mark.verl
def test_what_verls_trainer_dumps_is_what_is_read(tmp_path):
    trainer_base = pytest.importorskip("verl.trainer.ppo.v1.trainer_base")
    infos = {"reward": [1.0, 0.0, 0.0], "uid": ["a_0_0", "a_1_0", "b_0_0"]}
    trainer_base.PPOTrainer._write_generations(
        ["1+1", "1+1", "é\u2028"], ["2", "3", "4"], ["2", "2", "5"], [1.0, 0.0, 0.0], infos, str(tmp_path), 20
    )
    assert list(dumps.scores(tmp_path / "20.jsonl", 20).values()) == [[1.0, 0.0], [0.0]]
