"""Reads the size of a model from its configuration, made without memory."""

from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.preflight.errors import SettingsError


class Model(NamedTuple):
    """A model's parameters (tied ones once), those in routed experts, those that are trained, and its vocabulary.

    Adapters of LoRA are not counted: with them nothing else is trained.
    """

    parameters: int
    experts: int
    trained: int
    vocabulary: int

    @property
    def is_whole(self) -> bool:
        """Returns True where the model itself is trained, not adapters of it."""
        return self.trained == self.parameters


def read(section: Any) -> Model:
    """Returns the size of a role's model from verl's `model` section; one that cannot be read is a SettingsError."""
    from transformers import AutoConfig

    path = str(section.get("hf_config_path") or section.path)
    local = Path(path).expanduser()
    if not local.exists() and path.startswith(("/", ".", "~")):
        raise SettingsError(f"actor_rollout_ref.model.path={path}: there is no such folder; correct the path")
    try:
        found = AutoConfig.from_pretrained(
            str(local) if local.exists() else path, trust_remote_code=section.get("trust_remote_code", False)
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(
            f"actor_rollout_ref.model.path={path}: its config.json cannot be read ({reason}), so no memory is "
            "estimated; give a folder that has it"
        ) from None
    rank = max((section.get("lora") or {}).get("rank", 0), section.get("lora_rank") or 0)
    size = count(found)
    return size._replace(trained=0) if rank or section.get("lora_adapter_path") else size


def count(config: Any) -> Model:
    """Counts the parameters of a causal language model from its configuration of Hugging Face's transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config)
    sizes = {name: parameter.numel() for name, parameter in made.named_parameters()}
    total = sum(sizes.values())
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    return Model(total, experts, total, config.get_text_config().vocab_size)
