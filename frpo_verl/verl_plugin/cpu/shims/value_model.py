"""Loads a critic's model with an attention that runs without a GPU."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _load_with_sdpa(host: Callable, local_path, torch_dtype, model_config, trust_remote_code):
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification.from_pretrained(
        local_path,
        dtype=torch_dtype,
        config=model_config,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
    )


def _is_needed(model: ModuleType) -> bool:
    return 'attn_implementation="flash_attention_2"' in inspect.getsource(model.load_valuehead_model)


def _apply(model: ModuleType) -> None:
    wrap(model, "load_valuehead_model", _load_with_sdpa)


SHIM = Shim(
    name="critic without flash-attn",
    module="verl.utils.model",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl loads a critic's model with flash-attn, which has no CPU build, whatever the configuration says",
    is_needed=_is_needed,
    apply=_apply,
)
