"""Time of the frpo advantage against verl's own grpo and a copy of the same bytes: `make benchmark`.

One process, the CPU, float32; the batch is 256 prompts × 5 responses × 8192 tokens, lengths uniform in 512..8192.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from copy import copy

import numpy as np
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.ray_trainer import compute_advantage

SHORTEST = 512


def make_batch(prompts: int, group_size: int, length: int) -> DataProto:
    """A batch as the V1 trainer hands it to `compute_advantage`."""
    rows = prompts * group_size
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, length + 1, (rows, 1), generator=generator)
    mask = torch.arange(length) < lengths
    rewards = torch.zeros(rows, length).scatter_(1, lengths - 1, torch.rand(rows, 1, generator=generator).round())
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask.long(),
        "old_log_probs": -torch.rand(rows, length, generator=generator),
        "ref_log_prob": -torch.rand(rows, length, generator=generator),
    }
    uid = np.repeat([f"prompt-{prompt}" for prompt in range(prompts)], group_size).astype(object)
    return DataProto(batch=TensorDict(tensors, batch_size=rows), non_tensor_batch={"uid": uid})


def seconds(function: Callable[[], object], repeats: int) -> list[float]:
    """Wall time of each repeat, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--group-size", type=int, default=5)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = make_batch(options.prompts, options.group_size, options.length)

    def advantage(estimator: str) -> Callable[[], DataProto]:
        algorithm = {"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": 0.01}}
        config = OmegaConf.create(algorithm)
        return lambda: compute_advantage(copy(data), adv_estimator=estimator, config=config)

    tensors = [data.batch[key] for key in ("token_level_rewards", "old_log_probs", "ref_log_prob")]
    targets = [torch.empty_like(tensor) for tensor in tensors]

    def copy_bytes() -> None:
        for source, target in zip(tensors, targets, strict=True):
            target.copy_(source)

    cases = {"verl grpo": advantage("grpo"), "frpo": advantage("frpo"), "copy of 3 inputs": copy_bytes}
    measured = {name: seconds(function, options.repeats) for name, function in cases.items()}
    reference = statistics.median(measured["verl grpo"])
    print(
        f"{options.prompts * options.group_size} x {options.length}, {options.threads} threads, {platform.processor()}"
    )
    print(f"torch {torch.__version__}; median of {options.repeats}, and the fastest and slowest")
    for name, times in measured.items():
        median = statistics.median(times)
        print(
            f"{name:<18}{median * 1e3:8.1f} ms  ({min(times) * 1e3:.1f} to {max(times) * 1e3:.1f})"
            f"  {median / reference:.2f}x grpo"
        )


if __name__ == "__main__":
    main()
