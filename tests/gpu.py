"""Measures what needs a GPU, in one call: `python tests/gpu.py`.

Part after part, each in a process of its own, so that one that crashes costs only itself: the core on the GPU against
the core on the CPU in float64; the core's own tests on tensors of the GPU; the estimator's benchmark there; a real
FSDP2 and a real Megatron worker of verl; three steps of verl's own `main_ppo` with vLLM. A part that needs a package
which is not installed says so. All figures and the versions go to a JSON file; exit status 1 if a part failed, 2 if
there is no such device.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
PACKAGES = (
    *("frpo-verl", "torch", "numpy", "numba", "jaxtyping", "pytest", "hypothesis", "verl", "ray", "tensordict"),
    *("transformers", "vllm", "TransferQueue", "megatron-core", "mbridge", "transformer-engine", "flash-attn"),
    "reasoning-gym",
)
ON_THE_CORE = ("torch", "numpy", "jaxtyping")
ON_VERL = (*ON_THE_CORE, "verl", "ray", "transformers", "tensordict", "hydra", "wrapt")


class Part(NamedTuple):
    """One thing to try.

    Attributes:
        name: in the table.
        needs: modules without which it is left out.
        command: builds the command line, from the device and an empty folder.
        seconds: after which it counts as failed.
    """

    name: str
    needs: tuple[str, ...]
    command: Callable[[str, Path], list[str]]
    seconds: int = 600


def itself(part: str) -> Callable[[str, Path], list[str]]:
    return lambda device, folder: [sys.executable, __file__, "--device", device, "--only", part, "--in", str(folder)]


def core_tests(device: str, folder: Path) -> list[str]:
    files = [TESTS / name for name in ("advantage", "divergences", "test_masking.py", "test_rows.py")]
    # Without the run-time types, which need one more package.
    options = ["-o", "addopts=", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--device", device]
    return [sys.executable, "-m", "pytest", *options, *map(str, files)]


def benchmark(device: str, folder: Path) -> list[str]:
    return [sys.executable, str(TESTS / "benchmarks" / "advantage.py"), "--device", device]


PARTS = (
    Part("core against float64 on the CPU", ON_THE_CORE, itself("core")),
    Part("core's tests", (*ON_THE_CORE, "pytest", "hypothesis"), core_tests),
    Part("benchmark of the estimator", ON_THE_CORE, benchmark),
    Part("real FSDP2 worker", ON_VERL, itself("fsdp2")),
    Part("real Megatron worker", (*ON_VERL, "megatron.core", "mbridge", "transformer_engine"), itself("megatron")),
    Part(
        "main_ppo with vLLM", (*ON_VERL, "vllm", "transfer_queue", "reasoning_gym", "pyarrow"), itself("trainer"), 1200
    ),
)


def main() -> int:
    """All parts, or the one that runs in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, or another of torch's; cpu tries the script itself")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu.json", help="where the record goes")
    parser.add_argument("--only", choices=INSIDE, help="run one part in this process")
    parser.add_argument("--in", dest="folder", type=Path, help="an empty folder for it")
    options = parser.parse_args()
    if options.only:
        INSIDE[options.only](options.device, options.folder or Path(tempfile.mkdtemp()))
        return 0
    if not is_there(options.device):
        print(f"--device {options.device}: torch sees none here; give another, or run this on a machine with one")
        return 2
    record = {"machine": machine(options.device), "versions": versions(), "parts": {}}
    for part in PARTS:
        record["parts"][part.name] = found = outcome(part, options.device)
        print(f"{part.name}: {found['outcome']} ({found['seconds']:.0f} s)", flush=True)
        if found["output"]:
            print("\n".join(f"    {line}" for line in found["output"].splitlines()[-40:]), flush=True)
        # After every part: what is done is kept if the next one takes the machine down.
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    print(f"\n{options.out}")
    return int(any(found["outcome"] == "failed" for found in record["parts"].values()))


def is_there(device: str) -> bool:
    if not present("torch"):
        return False
    import torch

    return device == "cpu" or torch.get_device_module(device).is_available()


