"""Sizes of micro-batches that verl's validation takes and its workers do not."""

import functools

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed

from frpo_verl.preflight import micro_batches

ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{role}" for role in ("actor", "rollout", "ref"))
SET = (
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=4",
    f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=4",
    f"{REF}.log_prob_micro_batch_size_per_gpu=4",
)
BY_TOKENS = f"{ACTOR}.use_dynamic_bsz=True"


@functools.cache
def base():
    return composed(FRPO)


def said(*overrides) -> list[str]:
    return list(micro_batches.problems(changed(base(), *overrides)))


@pytest.mark.parametrize("runs", [SET, [BY_TOKENS]])
def test_sizes_per_gpu_and_splits_by_tokens_are_what_workers_read(runs):
    assert said(*runs) == []


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (ACTOR, "ppo_micro_batch_size"),
        (ROLLOUT, "log_prob_micro_batch_size"),
        (REF, "log_prob_micro_batch_size"),
    ],
)
def test_an_older_size_alone_is_refused(section, key):
    assert said(*SET, f"{section}.{key}_per_gpu=null", f"{section}.{key}=16") == [
        f"{section}.{key}_per_gpu=None: verl's workers read this size alone, not {key}=16, a size of all GPUs "
        f"together; set it, or split by tokens: {BY_TOKENS} and no log_prob_use_dynamic_bsz"
    ]
    # Nobody reads it then.
    assert said(*SET, f"{section}.{key}_per_gpu=null", f"{section}.{key}=16", BY_TOKENS) == []


def test_sizes_that_are_not_set_at_all_are_left_to_verls_validation():
    assert said() == []


@pytest.mark.parametrize(("actor", "rollout"), [(True, False), (False, True)])
def test_one_worker_splits_in_one_way(actor, rollout):
    assert said(*SET, f"{ACTOR}.use_dynamic_bsz={actor}", f"{ROLLOUT}.log_prob_use_dynamic_bsz={rollout}") == [
        f"{ROLLOUT}.log_prob_use_dynamic_bsz={rollout} with {ACTOR}.use_dynamic_bsz={actor}: one worker does both, and "
        "ends the run where they differ; set them alike"
    ]


def test_a_reference_that_splits_by_rows_next_to_an_actor_that_does_not_needs_its_size():
    rows = BY_TOKENS, f"{REF}.log_prob_use_dynamic_bsz=False"
    assert said(*rows) == [
        f"{REF}.log_prob_micro_batch_size_per_gpu=None: verl's workers read this size alone; set it, or split by "
        f"tokens: {BY_TOKENS} and no log_prob_use_dynamic_bsz"
    ]
    assert said(*rows, f"{REF}.log_prob_micro_batch_size_per_gpu=8") == []
    # The reference of LoRA is the actor's worker; without β there is none.
    for without in ("lora_rank=8", "lora.rank=8", "lora_adapter_path=/adapter"):
        assert said(*rows, f"actor_rollout_ref.model.{without}") == []
    assert said(*rows, "algorithm.kl_ctrl.kl_coef=0") == []


def test_older_workers_read_the_older_sizes(monkeypatch):
    monkeypatch.setattr(micro_batches.importlib.util, "find_spec", lambda name: name)
    assert said(*SET, f"{ACTOR}.ppo_micro_batch_size_per_gpu=null", f"{ACTOR}.ppo_micro_batch_size=16") == []
