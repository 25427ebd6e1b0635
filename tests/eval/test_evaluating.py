"""The command on verl's dumps: what is computed, what is said, and that nothing computed is lost."""

import builtins
import json
import sys
from pathlib import Path

import pytest
from eval.written import dump, line, samples

from frpo_verl import cli
from frpo_verl.eval import dumps, evaluating

SAID = {"1+1": ["2", "3", "2", "2"], "2+2": ["5", "6", "4", "5"], "3+3": ["1", "1", "1", "1"]}
OTHER = {"1+1": ["2", "2", "2", "2"], "2+2": ["5", "5", "5", "5"], "3+3": ["6", "1", "1", "1"]}


@pytest.fixture
def told(monkeypatch):
    """The answers that were compared by the reward of mathematics, which here compares texts."""
    asked = []
    monkeypatch.setattr("frpo_verl.rewards.math.is_same", lambda one, other: bool(asked.append((one, other))))
    return asked


@pytest.fixture
def seeds(tmp_path, told):
    for name, said in (("a", SAID), ("b", OTHER)):
        dump(tmp_path / name / "validation", 10, samples(OTHER, step=10))
        dump(tmp_path / name / "validation", 20, samples(said))
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def run(folder, *words):
    status = cli.main(["eval", *words, "--json", str(folder / "o.json"), "--csv", str(folder / "o.csv")])
    return status, json.loads((folder / "o.json").read_text())


def values(said, step=20):
    return {(each["quantity"], each["k"]): each["value"] for each in said["results"] if each["step"] == step}


def test_two_seeds_of_the_last_step(seeds, tmp_path, capsys):
    status, said = run(tmp_path, *seeds)
    assert status == 0 and said["problems"] == said["remarks"] == []
    found = values(said)
    assert found["mean@k", None] == pytest.approx(((3 + 1) / 12 + (4 + 1) / 12) / 2)
    assert found["pass@k", 4] == pytest.approx(2 / 3)
    assert found["maj@k", 4] == pytest.approx(1 / 3)
    assert {k for quantity, k in found if quantity == "best@k"} == {1, 4}
    out = capsys.readouterr().out
    assert out.startswith("step 20, 3 problems x 4 samples, 2 seeds\n") and "95 % over seeds" in out
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 1 + len(said["results"])
    assert not (tmp_path / "o.json.work").exists()


def test_other_steps_and_other_k(seeds, tmp_path):
    status, said = run(tmp_path, *seeds, "--steps", ":", "--k", "2,3,2")
    assert status == 0 and {each["step"] for each in said["results"]} == {10, 20}
    assert {each["k"] for each in said["results"]} == {None, 2, 3}
    assert run(tmp_path, *seeds, "--steps", "10:10")[1]["results"][0]["step"] == 10


def test_answers_are_compared_as_the_reward_of_mathematics_does(tmp_path, monkeypatch):
    pytest.importorskip("math_verify")
    said = {"1+1": ["3", r"\frac{6}{2}", "2", "2", r"\frac{9}{3}"]}
    dump(tmp_path, 20, samples(said))
    _, found = run(tmp_path, str(tmp_path), "--k", "5")
    assert values(found)["maj@k", 5] == pytest.approx(0)


