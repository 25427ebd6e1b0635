"""Checks that what a run reads and runs on is there: data, model, reward function, packages, GPUs."""

import ast
import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from frpo_verl.preflight import environment, input_files, layout, model_folder, verls_own
from frpo_verl.preflight.ray_names import is_judged_here, is_local, ray_options

RECIPE = "FRPO_VERL_RECIPE"
"""Environment variable by which a recipe asks for these checks on runs that do not use FRPO, its baselines."""

CODE = {
    "reward.custom_reward_function.path": "reward.custom_reward_function.name",
    "data.custom_cls.path": "data.custom_cls.name",
    "trainer.v1.sampler.custom_sampler.path": "trainer.v1.sampler.custom_sampler.name",
    "reward.reward_manager.module.path": "reward.reward_manager.name",
}
"""Keys with a file or module of the user's own code, and those with a name in it."""

MATH_REWARD = "pkg://frpo_verl.rewards.math"


def problems(config: Any) -> Iterator[str]:
    """Yields the missing inputs and resources that would certainly make the run fail.

    On a cluster, or where Ray gives its workers another folder, what is missing here may be there: files that are here
    are checked, others are not. Paths with a scheme (`hdfs://`) or a pattern are not checked either, nor data that the
    user's own class reads.
    """
    # Other mains of verl have other sections.
    if any(name not in config for name in ("data", "actor_rollout_ref", "critic", "trainer")):
        return
    yield from _rollout(config)
    yield from input_files.problems(config)
    yield from _model(config, "actor_rollout_ref.model")
    if verls_own.loaded(config).critic:
        yield from _model(config, "critic.model")
    yield from _code(config)
    yield from _packages(config)
    yield from _gpus(config)
    yield from layout.problems(config)


def _rollout(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config.actor_rollout_ref.rollout, "name"):
        yield (
            "actor_rollout_ref.rollout.name is not set, and verl's configuration has no default for it; set "
            "actor_rollout_ref.rollout.name=vllm"
        )


def _model(config: Any, section: str) -> Iterator[str]:
    from omegaconf import OmegaConf

    model = OmegaConf.select(config, section)
    path = str(model.path)
    if "://" in path or not is_judged_here(config, path):
        return
    folder = Path(path).expanduser()
    key = f"{section}.path={path}"
    if folder.exists():
        if model.get("hf_config_path") is None and not (folder / "config.json").is_file():
            yield f"{key}: the folder has no config.json; give the folder of a Hugging Face model"
        elif not model_folder.is_readable(folder):
            yield f"{key}: the folder's config.json is not a JSON object; download or save the model again"
    elif model_folder.is_path(path):
        yield f"{key}: there is no such folder; correct the path, or give a model's name on the Hugging Face hub"
    elif _names_the_hub(config) and not _is_cached(path):
        yield (
            f"{key}: not a local folder and not in the Hugging Face cache, and HF_HUB_OFFLINE=1 forbids downloading "
            "it; unset HF_HUB_OFFLINE, or give a model's folder"
        )


def _names_the_hub(config: Any) -> bool:
    """Returns True where the model can come from this environment's Hugging Face cache alone."""
    from huggingface_hub import constants

    told = (ray_options(config).get("runtime_env") or {}).get("env_vars") or {}
    others = any(str(name).startswith(("HF_", "TRANSFORMERS_", "VERL_USE_MODELSCOPE")) for name in told)
    return constants.HF_HUB_OFFLINE and not others and not os.environ.get("VERL_USE_MODELSCOPE")


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _packages(config: Any) -> Iterator[str]:
    """Yields the packages that a reward or verl imports only after the models have been loaded."""
    from omegaconf import OmegaConf

    reward, backend = "reward.custom_reward_function.path", "actor_rollout_ref.rollout.checkpoint_engine.backend"
    needs = []
    if OmegaConf.select(config, reward) == MATH_REWARD:
        needs.append((reward, "math_verify", "pip install 'frpo-verl[math]'"))
    if OmegaConf.select(config, backend) == "nccl" and layout.pool_gpus(config):
        needs.append((backend, "cupy", "install the cupy of your CUDA, for instance by verl's extra fsdp"))
    for key, package, fix in needs:
        if is_judged_here(config, package) and not _can_be_found(package):
            yield f"{key}={OmegaConf.select(config, key)}: it needs {package}, which is not installed; {fix}"


def _code(config: Any) -> Iterator[str]:
    """Yields the user's own code that verl would not find, or not by that name."""
    from omegaconf import OmegaConf

    for key, of_name in CODE.items():
        path, name = OmegaConf.select(config, key), OmegaConf.select(config, of_name)
        if not path:
            continue
        module = path.removeprefix("pkg://").replace("/", ".") if path.startswith("pkg://") else None
        file = path.removeprefix("file://")
        if not (_can_be_found(module) if module else os.path.exists(file)):
            if is_judged_here(config, module or file):
                yield f"{key}={path}: " + (
                    f"there is no module {module}; correct it, or install it into the environment that has verl"
                    if module
                    else "there is no such file; correct the path, or name a module by pkg://"
                )
        elif name and not _may_define(source := _source(file, module), name):
            yield f"{of_name}={name}: {source} defines nothing of that name; correct it"


def _source(file: str, module: str | None) -> Path:
    """Returns the file of the user's code, without importing it."""
    if module is None:
        return Path(file)
    spec = spec_of(module)
    return Path(spec.origin if spec and spec.origin else ".")


def _may_define(file: Path, name: str) -> bool:
    """Returns False for Python whose text has no such name outside of comments, strings and attributes."""
    if file.suffix != ".py" or not file.is_file():
        return True
    try:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    except (SyntaxError, ValueError):
        return True
    named = (getattr(node, field, None) for node in nodes for field in ("name", "asname", "id"))
    return not {name, "*", "__getattr__", "globals"}.isdisjoint(filter(None, named))


def _can_be_found(module: str) -> bool:
    return spec_of(module) is not None


def spec_of(module: str) -> ModuleSpec | None:
    """Finds a module without importing it or its packages."""
    name, *rest = module.split(".")
    spec = importlib.util.find_spec(name)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec


def _gpus(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    # The CPU platform has its own rule.
    if environment.is_on_cpu() or OmegaConf.select(config, "trainer.device") != "cuda" or not is_local(config):
        return
    wanted = layout.trainer_gpus(config) + layout.pool_gpus(config)
    given = ray_options(config).get("num_gpus")
    there = _visible_gpus() if given is None else given
    if there is not None and there < wanted:
        where = f"this machine shows {there}" if given is None else f"ray_kwargs.ray_init.num_gpus={given}"
        trainer = config.trainer
        yield (
            f"trainer.nnodes={trainer.nnodes} and trainer.n_gpus_per_node={trainer.n_gpus_per_node}: trainer and "
            f"rollout ask for {wanted} GPUs and {where}; lower them, or set RAY_ADDRESS to a cluster that has them"
        )


def _visible_gpus() -> int | None:
    """Returns the GPUs that a Ray started here would count; None where the accelerators are of another kind."""
    from ray._private.accelerators import get_accelerator_manager_for_resource

    # verl itself turns trainer.device to npu where there are some.
    if get_accelerator_manager_for_resource("NPU").get_current_node_num_accelerators():
        return None
    manager = get_accelerator_manager_for_resource("GPU")
    count, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    return count if visible is None else min(count, len(visible))
