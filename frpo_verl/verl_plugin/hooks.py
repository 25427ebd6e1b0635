"""What the plugin does to each verl module, once that module is imported."""

import inspect
import sys
from collections.abc import Callable
from types import ModuleType

from frpo_verl.preflight import contract, native, settings
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import checkpoint, search_path, worker
from frpo_verl.verl_plugin.metrics import collect, collect_note
from frpo_verl.verl_plugin.patching import wrap
from frpo_verl.verl_plugin.ray import launch, node_check


def _register_estimator(core_algos: ModuleType) -> None:
    from frpo_verl.verl_plugin.estimator import compute_frpo_advantage

    if settings.ESTIMATOR not in core_algos.ADV_ESTIMATOR_REGISTRY:
        core_algos.register_adv_est(settings.ESTIMATOR)(compute_frpo_advantage)


def _with_future_term(host: Callable, *args, **kwargs):
    from frpo_verl.verl_plugin import estimator

    call = inspect.signature(host).bind(*args, **kwargs)
    name, config = call.arguments["adv_estimator"], call.arguments.get("config")
    if isinstance(config, estimator.OutcomeOnly):
        if config.std == "population":
            return estimator.compute_population_outcome(call.arguments["data"])
    elif name == settings.ESTIMATOR or settings.asks_for_future(config):
        if not native.is_left_to_host(name):
            return estimator.add_future_term(host, call)
    return host(*args, **kwargs)


def _update_acknowledged_v0(host: Callable, trainer, batch):
    output = host(trainer, batch)
    worker.require_acknowledgement(batch.meta_info.get(worker.NOTE), output.meta_info["metrics"])
    return output


def _update_acknowledged_v1(host: Callable, trainer, batch, metrics: dict):
    note = batch.extra_info.get(worker.NOTE)
    result = host(trainer, batch, metrics)
    worker.require_acknowledgement(note, metrics)
    return result


def _change_v0(ray_trainer: ModuleType) -> None:
    wrap(ray_trainer, "compute_advantage", _with_future_term)
    wrap(ray_trainer.RayPPOTrainer, "_update_actor", _update_acknowledged_v0)
    wrap(ray_trainer.RayPPOTrainer, "_save_checkpoint", checkpoint.save_before)
    wrap(ray_trainer.RayPPOTrainer, "_load_checkpoint", checkpoint.restore_after)


def _change_fully_async(fully_async_trainer: ModuleType) -> None:
    # A Ray actor's class: the one that its processes run is behind the handle.
    trainer = fully_async_trainer.FullyAsyncTrainer.__ray_metadata__.modified_class
    wrap(trainer, "_save_checkpoint", checkpoint.save_before)
    wrap(trainer, "load_checkpoint", checkpoint.restore_after)


def _wrap_multi_trajectories(v1_utils: ModuleType) -> None:
    wrap(v1_utils, "compute_advantage_for_multi_trajectories", _with_future_term)


def _add_published(host: Callable, trainer, batch, metrics: dict):
    result = host(trainer, batch, metrics)
    metrics.update(collect())
    note = collect_note()
    if note is not None:
        result.extra_info[worker.NOTE] = note
    return result


def _change_v1(trainer_base: ModuleType) -> None:
    wrap(trainer_base.PPOTrainer, "_compute_advantage", _add_published)
    wrap(trainer_base.PPOTrainer, "_update_actor", _update_acknowledged_v1)
    wrap(trainer_base.PPOTrainer, "_save_checkpoint", checkpoint.save_before)
    wrap(trainer_base.PPOTrainer, "_load_checkpoint", checkpoint.restore_after)


def _plus_published_metrics(host: Callable, *args, **kwargs) -> dict:
    return {**host(*args, **kwargs), **collect()}


def _report_metrics_v0(metric_utils: ModuleType) -> None:
    wrap(metric_utils, "compute_data_metrics", _plus_published_metrics)


def _or_needed_by_us(host: Callable, config) -> bool:
    return host(config) or settings.needs_reference(config.algorithm)


def _wrap_need_reference_policy(ppo_utils: ModuleType) -> None:
    wrap(ppo_utils, "need_reference_policy", _or_needed_by_us)


def _wrap_validate_config(verl_config: ModuleType) -> None:
    wrap(verl_config, "validate_config", launch.checked_before_validation)


def _wrap_runtime_env(constants_ppo: ModuleType) -> None:
    wrap(constants_ppo, "get_ppo_ray_runtime_env", launch.with_plugin_in_workers)


def _wrap_placement(ray_base: ModuleType) -> None:
    wrap(ray_base.ResourcePoolManager, "create_resource_pool", node_check.checked_before_placement)


def _wrap_policy_loss(losses: ModuleType) -> None:
    wrap(losses, "ppo_loss", worker.with_current_divergence)


HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "verl.trainer.ppo.core_algos": _register_estimator,
    "verl.trainer.ppo.ray_trainer": _change_v0,
    "verl.trainer.ppo.v1.utils": _wrap_multi_trajectories,
    "verl.trainer.ppo.v1.trainer_base": _change_v1,
    "verl.experimental.fully_async_policy.fully_async_trainer": _change_fully_async,
    "verl.trainer.ppo.metric_utils": _report_metrics_v0,
    "verl.trainer.ppo.utils": _wrap_need_reference_policy,
    "verl.utils.config": _wrap_validate_config,
    "verl.trainer.constants_ppo": _wrap_runtime_env,
    "verl.single_controller.ray.base": _wrap_placement,
    "verl.workers.utils.losses": _wrap_policy_loss,
    "hydra.core.plugins": search_path.register,
}
"""Module -> what to do with it."""


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
