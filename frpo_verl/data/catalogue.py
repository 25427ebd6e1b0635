"""Lists the sets of problems: where each one is, which columns it has, and how many rows."""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from frpo_verl.data import gold
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Columns, Problem


class Hub(NamedTuple):
    """A place on the Hugging Face hub.

    Attributes:
        repository: owner/name.
        config: the configuration, or None for the only one.
        split: the split.
    """

    repository: str
    config: str | None
    split: str


class Part(NamedTuple):
    """One parquet file.

    Attributes:
        name: of the file, without `.parquet`.
        split: `train`, whose rows are deduplicated and kept apart from every test set, or `test`, which is kept whole.
        data_source: verl hands it to the reward and puts it into the names of its validation metrics.
        hubs: where the hub has it; the first one is the default.
        columns: of the source's rows.
        rows: how many the source has, if that is known.
        sha256: of the rows, if it is known; other mirrors may have other identifiers.
        reason: returns the reason to leave a problem out, or None.
    """

    name: str
    split: str
    data_source: str
    hubs: tuple[Hub, ...]
    columns: Columns = Columns()
    rows: int | None = None
    sha256: str | None = None
    reason: Callable[[Problem], str | None] = lambda problem: None


def address(hub: Hub) -> str:
    """Returns the address at which a browser finds a repository."""
    return f"https://huggingface.co/datasets/{hub.repository}"


_DAPO_BEFORE = re.compile(
    r"\s*Solve the following math problem step by step\..*?is the answer to the problem\.\s*", re.S
)
_DAPO_AFTER = re.compile(r"\s*Remember to put your answer on its own line after \"Answer:\"\.\s*$")
_HAN = re.compile("[\N{CJK UNIFIED IDEOGRAPH-3400}-\N{CJK UNIFIED IDEOGRAPH-4DBF}"
                  "\N{CJK UNIFIED IDEOGRAPH-4E00}-\N{CJK UNIFIED IDEOGRAPH-9FFF}]")  # fmt: skip


def dapo_text(value: Any, row: Mapping[str, Any]) -> str:
    """Removes the instructions that the original of DAPO-Math-17k, whose problems are chats, puts around a problem."""
    text = value[-1]["content"] if isinstance(value, list | tuple) else str(value or "")
    return _DAPO_AFTER.sub("", _DAPO_BEFORE.sub("", text, count=1))


def olympiad_text(value: Any, row: Mapping[str, Any]) -> str:
    """Puts the context of a problem of OlympiadBench, if it has one, before the question."""
    return "\n".join(str(part).strip() for part in (row.get("context"), value) if part)


def dropped_by_filter(problem: Problem) -> str | None:
    """Returns the reason to leave out a problem of DAPO-Math-17k, else None.

    The paper trains on "about 12k" of its 17k problems and does not print how they were chosen. What is public: the set
    has about 17,400 different problems (1.79 million rows), of which 14,116 are English by the count of
    open-r1/DAPO-Math-17k-Processed. This keeps the English ones with a whole number as the answer; problems that are
    listed with two answers and those of the test sets go too. That is nearer 14k than 12k.
    """
    if _HAN.search(problem.text):
        return "not English"
    return None if re.fullmatch(r"-?[0-9]+", problem.answer) else "answer not a whole number"


_USUAL = Columns()


def _test(name: str, rows: int, *hubs: Hub, columns: Columns = _USUAL, sha256: str | None = None) -> Part:
    return Part(name, "test", f"frpo/{name}", hubs, columns, rows, sha256)


def _gsm8k(split: str, rows: int) -> Part:
    return Part(
        f"gsm8k_{split}",
        split,
        "frpo/gsm8k",
        (Hub("openai/gsm8k", "main", split),),
        Columns(text=("question", "problem"), read_answer=gold.after_hashes),
        rows,
    )


_COMPETITION = Columns(answer=("answer", "solution"), read_answer=gold.whole_number)

SETS: dict[str, tuple[Part, ...]] = {
    "dapo_math_17k": (
        Part(
            "dapo_math_17k",
            "train",
            "frpo/dapo_math_17k",
            (
                Hub("open-r1/DAPO-Math-17k-Processed", "all", "train"),
                Hub("BytedTsinghua-SIA/DAPO-Math-17k", None, "train"),
            ),
            Columns(
                text=("prompt", "problem", "question"),
                answer=("reward_model.ground_truth", "solution", "answer"),
                id=("extra_info.index", "unique_id", "id"),
                read_text=dapo_text,
                read_answer=gold.whole_number,
            ),
            reason=dropped_by_filter,
        ),
    ),
    "math500": (
        _test(
            "math500",
            500,
            Hub("HuggingFaceH4/MATH-500", None, "test"),
            sha256="4d63f37e1dc353580741bb6e016e4b3d117775dbe139f0435781d775a7d9f5ef",
        ),
    ),
    "aime24": (
        _test(
            "aime24",
            30,
            Hub("HuggingFaceH4/aime_2024", None, "train"),
            Hub("math-ai/aime24", None, "test"),
            columns=_COMPETITION,
            sha256="ede706669bfdfefe6bb6907b2e7199a36a59169fbb265b436a8681c9399cd706",
        ),
    ),
    "aime25": (_test("aime25", 30, Hub("math-ai/aime25", None, "test"), columns=_COMPETITION),),
    "amc23": (_test("amc23", 40, Hub("math-ai/amc23", None, "test")),),
    "olympiad_bench": (
        _test(
            "olympiad_bench",
            674,
            Hub("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"),
            Hub("math-ai/olympiadbench", None, "test"),
            columns=Columns(answer=("final_answer", "answer"), read_text=olympiad_text),
        ),
    ),
    "minerva_math": (_test("minerva_math", 272, Hub("math-ai/minervamath", None, "test")),),
    "gsm8k": (_gsm8k("test", 1319), _gsm8k("train", 7473)),
}
"""Test parts come first: a train part is kept apart from those that are there."""

GYM = "reasoning_gym:"


def parts(name: str) -> tuple[Part, ...]:
    """Returns the parquet files of a set, or one part of it by its own name; a DataError names the nearest set."""
    known = {part.name: (part,) for parts in SETS.values() for part in parts} | SETS
    if name in known:
        return known[name]
    choices = [*known, GYM + "TASK"]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), choices, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}"
    raise DataError(f"{name}: there is no such set of problems; {hint}")
