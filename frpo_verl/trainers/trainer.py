"""verl's SFT trainer on graded responses, with an objective of ours in its worker."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verl.trainer import sft_trainer
from verl.trainer.sft_trainer import SFTTrainer
from verl.workers.config import TrainingWorkerConfig

from frpo_verl.preflight.errors import HostError
from frpo_verl.trainers import worker
from frpo_verl.trainers.batches import Collator
from frpo_verl.trainers.settings import Settings
from frpo_verl.trainers.validator import Validator


class OfflineTrainer(SFTTrainer):
    """Loop, checkpoints, resumption, samplers and loggers are verl's.

    Args:
        config: the whole configuration.
        settings: what `fpa.*` says.
        dataset: of `offline_data`.
    """

    def __init__(self, config: Any, settings: Settings, dataset: Any) -> None:
        self.settings, self._dataset = settings, dataset
        super().__init__(config)
        if not isinstance(self.training_client, worker.OfflineWorker) or self.train_dataset is not dataset:
            raise HostError(
                "verl's SFTTrainer no longer makes its worker and data by the methods that are replaced here"
            )
        if self.resume_global_step % self.steps_per_epoch == 0:
            # The state of an epoch's end would skip the next one: https://github.com/verl-project/verl/issues/7401
            self.train_dataloader.next_iter_state = None
        self._step, self._validator = self.resume_global_step, None
        # verl would look for a loss on validation data
        self._validate_every, self.test_freq = self.test_freq, -1
        if config.data.val_files:
            self._validator = Validator(config, self.training_client, Path(self.model_config.local_path))
            self.training_client.after_update = self._after_update

    def fit(self) -> None:
        """Trains, with validation before, between and after the steps."""
        if self._step >= self.total_training_steps:
            # verl would go through the motions, and its file logger would empty the metrics.
            print(f"frpo-verl: nothing is left: the checkpoint is of step {self._step} of {self.total_training_steps}")
            return
        first = self._validator and self.config.trainer.val_before_train and self._step == 0
        with _logged_first(self._validator(0) if first else {}):
            super().fit()

    def _after_update(self) -> dict[str, float]:
        """Returns what verl logs with the step that has just been made."""
        self._step += 1
        is_due = self._validate_every > 0 and self._step % self._validate_every == 0
        return self._validator(self._step) if is_due or self._step >= self.total_training_steps else {}

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
        self.training_client = worker.OfflineWorker(config, self.settings, self.config)
        self.engine = self.training_client.engine


@contextlib.contextmanager
def _logged_first(figures: dict[str, float]) -> Iterator[None]:
    """Logs figures as those of step 0, as soon as verl's loop has made its loggers."""
    host = sft_trainer.Tracking

    def made(*args: Any, **kwargs: Any) -> Any:
        tracking = host(*args, **kwargs)
        if figures:
            tracking.log(data=figures, step=0)
        return tracking

    sft_trainer.Tracking = made
    try:
        yield
    finally:
        sft_trainer.Tracking = host
