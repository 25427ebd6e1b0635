"""Asks verl's own code, before Ray starts, what it would say after it: of sections, names, batch sizes, the trainer."""

import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from frpo_verl.preflight import estimators, layout, micro_batches, verls_own
from frpo_verl.preflight.ray_names import is_judged_here

ROLLOUT, REF, ACTOR = "actor_rollout_ref.rollout", "actor_rollout_ref.ref", "actor_rollout_ref.actor"

FILES = (
    f"{ROLLOUT}.agent.agent_loop_config_path",
    f"{ROLLOUT}.multi_turn.tool_config_path",
    f"{ROLLOUT}.multi_turn.function_tool_path",
)
"""Keys with a file that verl's agent loops read; they look for it in verl's own folder, too."""

_OF_REF = ("micro_batch_size", "micro_batch_size_per_gpu", "max_token_len_per_gpu")


def problems(config: Any) -> Iterator[str]:
    """Yields what verl raises about a configuration once it has started everything; nothing is started here."""
    for what, ask in _questions(config):
        if reason := objection(ask):
            yield f"{what}: verl refuses it after the start-up ({reason}); correct what it names"


def objection(ask: Callable[[], Any]) -> str | None:
    """Returns in one line what a piece of verl's code raises, or None; what it prints goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
            ask()
    # Whatever verl raises here it would raise in the run.
    except Exception as error:
        return " ".join(str(error).split()).rstrip(".") or f"{type(error).__name__} without a word"
    return None


def _questions(config: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    from omegaconf import OmegaConf

    section = config.actor_rollout_ref
    if not OmegaConf.is_missing(section.rollout, "name"):
        yield ROLLOUT, lambda: _dataclass(section.rollout)
    yield "actor_rollout_ref.model", lambda: _model(section.model)
    if _has_reference(config):
        yield REF, lambda: _dataclass(_reference(section))
    if OmegaConf.select(config, "distillation.enabled"):
        yield "distillation", lambda: _dataclass(config.distillation)
    for key in FILES:
        if (path := OmegaConf.select(config, key)) and is_judged_here(config, path):
            yield f"{key}={path}", partial(_found, path)
    yield from _names(config)
    yield from _batches(config)
    if estimators.is_v1(config):
        yield f"trainer.v1.trainer_mode={config.trainer.v1.trainer_mode}", lambda: _trainer(config)


def _has_reference(config: Any) -> bool:
    """Returns True where the reference is a worker of its own."""
    return verls_own.loaded(config).reference and not micro_batches.has_adapters(config.actor_rollout_ref.model)


def _found(path: str) -> None:
    from verl.experimental.agent_loop.utils import resolve_config_path

    resolve_config_path(path)


def _dataclass(section: Any) -> Any:
    from verl.utils.config import omega_conf_to_dataclass

    return omega_conf_to_dataclass(section)


def _reference(section: Any) -> Any:
    """Returns the reference's section as verl's worker makes an actor's of it."""
    from omegaconf import OmegaConf

    ref = OmegaConf.to_container(section.ref, resolve=True)
    ref["use_dynamic_bsz"] = ref.pop("log_prob_use_dynamic_bsz", False)
    ref["ppo_mini_batch_size"] = section.actor.ppo_mini_batch_size
    ref |= {f"ppo_{name}": ref.pop(f"log_prob_{name}", None) for name in _OF_REF}
    return OmegaConf.create(ref)


def _model(section: Any) -> None:
    """Refuses unknown keys; to make the object itself would load the tokenizer."""
    from hydra.utils import get_class

    if "_target_" in section:
        keys = [str(key) for key in section if key != "_target_"]
        inspect.signature(get_class(section["_target_"])).bind(**dict.fromkeys(keys))


def _is_known(name: str, names: Iterable[str]) -> None:
    if name not in set(names):
        raise ValueError(f"there is none of that name, only {', '.join(sorted(names))}")


