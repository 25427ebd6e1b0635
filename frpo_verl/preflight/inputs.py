"""Whether what a run reads and runs on is there: data, model, reward function, GPUs; before anything is loaded."""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from frpo_verl.preflight import environment, input_files, layout, model_folder
from frpo_verl.preflight.errors import SettingsError
from frpo_verl.preflight.ray_names import is_judged_here, is_runs_own

RECIPE = "FRPO_VERL_RECIPE"
"""Environment variable by which a recipe asks for these checks on runs that do not use FRPO, its baselines."""

MATH_REWARD = "pkg://frpo_verl.rewards.math"


def check(config: Any) -> None:
    """Refuses a run whose inputs are not there.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: the first of `problems`.
    """
    for problem in problems(config):
        raise problem


def problems(config: Any) -> Iterator[SettingsError]:
    """What a run would end by, on what it reads and runs on.

    Only what verl would certainly fail on is named. On a running cluster, or where Ray gives its workers another
    folder, what is not here may be there: files that are here are looked into, others are left alone. So are paths
    with a scheme (`hdfs://`) or a pattern, and data that a class of one's own reads.

    Args:
        config: verl's whole configuration.

    Yields:
        One sentence each: what, the value, the fix.
    """
    # Other mains of verl have other sections.
    if any(name not in config for name in ("data", "actor_rollout_ref", "critic", "trainer")):
        return
    if wrong := layout.no_counts(config):
        yield from wrong
        return
    yield from input_files.problems(config)
    yield from _model(config, "actor_rollout_ref.model")
    if _has_critic(config):
        yield from _model(config, "critic.model")
    yield from _reward(config)
    yield from _packages(config)
    yield from _gpus(config)
    yield from layout.problems(config)


def _has_critic(config: Any) -> bool:
    from verl.trainer.ppo.utils import need_critic

    # verl warns of every estimator without a critic.
    with warnings.catch_warnings(action="ignore"):
        return bool(need_critic(config))


def _model(config: Any, section: str) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    model = OmegaConf.select(config, section)
    path = str(model.path)
    if "://" in path or not is_judged_here(config, path):
        return
    folder = Path(path).expanduser()
    key = f"{section}.path={path}"
    if folder.exists():
        if model.get("hf_config_path") is None and not (folder / "config.json").is_file():
            yield SettingsError(f"{key}: the folder has no config.json; give the folder of a Hugging Face model")
        elif not model_folder.is_readable(folder):
            yield SettingsError(f"{key}: the folder's config.json is no JSON object; fetch or save the model once more")
    elif path.startswith(("/", ".", "~")) or path.count("/") > 1:
        yield SettingsError(f"{key}: there is no such folder; correct the path, or give a name of the hub")
    elif _names_the_hub(config) and not _is_cached(path):
        yield SettingsError(
            f"{key}: it is no folder and not in the hub's cache, and HF_HUB_OFFLINE=1 keeps it from being fetched; "
            "unset HF_HUB_OFFLINE, or give the folder of a model"
        )


def _names_the_hub(config: Any) -> bool:
    """Whether the model would come from the Hugging Face hub's cache in this environment, and nowhere else."""
    from huggingface_hub import constants
    from omegaconf import OmegaConf

    told = OmegaConf.select(config, "ray_kwargs.ray_init.runtime_env.env_vars") or {}
    others = any(str(name).startswith(("HF_", "TRANSFORMERS_", "VERL_USE_MODELSCOPE")) for name in told)
    return constants.HF_HUB_OFFLINE and not others and not os.environ.get("VERL_USE_MODELSCOPE")


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _packages(config: Any) -> Iterator[SettingsError]:
    """What a reward or verl imports only after the models have been loaded."""
    from omegaconf import OmegaConf

    reward, backend = "reward.custom_reward_function.path", "actor_rollout_ref.rollout.checkpoint_engine.backend"
    needs = []
    if OmegaConf.select(config, reward) == MATH_REWARD:
        needs.append((reward, "math_verify", "pip install 'frpo-verl[math]'"))
    if OmegaConf.select(config, backend) == "nccl" and layout.pool_gpus(config):
        needs.append((backend, "cupy", "install the cupy of your CUDA, for instance by verl's extra fsdp"))
    for key, package, fix in needs:
        if is_judged_here(config, package) and not _can_be_found(package):
            yield SettingsError(f"{key}={OmegaConf.select(config, key)}: it needs {package}, which is not there; {fix}")


def _reward(config: Any) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    # verl's older key replaces the newer section.
    for key in ("custom_reward_function.path", "reward.custom_reward_function.path"):
        path = OmegaConf.select(config, key)
        if path is not None:
            break
    if not path:
        return
    if path.startswith("pkg://"):
        module = path.removeprefix("pkg://").replace("/", ".")
        if is_judged_here(config, module) and not _can_be_found(module):
            yield SettingsError(
                f"{key}={path}: there is no module {module}; correct it, or install it into the environment that has "
                "verl"
            )
        return
    file = path.removeprefix("file://")
    if not os.path.exists(file) and is_judged_here(config, file):
        yield SettingsError(f"{key}={path}: there is no such file; correct the path, or name a module by pkg://")


def _can_be_found(module: str) -> bool:
    """Whether a module is there, without importing it or the packages that it is in."""
    name, *rest = module.split(".")
    spec = importlib.util.find_spec(name)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return False
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec is not None


def _gpus(config: Any) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    # The CPU platform has a rule of its own.
    if environment.is_on_cpu() or OmegaConf.select(config, "trainer.device") != "cuda" or not is_runs_own(config):
        return
    wanted = layout.trainer_gpus(config) + layout.pool_gpus(config)
    given = OmegaConf.select(config, "ray_kwargs.ray_init.num_gpus")
    there = _visible_gpus() if given is None else given
    if there is not None and there < wanted:
        where = f"this machine shows {there}" if given is None else f"ray_kwargs.ray_init.num_gpus={given}"
        trainer = config.trainer
        yield SettingsError(
            f"trainer.nnodes={trainer.nnodes} and trainer.n_gpus_per_node={trainer.n_gpus_per_node}: trainer and "
            f"rollout ask for {wanted} GPUs and {where}; lower them, or set RAY_ADDRESS to a cluster that has them"
        )


def _visible_gpus() -> int | None:
    """What a Ray that starts here would count, by its own means; None where the accelerators are of another kind."""
    from ray._private.accelerators import get_accelerator_manager_for_resource

    # verl itself turns trainer.device to npu where there are some.
    if get_accelerator_manager_for_resource("NPU").get_current_node_num_accelerators():
        return None
    manager = get_accelerator_manager_for_resource("GPU")
    count, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    return count if visible is None else min(count, len(visible))
