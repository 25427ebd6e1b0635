"""Starts real workers of verl, in processes of their own, for the tests of this folder."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from frpo_verl.verl_plugin import run

TIME_LIMIT_SECONDS = 900


@pytest.fixture(autouse=True)
def _no_run_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets the configuration that another test has shown to verl in this process."""
    monkeypatch.setattr(run, "_asked", None)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Makes small models with random weights, and the tiny model's tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    from frpo_verl.quickstart import tiny

    common = {
        "vocab_size": 384,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        "initializer_range": 0.06,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    mixture = {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    folders = {}
    for name, model in (
        ("qwen2", lambda: Qwen2ForCausalLM(Qwen2Config(**common))),
        ("qwen3 moe", lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**common, **mixture, norm_topk_prob=True))),
    ):
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp("model")
        made = model()
        for parameter in made.parameters():
            if parameter.ndim == 1:
                # norms and biases that are told apart
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        made.save_pretrained(folders[name])
        tiny.make_tokenizer().save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def ranks_of() -> Callable[[int, dict[str, dict], Path], dict[str, dict]]:
    """Runs cases of `megatron_worker.py` in so many ranks, which start once; returns what each computed."""
    return _ranks_of


def _ranks_of(number: int, of_ranks: dict[str, dict], folder: Path) -> dict[str, dict]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).parent / "megatron_worker.py"
    command = [sys.executable, "-P", "-W", "ignore", str(program), str(folder)]
    processes, logs = [], []
    for rank in range(number):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(program.parent), *sys.path])),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(number),
            "LOCAL_WORLD_SIZE": str(number),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "TORCHDYNAMO_DISABLE": "1",
        }
        logs.append(folder / f"{rank}.log")
        with logs[-1].open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
        process.stdin.write(json.dumps(of_ranks).encode())
        process.stdin.close()
        processes.append(process)
    try:
        statuses = [process.wait(timeout=TIME_LIMIT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(statuses), "\n".join(log.read_text()[-1500:] for log in logs)
    return {name: json.loads((folder / f"{number}.json").read_text()) for number, name in enumerate(of_ranks)}
