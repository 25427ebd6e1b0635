"""Validates between two steps: exports the policy, samples by vLLM, grades, and measures how far it has moved."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from verl.utils.device import get_device_name
from verl.utils.memory_utils import aggressive_empty_cache

from frpo_verl.trainers import export, graded, offline_data, sampler, sampling, validation
from frpo_verl.trainers.worker import OfflineWorker


class Validator:
    """Runs on every rank at once.

    Args:
        config: the whole configuration.
        worker: of the run.
        model: the folder that the policy was loaded from.
    """

    def __init__(self, config: Any, worker: OfflineWorker, model: Path) -> None:
        from pyarrow import parquet

        self._config, self._worker, self._model = config, worker, model
        self._rank, self._ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._folder = Path(config.trainer.default_local_dir) / "validation"
        self._reward = validation.reward_function(config)
        (self._file,) = graded.listed(config.data.val_files)
        self._prompts = parquet.read_table(self._file).to_pylist()

    def __call__(self, step: int) -> dict[str, float]:
        """Validates, and returns the figures, the same on every rank."""
        export.write(self._worker.engine, self._model, self._folder / "model", writes=self._rank == 0)
        if self._rank == 0:
            for part in self._folder.glob("part-*"):
                part.unlink()
        torch.distributed.barrier()
        with _off_device(self._worker.engines):
            self._sample()
            torch.distributed.barrier()
        lines = validation.read_all(self._folder)
        found: list[Any] = [self._graded(lines, step) if self._rank == 0 else None]
        torch.distributed.broadcast_object_list(found, src=0)
        measured = offline_data.of_samples(lines, self._config.validation.measured)
        return found[0] | self._worker.moved(measured)

    def _sample(self) -> None:
        of = self._config.validation
        server = of.tensor_model_parallel_size
        # Ranks on a CPU share its cores: a second server would only start beside the first.
        ranks = self._ranks if get_device_name() == "cpu" else server
        if self._rank % ranks:
            return
        spec = sampling.Spec(
            model=str(self._folder / "model"),
            prompts=self._file,
            out=str(self._folder / f"part-{self._rank}.jsonl"),
            n=of.n,
            temperature=of.temperature,
            top_p=of.top_p,
            max_tokens=of.max_response_length,
            max_prompt_tokens=of.max_prompt_length,
            seed=self._config.data.seed,
            rows=list(range(self._rank // ranks, len(self._prompts), self._ranks // ranks)),
            engine={
                "tensor_parallel_size": server,
                "gpu_memory_utilization": of.gpu_memory_utilization,
                **dict(of.engine_kwargs),
            },
            template=dict(self._config.data.get("apply_chat_template_kwargs", {})),
        )
        sampler.run(spec, _visible(int(os.environ["LOCAL_RANK"]), server))

    def _graded(self, lines: Sequence[dict[str, Any]], step: int) -> dict[str, float]:
        dumped = list(validation.graded(lines, self._prompts, self._reward))
        given = self._config.trainer.validation_data_dir
        validation.dump(dumped, Path(given) if given else self._folder, step)
        return validation.figures(dumped, self._config.validation.n)


@contextlib.contextmanager
def _off_device(engines: Sequence[Any]) -> Iterator[None]:
    """Keeps engines on the CPU for a while, with all that an update needs."""
    device = get_device_name()
    if device == "cpu":
        yield
        return
    for engine in engines:
        engine.to("cpu", model=True, optimizer=True, grad=True)
    aggressive_empty_cache(force_sync=True)
    yield
    for engine in engines:
        stays = engine.is_param_offload_enabled
        engine.to(device, model=not stays, optimizer=not engine.is_optimizer_offload_enabled, grad=not stays)


def _visible(first: int, count: int) -> dict[str, str]:
    """Returns the environment in which a process sees so many of this node's devices, from a local rank's on."""
    return sampler.visible(first, count) if get_device_name() == "cuda" else {}
