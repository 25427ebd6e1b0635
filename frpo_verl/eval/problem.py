"""A problem and its graded samples, without their texts, so that files larger than memory can be read."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from frpo_verl.rewards.box import last_box


class Problem:
    """Holds the samples of one problem.

    Args:
        place: where its first sample stands, for sentences.
        source: the data source, or `dumps.ALL`.
    """

    def __init__(self, place: str, source: str) -> None:
        self.place, self.source = place, source
        self.scores, self.answers = array("d"), array("i")
        self.said: list[str | None] = []
        """The distinct answers, which `answers` numbers."""
        self.log_prob, self.log_ratio, self.tokens = 0.0, 0.0, 0
        """Sums over the tokens of all samples."""

    def state(self) -> list[Any]:
        """Returns everything as JSON has it."""
        return [
            self.place,
            self.source,
            list(self.scores),
            list(self.answers),
            self.log_prob,
            self.log_ratio,
            self.tokens,
        ]

    @classmethod
    def of_state(cls, state: Sequence[Any]) -> "Problem":
        """Returns the problem of a `state`, without the texts of its answers."""
        made = cls(*state[:2])
        made.scores, made.answers = array("d", state[2]), array("i", state[3])
        made.log_prob, made.log_ratio, made.tokens = state[4:]
        return made

    def add(self, score: float, answer: str | None) -> None:
        """Adds a sample; None: it has no answer."""
        if answer not in self.said:
            self.said.append(answer)
        self.answers.append(self.said.index(answer))
        self.scores.append(score)

    def merge(self, same: Callable[[str, str], bool]) -> None:
        """Makes one answer of those that `same` says are. A right one and a wrong one are not asked about."""
        score = {answer: score for answer, score in zip(self.answers, self.scores, strict=True)}
        first: dict[int, int] = {}
        for number, text in enumerate(self.said):
            candidates = (other for other in set(first.values()) if score[other] == score[number])
            known = (other for other in candidates if None not in (text, self.said[other]))
            first[number] = next((other for other in sorted(known) if same(self.said[other], text)), number)
        self.answers = array("i", (first[answer] for answer in self.answers))


class Samples(NamedTuple):
    """Holds what a source says.

    Attributes:
        problems: by a key that is the same in every source that asked the same.
        voted: how answers were found, `field` or `box`; None where they were not.
        has_log_probs: whether the policy's log-probs are there, at the temperature of the policy.
        has_reference: whether those of a reference are there, too.
        rows: the key of each row of a parquet file.
    """

    problems: dict[str, Problem]
    voted: str | None
    has_log_probs: bool = False
    has_reference: bool = False
    rows: Sequence[str] = ()


def of_source(samples: Samples) -> Iterator[tuple[str, dict[str, Problem]]]:
    """Yields the problems of each data source."""
    for source in dict.fromkeys(problem.source for problem in samples.problems.values()):
        yield source, {key: each for key, each in samples.problems.items() if each.source == source}


def boxed(response: str) -> str | None:
    """Returns the answer in the last box of a response, if it has one."""
    return (last_box(response) or "").strip() or None


def voted(problems: dict[str, Problem], has_field: bool) -> str | None:
    """Says how answers were found, see `Samples`."""
    return "field" if has_field else "box" if any(any(problem.said) for problem in problems.values()) else None
