"""Megatron's parts against real Megatron's, and its bytes against its documentation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from frpo_verl.plan import megatron
from frpo_verl.plan.activations import Logits
from frpo_verl.plan.engine import Batch
from frpo_verl.plan.model import Model

MODEL = Model(
    parameters=1000,
    in_layers=800,
    experts=0,
    replicated=0,
    embedding=200,
    head=0,
    adapters=0,
    layers=8,
    hidden=4,
    query=4,
    key=2,
    wide=8,
    routes=0,
    vocabulary=50,
)
FUSED = Logits(fused=True, chunk=0, entropy=False, scaled=False)
OF_LAYER = 2 * (8 * 4 + 5 * (4 + 2) + 4 * 8)


def section(tensor=1, pipeline=1, expert=1, expert_tensor=None, **changed):
    settings = {
        "dtype": "bfloat16",
        "tensor_model_parallel_size": tensor,
        "pipeline_model_parallel_size": pipeline,
        "expert_model_parallel_size": expert,
        "expert_tensor_parallel_size": expert_tensor,
        "sequence_parallel": True,
        "use_distributed_optimizer": True,
        "param_offload": False,
        "optimizer_offload": False,
        "override_transformer_config": {"recompute_granularity": None},
    }
    return OmegaConf.create({**settings, **changed})


def engine(layout, model=MODEL, ranks=8, optimizer=None, logits=FUSED):
    return megatron.engine(model, layout, optimizer or {}, ranks, Batch(10, 20), logits)


def test_the_parts_are_those_of_real_megatron():
    pytest.importorskip("megatron.core")
    from plan.published import TINY, TINY_EXPERTS
    from transformers import Qwen3Config, Qwen3MoeConfig

    from frpo_verl.plan.model import count

    experts, tied = {**TINY_EXPERTS, "tie_word_embeddings": False}, {**TINY, "tie_word_embeddings": True}
    layouts = [
        (Qwen3MoeConfig(**experts), experts, 8, (2, 2, 2, 1)),
        (Qwen3MoeConfig(**experts), experts, 8, (2, 1, 4, 2)),
        (Qwen3Config(**tied), tied, 4, (2, 2, 1, 2)),
        (Qwen3Config(**tied), tied, 2, (2, 1, 1, 2)),
    ]
    names = ("tensor", "pipeline", "expert", "expert_tensor")
    cases = [
        {"model": model, "ranks": ranks, "rank": rank, **dict(zip(names, layout, strict=True))}
        for _, model, ranks, layout in layouts
        for rank in (0, ranks - 1)
    ]
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("megatron_parts.py"))],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    expected = [
        [part.dense, part.experts]
        for config, _, _, layout in layouts
        for part in megatron.parts(count(config), section(*layout))
    ]
    assert json.loads(ended.stdout.splitlines()[-1]) == expected


@pytest.mark.parametrize(
    ("distributed", "dtype", "of_parameter"),
    # Megatron-Core's documentation of its distributed optimizer, bytes a parameter with float32 gradients.
    [(False, "bfloat16", 18), (True, "bfloat16", 6 + 12 / 8), (False, "float32", 16), (True, "float32", 8 + 8 / 8)],
)
def test_the_documented_bytes_of_a_parameter(distributed, dtype, of_parameter):
    found = engine(section(use_distributed_optimizer=distributed, dtype=dtype))
    assert found.weights + found.gradients + found.states == of_parameter * 1000


def test_experts_have_data_parallel_ranks_of_their_own():
    found = engine(section(tensor=2, expert=4, expert_tensor=1), MODEL._replace(experts=400))
    dense, experts = 600 / 2, 400 / 4
    assert found.weights == 2 * (dense + experts)
    assert found.gradients == 4 * (dense + experts)
    # 8 ranks: 4 copies of what tensor parallelism splits, 2 of each expert.
    assert found.states == 12 * (dense / 4 + experts / 2)


@pytest.mark.parametrize(
    ("settings", "left"),
    [({"optimizer_cpu_offload": True}, 0), ({"optimizer_cpu_offload": True, "optimizer_offload_fraction": 0.75}, 0.25)],
)
def test_an_optimizer_on_the_cpu(settings, left):
    found = engine(section(), optimizer={"override_optimizer_config": settings})
    assert found.states == 12 * 1000 / 8 * left


def test_offload_takes_the_gradient_buffer_along():
    kept = engine(section(param_offload=True)).between()
    assert kept == {"weights": 0, "gradients": 0, "optimizer": 12 * 1000 / 8}


@pytest.mark.parametrize(
    ("changed", "kept_of_a_token"),
    [
        ({}, 8 * OF_LAYER),
        ({"tensor": 2}, 8 * OF_LAYER / 2),
        ({"tensor": 2, "sequence_parallel": False}, 8 * OF_LAYER),
        # Four micro-batches of two layers each.
        ({"pipeline": 4}, 8 * OF_LAYER),
        ({"override_transformer_config": {"recompute_granularity": "full"}}, 8 * 2 * 4 + OF_LAYER),
        (
            {
                "override_transformer_config": {
                    "recompute_granularity": "full",
                    "recompute_method": "uniform",
                    "recompute_num_layers": 4,
                }
            },
            2 * 2 * 4 + 4 * OF_LAYER,
        ),
    ],
)
def test_activations(changed, kept_of_a_token):
    assert engine(section(**changed)).update == pytest.approx(10 * kept_of_a_token)


def test_micro_batches_in_flight_and_logits_are_on_different_stages():
    logits = Logits(fused=False, chunk=0, entropy=False, scaled=False)
    found = engine(section(pipeline=4), logits=logits)
    first, last = 10 * 8 * OF_LAYER, 10 * 2 * OF_LAYER + 10 * 50 * 10
    assert found.update + found.logits_update == max(first, last)


def test_lora_trains_its_adapters_alone():
    found = engine(section(tensor=2), MODEL._replace(adapters=40))
    assert (found.weights, found.gradients, found.states) == (2 * (500 + 20), 4 * 20, 12 * 20 / 4)
