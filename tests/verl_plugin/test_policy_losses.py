"""The registration of policy losses and their reduction, with a toy and through verl's own `ppo_loss` and registry."""

import math
from types import SimpleNamespace

import loss_oracles
import pytest
import torch

from frpo_verl.losses import LOSSES, PolicyLoss
from frpo_verl.losses.figures import Figures
from frpo_verl.preflight import contract
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import policy_losses

pytest.importorskip("verl")

from tensordict import TensorDict  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.utils import tensordict_utils as tu  # noqa: E402
from verl.utils.metric import AggregationType, Metric, reduce_metrics  # noqa: E402
from verl.utils.py_functional import append_to_dict  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402
from verl.workers.utils import losses  # noqa: E402

OURS = ("drpo", "drpo_outside", "spo")
SINCE_0_9 = pytest.mark.skipif(contract.verl_version() < "0.9", reason="new in verl 0.9")
MODES = (
    "token-mean",
    pytest.param("token-sum", marks=SINCE_0_9),
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
    "seq-mean-token-mean",
)
LOW, HIGH = 0.05, 0.2


def squared(old_log_prob, log_prob, advantages, response_mask, config):
    """A pure loss, one number per token."""
    return config.toy_scale * (log_prob - old_log_prob).square() - advantages * log_prob


def nothing(*given):
    return Figures({}, {})


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(LOSSES, "toy", PolicyLoss(squared, nothing))
    monkeypatch.setattr(core_algos, "POLICY_LOSS_REGISTRY", dict(core_algos.POLICY_LOSS_REGISTRY))


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize("correction", [None, 0.5])
def test_a_loss_per_token_is_reduced_as_verl_reduces_its_own(toy, mode, correction):
    policy_losses.register(core_algos)
    loss = core_algos.get_policy_loss_fn("toy")
    old, new, advantages = torch.randn(3, 2, 4)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    weights = None if correction is None else torch.full((2, 4), correction)
    config = SimpleNamespace(toy_scale=3.0, global_batch_info={"dp_size": 1})
    found, figures = loss(
        old_log_prob=old,
        log_prob=new,
        advantages=advantages,
        response_mask=mask,
        loss_agg_mode=mode,
        config=config,
        rollout_is_weights=weights,
    )
    total = sum(
        3.0 * (new[i, t] - old[i, t]) ** 2 - advantages[i, t] * new[i, t]
        for i in range(2)
        for t in range(4)
        if mask[i, t]
    )
    expected = (correction or 1.0) * total / (4 if mode == "token-mean" else 2)
    # float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert figures == {}


def test_registering_twice_is_fine_and_a_name_of_verls_is_not_overwritten(toy, monkeypatch):
    policy_losses.register(core_algos)
    policy_losses.register(core_algos)
    monkeypatch.setitem(LOSSES, "gspo", PolicyLoss(squared, nothing))
    theirs = core_algos.get_policy_loss_fn("gspo")
    with pytest.raises(HostError, match="verl has a policy loss 'gspo' of its own; frpo-verl's needs another name"):
        policy_losses.register(core_algos)
    assert core_algos.get_policy_loss_fn("gspo") is theirs


def actor(name: str, mode: str = "token-mean") -> ActorConfig:
    from verl.workers.config import PolicyLossConfig

    return ActorConfig(
        strategy="fsdp",
        ppo_mini_batch_size=4,
        ppo_micro_batch_size_per_gpu=4,
        rollout_n=1,
        clip_ratio=9.0,
        clip_ratio_low=LOW,
        clip_ratio_high=HIGH,
        loss_agg_mode=mode,
        policy_loss=PolicyLossConfig(loss_mode=name),
    )


def batch(rows: int = 4, length: int = 6) -> dict[str, torch.Tensor]:
    """What verl's loss reads, with masked slots in the middle and at the end."""
    mask = torch.arange(length) < torch.randint(1, length + 1, (rows, 1))
    mask &= torch.rand(rows, length) > 0.3
    mask[:, 0] = True
    fields = {name: torch.rand(rows, length).clamp(min=0.02).log() for name in ("old_log_probs", "log_probs")}
    weights = torch.rand(rows, length) + 0.5
    return {**fields, "advantages": torch.randn(rows, length), "response_mask": mask, "rollout_is_weights": weights}


def ppo_loss(config: ActorConfig, fields: dict[str, torch.Tensor], **counted: int) -> tuple[torch.Tensor, dict]:
    """verl's `ppo_loss` on padded fields, of sequences with a prompt of one token."""
    rows, length = fields["response_mask"].shape
    fields = dict(fields)
    new = fields.pop("log_probs")
    data = TensorDict({**fields, "response_mask": fields["response_mask"].long()}, rows)
    data["prompts"] = torch.ones(rows, 1, dtype=torch.long)
    data["responses"] = torch.ones(rows, length, dtype=torch.long)
    data["attention_mask"] = torch.ones(rows, length + 1, dtype=torch.long)
    tu.assign_non_tensor(data, **{"dp_size": 1, "batch_num_tokens": None, "global_batch_size": None, **counted})
    # flat, shifted by one token as a model gives them
    flat = torch.cat([new, torch.zeros(rows, 1)], -1).flatten()
    return losses.ppo_loss(config, {"log_probs": flat}, data)


def valid_rows(fields: dict[str, torch.Tensor]):
    """Each valid token: sequence, log μ, log π, A and the correction's weight."""
    names = ("old_log_probs", "log_probs", "advantages", "rollout_is_weights")
    for i, t in fields["response_mask"].nonzero().tolist():
        yield (i, *(fields[name][i, t].item() for name in names))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("mode", MODES)
