"""Lets verl's own dataset, chat template and reward manager read the first rows of a file, as a run would."""

import contextlib
import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS = 16
"""Enough to tell a file that verl cannot read from one with an odd row."""

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def objection(config: Any, file: Path, *, is_rewarded: bool) -> str | None:
    """Asks whether verl can use a file's first rows; without the model's tokenizer on this machine nobody can say.

    Args:
        config: verl's whole configuration.
        file: parquet or JSON lines.
        is_rewarded: whether one of verl's reward managers reads the rows.

    Returns:
        What verl raises at every one of them, in one line, or None.
    """
    model = config.actor_rollout_ref.model
    folder = Path(str(model.get("tokenizer_path") or model.path)).expanduser()
    if not any((folder / name).is_file() for name in _TOKENIZER):
        return None
    with tempfile.TemporaryDirectory() as scratch, _quiet() as printed, _cache(scratch):
        sample = _first_rows(file, Path(scratch) / f"rows{file.suffix}")
        try:
            rows, tokenizer = _read(config, folder, sample)
            if not rows:
                return f"its chat template takes none of the first rows: {_last_line(printed.getvalue())}"
            if is_rewarded:
                _reward(config, rows[0], tokenizer)
        # Whatever verl raises here it would raise in the run.
        except Exception as error:
            return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


def _read(config: Any, folder: Path, sample: Path) -> tuple[list[dict[str, Any]], Any]:
    """Returns the rows that verl's dataset makes of a file, those that the chat template takes, and the tokenizer."""
    from omegaconf import OmegaConf
    from verl.utils import hf_processor, hf_tokenizer
    from verl.utils.dataset.rl_dataset import RLHFDataset

    model = config.actor_rollout_ref.model
    tokenizer, processor = (
        load(str(folder), trust_remote_code=model.get("trust_remote_code", False))
        for load in (hf_tokenizer, hf_processor)
    )
    if (template := model.get("custom_chat_template")) is not None:
        (processor or tokenizer).chat_template = template
    # Long prompts are another matter; those that raise are left out by the same filter.
    settings = {"filter_overlong_prompts": True, "filter_overlong_prompts_workers": None, "max_prompt_length": 2**40}
    data = OmegaConf.create({**OmegaConf.to_container(config.data, resolve=True), **settings})
    dataset = RLHFDataset(data_files=[str(sample)], tokenizer=tokenizer, processor=processor, config=data)
    return [dataset[index] for index in range(len(dataset))], tokenizer


def _reward(config: Any, row: dict[str, Any], tokenizer: Any) -> None:
    """Lets verl's reward manager score a response of one token, by a function that gives 0."""
    import torch
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.protocol import DataProto
    from verl.utils.dataset.rl_dataset import collate_fn

    def nothing(**_: Any) -> float:
        return 0.0

    response = {name: torch.ones(1, 1, dtype=torch.long) for name in ("prompts", "responses", "attention_mask")}
    others = {key: value for key, value in collate_fn([row]).items() if not isinstance(value, torch.Tensor)}
    manager = NaiveRewardManager(config, tokenizer, nothing)
    manager.loop.run_until_complete(manager.run_single(DataProto.from_single_dict({**response, **others})))


def _first_rows(file: Path, sample: Path) -> Path:
    if file.suffix != ".parquet":
        with file.open(encoding="utf-8") as lines:
            sample.write_text("".join(itertools.islice(lines, ROWS)))
        return sample
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        batches = itertools.islice(opened.iter_batches(batch_size=ROWS), 1)
        parquet.write_table(pyarrow.Table.from_batches(batches, opened.schema_arrow), sample)
    return sample


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keeps what verl prints, a traceback for each row among it, and drops what is logged as a warning."""
    printed, disabled = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(action="ignore"),
        ):
            yield printed
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _cache(folder: str) -> Iterator[None]:
    """Lets `datasets` copy the rows into a folder that goes away."""
    import datasets

    kept, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, Path(folder)
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = kept


def _last_line(text: str) -> str:
    """Returns the last error of what was printed."""
    errors = [line for line in text.splitlines() if "Error" in line.split(":")[0] and not line.startswith(" ")]
    return (errors or [text.strip()])[-1][:300]
