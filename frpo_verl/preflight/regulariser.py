"""Checks the settings of a run with FRPO, and says what it will do."""

from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from frpo_verl.advantage.variant import Variant, has_baseline
from frpo_verl.preflight import contract, layout, losses, meaning, native, resumed, settings, unread_keys
from frpo_verl.preflight.environment import MODULES, PLUGIN
from frpo_verl.preflight.errors import CheckpointError, HostError, SettingsError
from frpo_verl.preflight.settings import Settings

_PENALTIES_OF_HOST = ("kl", "k1", "low_var_kl", "k3")
"""Values of `algorithm.kl_penalty` where verl subtracts the divergence itself."""


def problems(config: Any) -> Iterator[str]:
    """Yields what is wrong with the regulariser's settings, and what in a run would keep it from working.

    Args:
        config: verl's whole configuration, of a run with FRPO.

    Yields:
        One sentence each: what, the value, the fix.
    """
    try:
        contract.refuse_misfit()
        chosen = settings.read(config.algorithm)
    except (SettingsError, HostError) as error:
        yield str(error)
        return
    yield from _not_of_the_host(config, chosen)
    # Nothing is computed from sizes that are not numbers; they are reported by themselves.
    if not layout.not_counts(config):
        yield from _group_size(config)
        yield from _control(config, chosen)
        yield from _one_update(config, chosen)
    yield from _reference(config, chosen)
    yield from _resumed(config, chosen)
    yield from _baseline(config, chosen)
    yield from _distillation(config)
    yield from _hidden_from_workers(config)
    yield from _other_mains(config)


def warnings(config: Any) -> Iterator[str]:
    """Yields what a run with FRPO does and is probably not meant to do."""
    yield from unread_keys.warnings(config.algorithm)
    actor = config.actor_rollout_ref.actor
    if actor.use_kl_loss and actor.kl_loss_coef:
        yield (
            f"actor_rollout_ref.actor.use_kl_loss=True with kl_loss_coef={actor.kl_loss_coef:g} counts the divergence "
            "to the reference a second time; set actor_rollout_ref.actor.use_kl_loss=False"
        )
    # Nothing is computed from sizes that are not numbers; they are reported by themselves.
    if not layout.not_counts(config):
        yield from meaning.warnings(config)
    yield from layout.warnings(config)


def summary(config: Any) -> list[str]:
    """Returns, line by line, what a run with FRPO will do; its configuration has no problems."""
    chosen, algorithm = settings.read(config.algorithm), config.algorithm
    mode = "" if algorithm.adv_estimator == settings.ESTIMATOR else f" with kl_mode={settings.MODE}"
    lines = [
        f"adv_estimator={algorithm.adv_estimator}{mode}, beta={chosen.beta:g} (algorithm.kl_ctrl.kl_coef), divergence "
        f"to the reference: {chosen.generator.name} (algorithm.kl_penalty)"
    ]
    if chosen.adaptive:
        kl_ctrl = algorithm.kl_ctrl
        lines.append(f"beta is adaptive: target_kl={kl_ctrl.target_kl:g} nats per token, horizon={kl_ctrl.horizon:g}")
        if (folder := resumed.resumed(config.trainer)) is not None:
            lines.append(f"beta resumes at {resumed.read(folder):g}, from {folder / resumed.FILE}")
    changed = {key: value for key, value in vars(chosen.variant).items() if value != getattr(Variant(), key)}
    if changed:
        lines.append("algorithm.frpo: " + ", ".join(f"{key}={value}" for key, value in changed.items()))
    if chosen.variant.baseline == "fitted":
        lines.append(
            "baseline=fitted: each prompt's coefficients come from the other prompts and from earlier batches; "
            "frpo/baseline_r2 is the share of the weights' variance that they remove"
        )
    if native.is_left_to_host(config.algorithm.adv_estimator):
        lines.append(
            "this verl subtracts the divergence itself: the plugin leaves it to verl and logs no frpo/ figures"
        )
    if chosen.beta == 0:
        alone = "grpo" if algorithm.adv_estimator == settings.ESTIMATOR else algorithm.adv_estimator
        but = "" if chosen.variant.std == "sample" else f" with std={chosen.variant.std}"
        lines.append(f"beta=0, so this is verl's {alone}{but}, and no reference policy is loaded")
    elif chosen.variant.kl == "current" and _mini_batches(config) == 1:
        lines.append("kl=current with one mini-batch and one epoch a step: the current policy is that of the rollout")
    return lines


def _not_of_the_host(config: Any, chosen: Settings) -> Iterator[str]:
    if not native.is_left_to_host(config.algorithm.adv_estimator):
        return
    or_released = f"or install verl {contract.TESTED_VERL[-1]} as it was released"
    for key, value in vars(chosen.variant).items():
        if value != getattr(Variant(), key):
            yield (
                f"algorithm.frpo.{key}={value}: this verl subtracts the divergence itself and has no such key; "
                f"leave it out, {or_released}"
            )
    if chosen.adaptive:
        yield (
            "algorithm.kl_ctrl.type=adaptive: this verl subtracts the divergence itself, with a fixed coefficient; set "
            f"algorithm.kl_ctrl.type=fixed, {or_released}"
        )
    if chosen.divergence not in _PENALTIES_OF_HOST:
        yield (
            f"algorithm.kl_penalty={chosen.divergence}: this verl subtracts the divergence itself and knows "
            f"{', '.join(_PENALTIES_OF_HOST)}; set one of them, {or_released}"
        )