def test_through_verls_own_function_the_loss_is_that_of_the_definition(name, mode):
    fields = batch()
    found, figures = ppo_loss(actor(name, mode), fields)
    sums, counts = [0.0] * 4, [0] * 4
    for i, old, new, advantage, correction in valid_rows(fields):
        sums[i] += correction * getattr(loss_oracles, name)(old, new, advantage, LOW, HIGH)
        counts[i] += 1
    expected = {
        "token-mean": sum(sums) / sum(counts),
        "token-sum": sum(sums),
        "seq-mean-token-sum": sum(sums) / 4,
        "seq-mean-token-sum-norm": sum(sums) / 4 / 6,
        "seq-mean-token-mean": sum(s / c for s, c in zip(sums, counts, strict=True)) / 4,
    }
    # float32
    assert found.item() == pytest.approx(expected[mode], rel=1e-4)
    assert figures["actor/pg_loss"].aggregate() == pytest.approx(expected[mode], rel=1e-4)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("anything", [math.nan, math.inf, -math.inf, 1e38])
def test_masked_slots_may_hold_anything(name, mode, anything):
    fields = batch()
    fields["log_probs"].requires_grad_()
    expected, figures = ppo_loss(actor(name, mode), fields)
    (gradient,) = torch.autograd.grad(expected, fields["log_probs"])
    dirty = {
        key: tensor.detach().masked_fill(~fields["response_mask"], anything)
        for key, tensor in fields.items()
        if key != "response_mask"
    }
    dirty["response_mask"] = fields["response_mask"]
    dirty["log_probs"].requires_grad_()
    found, of_dirty = ppo_loss(actor(name, mode), dirty)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, dirty["log_probs"])[0], gradient)
    assert {key: metric.aggregate() for key, metric in of_dirty.items()} == {
        key: metric.aggregate() for key, metric in figures.items()
    }


def reduced_as_verl_does(of_ranks: list[list[dict]]) -> dict[str, float]:
    """One mini-batch: micro-batches of a rank, then ranks, then verl's log line."""
    gathered: dict[str, list] = {}
    for rank in of_ranks:
        of_rank: dict = {}
        for metrics in rank:
            append_to_dict(of_rank, metrics)
        for key, value in of_rank.items():
            gathered.setdefault(key, []).append(value)
    return {key: Metric.aggregate_dp(values) for key, values in gathered.items()}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("counts", [True, False], ids=["counted by verl", "not counted"])
def test_micro_batches_ranks_and_mini_batches_add_up(name, counts):
    of_minis = []
    logged: dict[str, list] = {}
    for _ in range(2):
        # two ranks of two micro-batches, which differ in their tokens
        ranks = [[batch(1), batch(4)], [batch(2), batch(3)]]
        tokens = [[int(micro["response_mask"].sum()) for micro in rank] for rank in ranks]
        assert len({count for rank in tokens for count in rank}) > 2
        counted = {"dp_size": 2, "batch_num_tokens": sum(map(sum, tokens)), "global_batch_size": 10} if counts else {}
        metrics = [[ppo_loss(actor(name), micro, **counted)[1] for micro in rank] for rank in ranks]
        append_to_dict(logged, reduced_as_verl_does(metrics))
        of_minis.append(ranks)
    found = reduce_metrics(logged)

    def distances(micro):
        return [abs(math.exp(new) - math.exp(old)) for _, old, new, _, _ in valid_rows(micro)]

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    of_micros = [[[distances(micro) for micro in rank] for rank in ranks] for ranks in of_minis]
    if counts:
        # of all tokens of a mini-batch, then of mini-batches
        expected = mean(mean(d for rank in ranks for micro in rank for d in micro) for ranks in of_micros)
    else:
        expected = mean(mean(mean(micro) for rank in ranks for micro in rank) for ranks in of_micros)
    # float32
    assert found["actor/drpo/distance/token_mean"] == pytest.approx(expected, rel=1e-4)
    largest = max(d for ranks in of_micros for rank in ranks for micro in rank for d in micro)
    assert found["actor/drpo/distance/max"] == pytest.approx(largest, rel=1e-4)
    ratios = [
        math.exp(new - old)
        for ranks in of_minis
        for rank in ranks
        for micro in rank
        for _, old, new, _, _ in valid_rows(micro)
    ]
    assert found["actor/drpo/ratio/max"] == pytest.approx(max(ratios), rel=1e-4)
    assert set(found) == {
        "actor/pg_loss",
        "actor/drpo/distance/token_mean",
        "actor/drpo/distance/max",
        "actor/drpo/outside_share",
        "actor/drpo/weight_change/token_mean",
        "actor/drpo/reversed_share",
        "actor/drpo/ratio/max",
    }


def test_plain_numbers_are_still_put_together_as_verl_asks():
    largest = Metric(value=3.0, aggregation=AggregationType.MAX)
    found = Metric.from_dict({"plain": 1.0, "ready": largest}, aggregation=AggregationType.MEAN)
    assert found["ready"] is largest
    assert found["plain"].aggregation is AggregationType.MEAN and found["plain"].values == [1.0]


def test_figures_leave_no_trace_in_the_gradient():
    fields = batch()
    fields["log_probs"].requires_grad_()
    _, figures = ppo_loss(actor("drpo"), fields)
    assert all(isinstance(value, float) for metric in figures.values() for value in metric.values)
