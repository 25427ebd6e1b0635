"""The memory that an accelerator needs, counted where the same code runs on the CPU in an accelerator's blocks."""

import pytest
import torch
from torch.autograd.profiler import profile

from frpo_verl import advantage as a
from frpo_verl import rows
from frpo_verl.advantage import compiled, sums, weights
from frpo_verl.divergences import by_name

ROWS, LENGTH = 32, 4096
K3 = by_name("k3")


@pytest.fixture(autouse=True)
def _on_the_cpu():
    """Whatever --device says: the CPU's allocator is what is counted."""
    with torch.device("cpu"):
        yield


@pytest.fixture
def _in_blocks_of_an_accelerator(monkeypatch):
    monkeypatch.setattr(compiled, "can_take", lambda tensor: False)
    monkeypatch.setattr(rows, "on_host", lambda device: False)
    # Beyond the smallest batches blocks are a share of the batch.
    monkeypatch.setattr(rows, "LEAST_DEVICE_BLOCK", LENGTH)


def batch() -> dict[str, torch.Tensor]:
    lengths = torch.randint(1, LENGTH + 1, (ROWS, 1))
    log_prob, reference = torch.randn(2, ROWS, LENGTH)
    of = {"log_prob": log_prob, "reference": reference, "delta": log_prob - reference, "scores": torch.randn(ROWS)}
    return of | {"mask": torch.arange(LENGTH) < lengths, "group": torch.arange(ROWS) // 4}


CASES = {
    "return_to_go": lambda of: a.return_to_go(of["delta"], of["mask"], K3),
    "regularise": lambda of: a.regularise(of["scores"], of["delta"], of["mask"], 0.1),
    "shuffle_tokens": lambda of: a.shuffle_tokens(of["delta"], of["mask"], torch.Generator().manual_seed(0)),
    "minus_length_baseline": lambda of: a.minus_length_baseline(of["delta"], of["delta"], of["mask"], K3),
    "centre_in_group": lambda of: a.centre_in_group(of["delta"], of["mask"], of["group"]),
    "divide_by_length": lambda of: a.divide_by_length(of["delta"], of["mask"]),
    "value_at_step_start": lambda of: a.value_at_step_start(of["delta"], of["mask"], of["mask"]),
    "value_at_step_end": lambda of: a.value_at_step_end(of["delta"], of["mask"], of["mask"]),
}


@pytest.mark.usefixtures("_in_blocks_of_an_accelerator")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_temporaries_take_no_more_than_two_results(case):
    of = batch()
    assert 1 <= peak(lambda: case(of)) <= 3


@pytest.mark.usefixtures("_in_blocks_of_an_accelerator")
def test_those_of_the_advantage_too(generator):
    of = batch()
    rest = of["delta"], of["mask"], 0.1, generator
    assert 1 <= peak(lambda: a.frpo_advantage(of["scores"], of["group"], *rest)) <= 3


@pytest.mark.usefixtures("_in_blocks_of_an_accelerator")
@pytest.mark.parametrize("form", ["float32", "bfloat16", "a host's integers", "outcomes of tokens"])
def test_those_of_a_hosts_batch_too(generator, form):
    of = batch()
    mask = of["mask"].long() if form == "a host's integers" else of["mask"]
    outcome = of["scores"][:, None].expand(mask.shape).contiguous() if form == "outcomes of tokens" else of["scores"]
    pair = [of[name].bfloat16() if form == "bfloat16" else of[name] for name in ("log_prob", "reference")]
    assert 1 <= peak(lambda: a.regularise_batch(outcome, *pair, mask, 0.1, generator)) <= 3


@pytest.mark.usefixtures("_in_blocks_of_an_accelerator")
@pytest.mark.parametrize("baseline", ["fitted", "loo_position"])
@pytest.mark.parametrize("divergence", ["k1", "forward_kl"])
def test_those_of_a_baseline_too(divergence, baseline, monkeypatch):
    monkeypatch.setattr(weights, "on_host", lambda device: False)
    monkeypatch.setattr(weights, "LEAST_BLOCK", LENGTH)
    # the slots of the quantiles are a small share of a batch, too
    monkeypatch.setattr(sums, "SAMPLE", 256)
    # blocks are of whole groups, which are a small share of a batch
    of, variant = batch(), a.Variant(baseline=baseline)
    rest = of["mask"], 0.1, by_name(divergence), variant, torch.arange(ROWS)
    # one more where the local part is another function than the future part
    assert 1 <= peak(lambda: a.regularise_batch(of["scores"], of["log_prob"], of["reference"], *rest)) <= 4


def peak(case) -> float:
    """Returns the memory of a case at its peak, the result included, in float32 tensors of the batch's shape."""
    case()
    with profile(profile_memory=True) as seen:
        kept = case()
    now = most = 0
    for event in seen.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    del kept
    return most / (4 * ROWS * LENGTH)
