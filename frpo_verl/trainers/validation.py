"""Validates the policy by what it samples: vLLM in processes of its own, graded by a reward function of verl's form."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frpo_verl.trainers import sampling
from frpo_verl.trainers.sampling import Spec

OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables from which vLLM would conclude that it is a rank of the trainer."""


def sample(spec: Spec, devices: dict[str, str]) -> None:
    """Runs vLLM to its end, with `devices` in its environment. Raises RuntimeError with its last words if it fails."""
    written = Path(spec.out).with_suffix(".spec")
    written.write_text(json.dumps(spec._asdict()))
    environment = {key: value for key, value in os.environ.items() if key not in OF_TORCHRUN and "ELASTIC" not in key}
    command = [sys.executable, "-P", "-m", "frpo_verl.trainers.sampling", str(written)]
    ended = subprocess.run(
        command, env=environment | devices, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode:
        raise RuntimeError(f"sampling for validation ended with {ended.returncode}: {ended.stdout[-2000:]}")


def graded(lines: Sequence[dict[str, Any]], prompts: Sequence[dict[str, Any]], reward: Callable) -> Iterator[dict]:
    """Grades what was sampled.

    Args:
        lines: of `sampling.read`.
        prompts: the rows of the file that was sampled from, with `prompt`, `data_source` and `reward_model`.
        reward: verl's `compute_score(data_source, solution_str, ground_truth, extra_info)`.

    Yields:
        A line of verl's validation dumps for each response, with `data_source`.
    """
    for line in lines:
        row = prompts[line["row"]]
        for text in line["responses"]:
            said = reward(
                data_source=row["data_source"],
                solution_str=text,
                ground_truth=row["reward_model"]["ground_truth"],
                extra_info=row.get("extra_info") or {},
            )
            details = said if isinstance(said, dict) else {}
            score = float(details["score"] if details else said)
            asked = row["prompt"] if isinstance(row["prompt"], str) else json.dumps(row["prompt"])
            gold = row["reward_model"]["ground_truth"]
            yield {"input": asked, "output": text, "gts": gold, "data_source": row["data_source"], **details} | {
                "score": score
            }


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
