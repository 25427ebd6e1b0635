"""Reads the responses that the plugin writes token by token, and colours them by what moved each token."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

MOST, FEWEST = 400, 100
"""Tokens of a response on a page, with one method and with many."""

_FIELDS = {
    "step": int,
    "prompt": str,
    "score": int | float,
    "beta": int | float,
    "length": int,
    "tokens": list,
    "outcome": list,
    "advantage": list,
}


class Response(NamedTuple):
    """A response of the last step that was written; values are None where nobody sampled the token."""

    step: int
    prompt: str
    score: float
    beta: float
    length: int
    tokens: list[str]
    outcome: list[float | None]
    advantage: list[float | None]

    @property
    def future(self) -> list[float | None]:
        """Returns −β·reg of each token, what the advantage is more than its outcome part."""
        pairs = zip(self.advantage, self.outcome, strict=True)
        return [None if whole is None or part is None else whole - part for whole, part in pairs]


class Token(NamedTuple):
    """A token of a coloured text: `strength`, 0 to 100 of the greatest value; `kind`, its sign or that it has none."""

    text: str
    kind: str
    strength: int
    number: str


def read_tokens(run: Path, notes: list[str]) -> list[Response]:
    """Returns the responses of the last step of `FOLDER/tokens/STEP.jsonl` in a run's folder; none where there is none.

    `notes` gets a sentence for a line that cannot be read.
    """
    paths = {int(path.stem): path for path in run.glob("*/tokens/*.jsonl") if path.stem.isdecimal()}
    for step in sorted(paths, reverse=True):
        found = []
        for number, line in enumerate(paths[step].read_bytes().splitlines(), start=1):
            try:
                found.append(_response(json.loads(line)))
            except (ValueError, TypeError, KeyError):
                notes.append(f"{paths[step]}, line {number}: not a response token by token; left out")
        if found:
            return found
    return []


def coloured(response: Response, values: Sequence[float | None], most: int) -> tuple[list[Token], float]:
    """Returns the first tokens coloured by one value each, and the greatest of these, which has the full colour."""
    shown = list(zip(response.tokens, values, strict=True))[:most]
    greatest = max((abs(value) for _, value in shown if value is not None), default=0.0)
    return [_token(text, value, greatest) for text, value in shown], greatest


def _token(text: str, value: float | None, greatest: float) -> Token:
    # A line break takes no room, and would not be seen.
    text = text.replace("\n", "⏎\n") or "∅"
    if value is None:
        return Token(text, "none", 0, "not sampled")
    strength = round(100 * abs(value) / greatest) if greatest else 0
    return Token(text, "up" if value > 0 else "down" if value < 0 else "zero", strength, f"{value:+.4g}")


def _response(row: Any) -> Response:
    for name, kind in _FIELDS.items():
        if not isinstance(row[name], kind):
            raise TypeError(name)
    response = Response(**{name: row[name] for name in _FIELDS})
    values = [value for value in (*response.outcome, *response.advantage) if value is not None]
    if not len(response.tokens) == len(response.outcome) == len(response.advantage):
        raise ValueError("lengths")
    if not all(map(math.isfinite, values)) or not all(isinstance(token, str) for token in response.tokens):
        raise ValueError("values")
    return response
