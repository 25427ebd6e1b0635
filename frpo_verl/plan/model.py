"""Reads the size of a model from its configuration, made without memory."""

from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.preflight import model_folder
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


def read(section: Any, key: str = "actor_rollout_ref.model") -> Model:
    """Returns the size of a role's model from verl's `model` section; one that cannot be told is a SettingsError."""
    from transformers import AutoConfig

    path = str(section.get("hf_config_path") or section.path)
    local, trust = Path(path).expanduser(), bool(section.get("trust_remote_code", False))
    if not local.exists() and model_folder.is_path(path):
        raise SettingsError(f"{key}.path={path}: there is no such folder; correct the path")
    try:
        found = AutoConfig.from_pretrained(str(local) if local.exists() else path, trust_remote_code=trust)
    # transformers raises what it meets in the file, and a model's own code whatever it likes.
    except Exception as error:
        raise SettingsError(
            f"{key}.path={path}: its config.json cannot be read ({_one_line(error)}), so no memory is estimated; give "
            "a folder that has it"
        ) from None
    try:
        size = count(found, trust_remote_code=trust)
    except Exception as error:
        raise SettingsError(
            f"{key}.path={path}: no memory is estimated, since transformers cannot make a model of type "
            f"{found.model_type} without its weights ({_one_line(error)}); the run itself is not affected"
        ) from None
    rank = max((section.get("lora") or {}).get("rank", 0), section.get("lora_rank") or 0)
    return size._replace(trained=0) if rank or section.get("lora_adapter_path") else size


def count(config: Any, *, trust_remote_code: bool = False) -> Model:
    """Counts the parameters of a model from its configuration of Hugging Face's transformers."""
    import torch

    with torch.device("meta"):
        made = _maker(config).from_config(config, trust_remote_code=trust_remote_code)
    sizes = {name: parameter.numel() for name, parameter in made.named_parameters()}
    total = sum(sizes.values())
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    head = made.get_output_embeddings() or made.get_input_embeddings()
    return Model(total, experts, total, head.weight.shape[0])


def _maker(config: Any) -> Any:
    """Returns the class of transformers by which verl makes a model: with images if it has them, else with a head."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

    own = getattr(config, "auto_map", None) or {}
    known = (AutoModelForImageTextToText, AutoModelForCausalLM)
    return next((each for each in known if type(config) in each._model_mapping or each.__name__ in own), AutoModel)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
