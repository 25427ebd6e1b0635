"""Whether what a run reads and runs on is there: data, model, reward function, GPUs; before anything is loaded."""

import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from frpo_verl.verl_plugin import cpu
from frpo_verl.verl_plugin.errors import SettingsError
from frpo_verl.verl_plugin.ray_names import cluster_address

RECIPE = "FRPO_VERL_RECIPE"
"""Environment variable by which a recipe asks for these checks on runs that do not use FRPO, its baselines."""

MATH_REWARD = "pkg://frpo_verl.rewards.math"

DATA_COMMAND = "`frpo-verl data NAME --output DIR`"

READ_BY_REWARDS = ("naive", "dapo", "gdpo", "rate_limited", "remote")
"""verl's reward managers that read `data_source` and `reward_model.ground_truth` of every row."""


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
    if any(name not in config for name in ("data", "actor_rollout_ref", "trainer")):
        return
    yield from _data(config)
    yield from _model(config)
    yield from _reward(config)
    yield from _packages(config)
    yield from _gpus(config)


def _data(config: Any) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    if OmegaConf.select(config, "data.custom_cls.path") is not None:
        return
    rows = []
    for key in ("data.train_files", "data.val_files"):
        for name in _listed(OmegaConf.select(config, key)):
            problem, count = _file(config, key, name)
            if problem is not None:
                yield SettingsError(problem)
            if key == "data.train_files":
                rows.append(count)
    if rows and None not in rows:
        yield from _batch(config, sum(rows))


def _file(config: Any, key: str, name: str) -> tuple[str | None, int | None]:
    """What is wrong with a file, and how many rows it has where that can be read without reading them."""
    if "://" in name or any(sign in name for sign in "*?["):
        return None, None
    if not name.endswith((".parquet", ".json", ".jsonl")):
        return f"{key}={name}: verl reads .parquet, .json and .jsonl; {DATA_COMMAND} makes parquet", None
    file = Path(name).expanduser()
    if not file.exists():
        return (
            f"{key}={name}: there is no such file; correct the path, or make it, for instance by {DATA_COMMAND}"
            if _is_judged_here(config, name)
            else None
        ), None
    if not name.endswith(".parquet") or not file.is_file():
        return None, None
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(file) as opened:
            return _columns(config, key, name, opened.schema_arrow), opened.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        return f"{key}={name}: it cannot be read as parquet ({reason}); make it anew", None


def _columns(config: Any, key: str, name: str, schema: Any) -> str | None:
    """What verl's `RLHFDataset` and reward managers would look for in vain."""
    there, prompt = set(schema.names), config.data.get("prompt_key", "prompt")
    missing = [] if prompt in there else [f"{prompt} (data.prompt_key)"]
    if _rewards_read_rows(config):
        # verl 0.9 reads data_source by that name; its configuration still has a key for another.
        if not there & {"data_source", config.data.get("reward_fn_key")}:
            missing.append("data_source")
        if "reward_model" not in there:
            missing.append("reward_model")
        elif hasattr(schema.field("reward_model").type, "fields"):
            parts = {part.name for part in schema.field("reward_model").type.fields}
            missing += [] if "ground_truth" in parts or not parts else ["reward_model.ground_truth"]
    if not missing:
        return None
    return (
        f"{key}={name}: it has no column {', '.join(missing)}, its columns are {', '.join(schema.names)}; make it by "
        f"{DATA_COMMAND}, or name the column that holds it"
    )


def _rewards_read_rows(config: Any) -> bool:
    """Whether every response's reward comes from one of verl's managers and a function of the row."""
    from omegaconf import OmegaConf

    def value(key: str) -> Any:
        return OmegaConf.select(config, key)

    manager = value("reward_model.reward_manager") or value("reward.reward_manager.name")
    source = value("reward_model.reward_loop_source") or value("reward.reward_manager.source")
    elsewhere = (
        "reward_model.enable",
        "reward.reward_model.enable",
        "distillation.enabled",
        # A loop of one's own may bring the reward.
        "actor_rollout_ref.rollout.agent.agent_loop_config_path",
        "actor_rollout_ref.rollout.agent.agent_loop_manager_class",
    )
    return manager in READ_BY_REWARDS and source == "register" and not any(map(value, elsewhere))


