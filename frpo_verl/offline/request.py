"""Reads a command line, and finds what is wrong with it."""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SAMPLING = {"n": 16, "temperature": 1.0, "top_p": 1.0, "max_tokens": 1024, "max_prompt_tokens": 1024, "seed": 1}
"""Options of sampling and their defaults."""

READ_BY = {
    "responses": (),
    "rollouts": ("model", "prompts", "template", "max_tokens", "steps"),
    "model": ("model", "prompts", "reward", "template", "vllm", *SAMPLING),
}
"""Source -> the options that it reads, those of every source left out."""


class Request(NamedTuple):
    """Holds what is asked for; `source` is a key of `READ_BY`."""

    source: str
    out: Path
    responses: tuple[Path, ...]
    rollouts: Path | None
    steps: tuple[float, float]
    model: str | None
    prompts: Path | None
    reward: str | None
    sampling: dict[str, Any]
    vllm: dict[str, Any]
    template: dict[str, Any]
    no_signal: str
    duplicates: str


def of(options: argparse.Namespace) -> Request:
    """Makes a request of options without problems."""
    given = {name: getattr(options, name) for name in SAMPLING}
    filled = {name: SAMPLING[name] if value is None else value for name, value in given.items()}
    source = _source(options)
    return Request(
        source=source,
        out=Path(options.out),
        responses=tuple(map(Path, options.responses or ())),
        rollouts=None if options.rollouts is None else Path(options.rollouts),
        steps=steps(options.steps),
        model=options.model,
        prompts=None if options.prompts is None else Path(options.prompts),
        reward=options.reward,
        sampling=filled if source == "model" else {"max_tokens": options.max_tokens},
        vllm=pairs(options.vllm),
        template=pairs(options.template),
        no_signal=options.no_signal,
        duplicates=options.duplicates,
    )


def problems(options: argparse.Namespace) -> Iterator[str]:
    """Yields what is wrong with options by themselves: which go together, and their numbers."""
    if options.responses and options.rollouts:
        yield "--responses and --rollouts: a file is made of one of them; give one"
        return
    source = _source(options)
    every = {name for names in READ_BY.values() for name in names}
    for name in sorted(every - set(READ_BY[source])):
        if getattr(options, name) is not None:
            yield f"--{name.replace('_', '-')}: --{source} does not read it; leave it out"
    if source in ("model", "rollouts"):
        for name in ("model", "prompts"):
            if getattr(options, name) is None:
                yield f"--{name} is missing: {_MEANT[name]}"
    for name in ("vllm", "template"):
        for word in getattr(options, name) or ():
            if "=" not in word:
                yield f"--{name} {word}: it is not of the form KEY=VALUE; write for instance {_EXAMPLE[name]}"
    yield from _numbers(options)
    if not Path(options.out).suffix == ".parquet":
        yield f"{options.out}: the file to write must end with .parquet; rename it"


_MEANT = {
    "model": "give the folder of a Hugging Face model, or its name",
    "prompts": "give a parquet file as verl's RL trainers read it",
}
_EXAMPLE = {"vllm": "gpu_memory_utilization=0.8", "template": "enable_thinking=false"}


def pairs(words: list[str] | None) -> dict[str, Any]:
    """Reads KEY=VALUE, where VALUE is JSON, or else a text."""
    found = {}
    for word in words or ():
        key, value = word.split("=", 1)
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def steps(text: str | None) -> tuple[float, float]:
    """Reads A:B, both included; raises ValueError where it is none."""
    first, last = (text or ":").split(":")
    return (int(first) if first else -math.inf, int(last) if last else math.inf)


def _source(options: argparse.Namespace) -> str:
    return "responses" if options.responses else "rollouts" if options.rollouts else "model"


def _numbers(options: argparse.Namespace) -> Iterator[str]:
    try:
        steps(options.steps)
    except ValueError:
        yield f"--steps {options.steps}: it is not of the form A:B; write for instance 100:200"
    for name in ("n", "max_tokens", "max_prompt_tokens"):
        value = getattr(options, name)
        if value is not None and value < 1:
            yield f"--{name.replace('_', '-')} {value}: it must be 1 or more"
    if options.temperature is not None and not 0 <= options.temperature < math.inf:
        yield f"--temperature {options.temperature:g}: it must be 0 or more"
    elif options.temperature == 0 and options.n != 1:
        yield "--temperature 0: every response to a prompt would be the same; set --n 1, or a temperature above 0"
    if options.top_p is not None and not 0 < options.top_p <= 1:
        yield f"--top-p {options.top_p:g}: it must be above 0, and 1 at most"
