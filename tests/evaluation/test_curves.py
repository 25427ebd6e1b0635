"""`frpo-verl curves` as a user types it."""

import json

import pytest
from evaluation.one_run import STEPS, size_of_png, write_metrics

from frpo_verl import cli


@pytest.fixture
def seeds(tmp_path):
    return [write_metrics(tmp_path / name, STEPS) for name in ("a", "b")]


def test_it_writes_the_figure_and_prints_the_table(seeds, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    png = tmp_path / "curves.png"
    assert cli.main(["curves", str(png), f"frpo={seeds[0]}", f"frpo={seeds[1]}", f"no kl={seeds[0]}"]) == 0
    assert size_of_png(png) == (1500, 480)
    printed = capsys.readouterr().out
    assert printed.startswith("Means of the last 5 steps (range over the seeds); before → stands the policy before")
    assert "\n\n| method | seeds | reward (training) |" in printed
    assert "| frpo | 2 |" in printed
    assert "| no kl | 1 |" in printed


def test_held_out_samples_are_read_as_the_options_say(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = write_metrics(tmp_path / "a", STEPS)
    (run / "validation").mkdir()
    for step, acc in ((0, "[0, 0.5]"), (2, "[0.5, 0.5]")):
        lines = [json.dumps({"input": "p", "acc": value}) + "\n" for value in json.loads(acc)]
        (run / "validation" / f"{step}.jsonl").write_text("".join(lines))
    words = ["curves", str(tmp_path / "c.png"), f"x={run}", "--score-key", "acc", "--correct-at", "0.5"]
    assert cli.main(words) == 0
    assert "| x | 1 | 0.500 (0.500 to 0.500) → 1.000 (1.000 to 1.000) | " in capsys.readouterr().out


@pytest.mark.parametrize("word", ["runs", "frpo=gone"])
def test_a_run_that_is_not_there_is_bad_usage(tmp_path, word, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["curves", str(tmp_path / "curves.png"), word])
    assert ended.value.code == 2
    assert f"{word}: not NAME=RUN_DIR with a metrics.jsonl in RUN_DIR" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_one_sentence_with_status_1(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text("")
    assert cli.main(["curves", str(tmp_path / "curves.png"), f"frpo={tmp_path}"]) == 1
    assert "metrics.jsonl is empty: verl has not written a whole line yet" in capsys.readouterr().err
