"""`frpo-verl report` as a user types it."""

import json

import pytest
from evaluation.one_run import COMMAND, DUMPS, STEPS, TABLE, size_of_png, write_metrics

from frpo_verl import cli


@pytest.fixture
def run_dir(tmp_path):
    write_metrics(tmp_path, STEPS)
    (tmp_path / "command.txt").write_text(COMMAND + "\n")
    (tmp_path / "validation").mkdir()
    for step, problems in DUMPS.items():
        rows = [{"input": text, "score": -score, "acc": score} for text in problems for score in problems[text]]
        path = tmp_path / "validation" / f"{step}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_it_prints_the_table_and_writes_the_figure(run_dir, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["report", str(run_dir), "--score-key", "acc"]) == 0
    assert capsys.readouterr().out == TABLE + "\n"
    assert size_of_png(run_dir / "learned.png")[0] == 1200


def test_the_score_and_the_bar_can_be_chosen(run_dir, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["report", str(run_dir), "--correct-at", "0"]) == 0
    printed = capsys.readouterr().out
    # Of the scores, the negated ones are at least 0 where the sample is wrong: 1 - pass@1.
    assert "held-out pass@1          0.750 ± 0.250" in printed
    assert "correct from score 0 on" in printed


def test_a_directory_without_a_run_is_one_sentence_with_status_1(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err == f"frpo-verl: {tmp_path} does not hold a run: metrics.jsonl and command.txt missing.\n"
    assert said.out == ""
