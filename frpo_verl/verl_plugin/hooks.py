"""Lists what the plugin changes in each module of verl, and does it once the module is imported."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from frpo_verl.preflight import contract, environment, native, settings
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import (
    checkpoint,
    kl_loss,
    note,
    policy_losses,
    run,
    sampled,
    search_path,
    token_file,
    token_weights,
    update,
    worker,
)
from frpo_verl.verl_plugin.patching import wrap
from frpo_verl.verl_plugin.ray import launch, node_check

Hook = Callable[[ModuleType], None]


def _register_estimator(core_algos: ModuleType) -> None:
    from frpo_verl.verl_plugin.estimator import compute_frpo_advantage

    for problem in native.taken(core_algos.ADV_ESTIMATOR_REGISTRY):
        raise HostError(problem)
    if settings.ESTIMATOR not in core_algos.ADV_ESTIMATOR_REGISTRY:
        core_algos.register_adv_est(settings.ESTIMATOR)(compute_frpo_advantage)


def _change_advantages_v0(ray_trainer: ModuleType) -> None:
    from frpo_verl.verl_plugin.estimator import with_changes

    wrap(ray_trainer, "compute_advantage", with_changes)


def _change_advantages_v1(v1_utils: ModuleType) -> None:
    from frpo_verl.verl_plugin.estimator import with_changes

    wrap(v1_utils, "compute_advantage_for_multi_trajectories", with_changes)


def _logged_v1(host: Callable, trainer: Any, batch: Any, metrics: dict) -> Any:
    result = host(trainer, batch, metrics)
    metrics.update(run.outbox.take_figures())
    if (told := run.outbox.take_note()) is not None:
        result.extra_info[note.KEY] = told
    if (tokens := run.outbox.take_tokens()) is not None:
        token_file.write(tokens, trainer, batch)
    return result


def _keep_what_was_sampled(rollout_corr_helper: ModuleType) -> None:
    wrap(rollout_corr_helper, "compute_rollout_correction_and_add_to_batch", sampled.kept)


def _fetch_more_fields(trainer_base: ModuleType) -> None:
    wrap(trainer_base.PPOTrainer, "_compute_advantage", token_weights.with_queue)


def _log_v1(trainer_base: ModuleType) -> None:
    wrap(trainer_base.PPOTrainer, "_compute_advantage", _logged_v1)


def _logged_v0(host: Callable, *args: Any, **kwargs: Any) -> dict:
    return {**host(*args, **kwargs), **run.outbox.take_figures()}


def _log_v0(metric_utils: ModuleType) -> None:
    wrap(metric_utils, "compute_data_metrics", _logged_v0)


def _keep_beta_v0(ray_trainer: ModuleType) -> None:
    wrap(ray_trainer.RayPPOTrainer, "_save_checkpoint", checkpoint.save_before)
    wrap(ray_trainer.RayPPOTrainer, "_load_checkpoint", checkpoint.restore_after)


def _keep_beta_v1(trainer_base: ModuleType) -> None:
    wrap(trainer_base.PPOTrainer, "_save_checkpoint", checkpoint.save_before)
    wrap(trainer_base.PPOTrainer, "_load_checkpoint", checkpoint.restore_after)


def _keep_beta_fully_async(fully_async_trainer: ModuleType) -> None:
    # A Ray actor's class: the one that its processes run is behind the handle.
    trainer = fully_async_trainer.FullyAsyncTrainer.__ray_metadata__.modified_class
    wrap(trainer, "_save_checkpoint", checkpoint.save_before)
    wrap(trainer, "load_checkpoint", checkpoint.restore_after)


def _or_needed_by_us(host: Callable, config: Any) -> bool:
    run.remember(config)
    return host(config) or settings.needs_reference(config.algorithm)


def _load_the_reference(ppo_utils: ModuleType) -> None:
    wrap(ppo_utils, "need_reference_policy", _or_needed_by_us)


def _check_before_ray(verl_config: ModuleType) -> None:
    wrap(verl_config, "validate_config", launch.checked_before_validation)


def _load_the_plugin_in_workers(constants_ppo: ModuleType) -> None:
    wrap(constants_ppo, "get_ppo_ray_runtime_env", launch.with_plugin_in_workers)


def _ask_nodes(ray_base: ModuleType) -> None:
    wrap(ray_base.ResourcePoolManager, "create_resource_pool", node_check.checked_before_placement)


def _watch_updates(ray_base: ModuleType) -> None:
    wrap(ray_base, "func_generator", update.bound)


def _measure_in_workers(losses: ModuleType) -> None:
    wrap(losses, "ppo_loss", worker.with_current_divergence)


def _weigh_in_workers(losses: ModuleType) -> None:
    wrap(losses, "kl_penalty", kl_loss.weighed_penalty)
    wrap(losses, "ppo_loss", kl_loss.with_weights)


HOOKS: dict[str, tuple[Hook, ...]] = {
    "verl.trainer.ppo.core_algos": (_register_estimator, policy_losses.register),
    "verl.trainer.ppo.ray_trainer": (_change_advantages_v0, _keep_beta_v0),
    "verl.trainer.ppo.v1.utils": (_change_advantages_v1,),
    "verl.trainer.ppo.v1.trainer_base": (_fetch_more_fields, _log_v1, _keep_beta_v1),
    "verl.trainer.ppo.rollout_corr_helper": (_keep_what_was_sampled,),
    "verl.experimental.fully_async_policy.fully_async_trainer": (_keep_beta_fully_async,),
    "verl.trainer.ppo.metric_utils": (_log_v0,),
    "verl.trainer.ppo.utils": (_load_the_reference,),
    "verl.utils.config": (_check_before_ray,),
    "verl.trainer.constants_ppo": (_load_the_plugin_in_workers,),
    "verl.single_controller.ray.base": (_ask_nodes, _watch_updates),
    "verl.utils.metric": (policy_losses.keep_metrics,),
    "verl.workers.utils.losses": (_measure_in_workers, _weigh_in_workers),
    "hydra.core.plugins": (search_path.register,),
}
"""Module -> what to do with it, in order."""


def apply(module: ModuleType) -> None:
    """Checks a freshly imported module against the contract, then changes it.

    An incompatible module is left unpatched and reported on stderr, since runs that do not use frpo must not break. A
    run that uses frpo is then refused: before Ray starts if the driver imports the module, otherwise at the first
    advantage. With FRPO_VERL_STRICT=1 the import itself raises HostError.
    """
    try:
        contract.require(module)
        for hook in HOOKS[module.__name__]:
            hook(module)
    except HostError as error:
        if environment.is_strict():
            raise
        contract.problems.append(str(error))
        print(f"frpo-verl: {error}", file=sys.stderr)
