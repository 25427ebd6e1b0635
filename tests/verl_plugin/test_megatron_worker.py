"""FRPO in real Megatron workers: the same as in FSDP2's, for every layout."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

PADDED = ["actor_rollout_ref.model.use_remove_padding=False"]
MICRO_BATCHES_OF_FOUR = ["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4"]
DYNAMIC = ["actor_rollout_ref.actor.use_dynamic_bsz=True", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=24"]
WAYS = (("current", []), ("rollout", PADDED), ("current", MICRO_BATCHES_OF_FOUR), ("rollout", DYNAMIC))
# Four updates, so that ratios are not 1, and a policy loss of verl's that is not the usual one.
SEVERAL_UPDATES = {
    "how": "current",
    "overrides": ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo"],
    "mini_batch": 4,
    "epochs": 2,
}
MEGATRON = "actor_rollout_ref.actor.megatron."
LAYOUTS = {
    "one rank": (1, []),
    "TP=2": (2, [f"{MEGATRON}tensor_model_parallel_size=2"]),
    "PP=2": (2, [f"{MEGATRON}pipeline_model_parallel_size=2"]),
    "DP=2": (2, []),
    "CP=2": (2, [f"{MEGATRON}context_parallel_size=2"]),
    "TP=2 PP=2": (4, [f"{MEGATRON}tensor_model_parallel_size=2", f"{MEGATRON}pipeline_model_parallel_size=2"]),
}
OF_MIXTURES = {
    "one rank": LAYOUTS["one rank"],
    "EP=2": (2, [f"{MEGATRON}expert_model_parallel_size=2"]),
    "TP=2": LAYOUTS["TP=2"],
    "CP=2": LAYOUTS["CP=2"],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Small models with random weights, and the tiny model's tokenizer."""
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs cases in as many ranks: `run(model, ranks, cases)`."""

    def ranks_of(model: Path, ranks: int, cases: list[dict]) -> list[dict]:
        folder = tmp_path_factory.mktemp("ranks")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = Path(__file__).parent / "megatron_worker.py"
        command = [sys.executable, "-P", "-W", "ignore", str(program), str(model), str(folder / "found.json")]
        processes, logs = [], []
        for rank in range(ranks):
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(program.parent), *sys.path])),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "LOCAL_WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
                "TORCHDYNAMO_DISABLE": "1",
            }
            logs.append(folder / f"{rank}.log")
            with logs[-1].open("w") as log:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
            process.stdin.write(json.dumps(cases).encode())
            process.stdin.close()
            processes.append(process)
        try:
            statuses = [process.wait(timeout=300) for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert not any(statuses), "\n".join(log.read_text()[-1500:] for log in logs)
        return json.loads((folder / "found.json").read_text())

    return ranks_of


@pytest.fixture(scope="module")
def fsdp2(models, run):
    """What FSDP2 computes, which the tests of its worker hold against definitions."""
    cases = {
        "current": {"how": "current", "overrides": []},
        "rollout": {"how": "rollout", "overrides": []},
        "several updates": SEVERAL_UPDATES,
    }
    found = {
        name: run(model, 1, [{"engine": "fsdp2", **case} for case in cases.values()]) for name, model in models.items()
    }
    return {name: dict(zip(cases, of_model, strict=True)) for name, of_model in found.items()}


def assert_same(found: dict, expected: dict) -> None:
    """To the last digits of float32, in which both ran; sums are taken in another order."""
    for row, other, mask in zip(found["log_probs"], expected["log_probs"], expected["mask"], strict=True):
        kept = [(a, b) for a, b, m in zip(row, other, mask, strict=True) if m]
        assert [a for a, _ in kept] == pytest.approx([b for _, b in kept], abs=3e-6)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
    reduced = expected["figures"]["reduced"]
    assert len(reduced) > 3
    for name, value in reduced.items():
        assert found["figures"]["reduced"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert found["weights"].keys() == expected["weights"].keys()
    for name, weight in expected["weights"].items():
        # Adam's first step is the learning rate (1e-3) times the gradient's sign, whose zeros are noise
        assert found["weights"][name] == pytest.approx(weight, abs=1e-4), name


def assert_resumed(found: dict) -> None:
    """To the bit: the same code on the same numbers."""
    assert found["second, resumed"] == found["second"]
    assert found["second"]["weights"] != found["weights"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_computes_what_fsdp2_does(models, run, fsdp2, layout, tmp_path):
    ranks, overrides = LAYOUTS[layout]
    cases = [{"engine": "megatron", "overrides": [*overrides, *way], "how": how} for how, way in WAYS]
    cases[0]["checkpoint"] = str(tmp_path)
    # one that any layout could load
    cases[0]["overrides"].append(f"{MEGATRON}dist_ckpt_optim_fully_reshardable=True")
    ended = run(models["qwen2"], ranks, cases)
    for (how, _), found in zip(WAYS, ended, strict=True):
        assert_same(found, fsdp2["qwen2"][how])
    assert_resumed(ended[0])


@pytest.mark.parametrize("layout", ["one rank", "TP=2"])
def test_several_updates_by_another_policy_loss_are_the_same(models, run, fsdp2, layout):
    ranks, overrides = LAYOUTS[layout]
    case = {**SEVERAL_UPDATES, "engine": "megatron", "overrides": [*SEVERAL_UPDATES["overrides"], *overrides]}
    (found,) = run(models["qwen2"], ranks, [case])
    expected = fsdp2["qwen2"]["several updates"]
    for name, value in expected["figures"]["reduced"].items():
        assert found["figures"]["reduced"][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    for name, weight in expected["weights"].items():
        # four steps of 1e-3, each with the noise of one
        assert found["weights"][name] == pytest.approx(weight, abs=4e-4), name
    assert expected["weights"] != fsdp2["qwen2"]["current"]["weights"]


def test_bfloat16_is_near_and_resumes_to_the_bit(models, run, fsdp2, tmp_path):
    ranks, overrides = LAYOUTS["TP=2"]
    dtype = [f"{MEGATRON}dtype=bfloat16"]
    case = {"engine": "megatron", "overrides": [*overrides, *dtype], "how": "current", "checkpoint": str(tmp_path)}
    (found,) = run(models["qwen2"], ranks, [case])
    expected = fsdp2["qwen2"]["current"]
    for row, other, mask in zip(found["log_probs"], expected["log_probs"], expected["mask"], strict=True):
        kept = [(a, b) for a, b, m in zip(row, other, mask, strict=True) if m]
        # eight bits of mantissa through four layers
        assert [a for a, _ in kept] == pytest.approx([b for _, b in kept], abs=0.1)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=0.1)
    assert_resumed(found)


def test_a_checkpoint_is_resumed_in_another_layout(models, run, tmp_path):
    reshardable = [f"{MEGATRON}dist_ckpt_optim_fully_reshardable=True"]
    case = {"engine": "megatron", "overrides": reshardable, "how": "current"}
    (saved,) = run(models["qwen2"], 2, [{**case, "checkpoint": str(tmp_path)}])
    pipeline = [
        *reshardable,
        f"{MEGATRON}pipeline_model_parallel_size=2",
        # random states are those of a layout
        "actor_rollout_ref.actor.checkpoint.load_contents=[model,optimizer]",
    ]
    (resumed,) = run(models["qwen2"], 2, [{**case, "overrides": pipeline, "resume": str(tmp_path)}])
    assert resumed["grad_norm"] == pytest.approx(saved["second"]["grad_norm"], rel=1e-5)
    for name, weight in saved["second"]["weights"].items():
        # Adam divides by the root of the moments, which magnifies the last digits of gradients near 0
        assert resumed["weights"][name] == pytest.approx(weight, abs=1e-4), name


@pytest.mark.parametrize("layout", OF_MIXTURES)
def test_a_mixture_of_experts_computes_what_fsdp2_does(models, run, fsdp2, layout, tmp_path):
    ranks, overrides = OF_MIXTURES[layout]
    case = {"engine": "megatron", "overrides": overrides, "how": "current", "checkpoint": str(tmp_path)}
    (found,) = run(models["qwen3 moe"], ranks, [case])
    assert_same(found, fsdp2["qwen3 moe"]["current"])
    assert_resumed(found)
