"""`frpo-verl report` as a user types it."""

import pytest
from evaluation.one_run import COMMAND, TABLE, write_run

from frpo_verl import cli

pytest.importorskip("matplotlib")


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "run", key="acc")


def test_it_prints_the_table_of_a_run_and_writes_its_page(run_dir, capsys):
    assert cli.main(["report", str(run_dir), "--score-key", "acc"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{TABLE}\n\npage: {run_dir}/report.html\n"
    assert said.err == ""
    page = (run_dir / "report.html").read_text()
    assert "<h1>Qwen2.5-0.5B-Instruct on gsm8k, estimator frpo</h1>" in page and COMMAND in page


def test_the_score_and_the_bar_can_be_chosen(run_dir, capsys):
    # Of the scores, those of `score` are -1 throughout.
    assert cli.main(["report", str(run_dir), "--correct-at", "0"]) == 0
    assert "held-out pass@1          0.000 ± 0.000" in capsys.readouterr().out
    assert cli.main(["report", str(run_dir), "--correct-at", "-1"]) == 0
    printed = capsys.readouterr().out
    assert "held-out pass@1          1.000 ± 0.000" in printed and "correct from score -1 on" in printed


def test_several_runs_have_one_page_and_the_table_of_their_methods(run_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = write_run(tmp_path / "b")
    assert cli.main(["report", f"frpo={run_dir}", f"frpo={other}", f"none={other}"]) == 0
    printed = capsys.readouterr().out
    assert "| frpo | 2 |" in printed and printed.endswith("\n\npage: report.html\n")
    assert "<h1>3 runs of 2 methods</h1>" in (tmp_path / "report.html").read_text()
    assert cli.main(["report", str(other), str(run_dir), "-o", str(tmp_path / "to" / "a.html")]) == 0
    assert (tmp_path / "to" / "a.html").exists()


def test_a_log_alone_has_its_page_next_to_it(tmp_path, capsys):
    (tmp_path / "a.log").write_text("step:1 - actor/entropy:0.5\n")
    assert cli.main(["report", str(tmp_path / "a.log")]) == 0
    assert "<h1>a.log</h1>" in (tmp_path / "report.html").read_text()


def test_a_directory_without_a_run_is_one_sentence_with_status_1(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"frpo-verl: {tmp_path} does not hold a run: no metrics.jsonl") and said.out == ""
    assert said.err.count("\n") == 1


def test_a_run_that_cannot_be_read_leaves_a_page_of_the_others_and_status_1(run_dir, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert cli.main(["report", str(run_dir), f"{tmp_path}/gone", "-o", str(page)]) == 1
    assert page.exists() and "gone does not exist; correct the path" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["report", str(run_dir), "-o", str(tmp_path)])
    assert f"{tmp_path}: a folder; name a file in it" in capsys.readouterr().err
    assert cli.main(["report", str(run_dir), "-o", "/dev/full"]) == 1
    assert "No space left on device" in capsys.readouterr().err
