"""`frpo-verl plot` as a user types it."""

import pytest
from evaluation.one_run import STEPS, size_of_png, write_metrics, write_run

from frpo_verl import cli


@pytest.fixture
def seeds(tmp_path):
    pytest.importorskip("matplotlib")
    return [write_metrics(tmp_path / name, STEPS) for name in ("a", "b")]


def test_it_writes_the_picture_and_prints_the_table(seeds, tmp_path, capsys):
    png = tmp_path / "runs.png"
    assert cli.main(["plot", str(png), f"frpo={seeds[0]}", f"frpo={seeds[1]}", f"no kl={seeds[0]}"]) == 0
    size_of_png(png)
    said = capsys.readouterr()
    assert said.out.startswith("Means of the last 5 steps (range over the seeds); before → stands the policy before")
    assert "\n\n| method | seeds | reward, training, score |" in said.out
    assert "| frpo | 2 |" in said.out and "| no kl | 1 |" in said.out
    assert said.err == ""


def test_held_out_samples_are_read_as_the_options_say(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "a", dumps={0: {"p": [0, 0.5]}, 2: {"p": [0.5, 0.5]}}, key="acc")
    words = ["plot", str(tmp_path / "c.svg"), f"x={run}", "--score-key", "acc", "--correct-at", "0.5"]
    assert cli.main(words) == 0
    assert "| x | 1 | 0.500 → 1.000 | " in capsys.readouterr().out


def test_a_run_that_cannot_be_read_is_a_sentence_and_the_others_are_drawn(seeds, tmp_path, capsys):
    png = tmp_path / "runs.png"
    assert cli.main(["plot", str(png), str(seeds[0]), f"x={tmp_path}/gone"]) == 1
    size_of_png(png)
    assert capsys.readouterr().err == f"frpo-verl: {tmp_path}/gone does not exist; correct the path.\n"
    assert cli.main(["plot", str(tmp_path / "none.png"), f"x={tmp_path}/gone"]) == 1
    assert not (tmp_path / "none.png").exists()


def test_what_was_left_out_is_said(seeds, tmp_path, capsys):
    with (seeds[0] / "metrics.jsonl").open("a") as log:
        log.write('{"step":3,"da')
    assert cli.main(["plot", str(tmp_path / "runs.png"), str(seeds[0])]) == 0
    assert capsys.readouterr().err.endswith("metrics.jsonl, line 4: half-written; left out\n")


@pytest.mark.parametrize("name", ["runs.doc", "a", "folder.png"])
def test_a_picture_that_was_forgotten_is_bad_usage(seeds, tmp_path, capsys, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SystemExit):
        cli.main(["plot", str(tmp_path / name), str(seeds[0])])
    assert f"{name}: not the file of a picture; give .svg, .png, .pdf before the runs" in capsys.readouterr().err


def test_a_run_that_is_named_twice_counts_once(seeds, tmp_path, capsys):
    assert cli.main(["plot", str(tmp_path / "c.svg"), f"x={seeds[0]}", f"x={tmp_path}/a", f"y={seeds[0]}"]) == 0
    said = capsys.readouterr()
    assert said.err == f"frpo-verl: {seeds[0]} is named twice as x, and counts once\n"
    assert "| x | 1 |" in said.out and "| y | 1 |" in said.out and said.out.endswith(f"picture: {tmp_path}/c.svg\n")


def test_a_file_that_cannot_be_written_is_a_sentence(seeds, tmp_path, capsys):
    name = "no/runs.png"
    assert cli.main(["plot", str(tmp_path / name), str(seeds[0])]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("frpo-verl: ") and name in said.err and said.err.count("\n") == 1
    assert "| method |" in said.out
