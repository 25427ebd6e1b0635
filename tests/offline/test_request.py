"""Options: which go together, and their numbers."""

import argparse
import math
from pathlib import Path

import pytest

from frpo_verl.offline import command, request


def options(*words):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["offline-data", *words])


def problems(*words):
    return list(request.problems(options(*words)))


MODEL = ("o.parquet", "--model", "m", "--prompts", "p.parquet")


def test_a_model_with_the_defaults():
    assert problems(*MODEL) == []
    found = request.of(options(*MODEL, "--n", "4", "--vllm", "dtype=float32", "a=1", "--vllm", "enforce_eager=true"))
    assert found.source == "model" and found.out == Path("o.parquet") and found.prompts == Path("p.parquet")
    assert found.sampling == request.SAMPLING | {"n": 4}
    assert found.vllm == {"dtype": "float32", "a": 1, "enforce_eager": True}
    assert (found.no_signal, found.duplicates) == ("keep", "drop")


def test_the_other_sources():
    found = request.of(options("o.parquet", "--responses", "a.parquet", "b.jsonl"))
    assert found.source == "responses" and found.responses == (Path("a.parquet"), Path("b.jsonl"))
    words = ("o.parquet", "--rollouts", "d", "--model", "m", "--prompts", "p", "--max-tokens", "9")
    assert problems(*words) == [] and request.of(options(*words)).sampling == {"max_tokens": 9}
    assert found.steps == (-math.inf, math.inf) and request.of(options(*words, "--steps", "3:")).steps == (3, math.inf)
    assert request.of(options(*words, "--steps", ":7")).steps == (-math.inf, 7)
    assert problems("o.parquet", "--responses", "a.parquet") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("o.parquet",), ["--model is missing", "--prompts is missing"]),
        (("o.parquet", "--rollouts", "d", "--model", "m"), ["--prompts is missing"]),
        (("o.parquet", "--responses", "a", "--rollouts", "d"), ["--responses and --rollouts: a file is made of one"]),
        (
            ("o.parquet", "--responses", "a", "--n", "2", "--top-p", "0.5"),
            ["--n: --responses does not read it", "--top-p: --responses does not read it"],
        ),
        ((*MODEL, "--n", "0", "--max-tokens", "0"), ["--n 0: it must be 1", "--max-tokens 0: it must be 1"]),
        ((*MODEL, "--temperature", "-1"), ["--temperature -1: it must be 0 or more"]),
        ((*MODEL, "--temperature", "nan"), ["--temperature nan: it must be 0 or more"]),
        ((*MODEL, "--temperature", "0"), ["--temperature 0: every response to a prompt would be the same"]),
        ((*MODEL, "--temperature", "0", "--n", "1"), []),
        ((*MODEL, "--top-p", "0"), ["--top-p 0: it must be above 0"]),
        ((*MODEL, "--top-p", "1.5"), ["--top-p 1.5: it must be above 0"]),
        ((*MODEL, "--steps", "1:2"), ["--steps: --model does not read it"]),
        (("o.parquet", "--rollouts", "d", *MODEL[1:], "--steps", "3"), ["--steps 3: it is not of the form A:B"]),
        ((*MODEL, "--vllm", "dtype"), ["--vllm dtype: it is not of the form KEY=VALUE"]),
        (("o.json", *MODEL[1:]), ["o.json: the file to write must end with .parquet"]),
    ],
)
def test_problems_are_said_all_at_once(words, said):
    found = problems(*words)
    assert len(found) == len(said) and all(map(str.startswith, found, said)), found