def _group_size(config: Any) -> Iterator[str]:
    group_size = config.actor_rollout_ref.rollout.n
    if group_size < 2 and config.algorithm.adv_estimator in (settings.ESTIMATOR, settings.OUTCOME_ESTIMATOR):
        yield (
            f"actor_rollout_ref.rollout.n={group_size}: frpo normalises rewards within the group of one prompt's "
            "responses, and a group of one has no spread; set actor_rollout_ref.rollout.n to 2 or more (the paper: 5)"
        )


def _reference(config: Any, chosen: Settings) -> Iterator[str]:
    # verl asks for this too, by another name and without saying who needs a reference.
    section = config.actor_rollout_ref
    sizes = section.ref.log_prob_micro_batch_size, section.ref.log_prob_micro_batch_size_per_gpu
    if chosen.beta != 0 and not section.actor.use_dynamic_bsz and sizes == (None, None):
        yield (
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=None: the divergence needs the reference policy, "
            "which needs a micro-batch size; set it, for instance to the rollout's, or set "
            "actor_rollout_ref.actor.use_dynamic_bsz=True"
        )


def _control(config: Any, chosen: Settings) -> Iterator[str]:
    """Yields a horizon so short that one step could take β to zero."""
    horizon, responses = config.algorithm.kl_ctrl.get("horizon"), meaning.responses_of_a_step(config)
    if chosen.adaptive and horizon <= resumed.LARGEST_ERROR * responses:
        yield (
            f"algorithm.kl_ctrl.horizon={horizon} with type=adaptive: one step of {responses} responses may lower β by "
            f"{resumed.LARGEST_ERROR * responses / horizon:.0%}; set it far above "
            f"{resumed.LARGEST_ERROR * responses:.0f}, for instance to verl's 10000"
        )


def _one_update(config: Any, chosen: Settings) -> Iterator[str]:
    """Yields a correction of stale samples where none is: the only update is of the policy that sampled."""
    is_fresh = _mini_batches(config) == 1 and not meaning.is_stale(config) and not losses.anchors_on_engine(config)
    if chosen.variant.stale != "none" and is_fresh:
        yield (
            f"algorithm.frpo.stale={chosen.variant.stale} with one mini-batch and one epoch a step: every importance "
            "ratio is 1 at the only update; set algorithm.frpo.stale=none, or "
            "actor_rollout_ref.actor.ppo_mini_batch_size below data.train_batch_size"
        )


def _resumed(config: Any, chosen: Settings) -> Iterator[str]:
    folder = resumed.resumed(config.trainer)
    if folder is None:
        return
    try:
        if chosen.adaptive:
            resumed.read(folder)
        if chosen.variant.baseline == "fitted":
            resumed.earlier(folder)
    except CheckpointError as error:
        yield str(error)


def _baseline(config: Any, chosen: Settings) -> Iterator[str]:
    """Yields what leaves a baseline of the whole weight nothing to do, or would make a bias of it."""
    if not has_baseline(chosen.variant):
        return
    key, loss = f"algorithm.frpo.baseline={chosen.variant.baseline}", losses.chosen(config)
    if loss in meaning.AVERAGED:
        yield (
            f"{key} with actor_rollout_ref.actor.policy_loss.loss_mode={loss}: a token would get the baselines of "
            "later tokens, which depend on it; choose a loss that is a multiple of each token's advantage, for "
            "instance vanilla"
        )
    if chosen.variant.baseline == "loo_position" and config.actor_rollout_ref.rollout.n == 1:
        yield (
            f"{key} with actor_rollout_ref.rollout.n=1: there is no other response to take the mean of; set "
            "actor_rollout_ref.rollout.n to 2 or more, or algorithm.frpo.baseline=none"
        )


def _distillation(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    enabled = OmegaConf.select(config, "distillation.enabled", default=False)
    key = "distillation.distillation_loss.use_task_rewards"
    if enabled and not OmegaConf.select(config, key, default=True):
        yield (
            f"{key}=False: verl then leaves the advantages out of the loss, and the future term with them; set "
            f"{key}=True, or leave adv_estimator=frpo and kl_mode out"
        )


def _other_mains(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    # That trainer is defined in the main itself, where the plugin's hooks do not reach.
    if Version(contract.verl_version()) < Version("0.9") and OmegaConf.select(config, "transfer_queue.enable"):
        yield (
            f"transfer_queue.enable=True: the trainer of verl {contract.verl_version()} for it (main_ppo_sync) is out "
            "of the plugin's reach; set it to False and run verl.trainer.main_ppo, or install verl 0.9.1"
        )


def _hidden_from_workers(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    key = f"ray_kwargs.ray_init.runtime_env.env_vars.{MODULES}"
    value = OmegaConf.select(config, key, default=None)
    if value is not None and PLUGIN not in str(value).split(","):
        yield (f"{key}={value!r} replaces what makes every worker load the plugin; add {PLUGIN} to it, or leave it out")


def _mini_batches(config: Any) -> int:
    actor = config.actor_rollout_ref.actor
    return actor.ppo_epochs * max(1, config.data.train_batch_size // actor.ppo_mini_batch_size)
