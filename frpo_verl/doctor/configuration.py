"""Shows what a composed configuration will run, with what keeps it from running."""

from typing import Any

from frpo_verl.doctor.report import Section

TITLE = "Effective configuration"


def examine(config: Any) -> Section:
    """Returns what verl's whole configuration will run, with all problems and warnings."""
    from frpo_verl.preflight import examination

    found = examination.examine(config)
    rows = {} if examination.unusable(config) else _rows(config)
    return Section(TITLE, rows, found.problems, found.warnings)


def _rows(config: Any) -> dict[str, str]:
    from omegaconf import OmegaConf

    from frpo_verl.preflight import estimators, verls_own

    def value(key: str) -> Any:
        return OmegaConf.select(config, key)

    rows = {
        "advantage estimator": value("algorithm.adv_estimator"),
        "kl_mode": value("algorithm.kl_mode"),
        "divergence": _divergence(str(value("algorithm.kl_penalty"))),
        "beta": value("algorithm.kl_ctrl.kl_coef"),
        "control of beta": _control(value("algorithm.kl_ctrl")),
        **_variant(value("algorithm.frpo")),
        "token_weight": value("algorithm.token_weight"),
        "reference policy": "loaded" if verls_own.loaded(config).reference else "not loaded",
        "use_kl_in_reward": value("algorithm.use_kl_in_reward"),
        "use_kl_loss": _loss(value("actor_rollout_ref.actor")),
        "responses a prompt": value("actor_rollout_ref.rollout.n"),
        "trainer": f"V1, {value('trainer.v1.trainer_mode')}" if estimators.is_v1(config) else "V0",
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
    # One that is not a section is among the problems.
    return {f"frpo.{key}": value for key, value in section.items()} if hasattr(section, "items") else {"frpo": section}
