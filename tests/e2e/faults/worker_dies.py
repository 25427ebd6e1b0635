"""The FSDP worker process is killed in its second optimizer step."""

import os
import signal
from pathlib import Path

import wrapt


def _patch(transformer_impl) -> None:
    engine, host, calls = transformer_impl.FSDPEngine, transformer_impl.FSDPEngine.optimizer_step, []

    def optimizer_step(self):
        calls.append(None)
        if len(calls) == 2:
            Path(os.environ["FAULT_MARKER"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return host(self)

    engine.optimizer_step = optimizer_step


wrapt.register_post_import_hook(_patch, "verl.workers.engine.fsdp.transformer_impl")
