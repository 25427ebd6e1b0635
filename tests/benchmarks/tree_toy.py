"""Shows on a toy whether λ-GRPO's structure or its smaller step is what helps: GRPO, λ-GRPO and both controls.

`python tests/benchmarks/tree_toy.py` prints the table of `frpo_verl/advantage/lambda_grpo.md`. The task is the paper's
(arXiv 2509.21154, Table 1): four moves, left or right. One path, the target, earns 1; paths that share its first n
moves earn less, all others 0.7. The policy is ours: a table of logits, one pair for each of the 15 places, uniform at
the start and updated by plain gradient ascent; the paper's is GPT-2 small. Groups of 16, 250 updates; the figure is the
share of the target path among the samples of the last 50, a mean over runs.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from frpo_verl.advantage import count_process_sets, lambda_grpo, normalise_by_group

MOVES, GROUP, UPDATES, LAST = 4, 16, 250, 50
SETTINGS = tuple((shared, reward) for shared in (1, 2) for reward in (-0.5, -1.0, -1.5))


def _mean(weights: Tensor) -> Tensor:
    """The mean of each run, which is a batch of its own."""
    return weights.mean((1, 2), keepdim=True)


METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "GRPO": torch.ones_like,
    "lambda_grpo": lambda weights: weights,
    "lambda_grpo_mean_one": lambda weights: weights / _mean(weights),
    "uniform_mean": lambda weights: _mean(weights).expand_as(weights),
}


def rewards(paths: Tensor, shared: int, reward: float) -> Tensor:
    """Of paths (…, 4) of 0 and 1; the target is all 0."""
    left = paths == 0
    near = torch.where(left[..., :shared].all(-1), reward, 0.7)
    return torch.where(left.all(-1), 1.0, near).double()


def sampled(logits: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns the moves and the places where they were made, (runs, 16, 4) each."""
    runs = torch.arange(len(logits))[:, None]
    place, places, paths = torch.zeros(len(logits), GROUP, dtype=torch.int64), [], []
    for _ in range(MOVES):
        right = torch.softmax(logits, -1)[runs, place, 1]
        move = (torch.rand(right.shape, generator=random, dtype=torch.float64) < right).long()
        places, paths, place = [*places, place], [*paths, move], 2 * place + 1 + move
    return torch.stack(paths, -1), torch.stack(places, -1)


def target_share(method: str, shared: int, reward: float, rate: float, runs: int) -> float:
    """The share of the target path among the samples of the last updates."""
    random = torch.Generator().manual_seed(0)
    logits = torch.zeros(runs, 2**MOVES - 1, 2, dtype=torch.float64)
    group, run = torch.arange(runs).repeat_interleave(GROUP), torch.arange(runs)[:, None, None]
    found = []
    for _ in range(UPDATES):
        paths, places = sampled(logits, random)
        outcome = normalise_by_group(rewards(paths, shared, reward).flatten(), group).view(runs, GROUP, 1)
        there = torch.ones(runs * GROUP, MOVES)
        sets = count_process_sets(paths.view(-1, MOVES), there, group)
        weights = METHODS[method](lambda_grpo(sets, there).double().view(paths.shape))
        score = torch.nn.functional.one_hot(paths, 2) - torch.softmax(logits, -1)[run, places]
        update = (weights * outcome)[..., None] * score / (GROUP * MOVES)
        logits = logits.index_put((run.expand_as(places), places), rate * update, accumulate=True)
        found.append((paths == 0).all(-1).double().mean().item())
    return sum(found[-LAST:]) / LAST


def row(shared: int, reward: float, rate: float, runs: int) -> str:
    shares = [target_share(method, shared, reward, rate, runs) for method in METHODS]
    cells = [f"{rate:g}", str(shared), f"{reward:g}".replace("-", "−"), *(f"{share:.2f}" for share in shares)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="*", default=[1.0, 4.0])
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    print(f"| learning rate | n | reward near the target | {' | '.join(METHODS)} |")
    print("| ---: " * (3 + len(METHODS)) + "|")
    for rate in options.rates:
        for shared, reward in SETTINGS:
            print(row(shared, reward, rate, options.runs), flush=True)


if __name__ == "__main__":
    main()
