"""Measures memory and time of the future policy's log-probs and gradient, in blocks and the plain way.

`python tests/benchmarks/future_policy.py --help`. Each case runs in a process of its own. Peaks are what is there above
the two sets of logits, which the models have made, in tensors of the logits' size. Both ways drop the reference's
logits before the backward pass, as a trainer does. The plain way is the formula, line by line, in float32.
"""

import argparse
import functools
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from frpo_verl.losses.future_policy import future_policy

STRENGTH = 1.0


def in_blocks(logits: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    found = future_policy(logits, reference, labels, STRENGTH)
    return (found.future_log_prob.exp() * found.log_prob).sum()


def plain(logits: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    def of_labels(values: Tensor) -> Tensor:
        return torch.log_softmax(values, -1).gather(1, labels[:, None])[:, 0]

    current = logits.float()
    log_prob = of_labels(current)
    with torch.no_grad():
        ahead, wide = current.detach(), reference.float()
        future = of_labels((1 + STRENGTH) * ahead - STRENGTH * wide)
        of_labels(wide)
    return (future.exp() * log_prob).sum()


def policy_alone(logits: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """What training without a reference takes: log π_θ, as torch computes it in the logits' own precision."""
    return torch.log_softmax(logits, -1).gather(1, labels[:, None]).sum()


CASES = {case.__name__: case for case in (in_blocks, plain, policy_alone)}


def made(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    shape, device = (options.tokens, options.vocabulary), options.device
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    logits, reference = (torch.empty(shape, dtype=dtype, device=device).normal_(std=3) for _ in range(2))
    return logits.requires_grad_(), reference, torch.randint(options.vocabulary, shape[:1], device=device)


def peaks(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Returns the peak of the forward pass, and that of the backward pass after it."""
    torch.set_num_threads(options.threads)
    given = list(made(options))
    CASES[name](*(tensor[:2] for tensor in given)).backward()
    given[0].grad = None
    size, before = given[0].nbytes, _memory(options.device)
    _forget_peak(options.device)
    loss = CASES[name](*given)
    forward = _peak(options.device)
    given[1] = None
    _forget_peak(options.device)
    loss.backward()
    return (forward - before) / size, (_peak(options.device) - before) / size


def seconds(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Returns medians of the forward and of the backward pass, after one round that is not counted."""
    torch.set_num_threads(options.threads)
    given, times = made(options), []
    for _ in range(options.repeats + 1):
        given[0].grad = None
        marks = [_now(options.device)]
        loss = CASES[name](*given)
        marks.append(_now(options.device))
        loss.backward()
        marks.append(_now(options.device))
        times.append((marks[1] - marks[0], marks[2] - marks[1]))
    forward, backward = zip(*times[1:], strict=True)
    return statistics.median(forward), statistics.median(backward)


def _now(device: str) -> float:
    if device != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter()


def _forget_peak(device: str) -> None:
    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
    else:
        torch.get_device_module(device).reset_peak_memory_stats()


def _memory(device: str) -> int:
    return _status("VmRSS") if device == "cpu" else torch.get_device_module(device).memory_allocated()


def _peak(device: str) -> int:
    return _status("VmHWM") if device == "cpu" else torch.get_device_module(device).max_memory_allocated()


def _status(field: str) -> int:
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    size = options.tokens * options.vocabulary * getattr(torch, options.dtype).itemsize
    print(f"{options.tokens} × {options.vocabulary}, {options.dtype}: {size / 1e6:.0f} MB a set of logits")
    print("| case | forward peak | backward peak | forward s | backward s |\n| --- | ---: | ---: | ---: | ---: |")
    for name in CASES:
        figures = []
        for measure in (peaks, seconds):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures += pool.apply(functools.partial(measure, name, options))
        print(
            f"| {name.replace('_', ' ')} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.3f} | {figures[3]:.3f} |"
        )


if __name__ == "__main__":
    main()
