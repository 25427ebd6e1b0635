"""verl's training worker with the reference next to the policy."""

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine import EngineRegistry
from verl.workers.engine_workers import TrainingWorker

from frpo_verl.trainers import figures
from frpo_verl.trainers.objective import FIELDS, Objective
from frpo_verl.trainers.reference import Reference
from frpo_verl.trainers.settings import Settings


class OfflineWorker(TrainingWorker):
    """Trains the policy by an `Objective`; in each step the reference is ready for its micro-batches."""

    def __init__(self, config: TrainingWorkerConfig, settings: Settings, reference_model: DictConfig | None) -> None:
        """Makes the engines, not yet initialised.

        Args:
            config: verl's, of the policy.
            settings: what `fpa.*` says.
            reference_model: the reference's `model` section; None where it is the policy with its adapter off, or
                where the loss has no reference.
        """
        super().__init__(config=config)
        self._settings = settings
        self._reference = None
        if settings.needs_reference:
            second = None if reference_model is None else _engine(config, reference_model)
            self._reference = Reference(second or self.engine, is_policy=second is None)
        self.set_loss_fn(Objective(settings, self._reference))

    def reset(self) -> None:
        """Initialises the engines: the reference first, so that the random state is the policy's last."""
        if self._reference is not None and not self._reference.is_policy:
            self._reference.engine.initialize()
        super().reset()

    def train_batch(self, data: Any) -> Any:
        """Returns verl's output of an update, whose figures are numbers."""
        with self._ready(data):
            output = super().train_batch(data)
        if output is not None:
            tu.assign_non_tensor(output, metrics=figures.means(tu.get(output, "metrics")))
        return output

    @contextlib.contextmanager
    def _ready(self, data: Any) -> Iterator[None]:
        # a pair is a group of two rows that verl keeps in one micro-batch
        tu.assign_non_tensor(data, force_group_size=2 if self._settings.is_pairwise else 1)
        if self._reference is None:
            yield
            return
        tu.assign_non_tensor(data, **FIELDS)
        with self._reference.ready():
            yield


def reference_model(model: DictConfig, path: str | None) -> DictConfig | None:
    """Returns the `model` section of a reference of its own; None where it is the policy with its adapter off."""
    if path is None and _has_adapter(model):
        return None
    without_adapter = {"lora_rank": 0, "lora_adapter_path": None, "lora": {"rank": 0, "adapter_path": None}}
    of_training = {"enable_gradient_checkpointing": False, "enable_activation_offload": False}
    return OmegaConf.merge(model, {"path": path or model.path, **without_adapter, **of_training})


def _has_adapter(model: DictConfig) -> bool:
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