def _names(config: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields the names that verl looks up in a registry of its own, where the user's code cannot add to it later."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.utils.tracking import Tracking
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY

    rollout, estimator, loggers = (
        config.actor_rollout_ref.rollout,
        config.algorithm.adv_estimator,
        config.trainer.logger,
    )
    if not OmegaConf.is_missing(rollout, "name"):
        engines = {name for name, _ in _ROLLOUT_REGISTRY}
        yield f"{ROLLOUT}.name={rollout.name}", partial(_is_known, rollout.name, engines)
    for logger in [loggers] if isinstance(loggers, str) else loggers or []:
        yield f"trainer.logger={logger}", partial(_is_known, logger, (*Tracking.supported_backend, "tracking"))
    if OmegaConf.select(config, "actor_rollout_ref.model.external_lib"):
        return
    yield f"algorithm.adv_estimator={estimator}", partial(get_adv_estimator_fn, estimator)
    of_reward = OmegaConf.select(config, "reward.reward_manager")
    if of_reward and of_reward.source == "register" and not config.reward.custom_reward_function.path:
        from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

        yield f"reward.reward_manager.name={of_reward.name}", partial(get_reward_manager_cls, of_reward.name)
    if OmegaConf.select(rollout, "multi_turn.enable"):
        from verl.experimental.agent_loop.tool_parser import ToolParser

        form = rollout.multi_turn.format
        yield f"{ROLLOUT}.multi_turn.format={form}", partial(_is_known, form, ToolParser._registry)


def _batches(config: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields how a role's ranks share what one call gives them, and cut their part where they do not cut by tokens."""
    n = config.actor_rollout_ref.rollout.n
    roles = {
        ACTOR: config.actor_rollout_ref.actor,
        "critic": config.critic if verls_own.loaded(config).critic else None,
    }
    for key, role in roles.items():
        if role is not None:
            size = None if role.use_dynamic_bsz else role.ppo_micro_batch_size_per_gpu
            named = f"{key}.ppo_mini_batch_size={role.ppo_mini_batch_size}"
            named += "" if size is None else f", ppo_micro_batch_size_per_gpu={size}"
            ranks = layout.data_parallel(config, role)
            yield f"{named}, {ROLLOUT}.n={n}", partial(_cut, "mini-batch", role.ppo_mini_batch_size * n, ranks, size)
    for key, role, size in _passes(config):
        batch, ranks = config.data.train_batch_size, layout.data_parallel(config, role)
        named = f"{key}.log_prob_micro_batch_size_per_gpu={size}, data.train_batch_size={batch}, {ROLLOUT}.n={n}"
        yield named, partial(_cut, "batch", batch * n, ranks, size)


def _passes(config: Any) -> Iterator[tuple[str, Any, int]]:
    """Yields the passes for log-probs that take a whole batch of known size, by sequences: key, role, micro-batch."""
    from omegaconf import OmegaConf

    section = config.actor_rollout_ref
    unknown = ("algorithm.filter_groups.enable", f"{ROLLOUT}.agent.agent_loop_config_path")
    if layout.pool_gpus(config) or any(OmegaConf.select(config, key) for key in unknown):
        return
    if not section.actor.use_dynamic_bsz and not OmegaConf.select(config, "algorithm.rollout_correction.bypass_mode"):
        yield ROLLOUT, section.actor, section.rollout.log_prob_micro_batch_size_per_gpu
    if _has_reference(config) and not section.ref.log_prob_use_dynamic_bsz:
        yield REF, section.ref, section.ref.log_prob_micro_batch_size_per_gpu


def _cut(what: str, responses: int, ranks: int, size: int | None) -> None:
    from tensordict import NonTensorData, TensorDict
    from verl.workers.engine.utils import prepare_micro_batches

    if responses % ranks:
        raise ValueError(f"{ranks} ranks cannot share a {what} of {responses} responses")
    if size is None:
        return
    given = {"use_dynamic_bsz": NonTensorData(False), "micro_batch_size_per_gpu": NonTensorData(size)}
    try:
        prepare_micro_batches(TensorDict(given, batch_size=[responses // ranks]))
    except AssertionError as error:
        raise ValueError(f"a rank has {responses // ranks} responses of a {what}: {error}") from None


def _trainer(config: Any) -> None:
    """Makes verl's trainer, which starts nothing before its `init`."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    made = get_trainer_cls(config.trainer.v1.trainer_mode)
    if made.__module__.startswith("verl.") and not _has_users_classes(config):
        made(config=config)._init_resource_pool_mgr()


def _has_users_classes(config: Any) -> bool:
    """Returns True where the trainer would import the user's code, which may be at home on the nodes alone."""
    from omegaconf import OmegaConf

    keys = ("trainer.checkpoint_callback_class", "trainer.v1.sampler.custom_sampler.path")
    return any(OmegaConf.select(config, key) for key in keys)
