"""Grades samples by a reward function of verl's form, and makes dumps and figures of them."""

import asyncio
import inspect
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frpo_verl.trainers import sampling


def grade(reward: Callable, row: dict[str, Any], response: str) -> dict[str, Any]:
    """Grades a response.

    Args:
        reward: verl's `compute_score(data_source, solution_str, ground_truth, extra_info)`, also a coroutine function.
        row: of the file of prompts, with `data_source` and `reward_model`.
        response: the text.

    Returns:
        `score`, and what else the function says.
    """
    said = reward(
        data_source=row["data_source"],
        solution_str=response,
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info=row.get("extra_info") or {},
    )
    if inspect.isawaitable(said):
        said = asyncio.run(_awaited(said))
    details = said if isinstance(said, dict) else {"score": said}
    return details | {"score": float(details["score"])}


async def _awaited(said: Any) -> Any:
    return await said


def unfit(reward: Callable, rows: Iterable[dict[str, Any]], origin: Sequence[int] | None = None) -> Iterator[str]:
    """Yields where a reward function fails on an empty response to the first prompt of a source.

    Args:
        reward: as in `grade`.
        rows: of the file of prompts.
        origin: the number of each row in its file, if rows were left out.

    Yields:
        What it raises and where, the end of a sentence.
    """
    seen = set()
    for number, row in enumerate(rows):
        if (source := row["data_source"]) in seen:
            continue
        seen.add(source)
        try:
            grade(reward, row, "")
        # whatever the user's function raises
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            at = number if origin is None else origin[number]
            yield f"it raises {said} on an empty response to the prompt of row {at}, of source {source}"


def graded(lines: Sequence[dict[str, Any]], prompts: Sequence[dict[str, Any]], reward: Callable) -> Iterator[dict]:
    """Grades what was sampled.

    Args:
        lines: of `sampling.read`.
        prompts: the rows of the file that was sampled from, with `prompt`, `data_source` and `reward_model`.
        reward: as in `grade`.

    Yields:
        A line of verl's validation dumps for each response, with `data_source`.
    """
    for line in lines:
        row = prompts[line["row"]]
        asked = row["prompt"] if isinstance(row["prompt"], str) else json.dumps(row["prompt"])
        known = {"input": asked, "gts": row["reward_model"]["ground_truth"], "data_source": row["data_source"]}
        for text in line["responses"]:
            yield known | {"output": text} | grade(reward, row, text)


def dump(dumped: Sequence[dict[str, Any]], folder: Path, step: int) -> None:
    """Writes the lines as verl's trainers do, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{step}.jsonl.partial"
    partial.write_text("".join(json.dumps({**line, "step": step}) + "\n" for line in dumped), encoding="utf-8")
    partial.replace(folder / f"{step}.jsonl")


def figures(dumped: Sequence[dict[str, Any]], n: int) -> dict[str, float]:
    """Computes the mean score of each source, under verl's name for it."""
    scores: dict[str, list[float]] = {}
    for line in dumped:
        scores.setdefault(line["data_source"], []).append(line["score"])
    return {f"val-core/{source}/reward/mean@{n}": statistics.fmean(values) for source, values in scores.items()}


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Reads what every process sampled, in the order of the prompts."""
    return sorted(
        (line for part in folder.glob("part-*.jsonl") for line in sampling.read(part)), key=lambda x: x["row"]
    )


def reward_function(config: Any) -> Callable:
    """Returns the reward function of `reward.custom_reward_function`, or verl's own."""
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.utils.reward_score import default_compute_score

    return get_custom_reward_fn(config) or default_compute_score


def loaded(config: Any, where: str) -> tuple[Callable | None, list[str]]:
    """Loads `reward_function`; returns a sentence, which begins with `where`, if that fails."""
    try:
        return reward_function(config), []
    # whatever the user's file raises while it is imported
    except Exception as error:
        reason = f"{type(error.__cause__ or error).__name__}: {error.__cause__ or error}"
        return None, [f"{where}: it cannot be loaded ({' '.join(reason.split())}); correct it"]
