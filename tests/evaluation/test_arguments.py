"""The runs of a command line: names, patterns, seeds, and those that cannot be read."""

from pathlib import Path

import pytest
from evaluation.one_run import STEPS, write_metrics

from frpo_verl.evaluation.arguments import named, read


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("x", "y", "other", "lr=1"):
        (tmp_path / folder).mkdir()
    for folder in ("x/a-1", "x/a-2", "y/a-1", "lr=1/b"):
        write_metrics(tmp_path / folder, STEPS)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["frpo=x/a-1", "no kl=y/a-1"], [("frpo", "x/a-1"), ("no kl", "y/a-1")]),
        (["x/a-1", "x/a-2/metrics.jsonl"], [("a-1", "x/a-1"), ("a-2", "x/a-2/metrics.jsonl")]),
        # two folders of one name are not seeds of one method
        (["x/a-1", "y/a-1"], [("x/a-1", "x/a-1"), ("y/a-1", "y/a-1")]),
        (["frpo=x/a-*"], [("frpo", "x/a-1"), ("frpo", "x/a-2")]),
        (["lr=1/b", "f=lr=1/b"], [("b", "lr=1/b"), ("f", "lr=1/b")]),
        (["frpo=gone"], [("frpo", "gone")]),
    ],
)
def test_a_run_has_the_name_before_the_sign_or_that_of_its_folder(words, found):
    assert named(words) == [(name, Path(path)) for name, path in found]


def test_runs_of_one_name_are_seeds(capsys):
    runs, unread = read(["frpo=x/a-*", "b=y/a-1"], "score")
    assert {name: [str(run.path) for run in of] for name, of in runs.items()} == {
        "frpo": ["x/a-1", "x/a-2"],
        "b": ["y/a-1"],
    }
    assert unread == 0 and capsys.readouterr().err == ""


def test_a_run_that_cannot_be_read_is_a_sentence_and_the_others_are_there(capsys):
    runs, unread = read(["gone=other", "b=y/a-1", "b=z"], "score")
    assert {name: len(of) for name, of in runs.items()} == {"b": 1}
    assert unread == 2
    said = capsys.readouterr().err.splitlines()
    assert (
        said[0].startswith("frpo-verl: other does not hold a run")
        and said[1] == "frpo-verl: z does not exist; correct the path."
    )
