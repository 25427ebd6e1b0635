"""Kills vLLM's worker process in the middle of generation, as the kernel does when memory runs out."""

import os
import signal

import wrapt
from raising import MARKER, is_due


def _patch(cpu_worker) -> None:
    worker, host, calls = cpu_worker.CPUWorker, cpu_worker.CPUWorker.execute_model, []

    def execute_model(self, *args, **kwargs):
        if is_due():
            calls.append(None)
            # Not the first token of a response.
            if len(calls) == 3:
                MARKER.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return host(self, *args, **kwargs)

    worker.execute_model = execute_model


wrapt.register_post_import_hook(_patch, "vllm.v1.worker.cpu_worker")
