"""Measures λ-GRPO's counts and weights against verl's grpo on the same batch, and against comparing all pairs.

`make benchmark`, or `python tests/benchmarks/process_sets.py --help`. As in `advantage.py`, cases take turns in one
process; ratios and medians are what to read. Responses of a group share their first tokens:

    typical     as sampled: each leaves the others after a number of tokens that is geometric, 16 in the mean
    half        all are equal to the middle of the row, and differ from there on
    identical   all are equal
    one by one  each leaves at a place of its own, evenly: as many prefixes as there can be
"""

import argparse
import functools
from collections.abc import Callable

import numpy as np
import torch
from advantage import GRPO, Batch, Times, extra_memory, hosts, machine, make_batch, measured, table
from torch import Tensor

from frpo_verl.advantage import (
    count_process_sets,
    describe_sets,
    lambda_grpo,
    lambda_grpo_mean_one,
    process_set_sizes,
    uniform_mean,
)

VOCABULARY = 150_000
MEAN_SHARED = 16
PROMPT = 256
ALL_PAIRS_LIMIT = 2**32
"""Tokens to compare, k²·T, beyond which the naive way is not run."""

KINDS = ("typical", "half", "identical", "one by one")

Cases = dict[str, Callable[[], object]]


def token_ids(group: Tensor, length: int, kind: str) -> Tensor:
    """Random token ids, of which the responses of a group share the first."""
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCABULARY, (len(group), length), generator=random)
    first = torch.searchsorted(group, group)
    number, size = torch.arange(len(group)) - first, torch.bincount(group)[group]
    shared = {
        "typical": torch.empty(len(group), 1).geometric_(1 / MEAN_SHARED, generator=random),
        "half": torch.full((len(group), 1), length // 2),
        "identical": torch.full((len(group), 1), length),
        "one by one": (number * length // size)[:, None],
    }[kind]
    return torch.where(torch.arange(length) < shared, ids[first], ids)


def all_pairs(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """|λ| of one group by comparing all pairs of responses, in O(k²·T) time and O(k·T) memory."""
    place = np.arange(ids.shape[1])
    there = place < lengths[:, None]
    sizes = np.zeros(ids.shape, np.int32)
    for row in range(len(ids)):
        equal = (ids == ids[row]) & there & there[row]
        shared = np.where(equal.all(1), ids.shape[1], equal.argmin(1))
        for other in shared:
            sizes[row, :other] += 1
    return sizes


def weighed(batch: Batch, ids: Tensor) -> Callable[[], object]:
    """verl's `compute_advantage` with grpo and λ-GRPO on a batch of its V0 trainer."""
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    prompts = batch.group[:, None].expand(-1, PROMPT).contiguous()
    last = batch.mask.sum(-1, keepdim=True) - 1
    tensors = {
        "token_level_rewards": torch.zeros(ids.shape).scatter_(1, last, batch.scores[:, None]),
        "response_mask": batch.mask,
        "responses": ids,
        "prompts": prompts,
        "attention_mask": torch.cat([torch.ones_like(prompts), batch.mask], 1),
    }
    uid = np.array([f"prompt-{group}" for group in batch.group.tolist()], dtype=object)
    data = DataProto(batch=TensorDict(tensors, batch_size=len(uid)), non_tensor_batch={"uid": uid})
    config = OmegaConf.create({"adv_estimator": "grpo", "token_weight": "lambda_grpo"})

    def case() -> DataProto:
        again = DataProto(batch=data.batch.clone(recurse=False), non_tensor_batch=data.non_tensor_batch)
        return compute_advantage(again, adv_estimator="grpo", config=config)

    return case


def in_verl(prompts: int, group_size: int, length: int, kind: str) -> Cases:
    """verl's grpo on a batch, and what λ-GRPO adds to it."""
    batch = make_batch(prompts, group_size, length)
    mask = batch.mask if kind == "typical" else torch.ones_like(batch.mask)
    batch = batch._replace(mask=mask)
    ids, present = token_ids(batch.group, length, kind), mask.bool()
    sets = count_process_sets(ids, present, batch.group)

    def whole() -> None:
        sets = count_process_sets(ids, present, batch.group)
        lambda_grpo(sets, mask), describe_sets(sets, mask, batch.group)

    return {
        GRPO: hosts(batch)[GRPO],
        "verl compute_advantage, grpo with lambda_grpo": weighed(batch, ids),
        f"{kind}: counts, weights, figures": whole,
        "part: counts": lambda: count_process_sets(ids, present, batch.group),
        "part: lambda_grpo": lambda: lambda_grpo(sets, mask),
        "part: lambda_grpo_mean_one": lambda: lambda_grpo_mean_one(sets, mask),
        "part: uniform_mean": lambda: uniform_mean(sets, mask),
        "part: figures": lambda: describe_sets(sets, mask, batch.group),
    }


def one_group(group_size: int, length: int, kind: str) -> Cases:
    """Counts of one group, all of whose slots hold a token; and by comparing all pairs."""
    group = torch.zeros(group_size, dtype=torch.int64)
    ids, present = token_ids(group, length, kind), torch.ones(group_size, length, dtype=torch.bool)
    cases: Cases = {"ours": lambda: process_set_sizes(ids, present, group)}
    if group_size**2 * length <= ALL_PAIRS_LIMIT:
        lengths = np.full(group_size, length)
        cases["all pairs"] = functools.partial(all_pairs, ids.numpy(), lengths)
        assert torch.equal(cases["ours"](), torch.from_numpy(cases["all pairs"]()))
    return cases


def groups_table(group_sizes: list[int], lengths: list[int], repeats: int) -> str:
    """Returns a Markdown table, a row for each shape and kind."""
    rows = ["| group | kind | ms | all pairs, ms | faster | peak memory, tensors of the counts' size |"]
    rows += ["| --- | --- | ---: | ---: | ---: | ---: |"]
    for size, length in ((size, length) for size in group_sizes for length in lengths):
        for kind in KINDS:
            cases = one_group(size, length, kind)
            times = measured({"ours": cases["ours"]}, repeats, "cpu") | (
                measured({"all pairs": cases["all pairs"]}, 1, "cpu") if "all pairs" in cases else {}
            )
            milliseconds = {name: 1e3 * float(np.median(of.wall)) for name, of in times.items()}
            ours, pairs = milliseconds["ours"], milliseconds.get("all pairs")
            memory = extra_memory(cases["ours"], 4 * size * length, "cpu")
            cells = [f"{size} × {length}", kind, f"{ours:.1f}"]
            cells += ["–", "–"] if pairs is None else [f"{pairs:.0f}", f"{pairs / ours:.0f}×"]
            rows.append(f"| {' | '.join([*cells, '–' if memory is None else f'{memory:.2f}'])} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--group-sizes", type=int, nargs="*", default=[6, 64, 512])
    parser.add_argument("--lengths", type=int, nargs="*", default=[8192, 131072])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.prompts} × {options.group_size} × {options.length}\n{machine()}\n")
    for kind in KINDS:
        cases = in_verl(options.prompts, options.group_size, options.length, kind)
        times: dict[str, Times] = measured(cases, options.repeats, "cpu")
        print(table(times, {"to verl's grpo": GRPO}), "\n", flush=True)
    print(groups_table(options.group_sizes, options.lengths, options.repeats))


if __name__ == "__main__":
    main()
