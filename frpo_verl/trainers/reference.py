"""Runs the reference on a micro-batch of the policy's, in the policy's own layout: packing, split sequence, vocabulary.

A pass is verl's own `forward_step`, whose "loss function" keeps the logits that it is shown. Of full fine-tuning the
reference is a second engine; of LoRA it is the policy's engine with the adapter off.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from frpo_verl.losses.vocabulary import WHOLE, Part, part_of


class Reference:
    """The logits of the reference for what the policy has just computed.

    Args:
        engine: verl's.
        is_policy: the engine is the policy's, whose adapter is to be off.
    """

    def __init__(self, engine: Any, is_policy: bool) -> None:
        self.engine, self.is_policy = engine, is_policy

    @property
    def part(self) -> Part:
        """Returns the part of the vocabulary that this rank holds."""
        if not _is_megatron(self.engine) or self.engine.engine_config.tensor_model_parallel_size == 1:
            return WHOLE
        from megatron.core import parallel_state

        return part_of(parallel_state.get_tensor_model_parallel_group())

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Holds a second engine in evaluation mode, on the device."""
        with contextlib.nullcontext() if self.is_policy else self.engine.eval_mode():
            yield

    def logits_and_labels(self, micro_batch: Any, data_format: str | None) -> tuple[Tensor, Tensor]:
        """Computes h_ref at every position, and the token that follows there.

        Args:
            micro_batch: as the policy's engine has it, with `objective.FIELDS`.
            data_format: what Megatron's engine says of its layout; None for FSDP.

        Returns:
            The logits without a gradient, and the labels, both in the layout of the policy's logits.
        """
        found: list[Tensor] = []

        def keep(model_output: Any = None, student_logits: Tensor | None = None, **_: Any) -> Any:
            if student_logits is None:
                return torch.zeros(()), {}
            found.append(student_logits)
            return {}

        with torch.no_grad(), self._without_adapter():
            if data_format is None:
                self.engine.forward_step(micro_batch, loss_function=keep, forward_only=True)
                labels = self.engine.prepare_model_inputs(micro_batch)[1]["input_ids_rmpad_rolled"]
            else:
                _megatron_step(self.engine, micro_batch, keep)
                labels = _megatron_labels(micro_batch, data_format)
        return found[0], labels

    @contextlib.contextmanager
    def _without_adapter(self) -> Iterator[None]:
        if not self.is_policy:
            yield
            return
        modules = self.engine.module if isinstance(self.engine.module, list) else [self.engine.module]
        was_training = [module.training for module in modules]
        with self.engine.disable_adapter():
            for module in modules:
                module.eval()
            yield
            for module, training in zip(modules, was_training, strict=True):
                module.train(training)


def _is_megatron(engine: Any) -> bool:
    return engine.engine_config.strategy == "megatron"


def _megatron_step(engine: Any, micro_batch: Any, keep: Callable) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        """Takes the place of what turns outputs into a loss."""

    (module,) = engine.module
    engine.forward_step(iter([micro_batch]), module, logits_processor_func=keep, postprocess_micro_batch_func=nothing)


def _megatron_labels(micro_batch: Any, data_format: str) -> Tensor:
    from verl.models.mcore.util import preprocess_bshd_engine, preprocess_thd_engine
    from verl.utils import tensordict_utils as tu

    input_ids = micro_batch["input_ids"]
    if data_format == "thd":
        return preprocess_thd_engine(input_ids, pre_process=True, need_roll=True)[0]
    # verl pads every micro-batch to the longest row of the batch
    longest = tu.get_non_tensor_data(micro_batch, key="forced_max_seqlen", default=None)
    return preprocess_bshd_engine(input_ids, pre_process=True, need_roll=True, forced_max_seqlen=longest)[0]
