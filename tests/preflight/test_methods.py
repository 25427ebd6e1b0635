"""Methods that a run chooses by name, before Ray starts; with toys, and verl's own losses."""

import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS
from frpo_verl.losses import LOSSES
from frpo_verl.preflight import meaning, methods, native

pytest.importorskip("verl")

from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, get_policy_loss_fn  # noqa: E402


def config(loss: str = "vanilla", n: int = 5, distillation: dict | None = None, **algorithm):
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "grpo", **algorithm},
            "actor_rollout_ref": {
                "actor": {"policy_loss": {"loss_mode": loss}, "use_kl_loss": False},
                "rollout": {"n": n},
            },
            "distillation": distillation,
        }
    )


@pytest.fixture
def _toys(monkeypatch):
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", lambda tokens: None)
    monkeypatch.setitem(LOSSES, "toy", lambda *given: None)
    monkeypatch.setitem(LOSSES, "gspo", lambda *given: None)


@pytest.mark.usefixtures("_toys")
def test_a_run_without_a_method_of_ours_is_left_alone():
    chosen = config("geo_mean", n=1)
    assert not methods.are_chosen(chosen)
    assert list(methods.problems(chosen)) == list(methods.summary(chosen)) == []


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize(
    "chosen",
    [
        config(token_weight="toy"),
        config(token_weight="toy", kl_mode="future", frpo={"kl": "current"}),
        config(token_weight="toy", distillation={"enabled": True, "distillation_loss": {"use_task_rewards": True}}),
        config("toy"),
    ],
)
def test_a_method_that_there_is_may_run(chosen):
    assert methods.are_chosen(chosen)
    assert list(methods.problems(chosen)) == []


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (
            config(token_weight="toy", n=1),
            "algorithm.token_weight=toy with actor_rollout_ref.rollout.n=1: no other response shares a prefix, so that "
            "every weight is 1; set actor_rollout_ref.rollout.n to 2 or more, or leave the key out",
        ),
        (
            config("geo_mean", token_weight="toy"),
            "algorithm.token_weight=toy with actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean: it averages the "
            "advantages of a response, and one token's weight would reach all of them; choose a loss that is a "
            "multiple of each token's advantage, for instance vanilla",
        ),
        (
            config(
                token_weight="toy", distillation={"enabled": True, "distillation_loss": {"use_task_rewards": False}}
            ),
            "algorithm.token_weight=toy with distillation.distillation_loss.use_task_rewards=False: verl then leaves "
            "the advantages out of the loss; set distillation.distillation_loss.use_task_rewards=True, or leave the "
            "key out",
        ),
        (
            config("gspo"),
            "verl has a policy loss 'gspo' of its own; frpo-verl's needs another name: update frpo-verl",
        ),
    ],
)
def test_what_cannot_run_is_said(chosen, expected):
    assert list(methods.problems(chosen)) == [expected]


@pytest.mark.usefixtures("_toys")
def test_an_unknown_weight_is_named_with_those_there_are():
    (found,) = methods.problems(config(token_weight="lambda"))
    known = ", ".join(sorted(TOKEN_WEIGHTS))
    expected = f"algorithm.token_weight=lambda: there is no such method ({known}); correct it, or leave it out"
    assert found == expected


@pytest.mark.usefixtures("_toys")
def test_a_verl_that_subtracts_the_divergence_itself_would_multiply_it(monkeypatch):
    monkeypatch.setattr(native, "is_left_to_host", lambda name: name == "grpo")
    (found,) = methods.problems(config(token_weight="toy", kl_mode="future"))
    assert found == (
        "algorithm.token_weight=toy: this verl subtracts the divergence itself, and the weights would multiply it; "
        "leave the key out, or install verl 0.9.1 as it was released"
    )
    # without the term there is no order
    assert list(methods.problems(config(token_weight="toy"))) == []


@pytest.mark.usefixtures("_toys")
def test_weights_of_the_whole_batch_do_not_go_with_coefficients_from_other_prompts():
    fitted = {"kl_mode": "future", "frpo": {"baseline": "fitted"}}
    for name in ("lambda_grpo_mean_one", "uniform_mean"):
        (problem,) = methods.problems(config(token_weight=name, **fitted))
        assert problem.startswith(
            f"algorithm.token_weight={name} with algorithm.frpo.baseline=fitted: the weights are of"
        )
        assert (
            list(methods.problems(config(token_weight=name, kl_mode="future", frpo={"baseline": "loo_position"}))) == []
        )
        # without the mode nobody reads the section
        assert list(methods.problems(config(token_weight=name, frpo={"baseline": "fitted"}))) == []
    assert list(methods.problems(config(token_weight="lambda_grpo", **fitted))) == []


