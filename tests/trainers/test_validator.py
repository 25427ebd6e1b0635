"""Who samples what: a part for each server of GPUs, everything for one server on a CPU."""

from pathlib import Path

import pytest

pytest.importorskip("verl")
from omegaconf import OmegaConf  # noqa: E402

from frpo_verl.trainers import validator  # noqa: E402

PROMPTS = 7


def sampled(monkeypatch, device: str, ranks: int, server: int) -> dict[int, list[int]]:
    """Returns the rows of each rank that samples."""
    found = {}
    validation = {"tensor_model_parallel_size": server, "n": 2, "temperature": 1.0, "top_p": 1.0}
    validation |= {"max_response_length": 8, "max_prompt_length": 8, "gpu_memory_utilization": 0.5, "engine_kwargs": {}}
    monkeypatch.setattr(validator, "get_device_name", lambda: device)
    monkeypatch.setattr(validator.sampler, "visible", lambda first, count: {})
    for rank in range(ranks):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setattr(validator.sampler, "run", lambda spec, devices, rank=rank: found.update({rank: spec.rows}))
        one = object.__new__(validator.Validator)
        one._config = OmegaConf.create({"validation": validation, "data": {"seed": 1}})
        one._rank, one._ranks, one._folder = rank, ranks, Path("folder")
        one._file, one._prompts = "prompts.parquet", [{}] * PROMPTS
        one._sample()
    return found


@pytest.mark.parametrize(("ranks", "server"), [(1, 1), (4, 1), (4, 2), (4, 4)])
def test_each_server_of_gpus_samples_a_part_and_all_together_every_prompt_once(monkeypatch, ranks, server):
    found = sampled(monkeypatch, "cuda", ranks, server)
    assert list(found) == list(range(0, ranks, server))
    assert sorted(row for rows in found.values() for row in rows) == list(range(PROMPTS))


def test_one_process_samples_for_all_ranks_on_a_cpu(monkeypatch):
    assert sampled(monkeypatch, "cpu", 4, 1) == {0: list(range(PROMPTS))}
