"""Token rejection through verl's own functions: a rejected token counts in the sums, and gets no gradient."""

from copy import deepcopy

import mode_oracles
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.verl_plugin import run, sampled

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo import rollout_corr_helper  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

BETA = 0.5
REJECT = {"rollout_rs": "token_k1", "rollout_rs_threshold": "0.5_2.0"}


@pytest.fixture(autouse=True)
def _fresh():
    run.end()
    yield
    run.end()


def algorithm(estimator: str, **changes):
    section = {"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}}
    section["gamma"] = 1.0
    return OmegaConf.create({**section, **changes})


def batch(rows: int = 6, length: int = 5, seed: int = 1) -> DataProto:
    """Half of the tokens are ones about which the server disagrees by a factor of 3."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(rows, length, generator=generator, dtype=torch.float64)
    apart = torch.where(torch.rand(rows, length, generator=generator) > 0.5, 1.1, 0.0)
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[1, 3:] = mask[-1, 2] = 0
    tensors = {
        "old_log_probs": old,
        "rollout_log_probs": old - apart,
        "ref_log_prob": -torch.rand(rows, length, generator=generator, dtype=torch.float64),
        "response_mask": mask,
        "token_level_rewards": torch.zeros(rows, length, dtype=torch.float64),
    }
    tensors["token_level_rewards"][:, 0] = torch.randn(rows, generator=generator, dtype=torch.float64)
    uid = np.array([f"{row // 3}" for row in range(rows)], dtype=object)
    return DataProto.from_dict(tensors, {"uid": uid})


def rejecting(data: DataProto, **changes) -> DataProto:
    """As each of verl's trainers does before the advantages."""
    correction = OmegaConf.create({**REJECT, **changes})
    return rollout_corr_helper.compute_rollout_correction_and_add_to_batch(data, correction)[0]


def v0(data: DataProto, config) -> DataProto:
    return compute_advantage(data, adv_estimator=config.adv_estimator, config=config)


def v1(data: DataProto, config) -> DataProto:
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    keys = [f"{uid}_{row}_0" for row, uid in enumerate(data.non_tensor_batch["uid"])]
    name = config.adv_estimator
    return utils.compute_advantage_for_multi_trajectories(data, keys, adv_estimator=name, config=config)


TRAINERS = pytest.mark.parametrize("trainer", [v0, v1])


def reg_of(data: DataProto, mask: torch.Tensor) -> torch.Tensor:
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]).tolist()
    return torch.tensor(
        mode_oracles.divergence_to_go(delta, mask.tolist(), *mode_oracles.REVERSE_KL_K1), dtype=torch.float64
    )


def test_a_golden():
    # six tokens, δ = 1/2 each, the server disagrees about the fourth: the first three lose what it costs, too
    data = batch(rows=3, length=6)
    data.batch["response_mask"][:] = 1
    data.batch["old_log_probs"][:] = -1.0
    data.batch["ref_log_prob"][:] = -1.5
    data.batch["rollout_log_probs"] = data.batch["old_log_probs"].clone()
    data.batch["rollout_log_probs"][:, 3] -= 1.1
    data.batch["token_level_rewards"][:] = 0.0
    found = v0(rejecting(data), algorithm("frpo", kl_ctrl={"type": "fixed", "kl_coef": 1.0})).batch["advantages"]
    assert torch.allclose(-found, torch.tensor([3.0, 2.5, 2.0, 0.0, 1.0, 0.5], dtype=torch.float64).expand(3, 6))


@TRAINERS
@pytest.mark.parametrize("estimator", ["frpo", "rloo", "reinforce_plus_plus"])
def test_the_term_is_summed_over_what_was_sampled(trainer, estimator):
    data = rejecting(batch())
    sampled_tokens, kept = batch().batch["response_mask"].bool(), data.batch["response_mask"].bool()
    assert 5 < (sampled_tokens & ~kept).sum() < 20
    plain = trainer(deepcopy(data), algorithm("grpo" if estimator == "frpo" else estimator)).batch["advantages"]
    done = trainer(deepcopy(data), algorithm(estimator, kl_mode="future"))
    expected = torch.where(kept, plain - BETA * reg_of(data, sampled_tokens), 0.0)
    # whitening and rloo are in float32 in places
    assert torch.allclose(done.batch["advantages"], expected, rtol=0, atol=1e-6)
    assert not torch.allclose(expected, torch.where(kept, plain - BETA * reg_of(data, kept), 0.0), atol=1e-2)
    # nothing of it travels to the workers
    assert sampled.FIELD not in done.batch
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"])[sampled_tokens]
    figures = run.outbox.take_figures()
    assert figures["frpo/divergence_to_ref/token_mean"] == pytest.approx(delta.mean().item(), rel=1e-9)
    reg = reg_of(data, sampled_tokens)[sampled_tokens]
    assert figures["frpo/future_term/mean"] == pytest.approx(reg.mean().item(), rel=1e-9)


def test_an_adaptive_coefficient_follows_the_divergence_of_what_was_sampled():
    control = {"type": "adaptive", "kl_coef": BETA, "target_kl": 0.1, "horizon": 100}
    data = rejecting(batch())
    # of a rejected response, too
    data.batch["response_mask"][2] = 0
    v0(data, algorithm("frpo", kl_ctrl=control))
    before = batch().batch["response_mask"].bool()
    divergence = (data.batch["old_log_probs"] - data.batch["ref_log_prob"])[before].mean().item()
    assert run.current().beta.value == pytest.approx(mode_oracles.adaptive_beta(BETA, 0.1, 100, [divergence], [6])[-1])


def test_the_mask_travels_where_the_workers_subtract():
    before = batch().batch["response_mask"]
    done = v0(rejecting(batch()), algorithm("frpo", frpo={"kl": "current"}))
    assert torch.equal(done.batch[sampled.FIELD], before)


@pytest.mark.parametrize("changes", [{}, {"token_weight": "lambda_grpo"}])
def test_other_runs_get_no_field(changes):
    data = batch()
    shape = data.batch["response_mask"].shape
    data.batch["responses"], data.batch["prompts"] = torch.ones(shape).long(), torch.ones(len(data), 2).long()
    data.batch["attention_mask"] = torch.ones(shape[0], shape[1] + 2).long()
    assert sampled.FIELD not in v0(rejecting(data), algorithm("grpo", **changes)).batch


def test_a_correction_without_rejection_leaves_none():
    assert sampled.FIELD not in rejecting(batch(), rollout_rs=None, rollout_is="token").batch
    assert sampled.FIELD in rejecting(batch(), rollout_is="token").batch