def test_without_math_verify_texts_are_compared_which_is_said(seeds, tmp_path, monkeypatch):
    really = builtins.__import__

    def without(name, *more, **others):
        if name == "frpo_verl.rewards.math":
            raise ImportError("math-verify is not installed")
        return really(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    status, said = run(tmp_path, seeds[0])
    assert status == 0 and ("maj@k", 4) in values(said)
    (remark,) = said["remarks"]
    assert "math-verify is not installed" in remark and "pip install 'frpo-verl[math]'" in remark


def test_without_answers_there_is_no_maj_which_is_said(tmp_path, capsys):
    dump(tmp_path, 20, [line(said="2", score=1.0), line(said="3", score=0.0)])
    status, said = run(tmp_path, str(tmp_path))
    assert status == 0 and not any(quantity == "maj@k" for quantity, _ in values(said))
    assert "no maj@k, since there is no field pred and" in said["remarks"][0]
    assert said["remarks"][0] in capsys.readouterr().err


def test_a_k_above_n_is_named_and_the_others_are_computed(seeds, tmp_path, capsys):
    dump(tmp_path / "a" / "validation", 20, samples(SAID | {"2+2": ["5", "4"]}))
    status, said = run(tmp_path, *seeds, "--k", "1,2,4")
    assert status == 1 and {k for _, k in values(said)} == {None, 1, 2}
    place = tmp_path / "a" / "validation" / "20.jsonl"
    assert said["problems"] == [f"--k 4: a problem has 2 samples ({place}, line 5); draw more, or lower k"]
    assert said["remarks"] == [f"{place}, line 5: this problem has 2 samples, and others up to 4; is all there?"]
    assert "x 2 to 4 samples" in capsys.readouterr().out


def test_a_seed_that_cannot_be_read_is_named_and_the_other_is_computed(seeds, tmp_path, capsys):
    dump(tmp_path / "b" / "validation", 20, [line(score=float("nan"))])
    status, said = run(tmp_path, *seeds)
    assert status == 1 and values(said)["mean@k", None] == pytest.approx(4 / 12)
    assert said["results"][0]["seeds"] == seeds[:1]
    assert "b/validation/20.jsonl, line 1, column score: nan is not a finite number" in said["problems"][0]
    assert "Problems\n  1. " in capsys.readouterr().err


def test_seeds_of_other_problems_are_shown_alone(seeds, tmp_path):
    dump(tmp_path / "b" / "validation", 20, samples({"1+1": ["2"]}))
    status, said = run(tmp_path, *seeds, "--k", "1")
    assert status == 1 and "step 20: the sources do not have the same problems" in said["problems"][0]
    means = [(each["seeds"], each["value"]) for each in said["results"] if each["quantity"] == "mean@k"]
    assert means == [([seeds[0]], pytest.approx(4 / 12)), ([seeds[1]], 1.0)]


def test_each_data_source_has_its_table(tmp_path, told, capsys):
    lines = [*samples({"1+1": ["2"]}, data_source="one"), *samples({"2+2": ["5", "5"]}, data_source="two")]
    dump(tmp_path, 20, lines)
    status, said = run(tmp_path, str(tmp_path))
    found = {each["data_source"]: each["value"] for each in said["results"] if each["quantity"] == "mean@k"}
    assert status == 0 and found == {"one": 1.0, "two": 0.0}
    assert f"step 20, two, 1 problems x 2 samples, {tmp_path}" in capsys.readouterr().out


def test_a_dump_that_is_being_written_is_a_remark(seeds, tmp_path):
    dump(tmp_path / "a" / "validation", 30, [line(step=30)], end="")
    status, said = run(tmp_path, seeds[0])
    assert status == 0 and said["results"][0]["step"] == 20 and "30.jsonl, line 1: it is cut off" in said["remarks"][0]


def test_what_was_read_is_kept_until_everything_is_computed(seeds, tmp_path, monkeypatch, told):
    really, stopped = dumps.read, []

    def stops(file, *more):
        if not stopped and "/b/" in str(file):
            stopped.append(file)
            raise KeyboardInterrupt
        assert not stopped or "/b/" in str(file), "it was read before"
        return really(file, *more)

    monkeypatch.setattr(dumps, "read", stops)
    arguments = ["eval", *seeds, "--json", str(tmp_path / "o.json")]
    assert cli.main(arguments) == 130
    asked = list(told)
    assert asked and (tmp_path / "o.json.work").is_dir() and not (tmp_path / "o.json").exists()
    assert cli.main(arguments) == 0
    assert told[: len(asked)] == asked and not (tmp_path / "o.json.work").exists()
    resumed = json.loads((tmp_path / "o.json").read_text())
    monkeypatch.setattr(dumps, "read", really)
    assert cli.main(arguments) == 0
    assert json.loads((tmp_path / "o.json").read_text()) == resumed


def test_what_was_kept_of_a_file_that_is_another_now_is_not_used(seeds, tmp_path, monkeypatch):
    dump(tmp_path / "b" / "validation", 20, ["{"])
    assert run(tmp_path, *seeds)[0] == 1 and (tmp_path / "o.json.work").is_dir()
    dump(tmp_path / "a" / "validation", 20, samples(OTHER))
    dump(tmp_path / "b" / "validation", 20, samples(OTHER))
    status, said = run(tmp_path, *seeds)
    assert status == 0 and values(said)["mean@k", None] == pytest.approx(5 / 12)


@pytest.mark.parametrize(
    "words, said",
    [
        (["/none"], "/none: there is no such file or folder"),
        (["RUN", "RUN"], "and would count as another seed; leave it out"),
        (["RUN", "--steps", "5"], "--steps 5: it is not of the form A:B"),
        (["RUN", "--steps", "50:"], "no step has a whole dump within --steps"),
        (["RUN", "--n", "4"], "--n: nothing is sampled, since no source is a model; leave it out"),
        (["RUN", "--prompts", "p.parquet"], "--prompts: nothing is sampled"),
        (["RUN", "--json", "/none/o.json"], "--json /none/o.json: there is no such folder; make it"),
        (["Qwen/Qwen3-0.6B"], "there is no such folder; correct the path, or give --prompts if it"),
        (["Qwen/Qwen3-0.6B", "--score-key", "acc"], "--score-key: no source has dumps with other fields"),
        (["Qwen/Qwen3-0.6B", "--steps", "1:2"], "--steps: no source has dumps of steps; leave it out"),
    ],
)
def test_what_cannot_be_asked_is_said(seeds, capsys, words, said):
    assert cli.main(["eval", *(seeds[0] if word == "RUN" else word for word in words)]) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_run_without_a_reference_says_that_there_is_no_divergence(seeds, tmp_path):
    status, said = run(tmp_path, seeds[0], "--reference", "some/model")
    assert status == 1 and "no divergence, since verl's dumps have no tokens" in said["problems"][0]
    assert said["results"] != []


def test_outputs_that_cannot_be_written_are_refused_before_and_what_fails_then_leaves_the_table(
    seeds, tmp_path, capsys
):
    for words, said in (
        (["--json", str(tmp_path)], "it is a folder; name a file in it"),
        (["--json", f"{tmp_path}/o", "--csv", f"{tmp_path}/a/../o"], "/o; name two files"),
        ([f"x={seeds[1]}"], f"a source has no name here, as runs of `report` have; give {seeds[1]}"),
    ):
        assert cli.main(["eval", seeds[0], *words]) == 1
        ended = capsys.readouterr()
        assert said in " ".join(ended.err.split()) and ended.out == ""
    # a device is written to, not replaced
    assert cli.main(["eval", seeds[0], "--json", "/dev/full"]) == 1
    ended = capsys.readouterr()
    assert "No space left on device" in " ".join(ended.err.split()) and "pass@1" in ended.out
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("word", ["0", "-1", "x", ""])
def test_a_k_that_is_no_count_is_bad_usage(seeds, word, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", seeds[0], f"--k={word}"])
    assert ended.value.code == 2 and "argument --k" in capsys.readouterr().err


@pytest.mark.parametrize("n, ks", [(1, [1]), (4, [1, 4]), (5, [1, 4, 5]), (16, [1, 4, 16]), (64, [1, 4, 16, 64])])
def test_the_default_k(n, ks):
    assert evaluating.default(n) == ks


def test_dumps_are_evaluated_without_verl_and_torch(seeds, tmp_path):
    import subprocess

    program = (
        "import sys\nfrom frpo_verl import cli\n"
        f"sys.modules['math_verify'] = None\nassert cli.main(['eval', {seeds[0]!r}]) == 0\n"
        "print({'verl', 'torch', 'transformers', 'vllm', 'ray'} & set(sys.modules), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert said.returncode == 0 and said.stderr.strip().endswith("set()"), said.stderr
