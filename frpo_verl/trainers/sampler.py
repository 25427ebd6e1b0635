"""Runs the program `sampling` in processes of its own, with the environment of vLLM, and ends them with this one."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from frpo_verl.preflight import environment
from frpo_verl.trainers.sampling import Spec

OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables from which vLLM would conclude that it is a rank of the trainer."""

ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "passive",
    "TORCH_COMPILE_DISABLE": "1",
}
"""Variables of vLLM's CPU build that are set where the environment does not set them, as in `recipes/lib/cpu.sh`."""

SECONDS = 0.5


def gpus() -> int:
    """Counts the GPUs that vLLM would use."""
    import torch

    return 0 if is_on_cpu() else torch.cuda.device_count()


def is_on_cpu() -> bool:
    """Returns True where vLLM has no accelerator."""
    import torch

    return environment.is_on_cpu() or not torch.accelerator.is_available()


def visible(first: int, count: int) -> dict[str, str]:
    """Returns the environment in which a process sees so many of this node's GPUs, from the given one on."""
    import torch

    every = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    return {"CUDA_VISIBLE_DEVICES": ",".join(every.split(",")[first : first + count])}


def run(spec: Spec, devices: dict[str, str]) -> None:
    """Runs vLLM to its end, with `devices` in its environment. Raises RuntimeError with its last words if it fails."""
    run_all([spec], [devices], lambda: None)


def run_all(specs: Sequence[Spec], devices: Sequence[dict[str, str]], watch: Callable[[], None]) -> None:
    """Runs one process for each part to its end.

    Args:
        specs: the parts.
        devices: what each finds in its environment.
        watch: called twice a second.

    Raises:
        RuntimeError: with the last words of the first process that failed; the others are ended.
    """
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(_started(spec, environment)) for spec, environment in zip(specs, devices, strict=True)
        ]
        while any(process.poll() is None for process in running):
            _raise_failed(specs, running)
            watch()
            time.sleep(SECONDS)
        _raise_failed(specs, running)
        watch()


@contextlib.contextmanager
def _started(spec: Spec, devices: dict[str, str]) -> Iterator[subprocess.Popen]:
    written = Path(spec.out).with_suffix(".spec")
    written.write_text(json.dumps(spec._asdict()))
    environment = {key: value for key, value in os.environ.items() if key not in OF_TORCHRUN and "ELASTIC" not in key}
    command = [sys.executable, "-P", "-m", "frpo_verl.trainers.sampling", str(written), "tied"]
    environment = (ON_CPU if is_on_cpu() else {}) | environment | devices
    with (
        _log(spec).open("wb") as log,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        # leaving closes the pipe, by which the process ends; so does the end of this one, however it comes
        yield process


def _raise_failed(specs: Sequence[Spec], running: Sequence[subprocess.Popen]) -> None:
    for spec, process in zip(specs, running, strict=True):
        if process.poll():
            said = _log(spec).read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"sampling ended with {process.returncode}: {said[-2000:].strip()}")


def _log(spec: Spec) -> Path:
    return Path(spec.out).with_suffix(".log")
