"""Graded responses of others: two forms, two kinds of files, and what is said of unfit ones."""

import json

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.offline import responses  # noqa: E402

CHAT = [{"role": "user", "content": "q"}]
WHOLE = [
    {"prompt": CHAT, "responses": ["a", "b"], "scores": [1, 0.5], "data_source": "s"},
    {"prompt": "p", "responses": ["c"], "scores": [True], "data_source": None},
]
SINGLE = [
    {"prompt": CHAT, "response": "a", "score": 1, "data_source": "s"},
    {"prompt": "p", "response": "c", "score": 1.0},
    {"prompt": CHAT, "response": "b", "score": 0.5, "data_source": "s"},
]


@pytest.fixture
def jsonl(tmp_path):
    def write(rows, name="r.jsonl"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


@pytest.fixture
def table(tmp_path):
    def write(rows, name="r.parquet", about=None):
        made = pa.Table.from_pylist(rows)
        made = made if about is None else made.replace_schema_metadata({"frpo_verl": json.dumps(about)})
        parquet.write_table(made, tmp_path / name)
        return tmp_path / name

    return write


def plain(found):
    assert found.problems == []
    rows = found.prompts.to_pylist()
    return {
        str(rows[group.row]["prompt"]): (
            [(each.text, each.score) for each in group.responses],
            rows[group.row].get("data_source"),
        )
        for group in found.groups
    }


def test_both_forms_and_both_kinds_of_files_say_the_same(jsonl, table):
    texts = [row for row in WHOLE if row["prompt"] != "p"]
    meant = {str(CHAT): ([("a", 1.0), ("b", 0.5)], "s")}
    assert plain(responses.read([table(texts)])) == meant
    assert plain(responses.read([table([SINGLE[0], SINGLE[2]])])) == meant
    assert plain(responses.read([jsonl(texts)])) == plain(responses.read([jsonl([SINGLE[0], SINGLE[2]])])) == meant


def test_responses_to_one_prompt_come_together_from_all_files(jsonl):
    rows = [{"prompt": "p", "response": "a", "score": 1}, {"prompt": "q", "response": "b", "score": 0}]
    found = responses.read([jsonl(rows), jsonl([{"prompt": "p", "responses": ["c"], "scores": [0]}], "t.jsonl")])
    assert plain(found) == {"p": ([("a", 1.0), ("c", 0.0)], None), "q": ([("b", 0.0)], None)}
    assert found.prompts.schema.names == ["prompt"]


def test_token_ids_and_what_they_are_of_are_carried_along(table):
    rows = [
        {
            "prompt": "p",
            "responses": ["a", "b"],
            "scores": [1.0, 0.0],
            "prompt_ids": [1],
            "response_ids": [[2, 3], [4]],
            "log_probs": [[-1.0, -2.0], [-3.0]],
        }
    ]
    about = {"model": "m", "tokenizer": "t", "eos_token_id": 0, "counts": {}}
    found = responses.read([table(rows, about=about)])
    assert found.problems == [] and found.about == {"model": "m", "tokenizer": "t", "eos_token_id": 0}
    (group,) = found.groups
    assert group.prompt_ids == [1]
    assert [each.ids.tolist() for each in group.responses] == [[2, 3], [4]]
    assert [each.log_probs.tolist() for each in group.responses] == [[-1.0, -2.0], [-3.0]]
    other = table(rows, "other.parquet", about | {"tokenizer": "u"})
    assert "of different vocabularies" in responses.read([table(rows, about=about), other]).problems[0]
    without = table([{"prompt": "q", "responses": ["a"], "scores": [1.0]}], "without.parquet")
    assert "1 of 2 rows have response_ids" in responses.read([table(rows), without]).problems[0]
    unsaid = table([{name: value for name, value in rows[0].items() if name != "log_probs"}], "unsaid.parquet")
    assert "1 of 2 rows have log_probs and the others none" in responses.read([table(rows), unsaid]).problems[0]
    few = [{"prompt": "q", "responses": ["a", "b"], "scores": [1.0, 0.0], "log_probs": [[-1.0]]}]
    assert "column log_probs: they are not a list for each response" in responses.read([table(few)]).problems[0]


def test_every_kind_of_mistake_is_said_once_with_its_line(jsonl):
    path = jsonl(
        [
            {"prompt": "p", "response": "a", "score": 1},
            '{"prompt": "p", "resp',
            "[1]",
            {"prompt": "p", "response": "a"},
            {"prompt": "p", "response": "a", "score": "high"},
            '{"prompt": "p", "response": "a", "score": NaN}',
            {"response": "a", "score": 1},
            {"prompt": "p", "responses": ["a"], "scores": [1, 2]},
            {"prompt": "p", "responses": [3], "scores": [1]},
            {"prompt": "p", "responses": ["a"], "scores": [1], "response_ids": [[1]]},
        ]
    )
    found = responses.read([path])
    said = [problem.removeprefix(f"--responses {path}, ") for problem in found.problems]
    assert said == [
        "line 2, column 22: it is not JSON; write an object in each line",
        "line 3, column 1: it is no JSON object; write one in each line",
        "line 4, column score: nothing stands there; give it, or leave that row out",
        "line 5 (and 1 more), column score: 'high' is not a finite number; give a finite number for each response",
        "line 7, column prompt: nothing stands there; give a text, or a list of messages with role and content",
        "line 8, column scores: 2 scores for 1 responses; give one score to each response",
        "line 9, column responses: 3 is not a text; give a text for each response",
        "line 10, column prompt_ids: response_ids stand next to none; give both, or neither",
    ]


def test_files_of_another_form(tmp_path, table, jsonl):
    (tmp_path / "text.parquet").write_text("no")
    (tmp_path / "empty.jsonl").write_text("")
    files = [
        (tmp_path / "none.jsonl", "there is no such file"),
        (tmp_path / "text.parquet", "not a valid parquet file"),
        (table([{"prompt": "p", "response": "a"}]), "it has no column responses, scores, only prompt, response"),
        (tmp_path / "empty.jsonl", "it has no rows"),
    ]
    found = responses.read([path for path, _ in files])
    assert len(found.problems) == len(files)
    for problem, (path, said) in zip(found.problems, files, strict=True):
        assert problem.startswith(f"--responses {path}: {said}")
    nulls = table(
        [{"prompt": "p", "responses": ["a"], "scores": [1.0]}, {"prompt": "p", "responses": ["a"], "scores": [None]}]
    )
    assert "row 1, column scores: None is not a finite number" in responses.read([nulls]).problems[0]


def test_a_column_of_two_types_is_refused(jsonl):
    rows = [{"prompt": "p", "response": "a", "score": 1}, {"prompt": CHAT, "response": "a", "score": 1}]
    assert "column prompt is not of one type" in responses.read([jsonl(rows)]).problems[0]
