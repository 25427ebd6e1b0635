"""Tests `frpo-verl data` as a user types it."""

import pytest
from problem_rows import jsonl, sums

from frpo_verl import cli, data
from frpo_verl.data import building


def test_alone_it_lists_every_set(capsys):
    assert cli.main(["data"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*data.SETS, "reasoning_gym:TASK"))


def test_a_set_is_said_with_its_rows_its_checksum_and_what_was_left_out(tmp_path, capsys):
    source = jsonl(tmp_path / "rows.jsonl", sums(9) + sums(2))
    assert cli.main(["data", "dapo_math_17k", "--source", source, "--output", str(tmp_path)]) == 0
    [built] = data.build("dapo_math_17k", output=tmp_path, source=source)
    first = f"{tmp_path}/dapo_math_17k.parquet: 9 rows, sha256 {built.sha256}\n  left out: 2 duplicate\n"
    captured = capsys.readouterr()
    # No bar where nobody looks.
    assert (captured.out, captured.err) == (first, "")
    assert cli.main(["data", "dapo_math_17k", "--source", source, "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == first + "  was there already\n"
    rows = jsonl(tmp_path / "aime.jsonl", sums(30, 5))
    assert cli.main(["data", "aime24", "--source", rows, "--output", str(tmp_path)]) == 0
    assert "\n  4 of its problems were in dapo_math_17k.parquet and are removed there\n" in capsys.readouterr().out
    assert cli.main(["data", "--verify", "--output", str(tmp_path)]) == 0
    assert "no train set has a problem of a test set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["math50"], "math50: there is no such set of problems; did you mean math500?"),
        (["math500", "aime42"], "aime42: there is no such set of problems; did you mean aime2"),
        (["math500", "--size", "9"], "--size with math500: only reasoning_gym:TASK is drawn; leave the option out"),
        (["math500", "--held-out", "0.5"], "--held-out with math500: only reasoning_gym:TASK is drawn; leave the op"),
        (["math500", "aime24", "--source", "x"], "--source x with 2 names: it is the source of one set; give one name"),
        (["math500", "--source", "x.jsonl"], "--source x.jsonl: there is no such file; give a .jsonl, "),
        (["--verify"], "no set of problems was built there; frpo-verl data NAME"),
    ],
)
def test_problems_are_one_sentence_and_status_1_and_nothing_is_built(tmp_path, capsys, arguments, says):
    assert cli.main(["data", *arguments, "--output", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("frpo-verl: ") and says in captured.err
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_reasoning_gym_is_drawn_as_asked(tmp_path, capsys):
    words = ["reasoning_gym:chain_sum", "--size", "20", "--seed", "3", "--held-out", "0.5", "--output", str(tmp_path)]
    assert cli.main(["data", *words]) == 0
    expected = data.build("reasoning_gym:chain_sum", output=tmp_path, draw=data.Draw(20, 3, 0.5))
    assert all(built.reused and f"sha256 {built.sha256}" in capsys.readouterr().out for built in expected[:1])


def test_stopping_is_no_traceback(tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_select", stop)
    source = jsonl(tmp_path / "rows.jsonl", sums(9))
    assert cli.main(["data", "math500", "--source", source, "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err == (
        "frpo-verl: interrupted; run the same command again, which keeps finished files\n"
    )


def test_a_missing_package_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None if name == "datasets" else object())
    assert cli.main(["data", "math500", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "frpo-verl: datasets is not installed; pip install 'frpo-verl[data]'\n"
