"""verl's training worker with the reference next to the policy."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine import EngineRegistry
from verl.workers.engine_workers import TrainingWorker

from frpo_verl.trainers import figures
from frpo_verl.trainers.batches import Collator, fields
from frpo_verl.trainers.objective import FIELDS, Objective
from frpo_verl.trainers.offline_data import Row
from frpo_verl.trainers.reference import Reference
from frpo_verl.trainers.settings import Settings

DIVERGENCE, ENTROPY = "fpa/divergence_to_ref/token_mean", "fpa/sampled_entropy/token_mean"
"""The result of `moved`."""


class OfflineWorker(TrainingWorker):
    """Trains the policy by an `Objective`; in each step the reference is ready for its micro-batches.

    Args:
        config: verl's, of the policy.
        settings: what `fpa.*` says.
        run: the whole configuration.
    """

    def __init__(self, config: TrainingWorkerConfig, settings: Settings, run: DictConfig) -> None:
        super().__init__(config=config)
        self._settings, self._run = settings, run
        self._reference = None
        if settings.runs_reference or (run.data.val_files and settings.reference_cache is None):
            model = reference_model(run.model, settings.reference_path)
            second = None if model is None else _engine(config, model)
            self._reference = Reference(second or self.engine, is_policy=second is None)
        self.set_loss_fn(Objective(settings, self._reference if settings.runs_reference else None))
        self.after_update: Callable[[], dict[str, float]] = dict

    @property
    def engines(self) -> list[Any]:
        """Returns the policy's engine, and that of a reference of its own."""
        second = [] if self._reference is None or self._reference.is_policy else [self._reference.engine]
        return [self.engine, *second]

    def reset(self) -> None:
        """Initialises the engines, the policy last and from the run's seed: an adapter starts from random weights."""
        for engine in self.engines[1:]:
            engine.initialize()
        torch.manual_seed(self._run.data.seed)
        super().reset()

    def train_batch(self, data: Any) -> Any:
        """Returns verl's output of an update, whose figures are numbers."""
        # a pair is a group of two rows, which verl keeps in one micro-batch
        tu.assign_non_tensor(data, force_group_size=2 if self._settings.is_pairwise else 1)
        with self._ready(data):
            output = super().train_batch(data)
        more = self.after_update()
        if output is not None:
            tu.assign_non_tensor(output, metrics=figures.means(tu.get(output, "metrics")) | more)
        return output

    def moved(self, rows: Sequence[list[Row]]) -> dict[str, float]:
        """Measures the policy on its own samples, the same on all ranks.

        Args:
            rows: samples as `offline_data` makes them, each with the advantage 1.

        Returns:
            Means over their tokens of log π_θ − log π_ref, an estimate of the divergence from the reference, and of
            −log π_θ, one of the entropy; nothing on ranks without outputs.
        """
        rank, size = self.engine.get_data_parallel_rank(), self.engine.get_data_parallel_size()
        own = rows[: len(rows) // size * size][rank::size]
        if not own:
            return {}
        given = fields(self._run, self.model_config.tokenizer.pad_token_id, len(own) * size)
        data = tu.get_tensordict(Collator(self._run.data.pad_mode)(own), given)
        loss_fn = self.loss_fn
        self.set_loss_fn(Objective(self._settings._replace(loss="outcome", lam=0.0), self._reference))
        with self._ready(data):
            output = self.infer_batch(data)
        self.set_loss_fn(loss_fn)
        if output is None:
            return {}
        found = figures.means(tu.get(output, "metrics"))
        moved = {DIVERGENCE: found["fpa/drift/better"]} if self._reference is not None else {}
        return {**moved, ENTROPY: -found["fpa/log_prob/better"]}

    @contextlib.contextmanager
    def _ready(self, data: Any) -> Iterator[None]:
        if self.loss_fn.reference is None:
            yield
            return
        tu.assign_non_tensor(data, **FIELDS)
        with self._reference.ready():
            yield


def reference_model(model: DictConfig, path: str | None) -> DictConfig | None:
    """Returns the `model` section of a reference of its own; None where it is the policy with its adapter off."""
    return None if path is None and has_adapter(model) else without_adapter(model, path)


def without_adapter(model: DictConfig, path: str | None) -> DictConfig:
    """Returns the `model` section of a model that only runs forward: that of `path`, or the policy's base."""
    no_adapter = {"lora_rank": 0, "lora_adapter_path": None, "lora": {"rank": 0, "adapter_path": None}}
    of_training = {"enable_gradient_checkpointing": False, "enable_activation_offload": False}
    return OmegaConf.merge(model, {"path": path or model.path, **no_adapter, **of_training})


def has_adapter(model: DictConfig) -> bool:
    """Returns True for LoRA, under the keys of either engine."""
    return model.lora_rank > 0 or model.lora.rank > 0 or model.get("lora_adapter_path") is not None


def _engine(config: TrainingWorkerConfig, model: DictConfig) -> Any:
    """Makes a second engine of the policy's kind and layout that only runs forward; verl may keep it on the CPU."""
    model_config, engine_config = omega_conf_to_dataclass(model), deepcopy(config.engine_config)
    model_config.model_type = config.model_type
    engine_config.forward_only = True
    return EngineRegistry.new(
        model_type=config.model_type,
        backend=engine_config.strategy,
        model_config=model_config,
        engine_config=engine_config,
        optimizer_config=config.optimizer_config,
        checkpoint_config=config.checkpoint_config,
    )
