"""Checks that the files with a run's problems exist and have the columns and rows that verl reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.preflight.ray_names import is_judged_here

DATA_COMMAND = "`frpo-verl data NAME --output DIR`"

READ_BY_REWARDS = ("naive", "dapo", "gdpo", "rate_limited", "remote")
"""verl's reward managers that read `data_source` and `reward_model.ground_truth` of every row."""


def problems(config: Any) -> Iterator[str]:
    """Yields what makes verl fail on its training and validation files."""
    from omegaconf import OmegaConf

    if OmegaConf.select(config, "data.custom_cls.path") is not None:
        return
    rows = []
    for key in ("data.train_files", "data.val_files"):
        for name in _listed(OmegaConf.select(config, key)):
            problem, count = _file(config, key, name)
            if problem is not None:
                yield problem
            if key == "data.train_files":
                rows.append(count)
    if rows and None not in rows:
        yield from _batch(config, sum(rows))


def _file(config: Any, key: str, name: str) -> tuple[str | None, int | None]:
    """Returns what is wrong with a file, and its number of rows where its format tells it."""
    if "://" in name or any(sign in name for sign in "*?["):
        return None, None
    if not name.endswith((".parquet", ".json", ".jsonl")):
        return f"{key}={name}: verl reads .parquet, .json and .jsonl; {DATA_COMMAND} makes parquet", None
    file = Path(name).expanduser()
    if not file.exists():
        missing = f"{key}={name}: there is no such file; correct the path, or make it, for instance by {DATA_COMMAND}"
        return missing if is_judged_here(config, name) else None, None
    if not name.endswith(".parquet") or not file.is_file():
        return None, None
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(file) as opened:
            return _columns(config, key, name, opened.schema_arrow), opened.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        return f"{key}={name}: not a valid parquet file ({reason}); regenerate it", None


def _columns(config: Any, key: str, name: str, schema: Any) -> str | None:
    """Returns which columns verl's `RLHFDataset` and reward managers would miss."""
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
        f"{key}={name}: it has no column {', '.join(missing)}, only {', '.join(schema.names)}; make it by "
        f"{DATA_COMMAND}, or name the column that holds it"
    )


def _rewards_read_rows(config: Any) -> bool:
    """Returns True where one of verl's reward managers reads every row."""
    from omegaconf import OmegaConf

    def value(key: str) -> Any:
        return OmegaConf.select(config, key)

    manager = value("reward_model.reward_manager") or value("reward.reward_manager.name")
    source = value("reward_model.reward_loop_source") or value("reward.reward_manager.source")
    elsewhere = (
        "reward_model.enable",
        "reward.reward_model.enable",
        "distillation.enabled",
        # The user's own agent loop may bring the reward.
        "actor_rollout_ref.rollout.agent.agent_loop_config_path",
        "actor_rollout_ref.rollout.agent.agent_loop_manager_class",
    )
    return manager in READ_BY_REWARDS and source == "register" and not any(map(value, elsewhere))


def _batch(config: Any, rows: int) -> Iterator[str]:
    from omegaconf import OmegaConf

    data, mode = config.data, OmegaConf.select(config, "trainer.v1.trainer_mode")
    v1 = OmegaConf.select(config, "trainer.use_v1") and "async_training" not in config
    one_by_one = v1 and (
        mode != "sync"
        or OmegaConf.select(config, "algorithm.filter_groups.enable")
        or OmegaConf.select(config, "trainer.v1.sampler.sync_refill_failed_groups")
    )
    # The user's own sampler may repeat rows.
    if one_by_one or OmegaConf.select(config, "data.sampler.class_path"):
        return
    if (limit := data.get("train_max_samples") or -1) > 0:
        rows = min(rows, limit)
    key = "gen_batch_size" if data.get("gen_batch_size") else "train_batch_size"
    if rows < data[key]:
        yield (
            f"data.{key}={data[key]}: data.train_files have {rows} rows, and verl drops the last incomplete batch, so "
            f"no batch would remain; set data.{key}={rows} or less, or give more rows"
        )


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) else [str(name) for name in value]
