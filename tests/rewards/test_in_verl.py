"""The reward as verl loads and calls it: by path and name, through its own managers, in a Ray actor, to its metrics."""

import asyncio

import pytest

pytest.importorskip("verl")
pytestmark = pytest.mark.verl

MATH = "pkg://frpo_verl.rewards.math"
RESPONSES = {r"so \boxed{\sqrt{8}}": 1.0, r"so \boxed{3}": 0.0, "so 3": 0.0, r"\boxed{10^{10^{10}}}": 0.0}

OF_VERL = [
    (r"2\sqrt{2}", r"so \boxed{\sqrt{8}}"),
    (r"2\sqrt{2}", "so 3"),
    ("5", r"\boxed{4}, no: \boxed{5}"),
    ("5", "the answer is $5$"),
    ("5", r"\boxed{x+1=5}"),
    ("50", r"$\boxed{50\%}$"),
    (r"\pi", r"Then $x = 3$ and $\boxed{3.14159265358979}$."),
    ("1,-2", r"\boxed{(1,-2)}"),
    (r"\text{No}", r"\boxed{No}"),
]


class Characters:
    """As little of a tokenizer as a reward manager uses: one token a character."""

    def decode(self, ids, skip_special_tokens=True):
        return "".join(chr(int(token)) for token in ids if token)


def _config(manager, path=MATH, **kwargs):
    from omegaconf import OmegaConf

    return OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {"path": path, "name": "compute_score", "reward_kwargs": kwargs},
                "reward_manager": {"source": "register", "name": manager},
                "reward_kwargs": {},
                "num_workers": 1,
            },
            "trainer": {"experiment_name": "test"},
        }
    )


def _row(response, ground_truth=r"2\sqrt{2}"):
    import numpy as np
    import torch
    from tensordict import TensorDict
    from verl import DataProto

    ids = torch.tensor([[*map(ord, response), 0, 0]])
    mask = (ids != 0).long()
    columns = {
        "data_source": "math500",
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": {},
    }
    return DataProto(
        batch=TensorDict({"responses": ids, "attention_mask": mask}, batch_size=1),
        non_tensor_batch={name: np.array([value], dtype=object) for name, value in columns.items()},
    )


def _results(manager, rows):
    from verl.trainer.ppo.reward import load_reward_manager

    async def scored():
        # verl's managers take the running loop when they are made.
        loaded = load_reward_manager(_config(manager, workers=2, seconds=8.0), Characters())
        return await asyncio.gather(*(loaded.run_single(row) for row in rows))

    return asyncio.run(scored())


@pytest.mark.parametrize("manager", ["naive", "dapo", "gdpo"])
def test_verls_managers_get_a_score_and_the_same_facts_for_every_response(manager):
    results = _results(manager, [_row(response) for response in RESPONSES])
    assert [result["reward_score"] for result in results] == list(RESPONSES.values())
    facts = [result["reward_extra_info"] for result in results]
    assert [fact["format"] for fact in facts] == [1.0, 1.0, 0.0, 1.0]
    assert [fact["timed_out"] for fact in facts] == [0.0, 0.0, 0.0, 1.0]
    assert all(set(fact) == {"score", "acc", "acc_math_verify", "format", "timed_out"} for fact in facts)
    assert all(type(value) is float for fact in facts for value in fact.values())


def test_verls_validation_averages_all_of_them():
    from verl.trainer.ppo.metric_utils import process_validation_metrics

    facts = [result["reward_extra_info"] for result in _results("naive", [_row(response) for response in RESPONSES])]
    columns = {key: [fact[key] for fact in facts] for key in facts[0]}
    metrics = process_validation_metrics(["math500"] * 4, ["same problem"] * 4, columns)["math500"]
    assert metrics["acc"]["mean@4"] == metrics["acc_math_verify"]["mean@4"] == 0.25
    assert metrics["format"]["mean@4"] == 0.75
    assert metrics["timed_out"]["mean@4"] == 0.25


def test_the_librarys_verdict_is_that_of_verls_own_math_verify():
    from verl.utils.reward_score import math_verify

    from frpo_verl.rewards.grading import accepts

    verls = {
        (gold, response): math_verify._verify_in_subprocess(rf"\boxed{{{gold}}}", response) == 1.0
        for gold, response in OF_VERL
    }
    assert {each: accepts(*each) for each in OF_VERL} == verls
    assert set(verls.values()) == {True, False}


def test_a_row_without_an_answer_ends_in_the_sentence():
    with pytest.raises(ValueError, match=r"^math500: reward_model\.ground_truth is None"):
        _results("naive", [_row(r"\boxed{5}", None)])


@pytest.mark.slow
def test_in_a_ray_actor_where_processes_end_with_it():
    import time
    from pathlib import Path

    import ray

    def workers(parent):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"frpo_verl.rewards.processes.worker" in command:
                found.append(int(entry.name))
        return set(found) - parent

    before = workers(set())
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        # RemoteRewardManager sends the loaded function to an actor of its own; verl's reward worker is an actor itself.
        results = _results("remote", [_row(response) for response in RESPONSES])
        assert [result["reward_score"] for result in results] == list(RESPONSES.values())
        assert workers(before)
    finally:
        ray.shutdown()
    deadline = time.monotonic() + 20
    while workers(before):
        assert time.monotonic() < deadline
        time.sleep(0.1)
