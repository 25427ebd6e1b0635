"""verl's SFT trainer on graded responses, with an objective of ours in its worker."""

from collections.abc import Sequence
from typing import Any

import torch
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils.dataset.dataset_utils import SFTTensorCollator
from verl.workers.config import TrainingWorkerConfig

from frpo_verl.trainers import worker
from frpo_verl.trainers.offline_data import Row
from frpo_verl.trainers.settings import Settings


class Collator(SFTTensorCollator):
    """verl's collator for items of several rows, and for one number of each row."""

    def __call__(self, batch: Sequence[list[Row]]) -> dict[str, Any]:
        """Returns the batch: nested tensors of rows of their own length, and `advantages` (rows,)."""
        rows = [dict(row) for item in batch for row in item]
        advantages = torch.stack([row.pop("advantages") for row in rows])
        return {**super().__call__(rows), "advantages": advantages}


class OfflineTrainer(SFTTrainer):
    """Loop, checkpoints, resumption, samplers and loggers are verl's."""

    def __init__(self, config: Any, settings: Settings, dataset: Any) -> None:
        """Builds everything, and resumes where there is a checkpoint.

        Args:
            config: the whole configuration.
            settings: what `fpa.*` says.
            dataset: of `offline_data`.
        """
        self.settings, self._dataset = settings, dataset
        super().__init__(config)

    def _build_dataset(self) -> None:
        self.train_dataset, self.val_dataset = self._dataset, None

    def _build_dataloader(self) -> None:
        super()._build_dataloader()
        self.train_dataloader.collate_fn = self.collate_fn = Collator(self.config.data.pad_mode)
        self.train_sampler.seed = self.config.data.seed

    def _build_engine(self) -> None:
        config = TrainingWorkerConfig(
            model_type="language_model",
            model_config=self.model_config,
            engine_config=self.engine_config,
            optimizer_config=self.optimizer_config,
            checkpoint_config=self.checkpoint_config,
            profiler_config=self.profiler_config,
        )
        of_reference = worker.reference_model(self.config.model, self.settings.reference_path)
        self.training_client = worker.OfflineWorker(config, self.settings, of_reference)
        self.engine = self.training_client.engine
