"""verl's dumps: prompts are found by their text without special tokens, and only where one prompt has it."""

import json
import math

import pytest

pa = pytest.importorskip("pyarrow")

from frpo_verl.offline import rollouts  # noqa: E402
from frpo_verl.offline.groups import Response  # noqa: E402
from frpo_verl.offline.prompts import Prompts  # noqa: E402

EVERY = (-math.inf, math.inf)


class Letters:
    """A tokenizer with an id for each small letter; 0, the end, and 30, a turn, are special."""

    eos_token_id = 0

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [ord(letter) - 96 for letter in text]}

    def decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return "".join(chr(96 + each) for each in ids if 0 < each < 30)


def of_rows(*rows):
    table = pa.Table.from_pylist([{"prompt": prompt, "reward_model": {"ground_truth": gold}} for prompt, gold in rows])
    return Prompts(table, list(range(len(rows))), 0)


def line(asked, said="x", score=1.0, gold=None, step=1):
    return {"input": asked, "output": said, "score": score, "gts": gold, "step": step, "place": f"{step}.jsonl, line 1"}


def dump(folder, step, *lines, end="\n"):
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    (folder / f"{step}.jsonl").write_text(text + end)


def test_responses_of_all_steps_go_to_the_prompt_whose_text_it_is():
    asked, encoded = of_rows(("ab", "1"), ("b", "2")), [[30, 1, 2, 0], [30, 2]]
    lines = [line("b", "u"), line("ab", "v", 0.0), line("b", "w", 0.5, step=2)]
    found = rollouts.match(lines, asked, encoded, Letters())
    assert found.problems == found.remarks == []
    assert [(group.row, group.prompt_ids) for group in found.groups] == [(0, [30, 1, 2, 0]), (1, [30, 2])]
    assert found.groups[1].responses == [Response("u", 1.0, step=1), Response("w", 0.5, step=2)]


def test_of_two_prompts_with_one_text_the_answer_decides():
    # the template's special tokens are all that tells them apart
    asked, encoded = of_rows(("a", "1"), ("a", "2"), ("a", "2")), [[1], [30, 1], [30, 30, 1]]
    found = rollouts.match([line("a", gold="1"), line("a", gold="2"), line("a")], asked, encoded, Letters())
    assert [(group.row, len(group.responses)) for group in found.groups] == [(0, 1)]
    assert len(found.remarks) == 1 and found.remarks[0].startswith(
        "2 lines are left out, whose input is that of more than one"
    )


def test_a_prompt_that_is_not_in_the_file_is_counted_and_all_of_them_are_a_problem():
    asked, lines = of_rows(("a", "1")), [line("zz", step=3), line("zz"), line("a")]
    found = rollouts.match(lines, asked, [[1]], Letters())
    assert found.problems == [] and len(found.groups) == 1
    (said,) = found.remarks
    assert said.startswith(
        "2 lines are left out, whose input is that of no prompt of the file (first: 3.jsonl, line 1)"
    )
    assert rollouts.match(lines[:2], asked, [[1]], Letters()).problems == [f"--rollouts: {said}"]


def test_responses_are_tokenized_and_end_but_for_those_that_were_cut():
    asked = of_rows(("a", "1"))
    found = rollouts.match([line("a", "ab"), line("a", "abc")], asked, [[1]], Letters())
    for most, ids in ((None, [[1, 2, 0], [1, 2, 3, 0]]), (3, [[1, 2, 0], [1, 2, 3]])):
        (group,) = rollouts.tokenized(found.groups, Letters(), most)
        assert [each.ids for each in group.responses] == ids


def test_steps_are_read_in_their_order_and_one_that_is_being_written_is_left_out(tmp_path):
    said = {"input": "a", "output": "b", "gts": "1", "score": 1.0, "uid": "x"}
    dump(tmp_path, 11, said, '{"input": "a", "out', end="")
    dump(tmp_path, 10, said)
    dump(tmp_path, 9, said, said | {"score": 0})
    (tmp_path / "other.jsonl").write_text("no")
    lines, (remark,), problems = rollouts.read(tmp_path, EVERY)
    assert problems == [] and remark.startswith(f"{tmp_path / '11.jsonl'}, line 2: it is cut off")
    assert [(each["step"], each["score"]) for each in lines] == [(9, 1.0), (9, 0), (10, 1.0)]
    assert lines[1]["place"] == f"{tmp_path / '9.jsonl'}, line 2"


def test_of_a_rollout_with_several_outputs_the_first_is_the_answer_to_the_prompt(tmp_path):
    said = {"output": "b", "score": 1.0}
    dump(tmp_path, 1, said | {"input": "a", "uid": "u_0_0"}, said | {"input": "a and more", "uid": "u_0_1"})
    assert [line["input"] for line in rollouts.read(tmp_path, EVERY).lines] == ["a"]


def test_steps_may_be_chosen(tmp_path):
    for step in (1, 2, 3):
        dump(tmp_path, step, {"input": "a", "output": "b", "score": 1.0})
    assert [line["step"] for line in rollouts.read(tmp_path, (2, 3)).lines] == [2, 3]
    assert [line["step"] for line in rollouts.read(tmp_path, (-math.inf, 1)).lines] == [1]
    assert "none of its 3 steps is within --steps" in rollouts.read(tmp_path, (7, math.inf)).problems[0]


def test_unfit_lines_and_folders(tmp_path):
    assert "there is no such folder" in rollouts.read(tmp_path / "none", EVERY).problems[0]
    assert "it holds no STEP.jsonl" in rollouts.read(tmp_path, EVERY).problems[0]
    dump(tmp_path, 1, end="")
    assert "its files hold no whole step" in rollouts.read(tmp_path, EVERY).problems[0]
    good = {"input": "a", "output": "b", "score": 1.0}
    dump(tmp_path, 1, good, good | {"score": None}, "no", good | {"step": 2})
    start = f"--rollouts {tmp_path / '1.jsonl'}, "
    said = [problem.removeprefix(start).split(": ")[0] for problem in rollouts.read(tmp_path, EVERY).problems]
    assert said == ["line 2, column score", "line 3, column 1", "line 4, column step"]
