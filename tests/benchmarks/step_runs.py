"""Does the runs of `step_cost.py`: the study's driver, which keeps peaks of memory and counts TransferQueue's bytes.

`python -m benchmarks.step_runs RUN_DIR…` with `tests` and `recipes` on the path. A run's folder gets `memory.json` and
`transfer_queue.jsonl`, a line for each request to the storage unit. Nothing of verl's or of the plugin's is changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from study import runs


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any) -> float:
    """Gives about half of any model's answers a reward, so that advantages are not all 0."""
    return float(sum(solution_str.encode()) % 2)


def peak(_: Any = None) -> int:
    """Returns the most bytes that were resident in this process, since `forget_peak` where that was called."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise LookupError("/proc/self/status has no VmHWM: a peak is known on Linux alone")


def forget_peak() -> None:
    """Makes what is resident now the peak."""
    Path("/proc/self/clear_refs").write_text("5")


class Counted:
    """Sums the bytes that a socket of TransferQueue's storage unit moves for one request and its answer."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.received = self.sent = 0

    def recv_multipart(self, **how: Any) -> list[Any]:
        """Receives a request; its first frame is the sender's name."""
        frames = self.socket.recv_multipart(**how)
        self.received += sum(memoryview(frame).nbytes for frame in frames[1:])
        return frames

    def send_multipart(self, frames: list[Any], **how: Any) -> Any:
        """Sends an answer."""
        self.sent += sum(memoryview(frame).nbytes for frame in frames[1:])
        return self.socket.send_multipart(frames, **how)


def counting(unit: type) -> type:
    """Makes a class of storage units that write what each request moved into the file of their key `ledger`."""

    class Counting(unit):
        def __init__(self, config: dict[str, Any]) -> None:
            self.ledger = open(config["ledger"], "a", buffering=1)
            super().__init__(config)

        def _process_one_worker_request(self, worker_socket: Any, monitor: Any) -> None:
            counted = Counted(worker_socket)
            super()._process_one_worker_request(counted, monitor)
            line = {"received": counted.received, "sent": counted.sent, "peak": peak()}
            self.ledger.write(json.dumps(line) + "\n")

    return Counting


class Measured(runs.Runs):
    """The study's driver, that looks at what each run held."""

    def __init__(self, of: list[tuple[str, Any]]) -> None:
        import ray
        from transfer_queue.storage.bootstrap import simple_storage_bootstrap as bootstrap

        unit = bootstrap.SimpleStorageUnit.__ray_metadata__.modified_class.__ray_actor_class__
        bootstrap.SimpleStorageUnit = ray.remote(num_cpus=1)(counting(unit))
        super().__init__(of)
        forget_peak()

    def look_at(self, folder: Path, runner: Any) -> None:
        """Writes the peaks of the driver and of the workers, and begins anew."""
        import ray

        of_workers = ray.get([worker.__ray_call__.remote(peak) for worker in runner.trainer.actor_rollout_wg.workers])
        (folder / "memory.json").write_text(json.dumps({"driver": peak(), "worker": sum(of_workers)}))
        forget_peak()


if __name__ == "__main__":
    # Ray's processes find the class by this name.
    from benchmarks import step_runs

    runs.main(sys.argv[1:], step_runs.Measured)
