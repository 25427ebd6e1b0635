"""What layers keep for the backward pass, against what real ones keep."""

import pytest

pytest.importorskip("transformers")
import torch
from plan.published import TINY, TINY_EXPERTS
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3MoeConfig

from frpo_verl.plan import activations, model
from frpo_verl.plan.activations import Logits

WIDER = {"hidden_size": 128, "intermediate_size": 768, "head_dim": 64, "vocab_size": 64}
TOKENS = 128


def kept(config, layers: int) -> int:
    """Bytes that a real model keeps, its weights apart."""
    config = type(config)(**{**config.to_dict(), "num_hidden_layers": layers, "layer_types": None})
    made = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    weights = {parameter.untyped_storage().data_ptr() for parameter in made.parameters()}
    storages, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
            # Freed, its place could be another's.
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        alive.append(made.model(torch.randint(0, config.vocab_size, (1, TOKENS)), use_cache=False))
    return sum(storages.values())


@pytest.mark.parametrize(
    "config",
    [
        Qwen3Config(**TINY, tie_word_embeddings=True),
        Qwen3Config(**{**TINY, **WIDER}, tie_word_embeddings=True),
        Qwen3MoeConfig(**{**TINY_EXPERTS, **WIDER, "moe_intermediate_size": 96}),
    ],
    ids=["narrow", "wide", "experts"],
)
def test_a_layer_keeps_what_is_counted(config):
    measured = (kept(config, 3) - kept(config, 2)) / TOKENS
    # Statistics of norms, indices and weights of routes are not counted.
    assert activations.of_layer(model.count(config)) == pytest.approx(measured, rel=0.09)


@pytest.mark.parametrize(
    ("how", "copies_in_update", "copies_in_forward"),
    [
        (Logits(fused=True, chunk=0, entropy=True, scaled=True), 0, 0),
        (Logits(fused=False, chunk=0, entropy=False, scaled=False), 2, 3),
        (Logits(fused=False, chunk=0, entropy=False, scaled=True), 3, 4),
        (Logits(fused=False, chunk=0, entropy=True, scaled=False), 6, 3),
    ],
)
def test_logits_by_their_copies(how, copies_in_update, copies_in_forward):
    found = model.count(Qwen3Config(**TINY))
    size = 10 * 96 * 2
    assert activations.logits_of_update(found, how, 10, 0) == copies_in_update * size
    assert activations.logits_of_forward(found, how, 10, 0) == copies_in_forward * size


def test_chunks_spare_the_forward_pass_and_not_the_backward():
    found = model.count(Qwen3Config(**TINY))
    at_once, chunked = (Logits(fused=False, chunk=chunk, entropy=True, scaled=False) for chunk in (0, 2))
    assert activations.logits_of_forward(found, chunked, 1000, 0) < activations.logits_of_forward(
        found, at_once, 1000, 0
    )
    assert activations.logits_of_update(found, chunked, 1000, 0) == activations.logits_of_update(
        found, at_once, 1000, 0
    )


def test_megatron_splits_the_vocabulary():
    found, how = model.count(Qwen3Config(**TINY)), Logits(fused=False, chunk=0, entropy=False, scaled=False)
    assert activations.logits_of_update(found, how, 10, 4) == 10 * 96 / 4 * (2 + 4 + 4)
