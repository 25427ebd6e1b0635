"""What can be known before Ray starts is said before Ray starts."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl import __version__
from frpo_verl.verl_plugin import contract, settings
from frpo_verl.verl_plugin.errors import HostError, SettingsError
from frpo_verl.verl_plugin.settings import Settings
from frpo_verl.verl_plugin.variants import Variant

_OUR_KEYS = ("kl_mode", "frpo")

_said: set[str] = set()


def check(config: Any) -> None:
    """Refuses settings that cannot run, and says once what will run and what is doubtful about it.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
        HostError: a run that asks for the future divergence in a verl that the plugin does not fit.
    """
    for problem in _problems(config):
        raise problem
    for warning in warnings(config):
        _say_once(f"frpo-verl: warning: {warning}", sys.stderr)
    if settings.asks_for_future(config.algorithm):
        for line in summary(config):
            _say_once(f"frpo-verl {__version__}: {line}", sys.stdout)


def problems(config: Any) -> list[str]:
    """Everything that keeps a configuration from running.

    Args:
        config: verl's whole configuration.

    Returns:
        One sentence each: what, the value, the fix.
    """
    return [str(problem) for problem in _problems(config)]


def warnings(config: Any) -> list[str]:
    """What runs and is probably not meant.

    Args:
        config: verl's whole configuration.

    Returns:
        One sentence each.
    """
    if not settings.asks_for_future(config.algorithm):
        return []
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


def summary(config: Any) -> list[str]:
    """What a run with the future divergence will do.

    Args:
        config: verl's whole configuration, without problems.

    Returns:
        Lines for people.
    """
    chosen, algorithm = settings.read(config.algorithm), config.algorithm
    mode = "" if algorithm.adv_estimator == settings.ESTIMATOR else f" with kl_mode={settings.MODE}"
    lines = [
        f"adv_estimator={algorithm.adv_estimator}{mode}, beta={chosen.beta:g} (algorithm.kl_ctrl.kl_coef), divergence "
        f"to the reference: {chosen.generator.name} (algorithm.kl_penalty)"
    ]
    if chosen.adaptive:
        control = algorithm.kl_ctrl
        lines.append(f"beta is adaptive: target_kl={control.target_kl:g} nats per token, horizon={control.horizon:g}")
    changed = {key: value for key, value in vars(chosen.variant).items() if value != getattr(Variant(), key)}
    if changed:
        lines.append("algorithm.frpo: " + ", ".join(f"{key}={value}" for key, value in changed.items()))
    if chosen.beta == 0:
        alone = "grpo" if algorithm.adv_estimator == settings.ESTIMATOR else algorithm.adv_estimator
        lines.append(f"beta=0, so this is verl's {alone}, and no reference policy is loaded")
    elif chosen.variant.kl == "current" and _mini_batches(config) == 1:
        lines.append("kl=current with one mini-batch and one epoch a step: the current policy is that of the rollout")
    return lines


def _problems(config: Any) -> Iterator[SettingsError | HostError]:
    yield from _misspelt(config.algorithm)
    if not settings.asks_for_future(config.algorithm):
        yield from _without_effect(config.algorithm)
        return
    try:
        contract.refuse_if_changed()
        chosen = settings.read(config.algorithm)
    except (SettingsError, HostError) as error:
        yield error
        return
    yield from _group_size(config)
    yield from _reference(config, chosen)
    yield from _hidden_from_workers(config)


def _misspelt(algorithm: Mapping[str, Any]) -> Iterator[SettingsError]:
    """Keys that verl does not know either, and that look like ours: verl would ignore them."""
    from verl.trainer.config import AlgoConfig

    known = {*AlgoConfig.__dataclass_fields__, *_OUR_KEYS, "_target_"}
    for key in algorithm:
        near = difflib.get_close_matches(str(key), _OUR_KEYS, n=1)
        if key not in known and near:
            yield SettingsError(f"algorithm.{key}: there is no such key; did you mean algorithm.{near[0]}?")


def _without_effect(algorithm: Mapping[str, Any]) -> Iterator[SettingsError]:
    mode, section = algorithm.get("kl_mode"), algorithm.get("frpo")
    if mode is not None:
        try:
            settings.read(algorithm)
        except SettingsError as error:
            yield error
            return
    changed = [key for key, value in dict(section or {}).items() if value != getattr(Variant(), key, value is None)]
    if changed:
        yield SettingsError(
            f"algorithm.frpo.{changed[0]}={section[changed[0]]} has no effect with adv_estimator="
            f"{algorithm.get('adv_estimator')}; add +algorithm.kl_mode={settings.MODE}, or leave the key out"
        )


def _group_size(config: Any) -> Iterator[SettingsError]:
    group_size = config.actor_rollout_ref.rollout.n
    if group_size < 2 and config.algorithm.adv_estimator in (settings.ESTIMATOR, settings.OUTCOME_ESTIMATOR):
        yield SettingsError(
            f"actor_rollout_ref.rollout.n={group_size}: frpo normalises rewards within the group of one prompt's "
            "responses, and a group of one has no spread; set actor_rollout_ref.rollout.n to 2 or more (the paper: 5)"
        )


def _reference(config: Any, chosen: Settings) -> Iterator[SettingsError]:
    # verl asks for this too, by another name and without saying who needs a reference.
    section = config.actor_rollout_ref
    sizes = section.ref.log_prob_micro_batch_size, section.ref.log_prob_micro_batch_size_per_gpu
    if chosen.beta != 0 and not section.actor.use_dynamic_bsz and sizes == (None, None):
        yield SettingsError(
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=None: frpo loads the reference policy, which "
            "needs a micro-batch size; set it, for instance to the rollout's, or set "
            "actor_rollout_ref.actor.use_dynamic_bsz=True"
        )


def _hidden_from_workers(config: Any) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    key = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    value = OmegaConf.select(config, key, default=None)
    if value is not None and "frpo_verl.verl_plugin" not in str(value).split(","):
        yield SettingsError(
            f"{key}={value!r} keeps the plugin out of the workers; add frpo_verl.verl_plugin to it, or leave it out"
        )


def _mini_batches(config: Any) -> int:
    actor = config.actor_rollout_ref.actor
    return actor.ppo_epochs * max(1, config.data.train_batch_size // actor.ppo_mini_batch_size)


def _say_once(line: str, stream: Any) -> None:
    # Several mains check the same configuration more than once on their way to Ray.
    if line not in _said:
        _said.add(line)
        print(line, file=stream)
