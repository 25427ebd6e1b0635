"""Prompts: which are the same, and what is said of unfit ones."""

import hashlib

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.offline import prompts  # noqa: E402


@pytest.fixture
def written(tmp_path):
    def write(rows):
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
        return tmp_path / "p.parquet"

    return write


def row(prompt, gold="1", source="s", **more):
    return {"prompt": prompt, "data_source": source, "reward_model": {"ground_truth": gold}, **more}


def chat(text):
    return [{"role": "user", "content": text}]


def test_rows_with_the_same_prompt_source_and_answer_are_one(written):
    rows = [
        row(chat("a"), ability="x"),
        row(chat("a"), gold="2"),
        row(chat("a")),
        row(chat("b")),
        row(chat("b"), source="t"),
    ]
    found, problems = prompts.read(written(rows), graded=True)
    assert problems == []
    assert (found.origin, found.merged) == ([0, 1, 3, 4], 1)
    assert found.table.schema.names == ["prompt", "data_source", "reward_model"]
    assert [each["reward_model"]["ground_truth"] for each in found.rows()] == ["1", "2", "1", "1"]


def test_texts_are_prompts_and_need_nothing_else_where_nothing_is_graded(written):
    found, problems = prompts.read(written([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}]), graded=False)
    assert problems == [] and found.rows() == [{"prompt": "a"}, {"prompt": "b"}]


def test_everything_wrong_is_said_at_once(written):
    rows = [row(chat("a")), row([], gold=None), row(chat("b"), source=None), row([{"role": "user", "content": None}])]
    path = written(rows)
    _, problems = prompts.read(path, graded=True)
    assert problems == [
        f"--prompts {path}, row 1 (and 1 more), column prompt: nothing stands there; give a text, or a list of "
        "messages with role and content",
        f"--prompts {path}, row 1, column reward_model: there is no ground_truth; give the right answer",
        f"--prompts {path}, row 2, column data_source: nothing stands there; name the source, by which rewards grade",
    ]


def test_files_that_cannot_be_read(tmp_path, written):
    (tmp_path / "text.parquet").write_text("no")
    for path, said in (
        (tmp_path / "none.parquet", "there is no such file"),
        (tmp_path / "text.parquet", "not a valid parquet file"),
        (written([{"prompt": "a"}]), "it has no column data_source, reward_model, only prompt"),
    ):
        found, (problem,) = prompts.read(path, graded=True)
        assert found is None and problem.startswith(f"--prompts {path}: {said}")
    parquet.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    assert "it has no rows" in prompts.read(tmp_path / "empty.parquet", graded=False)[1][0]


def test_long_prompts_are_named_by_the_files_row():
    assert list(prompts.too_long([2, 3], [0, 7], 3, "x")) == []
    (said,) = prompts.too_long([4, 3, 9], [0, 7, 8], 3, "x")
    assert said.startswith("x, row 0 (and 1 more): up to 9 tokens, and --max-prompt-tokens=3")


def test_a_file_has_its_hash(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert prompts.sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
