"""What a micro-batch leaves in memory until its backward pass."""

from typing import NamedTuple

from frpo_verl.plan.model import Model

HALF = 2
"""Bytes of bfloat16 and float16."""


class Logits(NamedTuple):
    """How verl turns logits into log-probs.

    Attributes:
        fused: `use_fused_kernels`: the logits are made chunk by chunk and never kept.
        chunk: tokens at a time for the entropy (`entropy_from_logits_chunk_size`), 0 for all at once.
        entropy: whether the update needs the entropy too.
        scaled: whether a temperature other than 1 makes a copy.
    """

    fused: bool
    chunk: int
    entropy: bool
    scaled: bool


def of_layer(model: Model) -> float:
    """A token's tensors that one layer keeps for its backward pass.

    8·hidden + 5·(query + key) + 4·wide + 2·routes·hidden elements of half precision: the inputs and outputs of the
    linear layers, of RMSNorm (one of them in float32), of rotary embedding, attention and SwiGLU; with experts, a
    token's copies for them and back. Counted on transformers' Qwen3 and Qwen3-MoE (`tests/plan/test_activations.py`);
    attention is taken to keep no matrix of scores (flash attention). Kernels that fuse these keep less: compare
    Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", table 2.

    Args:
        model: the model.

    Returns:
        Bytes.
    """
    elements = 8 * model.hidden + 5 * (model.query + model.key) + 4 * model.wide + 2 * model.routes * model.hidden
    return HALF * elements


def between_layers(model: Model) -> float:
    """What gradient checkpointing keeps of a token: the input of a layer.

    Args:
        model: the model.

    Returns:
        Bytes a layer.
    """
    return HALF * model.hidden


def logits_of_update(model: Model, how: Logits, tokens: float, split: int) -> float:
    """Logits and what is made of them when the policy is updated.

    FSDP (`logprobs_from_logits`, `entropy_from_logits` of verl): the logits, their gradient, a copy for the
    temperature; for the entropy the softmax, its product with the logits, and a gradient of each, which chunks do not
    spare since the backward pass needs them all. Megatron (`vocab_parallel_cross_entropy`) works in float32 on a part
    of the vocabulary.

    Args:
        model: the model.
        how: verl's settings.
        tokens: in a rank's micro-batch.
        split: among how many ranks Megatron splits the vocabulary; 0 with FSDP.

    Returns:
        Bytes.
    """
    if how.fused:
        return 0
    elements = tokens * model.vocabulary
    if split:
        # The logits, exp in float32, the gradient in float32; the entropy's clone, softmax and gradient.
        return elements / split * (HALF + 4 + 4 + 3 * HALF * how.entropy)
    return HALF * elements * (2 + how.scaled + 4 * how.entropy)


def logits_of_forward(model: Model, how: Logits, tokens: float, split: int) -> float:
    """Logits and what is made of them without gradients: verl asks for the entropy of old log-probs always.

    Args:
        model: the model.
        how: verl's settings.
        tokens: in a rank's micro-batch.
        split: among how many ranks Megatron splits the vocabulary; 0 with FSDP.

    Returns:
        Bytes.
    """
    if how.fused:
        return 0
    elements = tokens * model.vocabulary
    if split:
        return elements / split * (HALF + 4 + 2 * HALF)
    # Softmax and product: in the logits' dtype, or chunk by chunk in float32 with a copy.
    at_once = min(how.chunk, tokens) * model.vocabulary * 3 * 4 if how.chunk else 2 * HALF * elements
    return HALF * elements * (1 + how.scaled) + at_once
