"""Names what lets a run with FRPO go, and makes its term mean something else; each with its size.

The sizes are relative errors of the regulariser's expected gradient on policies that can be enumerated;
`tests/preflight/test_meaning.py` measures them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from frpo_verl.preflight import losses, settings
from frpo_verl.preflight.errors import SettingsError
from frpo_verl.preflight.resumed import LARGEST_ERROR
from frpo_verl.preflight.settings import Settings

AVERAGED = ("geo_mean",)
"""verl's losses that give a token the advantages of its response's other tokens."""


class Sizes(NamedTuple):
    """Relative errors of the regulariser's expected gradient.

    Attributes:
        averaged: with the mean of the advantages over the response, by divergence (k1, k3).
        dropped: with groups of equal rewards replaced by others (k1, G=4), where 48% and 7% of responses are right.
        truncated: with `top_p` of 0.8 (k1).
        served: with the server's logits off by 0.1 nats, recomputed log-probs and the server's (k1).
    """

    averaged: tuple[float, float]
    dropped: tuple[float, float]
    truncated: float
    served: tuple[float, float]


SIZES = Sizes(averaged=(0.28, 0.39), dropped=(0.03, 0.47), truncated=0.31, served=(0.062, 0.135))


def warnings(config: Any) -> Iterator[str]:
    """Yields what changes the meaning of the term."""
    try:
        chosen = settings.read(config.algorithm)
    except SettingsError:
        # Said among the problems.
        return
    if chosen.beta == 0:
        return
    yield from _averaged(config)
    yield from _dropped_groups(config)
    yield from _truncated(config.actor_rollout_ref.rollout)
    yield from _bypassed(config, chosen)
    if chosen.adaptive:
        yield from _decaying(config, chosen)


def responses_of_a_step(config: Any) -> int:
    """Returns how many responses one update of β sees; fully-async has no batch size but its mini-batch's."""
    section = config.actor_rollout_ref
    return max(config.data.train_batch_size, section.actor.ppo_mini_batch_size) * section.rollout.n


def _averaged(config: Any) -> Iterator[str]:
    if (loss := losses.chosen(config)) in AVERAGED:
        k1, k3 = SIZES.averaged
        yield (
            f"actor_rollout_ref.actor.policy_loss.loss_mode={loss} gives every token its response's mean advantage, "
            f"and the term is another one at each token: the regulariser's gradient is off by {k1:.0%} (kl) to "
            f"{k3:.0%} (k3) on an enumerated policy; choose a loss that is a multiple of each token's advantage, for "
            "instance vanilla"
        )


def _dropped_groups(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    if OmegaConf.select(config, "algorithm.filter_groups.enable"):
        often, seldom = SIZES.dropped
        yield (
            "algorithm.filter_groups.enable=True drops groups of equal rewards, from which frpo learns all the same: "
            "prompts that are always or never solved are not held to the reference, and the regulariser's gradient is "
            f"off by {often:.0%} where 48% of responses are right and {seldom:.0%} where 7% are, on an enumerated "
            "policy; set it to False"
        )


def _truncated(rollout: Any) -> Iterator[str]:
    top_p, top_k = rollout.get("top_p"), rollout.get("top_k")
    cut = [f"top_p={top_p}"] if top_p is not None and top_p < 1 else []
    cut += [f"top_k={top_k}"] if top_k is not None and top_k > 0 else []
    if cut:
        yield (
            f"actor_rollout_ref.rollout.{', '.join(cut)} samples from another policy than the one whose divergence is "
            f"summed: with top_p=0.8 the regulariser's gradient is off by {SIZES.truncated:.0%} on an enumerated "
            "policy of three tokens; set top_p=1 and top_k=-1"
        )


def _bypassed(config: Any, chosen: Settings) -> Iterator[str]:
    # A loss that measures from the engine's probabilities needs them; the current policy's are the workers' own.
    if losses.is_anchored(config) or chosen.variant.kl == "current":
        return
    if losses.anchors_on_engine(config):
        recomputed, served = SIZES.served
        yield (
            "algorithm.rollout_correction.bypass_mode=True takes the rollout engine's log-probs for the policy's, and "
            "frpo sums their mismatch over the whole response: where the engine's logits are off by 0.1 nats, the "
            f"regulariser's gradient is off by {served:.0%} instead of {recomputed:.0%} on enumerated policies; set it "
            "to False, or algorithm.frpo.kl=current"
        )


def _decaying(config: Any, chosen: Settings) -> Iterator[str]:
    control, responses = config.algorithm.kl_ctrl, responses_of_a_step(config)
    if not responses:
        return
    kept = 1 - LARGEST_ERROR * responses / control.horizon
    warm_up = config.trainer.get("critic_warmup") or 0
    if warm_up > 0 and 0 < kept < 1:
        yield (
            f"algorithm.kl_ctrl.type=adaptive with trainer.critic_warmup={warm_up}: the policy stays at the reference, "
            f"and each step takes β down by {1 - kept:.2%}, to {chosen.beta * kept**warm_up:.3g}; set "
            "algorithm.kl_ctrl.type=fixed, or trainer.critic_warmup=0"
        )
    if is_stale(config) and not chosen.generator.one_sided:
        yield (
            f"algorithm.kl_ctrl.type=adaptive with algorithm.kl_penalty={chosen.divergence} and samples from older "
            "weights: their mean, unlike a divergence, can be negative (−0.09 to −0.29 nats after the first update of "
            f"small runs), which takes β down by {1 - kept:.2%} a step; set algorithm.kl_penalty=k3"
        )


def is_stale(config: Any) -> bool:
    """Tells whether the trainer samples from older weights than it updates."""
    from omegaconf import OmegaConf

    is_async = OmegaConf.select(config, "trainer.v1.trainer_mode", default="sync") != "sync"
    return (
        "async_training" in config
        or config.get("rollout") is not None
        or (bool(config.trainer.get("use_v1")) and is_async)
    )
