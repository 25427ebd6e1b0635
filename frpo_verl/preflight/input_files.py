"""Checks that the files with a run's problems exist and have the columns and rows that verl reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.preflight import first_rows
from frpo_verl.preflight.ray_names import is_judged_here

DATA_COMMAND = "`frpo-verl data NAME --output DIR`"

READ_BY_REWARDS = ("naive", "dapo", "gdpo", "rate_limited", "remote")
"""verl's reward managers that read `data_source` and `reward_model.ground_truth` of every row."""


def problems(config: Any) -> Iterator[str]:
    """Yields what makes verl fail on its training and validation files."""
    from omegaconf import OmegaConf

    if OmegaConf.select(config, "data.custom_cls.path") is not None:
        return
    for key in ("data.train_files", "data.val_files"):
        files = [_file(config, key, name) for name in _listed(OmegaConf.select(config, key))]
        yield from (problem for problem, _ in files if problem is not None)
        rows = [count for _, count in files]
        if not rows or None in rows:
            continue
        if not sum(rows):
            yield f"{key}={OmegaConf.select(config, key)}: it has no rows; make it anew, for instance by {DATA_COMMAND}"
        elif key == "data.train_files":
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
    if name.endswith(".json") or not file.is_file():
        return None, None
    if name.endswith(".jsonl"):
        return _rows(config, key, name, file), None
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(file) as opened:
            problem, count = _columns(config, key, name, opened.schema_arrow), opened.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        return f"{key}={name}: not a valid parquet file ({reason}); regenerate it", None
    return problem if problem or not count else _rows(config, key, name, file), count


def _rows(config: Any, key: str, name: str, file: Path) -> str | None:
    """Returns what verl's own dataset and reward manager say of the first rows."""
    if _has_own_agent_loop(config) and not config.data.get("filter_overlong_prompts"):
        return None
    reason = first_rows.objection(config, file, is_rewarded=_rewards_read_rows(config))
    return reason and f"{key}={name}: verl cannot use its rows ({reason}); make it by {DATA_COMMAND}"


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
        return _texts(config, key, name, schema)
    return (
        f"{key}={name}: it has no column {', '.join(missing)}, only {', '.join(schema.names)}; make it by "
        f"{DATA_COMMAND}, or name the column that holds it"
    )


def _texts(config: Any, key: str, name: str, schema: Any) -> str | None:
    """Returns which column is text, JSON for instance, where verl wants a structure."""
    import pyarrow

    wanted = {} if _has_own_agent_loop(config) else {config.data.get("prompt_key", "prompt"): "a list of messages"}
    if _rewards_read_rows(config):
        wanted["reward_model"] = "a struct with ground_truth"
    for column, what in wanted.items():
        kind = schema.field(column).type
        if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            return f"{key}={name}: its column {column} is text and verl wants {what}; make it by {DATA_COMMAND}"
    return None


def _rewards_read_rows(config: Any) -> bool:
    """Returns True where one of verl's reward managers reads every row."""
    from omegaconf import OmegaConf

    manager = OmegaConf.select(config, "reward.reward_manager") or {}
    if manager.get("name") not in READ_BY_REWARDS or manager.get("source") != "register":
        return False
    elsewhere = ("reward.reward_model.enable", "distillation.enabled")
    # The user's own agent loop may bring the reward.
    return not (_has_own_agent_loop(config) or any(OmegaConf.select(config, key) for key in elsewhere))


def _has_own_agent_loop(config: Any) -> bool:
    from omegaconf import OmegaConf

    agent = OmegaConf.select(config, "actor_rollout_ref.rollout.agent") or {}
    return any(agent.get(key) for key in ("agent_loop_config_path", "agent_loop_manager_class"))


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