def _batch(config: Any, rows: int) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf

    data, mode = config.data, OmegaConf.select(config, "trainer.v1.trainer_mode")
    v1 = OmegaConf.select(config, "trainer.use_v1") and "async_training" not in config
    one_by_one = v1 and (
        mode != "sync"
        or OmegaConf.select(config, "algorithm.filter_groups.enable")
        or OmegaConf.select(config, "trainer.v1.sampler.sync_refill_failed_groups")
    )
    # A sampler of one's own may repeat rows.
    if one_by_one or OmegaConf.select(config, "data.sampler.class_path"):
        return
    if (limit := data.get("train_max_samples") or -1) > 0:
        rows = min(rows, limit)
    key = "gen_batch_size" if data.get("gen_batch_size") else "train_batch_size"
    if rows < data[key]:
        yield SettingsError(
            f"data.{key}={data[key]}: data.train_files have {rows} rows, and verl leaves out the batch that is not "
            f"full, which leaves none; set data.{key}={rows} or less, or give more rows"
        )


def _model(config: Any) -> Iterator[SettingsError]:
    model = config.actor_rollout_ref.model
    path = str(model.path)
    if "://" in path or not _is_judged_here(config, path):
        return
    folder = Path(path).expanduser()
    key = f"actor_rollout_ref.model.path={path}"
    if folder.exists():
        if model.get("hf_config_path") is None and not (folder / "config.json").is_file():
            yield SettingsError(f"{key}: the folder has no config.json; give the folder of a Hugging Face model")
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
    has_pool = _wanted_gpus(config) > config.trainer.nnodes * config.trainer.n_gpus_per_node
    if OmegaConf.select(config, backend) == "nccl" and has_pool:
        needs.append((backend, "cupy", "install the cupy of your CUDA, for instance by verl's extra fsdp"))
    for key, package, fix in needs:
        if _is_judged_here(config, package) and not _can_be_found(package):
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
        if _is_judged_here(config, module) and not _can_be_found(module):
            yield SettingsError(
                f"{key}={path}: there is no module {module}; correct it, or install it into the environment that has "
                "verl"
            )
        return
    file = path.removeprefix("file://")
    if not os.path.exists(file) and _is_judged_here(config, file):
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
    if cpu.is_asked_for() or OmegaConf.select(config, "trainer.device") != "cuda" or not _is_rays_own(config):
        return
    wanted = _wanted_gpus(config)
    given = OmegaConf.select(config, "ray_kwargs.ray_init.num_gpus")
    there = _visible_gpus() if given is None else given
    if there is not None and there < wanted:
        where = f"this machine shows {there}" if given is None else f"ray_kwargs.ray_init.num_gpus={given}"
        trainer = config.trainer
        yield SettingsError(
            f"trainer.nnodes={trainer.nnodes} and trainer.n_gpus_per_node={trainer.n_gpus_per_node}: trainer and "
            f"rollout ask for {wanted} GPUs and {where}; lower them, or set RAY_ADDRESS to a cluster that has them"
        )


def _wanted_gpus(config: Any) -> int:
    from omegaconf import OmegaConf

    wanted = config.trainer.nnodes * config.trainer.n_gpus_per_node
    apart = OmegaConf.select(config, "trainer.v1.trainer_mode") == "separate_async"
    pool = config.get("rollout") or (config.actor_rollout_ref.rollout if apart else {})
    return wanted + int(pool.get("nnodes") or 0) * int(pool.get("n_gpus_per_node") or 0)


def _visible_gpus() -> int | None:
    """What a Ray that starts here would count, by its own means; None where the accelerators are of another kind."""
    from ray._private.accelerators import get_accelerator_manager_for_resource

    # verl itself turns trainer.device to npu where there are some.
    if get_accelerator_manager_for_resource("NPU").get_current_node_num_accelerators():
        return None
    manager = get_accelerator_manager_for_resource("GPU")
    count, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    return count if visible is None else min(count, len(visible))


def _is_rays_own(config: Any) -> bool:
    from omegaconf import OmegaConf

    return cluster_address(OmegaConf.select(config, "ray_kwargs.ray_init") or {}) == "local"


def _is_judged_here(config: Any, path: str) -> bool:
    """Whether what is not found here cannot be found by a worker either."""
    from omegaconf import OmegaConf

    sent = OmegaConf.select(config, "ray_kwargs.ray_init.runtime_env") or {}
    elsewhere = any(sent.get(name) for name in ("working_dir", "py_modules", "pip", "conda", "uv", "image_uri"))
    return _is_rays_own(config) and (not elsewhere or path.startswith(("/", "~")))


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) else [str(name) for name in value]
