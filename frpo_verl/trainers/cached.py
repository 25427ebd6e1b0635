"""Keeps on disk what the reference says of every response, so that training does without it.

What is kept is log π_ref of each token, 4 bytes. That is all that DPO, RPO and the form without the normaliser read.
The future policy itself needs h_ref over the whole vocabulary at every position: its normaliser is a sum over the
vocabulary that changes with every update of the policy, so that it cannot be kept, whatever λ is.
"""

import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.memory_utils import aggressive_empty_cache
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine_workers import TrainingWorker

from frpo_verl.trainers import worker
from frpo_verl.trainers.batches import Collator, fields
from frpo_verl.trainers.graded import Graded
from frpo_verl.trainers.offline_data import Responses
from frpo_verl.trainers.ragged import Ragged

AT_ONCE = 64
"""Responses of a rank that are computed before they are written."""


def log_probs(config: DictConfig, path: str | None, folder: Path, graded: Graded) -> Ragged:
    """Reads log π_ref of every token of every response, after computing what is not there, on all ranks together.

    Args:
        config: the whole configuration.
        path: `fpa.reference_path`.
        folder: where it is kept, one file for each reference and set of responses.
        graded: the responses.

    Returns:
        One number for each token of `graded.responses`.
    """
    file = folder / f"{name(path or config.model.path, graded)}.npy"
    if not file.exists():
        _compute(config, path, file, graded)
    values = np.load(file, mmap_mode="r")
    return Ragged(values, graded.responses.offsets)


def name(path: str, graded: Graded) -> str:
    """Names a reference and responses: another name for other weights or other tokens."""
    digest = hashlib.sha256()
    for weights in sorted(Path(path).expanduser().glob("*.safetensors")):
        stat = weights.stat()
        digest.update(f"{weights.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    for ragged in (graded.prompts, graded.responses):
        digest.update(np.ascontiguousarray(ragged.values, np.int64).tobytes() + ragged.offsets.tobytes())
    digest.update(graded.first.tobytes() + path.encode())
    return digest.hexdigest()[:32]


def _compute(config: DictConfig, path: str | None, file: Path, graded: Graded) -> None:
    engine_config = omega_conf_to_dataclass(config.engine)
    engine_config.forward_only = True
    reference = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=omega_conf_to_dataclass(worker.without_adapter(config.model, path)),
            engine_config=engine_config,
            optimizer_config=omega_conf_to_dataclass(config.optim),
            checkpoint_config=omega_conf_to_dataclass(config.checkpoint),
            profiler_config=omega_conf_to_dataclass(config.profiler),
        )
    )
    reference.reset()
    engine, partial = reference.engine, file.with_suffix(".partial.npy")
    if torch.distributed.get_rank() == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(partial, "w+", np.float32, (len(graded.responses.values),)).flush()
    torch.distributed.barrier()
    kept = np.lib.format.open_memmap(partial, "r+")
    for responses, output in _batches(config, reference, graded):
        if engine.is_mp_src_rank_with_outputs():
            _write(kept, graded, responses, tu.get(output, "log_probs"))
    kept.flush()
    torch.distributed.barrier()
    if torch.distributed.get_rank() == 0:
        partial.replace(file)
    torch.distributed.barrier()
    del reference, engine
    gc.collect()
    aggressive_empty_cache(force_sync=True)


def _batches(config: DictConfig, reference: TrainingWorker, graded: Graded) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields a rank's responses and verl's output of them; every rank has as many, the last ones of some twice."""
    rank, ranks = reference.engine.get_data_parallel_rank(), reference.engine.get_data_parallel_size()
    count = len(graded.responses)
    own = np.arange(rank, -(-count // ranks) * ranks, ranks) % count
    rows, collate = Responses(graded, np.ones(count)), Collator(config.data.pad_mode)
    for start in range(0, len(own), AT_ONCE):
        responses = own[start : start + AT_ONCE]
        batch = collate([rows[int(i)] for i in responses])
        given = fields(config, reference.model_config.tokenizer.pad_token_id, len(responses) * ranks)
        data = tu.get_tensordict(batch, {**given, "compute_loss": False})
        yield responses, reference.infer_batch(data)


def _write(kept: np.ndarray, graded: Graded, responses: np.ndarray, log_probs: torch.Tensor) -> None:
    for response, values in zip(responses, log_probs.unbind(), strict=True):
        start, stop = graded.responses.offsets[response : response + 2]
        # the position before a token says how likely it is; the last says nothing
        kept[start:stop] = values[-1 - (stop - start) : -1].float().cpu().numpy()
