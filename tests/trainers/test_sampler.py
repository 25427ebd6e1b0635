"""Processes that sample, with a vLLM of a few lines: their environment, and that none is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.trainers import sampler, sampling  # noqa: E402

VLLM = """
import asyncio, os, pathlib, types

AsyncEngineArgs = SamplingParams = lambda **given: types.SimpleNamespace(**given)

class AsyncLLMEngine:
    @classmethod
    def from_engine_args(cls, arguments, usage_context):
        pathlib.Path(os.environ["PIDS"], str(os.getpid())).touch()
        return cls()

    async def generate(self, prompt, how, request):
        if request in os.environ.get("FAIL", ""):
            raise MemoryError("no room for " + request)
        if request in os.environ.get("SLOW", ""):
            await asyncio.sleep(1000)
        text = " ".join(os.environ.get(name, "-") for name in ("DEVICE", "RANK", "VLLM_CPU_OMP_THREADS_BIND"))
        said = types.SimpleNamespace(text=text, token_ids=[], logprobs=[], finish_reason="stop")
        yield types.SimpleNamespace(prompt_token_ids=prompt["prompt_token_ids"], outputs=[said])

    def shutdown(self):
        pass
"""
TRANSFORMERS = """
class AutoTokenizer:
    @staticmethod
    def from_pretrained(model):
        return lambda text: {"input_ids": [1]}
"""
PROGRAM = """
import json, sys
from frpo_verl.trainers import sampler, sampling
sampler.run(sampling.Spec(**json.loads(sys.argv[1])), {})
"""


@pytest.fixture
def specs(tmp_path, monkeypatch):
    """Two parts of four prompts; the processes find the vLLM above, and leave their numbers in `pids`."""
    for name, text in (("vllm/__init__", VLLM), ("transformers/__init__", TRANSFORMERS)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "vllm" / "sampling_params.py").write_text("class RequestOutputKind:\n    FINAL_ONLY = 2\n")
    (tmp_path / "vllm" / "usage").mkdir()
    (tmp_path / "vllm" / "usage" / "usage_lib.py").write_text("class UsageContext:\n    LLM_CLASS = 1\n")
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    parquet.write_table(pa.table({"prompt": ["a", "b", "c", "d"]}), tmp_path / "prompts.parquet")
    parts = [{"rows": [0, 2], "out": f"{tmp_path}/part-0.jsonl"}, {"rows": [1, 3], "out": f"{tmp_path}/part-1.jsonl"}]
    return [sampling.Spec(model="m", prompts=str(tmp_path / "prompts.parquet"), **part) for part in parts]


def started(folder, count):
    """Waits until so many processes have begun, and returns their numbers."""
    ends = time.monotonic() + 60
    while len(list((folder / "pids").iterdir())) < count:
        assert time.monotonic() < ends
        time.sleep(0.05)
    return [int(path.name) for path in (folder / "pids").iterdir()]


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_every_part_runs_with_its_devices_and_without_the_trainers_ranks(specs, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    watched = []
    sampler.run_all(specs, [{"DEVICE": "x"}, {"DEVICE": "y"}], lambda: watched.append(1))
    lines = [line for spec in specs for line in sampling.read(Path(spec.out))]
    assert [(line["row"], line["responses"]) for line in lines] == [
        (0, ["x - nobind"]),
        (2, ["x - nobind"]),
        (1, ["y - nobind"]),
        (3, ["y - nobind"]),
    ]
    assert watched


def test_what_the_environment_says_for_vllm_stays(specs, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-3")
    sampler.run(specs[0], {})
    assert sampling.read(Path(specs[0].out))[0]["responses"] == ["- - 0-3"]


def test_the_last_words_of_one_that_fails_are_said_and_the_others_end(specs, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    monkeypatch.setenv("SLOW", "2")
    with pytest.raises(RuntimeError, match="(?s)sampling ended with 1: .*no room for 1"):
        sampler.run_all(specs, [{}, {}], lambda: started(tmp_path, 2))
    assert [is_running(process) for process in started(tmp_path, 2)] == [False, False]
    # what was sampled is kept
    assert [line["row"] for line in sampling.read(Path(specs[0].out))] == [0]


def test_a_sampler_ends_with_the_process_that_wanted_it(specs, tmp_path, monkeypatch):
    monkeypatch.setenv("SLOW", "02")
    parent = subprocess.Popen([sys.executable, "-P", "-c", PROGRAM, json.dumps(specs[0]._asdict())])
    (process,) = started(tmp_path, 1)
    assert is_running(process)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    ends = time.monotonic() + 20
    while is_running(process):
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_defaults_of_the_cpu_are_those_of_the_recipes():
    said = (Path(__file__).parents[2] / "recipes" / "lib" / "cpu.sh").read_text()
    of_recipes = dict(re.findall(r"^export (\w+)=\$\{\1:-(\w+)\}$", said, re.MULTILINE))
    assert sampler.ON_CPU.items() <= of_recipes.items()


def test_gpus_are_counted_and_shown_one_part_after_the_other(monkeypatch):
    import torch

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    assert sampler.gpus() == 4 and sampler.visible(2, 2) == {"CUDA_VISIBLE_DEVICES": "2,3"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,6")
    assert sampler.visible(1, 1) == {"CUDA_VISIBLE_DEVICES": "7"}
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    assert sampler.gpus() == 0
