"""Measures the frpo advantage through verl's `compute_advantage` against verl's own grpo, its parts, and copies.

`make benchmark`, or `python tests/benchmarks/advantage.py --help`. All is measured in one process, one case after the
other, round by round, so that a noisy minute hits all of them. Ratios and medians are what to read.

The batch is 256 prompts × 5 responses × 8192 tokens, float32, lengths uniform in 512..8192, as the issue of the KL
estimators states it. `copy` moves as many bytes as the pass reads and writes (half of them from one place to another):
into new memory, as every function that returns a new tensor must, and into memory that was written before.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frpo_verl.advantage import Variant, compiled, normalise_by_group, regularise_batch, return_to_go
from frpo_verl.divergences import CATALOGUE, REVERSE_KL, by_name
from frpo_verl.rows import empty

SHORTEST = 512
BETA = 0.01
GRPO = "verl compute_advantage, grpo"
SUM = "return_to_go (torch), k1"
NEW, HUGE = "copy, new memory", "copy, new memory in huge pages"


class Batch(NamedTuple):
    """What an advantage is computed from."""

    scores: Tensor
    group: Tensor
    log_prob: Tensor
    reference: Tensor
    mask: Tensor


def make_batch(prompts: int, group_size: int, length: int, device: str = "cpu") -> Batch:
    rows = prompts * group_size
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(min(SHORTEST, length), length + 1, (rows, 1), generator=random)
    reference = -torch.rand(rows, length, generator=random)
    return Batch(
        scores=torch.rand(rows, generator=random).round().to(device),
        group=torch.arange(rows, device=device) // group_size,
        log_prob=(reference + torch.randn(rows, length, generator=random) * 0.1).to(device),
        reference=reference.to(device),
        mask=(torch.arange(length) < lengths).long().to(device),
    )


def ours(batch: Batch, generator=REVERSE_KL, baseline: str = "none"):
    outcome = normalise_by_group(batch.scores, batch.group)
    return regularise_batch(outcome, *batch[2:], BETA, generator, Variant(baseline=baseline), batch.group)


def as_defined(batch: Batch):
    """The torch code that runs on accelerators and without numba."""
    fused, compiled.can_take = compiled.can_take, lambda tensor: False
    try:
        return ours(batch)
    finally:
        compiled.can_take = fused


def plain(batch: Batch) -> Tensor:
    """The three lines that one would write: mask, flip-cumsum-flip, subtract."""
    delta = (batch.log_prob - batch.reference) * batch.mask
    to_go = delta.flip(-1).cumsum(-1).flip(-1)
    return (normalise_by_group(batch.scores, batch.group)[:, None] - BETA * to_go) * batch.mask


def copies(total_bytes: int, device: str) -> dict[str, Callable[[], object]]:
    source = torch.rand(total_bytes // 8, device=device)
    target = torch.rand(total_bytes // 8, device=device)
    cases = {NEW: source.clone, "copy, warm memory": lambda: target.copy_(source)}
    if device == "cpu":
        cases[HUGE] = lambda: empty(source.shape, source.dtype, source.device).copy_(source)
    return cases


def hosts(batch: Batch) -> dict[str, Callable[[], object]]:
    """verl's `compute_advantage` on the batch as a trainer holds it, and what goes on inside it."""
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    from frpo_verl.preflight import settings
    from frpo_verl.verl_plugin import figures, outcome

    last = batch.mask.sum(-1, keepdim=True) - 1
    rewards = torch.zeros_like(batch.log_prob).scatter_(1, last, batch.scores[:, None])
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": batch.mask,
        "old_log_probs": batch.log_prob,
        "ref_log_prob": batch.reference,
    }
    uid = np.array([f"prompt-{group}" for group in batch.group.tolist()], dtype=object)
    data = DataProto(batch=TensorDict(tensors, batch_size=len(uid)), non_tensor_batch={"uid": uid})

    def advantage(estimator: str) -> Callable[[], object]:
        algorithm = {"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}}
        config = OmegaConf.create(algorithm)

        def case() -> DataProto:
            # Not copy.copy(data): that serialises the whole batch, which would be most of what is measured.
            again = DataProto(batch=data.batch.clone(recurse=False), non_tensor_batch=data.non_tensor_batch)
            return compute_advantage(again, adv_estimator=estimator, config=config)

        return case

    asked = {"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}}
    chosen = settings.read(OmegaConf.create(asked))
    groups, done = normalise_by_group(batch.scores, batch.group), ours(batch)
    return {
        GRPO: advantage("grpo"),
        "verl compute_advantage, frpo": advantage("frpo"),
        "part: group statistics": lambda: outcome.of_column(outcome.column(data), True, "sample"),
        "part: the pass": lambda: regularise_batch(groups, *batch[2:], BETA),
        "part: figures of the log line": lambda: figures.of_step(done, groups, data, chosen, BETA),
    }


def baselines(batch: Batch, device: str) -> dict[str, Callable[[], object]]:
    """The pass with and without a baseline of the whole weight, next to the sum alone and a copy of as many bytes."""
    cases = {
        f"{generator.name}{'' if kind == 'none' else ', ' + kind}": (
            lambda generator=generator, kind=kind: ours(batch, generator, kind)
        )
        for generator in (REVERSE_KL, by_name("k3"))
        for kind in ("none", "fitted", "loo_position")
    }
    delta = batch.log_prob - batch.reference
    cases[SUM] = lambda: return_to_go(delta, batch.mask, REVERSE_KL)
    moved = 3 * batch.log_prob.nbytes + batch.mask.nbytes
    return cases | {NEW: copies(moved, device)[NEW]}


class Times(NamedTuple):
    """Seconds of each round."""

    wall: list[float]
    processor: list[float]


def measured(cases: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, Times]:
    """Times each case, round by round, after one round that is not counted."""
    times = {name: Times([], []) for name in cases}
    for turn in range(repeats + 1):
        for name, case in cases.items():
            _synchronise(device)
            began, busy = time.perf_counter(), time.process_time()
            case()
            _synchronise(device)
            if turn:
                times[name].wall.append(time.perf_counter() - began)
                times[name].processor.append(time.process_time() - busy)
    return times


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.get_device_module(device).synchronize()


def extra_memory(case: Callable[[], object], output_bytes: int, device: str) -> float | None:
    """Peak memory of a case beyond what was there before, in tensors of the output's size; None where unknown."""
    if device != "cpu":
        module = torch.get_device_module(device)
        module.reset_peak_memory_stats()
        before = module.memory_allocated()
        case()
        return (module.max_memory_allocated() - before) / output_bytes
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = _status("VmRSS")
    kept = case()
    peak = _status("VmHWM")
    del kept
    return (peak - before) / output_bytes


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def table(times: dict[str, Times], references: dict[str, str]) -> str:
    """Returns a Markdown table: medians, and their ratios to the named reference cases, by the clock and (by threads
    together) by the processor, which a busy machine changes less."""
    wall = {name: statistics.median(of.wall) for name, of in times.items()}
    processor = {name: statistics.median(of.processor) for name, of in times.items()}
    ratios = [title for name in references for title in (name, "by processor")]
    rows = [["case", "median ms", "fastest", "processor ms", *ratios]]
    for name, of in times.items():
        figures = [
            f"{1e3 * value:.{1 if value > 0.01 else 3}f}" for value in (wall[name], min(of.wall), processor[name])
        ]
        for case in references.values():
            figures += [f"{median[name] / median[case]:.2f}×" for median in (wall, processor)]
        rows.append([name, *figures])
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine() -> str:
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


def _cpu_lines() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--group-size", type=int, default=5)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; on cuda the core alone is measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, repeats = options.device, options.repeats
    batch = make_batch(options.prompts, options.group_size, options.length, device)
    output_bytes = batch.log_prob.nbytes
    valid = int((batch.mask != 0).sum())
    print(f"{len(batch.scores)} × {options.length}, {valid} of {batch.mask.numel()} slots valid, float32")
    print(f"{machine()}\n")

    cases = hosts(batch) if device == "cpu" else {}
    cases["core, groups included"] = lambda: ours(batch)
    if device == "cpu":
        cases["core, as defined (torch)"] = lambda: as_defined(batch)
    cases["flip-cumsum-flip"] = lambda: plain(batch)
    moved = 3 * output_bytes + batch.mask.nbytes
    cases |= copies(moved, device)
    references = {"to a copy": HUGE if device == "cpu" else NEW}
    if device == "cpu":
        references |= {"to verl's grpo": GRPO}
    print(table(measured(cases, repeats, device), references), "\n")

    for name in ("core, groups included", "verl compute_advantage, frpo", "flip-cumsum-flip"):
        if name in cases and (extra := extra_memory(cases[name], output_bytes, device)) is not None:
            print(f"peak memory of {name}, result included: {extra:.2f} tensors of the output's size")
    print()

    print(
        table(measured(baselines(batch, device), repeats, device), {"to k1": REVERSE_KL.name, "to the sum": SUM}), "\n"
    )
    for name, generator in (("k1", REVERSE_KL), ("k3", by_name("k3"))):
        extra = extra_memory(lambda generator=generator: ours(batch, generator, "fitted"), output_bytes, device)
        if extra is not None:
            print(
                f"peak memory of {name} with baseline=fitted, result included: {extra:.2f} tensors of the output's size"
            )
    print()

    generators = {generator.name: (lambda generator=generator: ours(batch, generator)) for generator in CATALOGUE}
    print(table(measured(generators, max(3, repeats // 2), device), {"to k1": CATALOGUE[0].name}), "\n")

    lengths = {}
    for length in (8192, 32768, 131072):
        rows = max(options.group_size, options.prompts * options.group_size * 8192 // length)
        longer = make_batch(rows // options.group_size, options.group_size, length, device)
        lengths[f"{len(longer.scores)} × {length}"] = lambda longer=longer: ours(longer)
    print(table(measured(lengths, repeats, device), {"to the first": next(iter(lengths))}))


if __name__ == "__main__":
    main()
