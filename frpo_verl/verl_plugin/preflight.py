"""What can be known before Ray starts is said before Ray starts."""

import sys
from typing import Any

from frpo_verl import __version__
from frpo_verl.verl_plugin import settings
from frpo_verl.verl_plugin.errors import SettingsError


def check(config: Any) -> None:
    """Refuses contradictory settings of a frpo run and says what will run.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    chosen = settings.read(config.algorithm)
    group_size = config.actor_rollout_ref.rollout.n
    if group_size < 2:
        raise SettingsError(
            f"actor_rollout_ref.rollout.n={group_size}: frpo normalises rewards within the group of one prompt's "
            "responses, and a group of one has no spread; set actor_rollout_ref.rollout.n to 2 or more (the paper: 5)"
        )
    _check_reference(config, chosen.beta)
    print(
        f"frpo-verl {__version__}: adv_estimator=frpo, beta={chosen.beta:g} (algorithm.kl_ctrl.kl_coef), "
        f"divergence to the reference: {chosen.generator.name} (algorithm.kl_penalty)"
    )
    if chosen.beta == 0:
        print(f"frpo-verl {__version__}: beta=0, so this is verl's grpo, and no reference policy is loaded")
    for warning in _warnings(config):
        print(f"frpo-verl: warning: {warning}", file=sys.stderr)


def _check_reference(config: Any, beta: float) -> None:
    # verl asks for this too, by another name and without saying who needs a reference.
    section = config.actor_rollout_ref
    sizes = section.ref.log_prob_micro_batch_size, section.ref.log_prob_micro_batch_size_per_gpu
    if beta != 0 and not section.actor.use_dynamic_bsz and sizes == (None, None):
        raise SettingsError(
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=None: frpo loads the reference policy, which "
            "needs a micro-batch size; set it, for instance to the rollout's, or set "
            "actor_rollout_ref.actor.use_dynamic_bsz=True"
        )


def _warnings(config: Any) -> list[str]:
    found = []
    actor = config.actor_rollout_ref.actor
    if actor.use_kl_loss and actor.kl_loss_coef != 0:
        found.append(
            f"actor_rollout_ref.actor.use_kl_loss=True with kl_loss_coef={actor.kl_loss_coef:g} counts the divergence "
            "to the reference a second time; set actor_rollout_ref.actor.use_kl_loss=False"
        )
    correction = config.algorithm.get("rollout_correction")
    if correction is not None and correction.get("bypass_mode", False):
        found.append(
            "algorithm.rollout_correction.bypass_mode=True takes the rollout engine's log-probs for the policy's, and "
            "frpo adds their mismatch up over the whole response; set it to False"
        )
    return found
