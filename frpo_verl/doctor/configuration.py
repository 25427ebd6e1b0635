"""What a composed configuration will run, and what keeps it from running."""

import inspect
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from frpo_verl.doctor.report import Section

TITLE = "Effective configuration"
SECTIONS = ("algorithm", "actor_rollout_ref", "trainer")


class Loaded(NamedTuple):
    """Which models a run loads beside the policy.

    Attributes:
        reference: whether the reference policy is needed.
        critic: whether there is a critic.
    """

    reference: bool
    critic: bool


def loaded(config: Any) -> Loaded:
    """Asks verl which models a run loads.

    Args:
        config: the configuration as verl's trainer gets it.

    Returns:
        The models.
    """
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    # verl warns of every estimator without a critic.
    with warnings.catch_warnings(action="ignore"):
        return Loaded(bool(need_reference_policy(config)), bool(need_critic(config)))


def examine(config: Any) -> Section:
    """Says what a configuration will run.

    Args:
        config: the configuration as verl's trainer gets it.

    Returns:
        The section, with the problems and warnings of frpo-verl's own start-up checks, then of verl's.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if absent := [name for name in SECTIONS if name not in config]:
        return Section(
            TITLE,
            {"sections": ", ".join(map(str, config))},
            [f"no section {', '.join(absent)}: main_ppo cannot run this configuration; choose another --config-name"],
        )
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        reason = " ".join(str(error).split())
        return Section(TITLE, {}, [f"an interpolation leads nowhere: {reason}; set what it needs"])
    doubts, refusals = _judged(config)
    return Section(TITLE, _rows(config), refusals, doubts)


def _judged(config: Any) -> tuple[list[str], list[str]]:
    """Warnings and problems, asked for in this one place."""
    from omegaconf import OmegaConf

    from frpo_verl.preflight import inputs, layout, regulariser, settings

    refusals = regulariser.problems(config)
    doubts = regulariser.warnings(config)
    if not refusals and not settings.asks_for_future(config.algorithm) and inputs.RECIPE not in os.environ:
        doubts.append(
            f"algorithm.adv_estimator={config.algorithm.adv_estimator}: this command line does not use FRPO; set "
            "algorithm.adv_estimator=frpo if it is meant to"
        )
    # verl repeats in its own words what the preflight has said, so that it is asked last.
    if not refusals and not layout.no_counts(config):
        refusals = _refused_by_verl(config)
    # Both name what is no count.
    refusals = list(dict.fromkeys([*refusals, *map(str, inputs.problems(config))]))
    if OmegaConf.is_missing(config.actor_rollout_ref.rollout, "name"):
        refusals.append(
            "actor_rollout_ref.rollout.name is not set, and verl's configuration has no default for it; set "
            "actor_rollout_ref.rollout.name=vllm"
        )
    return doubts, refusals


def on_the_cpu_platform(config: Any, check: Callable[[Any], None]) -> list[str]:
    """What the CPU platform refuses, where it is asked for.

    Args:
        config: the configuration as verl's trainer gets it.
        check: `cpu.check`, which also looks at the machine as it is now, or `cpu.check_settings`.

    Returns:
        One sentence, or none.
    """
    from frpo_verl.preflight import environment
    from frpo_verl.preflight.errors import SettingsError

    if environment.is_on_cpu():
        try:
            check(config)
        except SettingsError as error:
            return [str(error)]
    return []


def _refused_by_verl(config: Any) -> list[str]:
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    try:
        needed = loaded(config)
        with warnings.catch_warnings(action="ignore"):
            if "async_training" in config:
                # Of all mains, fully-async alone makes the dataclasses without validating the whole.
                omega_conf_to_dataclass(config.actor_rollout_ref.actor)
                return []
            # Without the plugin around it, whose checks have been made and which ends the program.
            inspect.unwrap(validate_config)(config, needed.reference, needed.critic)
    except Exception as error:
        # Whatever verl raises is what the run would end by.
        return [f"verl refuses this configuration: {' '.join(str(error).split())}"]
    return []


def _rows(config: Any) -> dict[str, str]:
    from omegaconf import OmegaConf

    def value(key: str) -> Any:
        return OmegaConf.select(config, key)

    rows = {
        "advantage estimator": value("algorithm.adv_estimator"),
        "kl_mode": value("algorithm.kl_mode"),
        "divergence": _divergence(str(value("algorithm.kl_penalty"))),
        "beta": value("algorithm.kl_ctrl.kl_coef"),
        "control of beta": _control(value("algorithm.kl_ctrl")),
        **_variant(value("algorithm.frpo")),
        "reference policy": "loaded" if loaded(config).reference else "not loaded",
        "use_kl_in_reward": value("algorithm.use_kl_in_reward"),
        "use_kl_loss": _loss(value("actor_rollout_ref.actor")),
        "responses a prompt": value("actor_rollout_ref.rollout.n"),
        "trainer": f"V1, {value('trainer.v1.trainer_mode')}" if value("trainer.use_v1") else "V0",
        "engine": f"{value('actor_rollout_ref.actor.strategy')}, reference {value('actor_rollout_ref.ref.strategy')}",
        "rollout": value("actor_rollout_ref.rollout.name"),
        "device": value("trainer.device"),
    }
    return {name: "not set" if setting is None else str(setting) for name, setting in rows.items()}


def _divergence(name: str) -> str:
    from frpo_verl.divergences import UnknownDivergence, by_name

    try:
        return f"{name}, {by_name(name).name}"
    except UnknownDivergence:
        return f"{name}, unknown to frpo-verl"


def _control(control: Any) -> str:
    if control.get("type") == "adaptive":
        return f"adaptive, target_kl={control.get('target_kl')}, horizon={control.get('horizon')}"
    return str(control.get("type"))


def _loss(actor: Any) -> str:
    if not actor.use_kl_loss:
        return "False"
    return f"True, kl_loss_coef={actor.get('kl_loss_coef')}, kl_loss_type={actor.get('kl_loss_type')}"


def _variant(section: Any) -> dict[str, Any]:
    if section is None:
        return {}
    # One that is no section is among the problems.
    return {f"frpo.{key}": value for key, value in section.items()} if hasattr(section, "items") else {"frpo": section}
