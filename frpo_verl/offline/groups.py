"""Groups of graded responses to one prompt: which are duplicates, and which groups carry signal."""

import collections
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

THRESHOLD = 0.5
"""The trainer's default of `fpa.threshold`, above which a response is right."""

Counts = collections.Counter[str]
"""Counts by name; the names are in the room's page."""


class Response(NamedTuple):
    """Holds a response, its score, and what else is known of it."""

    text: str
    score: float
    ids: Sequence[int] | None = None
    log_probs: Sequence[float] | None = None
    step: int | None = None
    pred: str | None = None

    def key(self) -> Hashable:
        """Returns what duplicates have in common: the token ids, or the text where none are known."""
        return self.text if self.ids is None else tuple(self.ids)


class Group(NamedTuple):
    """Holds the responses to a prompt, which is a row of a table of prompts."""

    row: int
    responses: Sequence[Response]
    prompt_ids: Sequence[int] | None = None


def distinct(responses: Sequence[Response]) -> list[Response]:
    """Keeps the first of each set of duplicates."""
    first: dict[Hashable, Response] = {}
    for response in responses:
        first.setdefault(response.key(), response)
    return list(first.values())


def contradicted(responses: Sequence[Response]) -> int:
    """Counts the duplicates whose score is not that of the first."""
    first: dict[Hashable, float] = {}
    return sum(response.score != first.setdefault(response.key(), response.score) for response in responses)


def has_signal(responses: Sequence[Response]) -> bool:
    """Returns True where two scores differ: else there is no pair, and a standardised advantage is 0."""
    return len({response.score for response in responses}) > 1


def kept(groups: Iterable[Group], duplicates: str, no_signal: str, counts: Counts) -> Iterator[Group]:
    """Applies the rules of a file, and counts.

    Args:
        groups: one of each prompt.
        duplicates: keep, or drop: identical responses to a prompt are kept once.
        no_signal: keep, or drop: a prompt whose responses all have one score is left out.
        counts: what is counted is added to it.

    Yields:
        What the file gets.
    """
    for group in groups:
        unique = distinct(group.responses)
        counts["duplicates"] += len(group.responses) - len(unique)
        counts["duplicates_with_another_score"] += contradicted(group.responses)
        if duplicates == "drop":
            group = group._replace(responses=unique)
        counts["all_right"] += all(response.score > THRESHOLD for response in group.responses)
        counts["all_wrong"] += all(response.score <= THRESHOLD for response in group.responses)
        counts["no_signal"] += not has_signal(group.responses)
        if no_signal == "drop" and not has_signal(group.responses):
            counts["dropped_prompts"] += 1
            continue
        counts["prompts"] += 1
        counts["responses"] += len(group.responses)
        yield group
