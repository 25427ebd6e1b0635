"""What the estimate needs of a model, counted on the model itself, made without memory."""

import re
from pathlib import Path
from typing import Any, NamedTuple

LAYER = re.compile(r"\.layers\.(\d+)\.")


class UnknownModel(ValueError):
    """A model whose configuration cannot be had here."""


class Model(NamedTuple):
    """Parameters by where they are, and widths.

    Attributes:
        parameters: all, tied ones once.
        in_layers: of these, in transformer layers.
        experts: of these, in experts that tokens are routed to.
        replicated: of those in layers, what tensor parallelism does not split: norms and routers.
        embedding: the input embedding.
        head: the output layer; 0 where it is the embedding.
        adapters: of LoRA, not among `parameters`.
        layers: how many there are.
        hidden: elements of a token between layers.
        query: elements of all query heads.
        key: elements of all key heads.
        wide: elements inside a token's MLP, or inside all experts that it goes to.
        routes: experts that a token goes to; 0 without experts.
        vocabulary: elements of a token's logits.
    """

    parameters: int
    in_layers: int
    experts: int
    replicated: int
    embedding: int
    head: int
    adapters: int
    layers: int
    hidden: int
    query: int
    key: int
    wide: int
    routes: int
    vocabulary: int


def read(section: Any) -> Model:
    """Counts a model that verl would load.

    Args:
        section: verl's `actor_rollout_ref.model`, or `critic.model`.

    Returns:
        The model.

    Raises:
        UnknownModel: its configuration is neither a file here nor to be had from the hub.
    """
    from transformers import AutoConfig

    path = str(section.get("hf_config_path") or section.path)
    local = Path(path).expanduser()
    if not local.exists() and path.startswith(("/", ".", "~")):
        raise UnknownModel(f"actor_rollout_ref.model.path={path}: there is no such folder; correct the path")
    try:
        found = AutoConfig.from_pretrained(
            str(local) if local.exists() else path, trust_remote_code=section.get("trust_remote_code", False)
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnknownModel(
            f"actor_rollout_ref.model.path={path}: its config.json cannot be had here ({reason}), so no memory is "
            "estimated; give a folder that has it"
        ) from None
    return count(found, lora_rank(section), section.get("target_modules") or "all-linear")


def lora_rank(section: Any) -> int:
    """The rank of LoRA adapters, by verl's key of FSDP or that of Megatron.

    Args:
        section: verl's `actor_rollout_ref.model`.

    Returns:
        The rank; 0 without LoRA.
    """
    return max((section.get("lora") or {}).get("rank", 0), section.get("lora_rank", 0))


def count(config: Any, rank: int = 0, target_modules: Any = "all-linear") -> Model:
    """Counts the parameters of a causal language model.

    Args:
        config: of Hugging Face's transformers.
        rank: of LoRA; 0 for none.
        target_modules: what LoRA adapts, as verl has it.

    Returns:
        The model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config)
    sizes = {name: parameter.numel() for name, parameter in made.named_parameters()}
    inside = {name: size for name, size in sizes.items() if LAYER.search(name)}
    embedding = made.get_input_embeddings().weight
    head = made.get_output_embeddings().weight
    text = config.get_text_config()
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    routes = getattr(text, "num_experts_per_tok", None) or 0
    shared = getattr(text, "shared_expert_intermediate_size", None) or 0
    return Model(
        parameters=sum(sizes.values()),
        in_layers=sum(inside.values()),
        experts=sum(size for name, size in inside.items() if ".experts." in name),
        replicated=sum(size for name, size in inside.items() if "norm" in name or name.endswith("mlp.gate.weight")),
        embedding=embedding.numel(),
        head=0 if head is embedding else head.numel(),
        adapters=_adapters(made, rank, target_modules) if rank else 0,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        query=heads * width,
        key=(getattr(text, "num_key_value_heads", None) or heads) * width,
        wide=routes * text.moe_intermediate_size + shared if routes else text.intermediate_size,
        routes=routes,
        vocabulary=text.vocab_size,
    )


def _adapters(made: Any, rank: int, target_modules: Any) -> int:
    import torch
    from omegaconf import ListConfig
    from peft import LoraConfig, get_peft_model

    modules = list(target_modules) if isinstance(target_modules, ListConfig) else target_modules
    with torch.device("meta"):
        adapted = get_peft_model(made, LoraConfig(task_type="CAUSAL_LM", r=rank, target_modules=modules, bias="none"))
    return sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
