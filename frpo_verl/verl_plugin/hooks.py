"""What the plugin does to each verl module, once that module is imported."""

import inspect
import sys
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin import contract, cpu, settings
from frpo_verl.verl_plugin.errors import HostError, SettingsError
from frpo_verl.verl_plugin.metrics import collect
from frpo_verl.verl_plugin.patching import wrap


def _register_estimator(core_algos: ModuleType) -> None:
    from frpo_verl.verl_plugin.estimator import compute_frpo_advantage

    if settings.ESTIMATOR not in core_algos.ADV_ESTIMATOR_REGISTRY:
        core_algos.register_adv_est(settings.ESTIMATOR)(compute_frpo_advantage)


def _is_ours(estimator: str) -> bool:
    """False too when the host brings a frpo of its own: then the plugin steps aside."""
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from frpo_verl.verl_plugin.estimator import compute_frpo_advantage

    return estimator == settings.ESTIMATOR and get_adv_estimator_fn(estimator) is compute_frpo_advantage


def _as_grpo_plus_future(host: Callable, *args, **kwargs):
    call = inspect.signature(host).bind(*args, **kwargs)
    if not _is_ours(call.arguments["adv_estimator"]):
        return host(*args, **kwargs)
    from frpo_verl.verl_plugin.estimator import compute_as_grpo_plus_future

    return compute_as_grpo_plus_future(host, call)


def _wrap_compute_advantage(ray_trainer: ModuleType) -> None:
    wrap(ray_trainer, "compute_advantage", _as_grpo_plus_future)


def _wrap_multi_trajectories(v1_utils: ModuleType) -> None:
    wrap(v1_utils, "compute_advantage_for_multi_trajectories", _as_grpo_plus_future)


def _add_published_metrics(host: Callable, trainer, batch, metrics: dict):
    result = host(trainer, batch, metrics)
    metrics.update(collect())
    return result


def _report_metrics_v1(trainer_base: ModuleType) -> None:
    wrap(trainer_base.PPOTrainer, "_compute_advantage", _add_published_metrics)


def _plus_published_metrics(host: Callable, *args, **kwargs) -> dict:
    return {**host(*args, **kwargs), **collect()}


def _report_metrics_v0(metric_utils: ModuleType) -> None:
    wrap(metric_utils, "compute_data_metrics", _plus_published_metrics)


def _or_needed_by_frpo(host: Callable, config) -> bool:
    # main_ppo asks before it validates: whether the coefficient is a number is the preflight's question.
    algorithm = config.algorithm
    return host(config) or (settings.asks_for_frpo(algorithm) and algorithm.kl_ctrl.kl_coef != 0)


def _wrap_need_reference_policy(ppo_utils: ModuleType) -> None:
    wrap(ppo_utils, "need_reference_policy", _or_needed_by_frpo)


def _after_preflight(host: Callable, config, *args, **kwargs):
    import ray

    if ray.is_initialized():
        # V0 validates once more inside an actor, where Ray already holds the ports and the memory.
        _check_settings(config)
    else:
        try:
            _check_settings(config)
            if cpu.is_asked_for():
                cpu.check(config)
        except (SettingsError, HostError) as error:
            # The driver, before Ray starts: a traceback through Hydra would bury the sentence.
            raise SystemExit(f"frpo-verl: {error}") from None
    return host(config, *args, **kwargs)


def _check_settings(config) -> None:
    from frpo_verl.verl_plugin import preflight

    if settings.asks_for_frpo(config.algorithm):
        contract.refuse_if_changed()
        preflight.check(config)


def _wrap_validate_config(verl_config: ModuleType) -> None:
    wrap(verl_config, "validate_config", _after_preflight)


HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "verl.trainer.ppo.core_algos": _register_estimator,
    "verl.trainer.ppo.ray_trainer": _wrap_compute_advantage,
    "verl.trainer.ppo.v1.utils": _wrap_multi_trajectories,
    "verl.trainer.ppo.v1.trainer_base": _report_metrics_v1,
    "verl.trainer.ppo.metric_utils": _report_metrics_v0,
    "verl.trainer.ppo.utils": _wrap_need_reference_policy,
    "verl.utils.config": _wrap_validate_config,
}
"""Module of verl -> what to do with it."""


def run(hook: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Checks a freshly imported module against the contract, then changes it.

    A module that does not fit is left as it is and named on stderr: runs that do not use frpo must not break. Those
    that do are refused, before Ray starts if the driver imports the module, else at the first advantage.

    Args:
        hook: a value of `HOOKS`.
        module: the module of its key.

    Raises:
        HostError: the module does not fit, and FRPO_VERL_STRICT=1.
    """
    try:
        contract.require(module)
    except HostError as error:
        if contract.is_strict():
            raise
        contract.problems.append(str(error))
        print(f"frpo-verl: {error}", file=sys.stderr)
    else:
        hook(module)
