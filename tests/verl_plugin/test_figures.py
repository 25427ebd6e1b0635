"""Our metric names in verl's own V1 aggregation."""

import math

import mode_oracles
import pytest
import torch

from frpo_verl.advantage.diagnostics import Diagnostics
from frpo_verl.verl_plugin import figures as formulas
from frpo_verl.verl_plugin import run

pytest.importorskip("verl")


def figures(value: float) -> dict[str, float]:
    return formulas.of_batch(Diagnostics(*[value] * 4, [value] * 3, [value] * 10, *[value] * 3), 0.5)


def test_every_name_is_averaged_over_the_mini_batches_of_a_step():
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    aggregator = utils.MetricsAggregator()
    aggregator.add_step_metrics(figures(1.0), sample_count=3)
    aggregator.add_step_metrics(figures(5.0), sample_count=1)
    # (3·1 + 1·5) / 4
    expected = {name: 2.0 for name in figures(1.0)} | {"frpo/beta": 0.5}
    assert aggregator.get_aggregated_metrics() == pytest.approx(expected, abs=1e-6)


def every_figure(
    delta: torch.Tensor, mask: torch.Tensor, outcome: torch.Tensor, beta: float = 0.3, **frpo
) -> dict[str, float]:
    """All that one call of verl's `compute_advantage` publishes."""
    import numpy as np
    from omegaconf import OmegaConf
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    rewards = torch.zeros_like(delta)
    rewards[:, 0] = outcome
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask,
        "old_log_probs": delta - 1,
        "ref_log_prob": torch.full_like(delta, -1.0),
    }
    data = DataProto.from_dict(tensors=tensors, non_tensors={"uid": np.array(["a", "a", "b", "b"], dtype=object)})
    config = {"adv_estimator": "frpo", "kl_penalty": "k3", "kl_ctrl": {"type": "fixed", "kl_coef": beta}, "frpo": frpo}
    compute_advantage(data, adv_estimator="frpo", config=OmegaConf.create(config))
    return run.outbox.take_figures()


def test_every_figure_is_what_its_formula_says():
    delta, outcome = torch.randn(4, 7, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0]])
    figures = every_figure(delta, mask, outcome, token_clip=0.9)
    local, future = mode_oracles.token_clip(*mode_oracles.REVERSE_KL_K3, 0.9)
    rows, masks = delta.tolist(), mask.tolist()
    expected = mode_oracles.metrics_of_batch(rows, (delta - 1).tolist(), masks, local, future, 0.3, rows)
    reg = mode_oracles.divergence_to_go(rows, masks, local, future)
    pairs = [(outcome[0], outcome[1]), (outcome[2], outcome[3])]
    before = [
        [(own - other) / 2 / (abs(own - other) / math.sqrt(2) + 1e-6)] * 7
        for first, second in pairs
        for own, other in ((first.item(), second.item()), (second.item(), first.item()))
    ]
    after = [[a - 0.3 * r for a, r in zip(*both, strict=True)] for both in zip(before, reg, strict=True)]
    found = mode_oracles.diagnose(before, after, masks)
    valid = [d for row, keep in zip(rows, masks, strict=True) for d, k in zip(row, keep, strict=True) if k]
    low, middle, high = found["quantiles"]
    assert figures == pytest.approx(
        {
            "frpo/beta": 0.3,
            "frpo/divergence_to_ref/token_mean": expected["token_mean"],
            "frpo/divergence_to_ref/sequence_mean": expected["sequence_mean"],
            "frpo/future_term/mean": expected["future_mean"],
            "frpo/future_term/std": expected["future_std"],
            "frpo/future_term/q05": low / 0.3,
            "frpo/future_term/q50": middle / 0.3,
            "frpo/future_term/q95": high / 0.3,
            **{f"frpo/future_term/profile/tenth_{n + 1:02d}": found["profile"][n] / 0.3 for n in range(10)},
            "frpo/future_term/variance_share": found["variance_share"],
            "frpo/sign_flip_share": found["sign_flips"],
            "frpo/sampled_entropy/token_mean": expected["entropy"],
            "frpo/masked_nonfinite_share": 0.0,
            "frpo/clipped_share": sum(abs(d) > 0.9 for d in valid) / len(valid),
        },
        # verl's own grpo works in float64 here, its ε in the last places
        abs=1e-6,
    )


@pytest.mark.parametrize("frpo", [{}, {"centring": "group"}, {"horizon": 2}], ids=str)
@pytest.mark.parametrize("beta", [1e-3, 1e-5, 1e-7])
def test_quantiles_keep_their_digits_where_the_coefficient_is_small(beta, frpo):
    # float32 advantages of order 1 are rounded to 6e-8, and β·reg is of order 0.01·β
    delta, mask, outcome = 0.01 * torch.randn(4, 7), torch.ones(4, 7, dtype=torch.long), torch.randn(4)
    delta[0, 0], mask[0, 0] = math.nan, 0
    figures = every_figure(delta, mask, outcome, beta, **frpo)
    expected = every_figure(delta, mask, torch.zeros(4), 1.0, **frpo)
    for name in ("q05", "q50", "q95"):
        # 1% of the deviation
        tolerance = 0.01 * expected["frpo/future_term/std"]
        assert figures[f"frpo/future_term/{name}"] == pytest.approx(expected[f"frpo/future_term/{name}"], abs=tolerance)


def test_masked_slots_that_are_not_finite_are_counted_and_count_nowhere():
    delta, outcome, mask = torch.randn(4, 7), torch.randn(4), torch.ones(4, 7, dtype=torch.long)
    mask[:, 5:] = 0
    clean = every_figure(delta, mask, outcome)
    delta[0, 5], delta[1, 6] = math.nan, -math.inf
    found = every_figure(delta, mask, outcome)
    assert found.pop("frpo/masked_nonfinite_share") == 2 / 8
    assert clean.pop("frpo/masked_nonfinite_share") == 0
    assert found == clean


def test_v1_reduces_every_name_by_the_weighted_mean():
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    names = every_figure(torch.randn(4, 7), torch.ones(4, 7), torch.randn(4), token_clip=1.0)
    in_workers = ("actor/frpo/divergence_to_ref/token_mean", "actor/frpo/drift_from_old/token_mean")
    aggregator = utils.MetricsAggregator()
    assert {aggregator._get_aggregation_type(name) for name in (*names, *in_workers)} == {"weighted_avg"}
