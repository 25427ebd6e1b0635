"""Attention against its definition: padded, packed, and along a context of several ranks."""

import math
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("megatron.core")

from megatron.core.transformer.enums import AttnMaskType  # noqa: E402

from frpo_verl.preflight.errors import HostError  # noqa: E402
from frpo_verl.verl_plugin.cpu.megatron import attention  # noqa: E402

HEADS, GROUPS, WIDTH = 4, 2, 8


def of_definition(query, key, value):
    """softmax(q kᵀ/√d) v of one sequence, (length, heads, width), by loops over heads and positions."""
    out = torch.zeros_like(query)
    for head in range(HEADS):
        k, v = key[:, head * GROUPS // HEADS], value[:, head * GROUPS // HEADS]
        for at in range(len(query)):
            weights = (k[: at + 1] @ query[at, head] / math.sqrt(WIDTH)).softmax(-1)
            out[at, head] = weights @ v[: at + 1]
    return out.flatten(1)


def sequence(length):
    return torch.randn(length, HEADS, WIDTH), torch.randn(length, GROUPS, WIDTH), torch.randn(length, GROUPS, WIDTH)


@pytest.fixture
def layer(monkeypatch):
    monkeypatch.setattr(attention, "_context_size", lambda: 1)
    monkeypatch.setattr(attention, "_context_rank", lambda: 0)
    return made()


def made(**changes):
    config = SimpleNamespace(attention_dropout=0.0, window_size=None, softmax_type="vanilla")
    options = {"attn_mask_type": AttnMaskType.causal, "attention_type": "self", "layer_number": 1}
    for name, value in changes.items():
        if hasattr(config, name):
            setattr(config, name, value)
        else:
            options[name] = value
    return attention.CpuAttention(config, **options)


def packed(lengths, **padded):
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return SimpleNamespace(qkv_format="thd", cu_seqlens_q=ends, cu_seqlens_q_padded=None, **padded)


def test_packed_sequences_do_not_see_each_other(layer):
    parts = [sequence(length) for length in (5, 1, 3)]
    query, key, value = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    expected = torch.cat([of_definition(*part) for part in parts])
    found = layer(query, key, value, None, packed_seq_params=packed([5, 1, 3]))
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_rows_padded_at_their_end(layer):
    rows = [sequence(6) for _ in range(3)]
    query, key, value = (torch.stack(tensors, 1) for tensors in zip(*rows, strict=True))
    found = layer(query, key, value, None)
    assert found.shape == (6, 3, HEADS * WIDTH)
    for number, row in enumerate(rows):
        assert torch.allclose(found[:, number], of_definition(*row), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_of_a_context_have_every_position_once(size):
    held = [attention.held(16, rank, size) for rank in range(size)]
    assert torch.cat(held).sort().values.tolist() == list(range(16))
    # zigzag: the first and the last chunk weigh together as much as any other pair
    assert len({int(positions.sum()) for positions in held}) == 1


@pytest.mark.parametrize("size", [2, 4])
def test_along_a_context_each_rank_computes_its_own_positions(monkeypatch, size):
    lengths = [8, 16]
    parts = [sequence(length) for length in lengths]
    whole = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    expected = torch.cat([of_definition(*part) for part in parts])
    own = [torch.cat(attention._held_of_all(lengths, rank, size)) for rank in range(size)]
    monkeypatch.setattr(attention, "_context_size", lambda: size)
    # what the ranks would send each other, in their order
    gathered = iter([torch.cat([tensor[positions] for positions in own]) for tensor in whole[1:]] * size)
    monkeypatch.setattr(attention, "_gathered", lambda part, group: next(gathered))
    monkeypatch.setattr(attention.parallel_state, "get_context_parallel_group", lambda: None)
    for rank in range(size):
        monkeypatch.setattr(attention, "_context_rank", lambda rank=rank: rank)
        found = made()(*(tensor[own[rank]] for tensor in whole), None, packed_seq_params=packed(lengths))
        assert torch.allclose(found, expected[own[rank]], rtol=0, atol=1e-6)


def test_back_comes_the_sum_of_what_every_rank_wants_of_this_part(monkeypatch):
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda group: 1)
    monkeypatch.setattr(distributed, "all_gather", lambda parts, own, group: [part.copy_(own) for part in parts])
    # the other rank wants ten times as much
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor, group: tensor.mul_(11))
    part = torch.arange(6.0).view(2, 3).requires_grad_()
    gathered = attention._gathered(part, None)
    assert torch.equal(gathered, torch.cat([part, part]))
    wanted = torch.arange(12.0).view(4, 3)
    gathered.backward(wanted)
    assert torch.equal(part.grad, 11 * wanted[2:])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"attention_type": "cross"}, "attention_type=cross"),
        ({"attn_mask_type": AttnMaskType.no_mask}, "no_mask"),
        ({"attention_dropout": 0.1}, "attention_dropout=0.1"),
        ({"window_size": (4, 0)}, "a sliding window"),
        ({"softmax_type": "learnable"}, "attention sinks"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(changes, what):
    with pytest.raises(HostError, match=f"{what}: the CPU's Megatron engine has only plain causal self-attention"):
        made(**changes)


def test_a_bias_is_refused(layer):
    query, key, value = sequence(2)
    with pytest.raises(HostError, match="an attention bias"):
        layer(query, key, value, None, attention_bias=torch.zeros(1))