def test_the_start_up_says_what_is_multiplied():
    chosen = config(token_weight="toy")
    line = "token_weight=toy multiplies the advantages of the reward{}, not the divergence taken off them"
    assert list(methods.summary(chosen)) == [line.format("")]
    chosen.actor_rollout_ref.actor.use_kl_loss = True
    assert list(methods.summary(chosen)) == [line.format(" and the KL term of the loss")]


def gradient(loss: str, advantages: torch.Tensor, moved: float = 0.3, **of_correction) -> torch.Tensor:
    """The gradient of one of verl's losses at each log-prob of a batch, which has something for those that pick."""
    from verl.trainer.config import RolloutCorrectionConfig
    from verl.workers.config import ActorConfig, PolicyLossConfig

    generator = torch.Generator().manual_seed(3)
    old = -2 * torch.rand(advantages.shape, generator=generator, dtype=torch.float64)
    now = (old + moved * torch.randn(advantages.shape, generator=generator, dtype=torch.float64)).clamp(max=0)
    of_loss = PolicyLossConfig(
        loss_mode=loss,
        dro_beta=0.5,
        clip_cov_ratio=0.25,
        clip_cov_lb=0.1,
        kl_cov_ratio=0.25,
        rollout_correction=RolloutCorrectionConfig(**of_correction),
    )
    config = ActorConfig(
        strategy="fsdp",
        ppo_micro_batch_size_per_gpu=len(old),
        rollout_n=1,
        loss_agg_mode="token-sum",
        policy_loss=of_loss,
    )
    config.global_batch_info.update(dp_size=1, batch_num_tokens=None, global_batch_size=None, loss_scale_factor=None)
    leaf = now.requires_grad_()
    torch.manual_seed(0)
    mask = torch.ones_like(old)
    total, _ = get_policy_loss_fn(loss)(
        old_log_prob=old,
        log_prob=leaf,
        advantages=advantages,
        response_mask=mask,
        loss_agg_mode="token-sum",
        config=config,
    )
    return torch.autograd.grad(total, leaf)[0]


def is_by_token(loss: str, **of_correction) -> bool:
    """Tells whether the gradient with w·Â is w times the gradient with Â, token by token."""
    advantages = 2 * torch.randn(6, 8, dtype=torch.float64)
    weights = 1 / torch.randint(1, 5, (6, 8)).double()
    plain = gradient(loss, advantages, **of_correction)
    assert plain.abs().sum() > 0
    found = gradient(loss, weights * advantages, **of_correction)
    return torch.allclose(found, weights * plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", sorted(POLICY_LOSS_REGISTRY))
def test_a_weight_multiplies_each_tokens_loss_where_it_is_not_refused(loss):
    assert is_by_token(loss) == (loss not in methods.NOT_BY_TOKEN)


@pytest.mark.parametrize("loss", sorted(POLICY_LOSS_REGISTRY))
def test_a_token_learns_from_its_own_advantage_unless_it_is_warned_about(loss):
    # where the policy has not moved: the credit that the term gives to single tokens arrives there
    first, second = torch.randn(6, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64)
    second[:, 3] = first[:, 3]
    found, other = gradient(loss, first, moved=0.0), gradient(loss, second, moved=0.0)
    # clip_cov drops single tokens, and which ones depends on all
    learns = (found[:, 3] != 0) & (other[:, 3] != 0)
    assert learns.any()
    same = torch.allclose(found[learns, 3], other[learns, 3], rtol=1e-9, atol=1e-12)
    assert same == (loss not in meaning.AVERAGED)


def test_nothing_is_refused_that_verl_has_not():
    assert set(methods.NOT_BY_TOKEN) <= set(POLICY_LOSS_REGISTRY)


def test_a_weight_multiplies_each_tokens_loss_in_both_losses_of_bypass_mode():
    assert is_by_token("bypass_mode", bypass_mode=True, loss_type="reinforce", rollout_is="token")
    assert is_by_token("bypass_mode", bypass_mode=True, loss_type="ppo_clip")
