"""Our metric names in verl's own V1 aggregation."""

import pytest
import torch

from frpo_verl.verl_plugin import metrics

pytest.importorskip("verl")


def figures(delta: float) -> dict[str, float]:
    """Two responses of three tokens with the same δ and, as if nothing came later, reg = δ."""
    sums = torch.tensor([[3 * delta, 3 * delta, 3 * delta**2]] * 2, dtype=torch.float64)
    return metrics.of_step(sums, torch.tensor([3, 3]), 0.5)


def test_every_name_is_averaged_over_the_mini_batches_of_a_step():
    from verl.trainer.ppo.v1.utils import MetricsAggregator

    aggregator = MetricsAggregator()
    aggregator.add_step_metrics(figures(1.0), sample_count=3)
    aggregator.add_step_metrics(figures(5.0), sample_count=1)
    expected = {
        "frpo/beta": 0.5,
        "frpo/divergence_to_ref/token_mean": 2.0,  # (3·1 + 1·5) / 4
        "frpo/divergence_to_ref/sequence_mean": 6.0,  # three tokens each
        "frpo/future_term/mean": 2.0,
        "frpo/future_term/std": 0.0,
    }
    assert aggregator.get_aggregated_metrics() == pytest.approx(expected, abs=1e-6)


def test_responses_without_a_valid_token_count_nowhere():
    sums = torch.tensor([[3.0, 4.0, 10.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    figures = metrics.of_step(sums, torch.tensor([2, 0]), 0.5)
    assert figures["frpo/divergence_to_ref/token_mean"] == 1.5
    assert figures["frpo/divergence_to_ref/sequence_mean"] == 3.0
    assert figures["frpo/future_term/mean"] == 2.0
    assert figures["frpo/future_term/std"] == 1.0


def test_a_batch_without_a_valid_token_has_no_divergence():
    figures = metrics.of_step(torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0, 0]), 0.5)
    assert list(figures.values()) == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_v1s_step_and_v0s_data_metrics_carry_the_figures_once():
    from verl.trainer.ppo import metric_utils
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    from frpo_verl.verl_plugin import hooks

    assert PPOTrainer._compute_advantage._frpo_verl_wrapper is hooks._add_published_metrics
    assert metric_utils.compute_data_metrics._frpo_verl_wrapper is hooks._plus_published_metrics

    def host(trainer, batch, metrics_of_step):
        metrics.publish({"frpo/beta": 0.25})
        metrics_of_step["host"] = 1.0
        return "batch"

    step: dict[str, float] = {}
    assert hooks._add_published_metrics(host, None, None, step) == "batch"
    assert step == {"host": 1.0, "frpo/beta": 0.25}
    metrics.publish({"frpo/beta": 0.5})
    assert hooks._plus_published_metrics(lambda batch: {"host": 2.0}, None) == {"host": 2.0, "frpo/beta": 0.5}
    assert hooks._plus_published_metrics(lambda batch: {"host": 2.0}, None) == {"host": 2.0}