def present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def machine(device: str) -> dict[str, str]:
    import torch

    name = platform.processor() if device == "cpu" else torch.get_device_module(device).get_device_name()
    return {"device": name, "cuda": str(torch.version.cuda), "python": platform.python_version()}


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def outcome(part: Part, device: str) -> dict[str, Any]:
    absent = [name for name in part.needs if not present(name)]
    if absent:
        return {"outcome": f"not run, without {', '.join(absent)}", "seconds": 0.0, "output": ""}
    began = time.monotonic()
    path = os.pathsep.join([str(ROOT), str(TESTS), str(TESTS / "verl_plugin"), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        # In a session of its own: a trainer has children, which hold the device.
        process = subprocess.Popen(
            part.command(device, Path(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            said, passed = process.communicate(timeout=part.seconds)[0], process.returncode == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, passed = process.communicate()[0] + f"\nno end in {part.seconds} s", False
    return {
        "outcome": "passed" if passed else "failed",
        "seconds": round(time.monotonic() - began, 1),
        "output": said,
    }


def core(device: str, folder: Path) -> None:
    """Every function of the core, on the device and in float64 on the CPU, where the tests prove it."""
    import torch

    worst: dict[str, float] = {}
    for name, compute in computations():
        expected = compute("cpu", torch.float64)
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
            found = compute(device, dtype).cpu().double()
            scale = expected.abs().clamp(min=1)
            error = ((found - expected).abs() / scale).max().item()
            assert found.shape == expected.shape and error < tolerance, f"{name}, {dtype}: {error:.1e}"
            worst[str(dtype)] = max(worst.get(str(dtype), 0.0), error)
    count = sum(1 for _ in computations())
    print(f"{count} computations; largest error relative to max(1, |value|): {worst}")


def computations() -> Iterator[tuple[str, Callable]]:
    """Name and `compute(device, dtype)` of everything that takes tensors."""
    import torch

    from frpo_verl import advantage as a
    from frpo_verl.divergences import CATALOGUE, alpha, appendix_e, by_name, token_clip

    rows, length = 12, 33
    random = torch.Generator().manual_seed(0)
    delta = torch.randn(rows, length, generator=random, dtype=torch.float64)
    mask = torch.rand(rows, length, generator=random) < 0.8
    mask[:, 0] = True
    # What is masked may be anything.
    delta = delta.where(mask, torch.nan)
    scores, group = torch.randn(rows, generator=random, dtype=torch.float64), torch.arange(rows) // 4

    def given(device: str, dtype: torch.dtype) -> tuple:
        return scores.to(device, dtype), group.to(device), delta.to(device, dtype), mask.to(device)

    k1, k3 = by_name("k1"), by_name("k3")
    generators = [*CATALOGUE, *map(alpha, (-1.5, 0.3, 1.7)), appendix_e(k3), token_clip(k1, 0.5)]
    for generator in generators:
        yield (
            f"frpo_advantage, {generator.name}",
            lambda device, dtype, generator=generator: a.frpo_advantage(*given(device, dtype), 0.3, generator),
        )
    for name, later in (("discounted", a.discounted(0.9)), ("within", a.within(3))):
        yield (
            f"return_to_go, {name}",
            lambda device, dtype, later=later: a.return_to_go(*given(device, dtype)[2:], k3, later=later),
        )
    for name in ("normalise_by_group", "normalise_by_group_population", "centre_by_group"):
        yield name, lambda device, dtype, name=name: getattr(a, name)(*given(device, dtype)[:2])

    def adjusted(change: Callable) -> Callable:
        def compute(device: str, dtype: torch.dtype) -> torch.Tensor:
            _, of, ratio, valid = given(device, dtype)
            return change(a.return_to_go(ratio, valid, k3), ratio, valid, of)

        return compute

    yield (
        "minus_length_baseline",
        adjusted(lambda reg, ratio, valid, of: a.minus_length_baseline(reg, ratio, valid, k3)),
    )
    yield "centre_in_group", adjusted(lambda reg, ratio, valid, of: a.centre_in_group(reg, valid, of))
    yield "divide_by_length", adjusted(lambda reg, ratio, valid, of: a.divide_by_length(reg, valid))
    for name in ("value_at_step_start", "value_at_step_end"):
        yield (
            name,
            adjusted(lambda reg, ratio, valid, of, name=name: getattr(a, name)(reg, valid, a.ends_by_length(valid, 4))),
        )


def norm_of(found: dict[str, Any]) -> float:
    """The norm of an update's gradient, which verl's FSDP2 worker gives for each of its mini-batches: here, one."""
    norms = found["grad_norm"]
    (norm,) = norms if isinstance(norms, list) else [norms]
    return norm


def worker(engine: str) -> Callable[[str, Path], None]:
    """A part that updates a real worker of verl: its term is subtracted, and equals the trainer's."""

    def part(device: str, folder: Path) -> None:
        import megatron_worker
        import torch

        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29517")
        megatron_worker.DEVICE = device
        if device == "cpu":
            os.environ["VERL_PLATFORM"] = "cpu"
        import verl  # noqa: F401 (loads the plugin)
        from transformers import Qwen2Config, Qwen2ForCausalLM

        from frpo_verl.quickstart import tiny

        torch.manual_seed(0)
        sizes = {"vocab_size": 384, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "eos_token_id": 2, "pad_token_id": 0}
        Qwen2ForCausalLM(Qwen2Config(**sizes, **heads)).save_pretrained(folder)
        tiny.make_tokenizer().save_pretrained(folder)
        dtype = [] if engine == "fsdp2" or device == "cpu" else ["actor_rollout_ref.actor.megatron.dtype=bfloat16"]
        found = {
            how: megatron_worker.run(folder, {"engine": engine, "overrides": dtype, "how": how})
            for how in ("current", "rollout")
        }
        current, rollout = (found[how]["figures"]["reduced"] for how in ("current", "rollout"))
        norms = [norm_of(found[how]) for how in ("current", "rollout")]
        print(json.dumps({"grad_norm": norms}))
        print(json.dumps(current, indent=2))
        assert abs(current["frpo/subtracted/token_mean"]) > 1e-6
        assert abs(current["frpo/divergence_to_ref/token_mean"] - rollout["frpo/divergence_to_ref/token_mean"]) < 1e-6
        assert abs(norms[0] - norms[1]) <= 2e-2 * norms[1] and norms[1] > 0, norms

    return part


def trainer(device: str, folder: Path) -> None:
    """Three steps of verl's `main_ppo` on the tiny model: FSDP2, vLLM, weight sync."""
    from frpo_verl.evaluation.sources import read_log
    from frpo_verl.quickstart import reward, task, tiny

    model = tiny.build(folder / "tiny")
    train_file, val_file = task.write(folder)
    environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "verl.trainer.main_ppo", *trainer_overrides(model, train_file, val_file)]
    command.append(f"reward.custom_reward_function.path={reward.__file__}")
    with (folder / "log").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=log, env=environment, cwd=folder).returncode
    assert status == 0, (folder / "log").read_text(errors="replace")
    steps = [step.metrics for step in read_log(folder / "metrics.jsonl").steps]
    shown = ("frpo/", "actor/frpo/", "actor/grad_norm", "critic/score/mean", "timing_s/", "training/rollout_probs_diff")
    for step in steps:
        print(json.dumps({name: value for name, value in step.items() if name.startswith(shown)}))
    assert len(steps) == 3
    assert abs(steps[0]["frpo/divergence_to_ref/token_mean"]) < 1e-2 and steps[2]["actor/grad_norm"] > 0


def trainer_overrides(model: Path, train_file: Path, val_file: Path) -> list[str]:
    """Nothing but verl's own keys, as a user would set them on one GPU."""
    return [
        "algorithm.adv_estimator=frpo",
        "algorithm.kl_ctrl.kl_coef=0.05",
        f"data.train_files={train_file}",
        f"data.val_files={val_file}",
        "data.train_batch_size=16",
        "data.max_prompt_length=48",
        "data.max_response_length=8",
        f"actor_rollout_ref.model.path={model}",
        "actor_rollout_ref.model.use_remove_padding=False",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "actor_rollout_ref.actor.strategy=fsdp2",
        "actor_rollout_ref.ref.strategy=fsdp2",
        "actor_rollout_ref.actor.optim.lr=1e-3",
        "actor_rollout_ref.actor.ppo_mini_batch_size=16",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=32",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=32",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=32",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
        "actor_rollout_ref.rollout.gpu_memory_utilization=0.3",
        "actor_rollout_ref.rollout.calculate_log_probs=True",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "reward.custom_reward_function.name=compute_score",
        "trainer.nnodes=1",
        "trainer.n_gpus_per_node=1",
        "trainer.logger=[console,file]",
        "trainer.total_training_steps=3",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]


INSIDE = {"core": core, "fsdp2": worker("fsdp2"), "megatron": worker("megatron"), "trainer": trainer}

if __name__ == "__main__":
    sys.exit(main())
