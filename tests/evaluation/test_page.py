"""The page of the evaluation: its table is one that the code prints, its metrics and snippets are the code's."""

import re
from pathlib import Path

from evaluation.one_run import TABLE, write_run

from frpo_verl.evaluation import series, sources

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "evaluation" / "README.md").read_text()


def test_the_table_of_a_run_is_one_that_is_printed():
    shown = [line for line in PAGE.splitlines() if re.match(r"(reward|held-out|  +before)", line)]
    assert len(shown) == 4
    assert shown == TABLE.splitlines()[2:6]


def test_the_metrics_are_those_that_are_read_in_their_order():
    for panel in series.LOGGED:
        assert [PAGE.find(f"`{name}`") for name in panel.metrics] == sorted(PAGE.index(f"`{n}`") for n in panel.metrics)


def test_the_names_are_those_that_are_looked_for():
    table = PAGE.split("| with |\n| --- | --- | --- |\n")[1].split("\n\n")[0].splitlines()
    for (_, patterns), line in zip(sources.FOLDERS, table, strict=True):
        assert all(f"`{pattern.split('/')[-1]}`" in line for pattern in patterns)


def test_the_library_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    write_run(tmp_path / "runs" / "frpo-1")
    snippet = PAGE.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(snippet, names)
    assert names["learned"](names["run"]).pass_at_1.after.value == 0.625
