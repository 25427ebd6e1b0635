"""The page of the evaluation: its table is one that the code prints, its metrics and snippets are the code's."""

import re
from pathlib import Path

from evaluation.one_run import COMMAND, STEPS, TABLE, write_metrics

from frpo_verl.evaluation import series

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "evaluation" / "README.md").read_text()


def test_the_table_of_a_run_is_one_that_is_printed():
    shown = [line for line in PAGE.splitlines() if re.match(r"(reward|held-out|  +before)", line)]
    assert len(shown) == 4
    assert shown == TABLE.splitlines()[2:6]


def test_the_metrics_are_those_that_are_read_in_their_order():
    for names in (series.REWARD, series.ENTROPY, series.DIVERGENCE):
        assert [PAGE.find(f"`{name}`") for name in names] == sorted(PAGE.index(f"`{name}`") for name in names)


def test_the_library_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "frpo-1"
    (run / "validation").mkdir(parents=True)
    write_metrics(run, STEPS)
    (run / "command.txt").write_text(COMMAND)
    (run / "validation" / "0.jsonl").write_text('{"input": "p", "score": 1.0}\n')
    names: dict = {}
    exec(PAGE.split("```python\n")[1].split("```")[0], names)
    assert names["run"].pass_at_1.before.value == 1.0
