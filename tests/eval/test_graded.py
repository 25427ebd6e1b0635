"""Files of graded responses: what is read of them, and what is refused."""

import json

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.eval import graded  # noqa: E402

ROW = {"prompt": "1+1", "responses": [r"\boxed{2}", r"\boxed{3}"], "scores": [1.0, 0.0]}
OF_POLICY = {"sampling": {"temperature": 1.0, "top_p": 1.0}}


def read(folder, rows, about=None, schema=None):
    table = pa.Table.from_pylist(rows, schema)
    if about is not None:
        table = table.replace_schema_metadata({"frpo_verl": json.dumps(about)})
    parquet.write_table(table, folder / "g.parquet")
    return graded.read(folder / "g.parquet", lambda count: None)


def test_a_row_is_a_problem_and_equal_rows_are_one(tmp_path):
    row = ROW | {"reward_model": None, "data_source": None}
    said = ROW | {"reward_model": "2"}
    assert len(read(tmp_path, [said, said | {"reward_model": "3"}])[0].problems) == 2
    other = ROW | {"reward_model": {"ground_truth": "2"}, "data_source": "s"}
    found, problems = read(tmp_path, [row, other, row])
    assert problems == [] and found.voted == "box"
    assert [list(each.scores) for each in found.problems.values()] == [[1.0, 0.0] * 2, [1.0, 0.0]]
    assert [each.source for each in found.problems.values()] == ["all", "s"]
    assert next(iter(found.problems.values())).place == f"{tmp_path / 'g.parquet'}, row 0"
    assert list(found.rows) == [list(found.problems)[number] for number in (0, 1, 0)]


def test_log_probs_count_where_the_samples_are_the_policys(tmp_path):
    row = ROW | {"log_probs": [[-1.0, -2.0], [-4.0]]}
    found, _ = read(tmp_path, [row, row], OF_POLICY)
    (problem,) = found.problems.values()
    assert found.has_log_probs and (problem.log_prob, problem.tokens) == (-14.0, 6)
    for sampling in ({"temperature": 0.6, "top_p": 1.0}, {"temperature": 1.0, "top_p": 0.9}, {}):
        assert not read(tmp_path, [row], {"sampling": sampling})[0].has_log_probs
    assert not read(tmp_path, [row])[0].has_log_probs


def test_the_answers_of_a_reward_are_taken_and_where_it_says_none_the_box(tmp_path):
    found, _ = read(tmp_path, [ROW | {"preds": ["5", ""]}])
    assert found.voted == "field" and next(iter(found.problems.values())).said == ["5", "3"]
    assert read(tmp_path, [ROW | {"responses": ["2", "3"]}])[0].voted is None


@pytest.mark.parametrize("rule, option", [("duplicates", "--duplicates"), ("no_signal", "--no-signal")])
def test_a_file_of_which_something_was_dropped_is_no_sample(tmp_path, rule, option):
    found, (problem,) = read(tmp_path, [ROW], {rule: "drop"})
    assert found is None and problem.endswith(f"so the rest is not a sample of the policy; make it with {option} keep")


@pytest.mark.parametrize(
    "row, said",
    [
        (ROW | {"scores": [1.0, float("nan")]}, "row 1, column scores: they are not a finite number for each response"),
        (ROW | {"scores": [1.0]}, "row 1, column scores"),
        (ROW | {"responses": [], "scores": []}, "row 1, column scores"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, said):
    found, (problem,) = read(tmp_path, [ROW, row])
    assert found is None and problem.startswith(f"{tmp_path / 'g.parquet'}, {said}")


def test_a_file_that_is_none_is_a_sentence(tmp_path):
    assert (
        "it has no column scores, only prompt, responses" in read(tmp_path, [{"prompt": "a", "responses": ["b"]}])[1][0]
    )
    assert "it has no rows" in read(tmp_path, [], schema=pa.Table.from_pylist([ROW]).schema)[1][0]
    (tmp_path / "g.parquet").write_bytes(b"PAR1")
    assert "not a valid parquet file" in graded.read(tmp_path / "g.parquet", lambda count: None)[1][0]


def test_every_row_is_told(tmp_path):
    parquet.write_table(pa.Table.from_pylist([ROW] * 100), tmp_path / "g.parquet")
    told = []
    graded.read(tmp_path / "g.parquet", told.append)
    assert sum(told) == 100 and max(told) <= graded.AT_ONCE
