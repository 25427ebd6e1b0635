import subprocess
import sys
from collections import Counter

import pyarrow.parquet
import pytest

from frpo_verl.quickstart import task


@pytest.fixture(scope="module")
def split():
    return task.split()


def rows(path):
    return pyarrow.parquet.read_table(path).to_pylist()


def test_the_problems_are_all_two_hundred_sums_of_two_digits_with_their_answers(split):
    expected = {(f"{a} {sign} {b}", str(a + b if sign == "+" else a - b))
                for a in range(10) for b in range(10) for sign in "+-"}  # fmt: skip
    seen = [(problem.question.split(": ")[1].removesuffix(" ="), problem.answer) for problem in sum(split, ())]
    assert len(seen) == 200
    assert set(seen) == expected


def test_no_question_is_in_both_parts(split):
    assert len(split.held_out) == 40
    assert not {problem.question for problem in split.train} & {problem.question for problem in split.held_out}


def test_the_split_is_the_same_in_another_process_with_another_hash_seed(split):
    code = "from frpo_verl.quickstart import task; print([tuple(p) for p in task.split().held_out])"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == str([tuple(problem) for problem in split.held_out])


def test_the_files_hold_their_own_part_of_the_split_and_nothing_else(tmp_path, split):
    train, held_out = task.write(tmp_path / "new" / "folder")
    assert {row["extra_info"]["question"] for row in rows(train)} == {problem.question for problem in split.train}
    assert [row["extra_info"]["question"] for row in rows(held_out)] == [problem.question for problem in split.held_out]


def test_a_row_has_verls_schema_and_asks_its_own_question(tmp_path, split):
    train, held_out = task.write(tmp_path, train_rows=32)
    answers = {problem.question: problem.answer for problem in sum(split, ())}
    for row in rows(train) + rows(held_out):
        assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        question = row["prompt"][1]["content"]
        assert row["data_source"] == "reasoning_gym/chain_sum"
        assert row["reward_model"] == {"style": "rule", "ground_truth": answers[question]}
        assert (row["extra_info"]["question"], row["extra_info"]["answer"]) == (question, answers[question])


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161, 1024])
def test_the_train_file_has_as_many_rows_as_asked_and_repeats_evenly(tmp_path, count):
    train, _ = task.write(tmp_path, train_rows=count)
    questions = Counter(row["extra_info"]["question"] for row in rows(train))
    assert questions.total() == count
    assert max(questions.values(), default=0) == -(-count // 160)


def test_the_seed_orders_the_train_file_and_leaves_the_held_out_file_alone(tmp_path):
    first, again, other = (task.write(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert rows(first[0]) == rows(again[0])
    assert rows(first[0]) != rows(other[0])
    assert rows(first[1]) == rows(other[1])
