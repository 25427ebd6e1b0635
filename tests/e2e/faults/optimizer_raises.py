"""The last rank's FSDP worker raises at its second optimizer step, while the others wait for it."""

import os

import wrapt
from raising import fail


def _patch(transformer_impl) -> None:
    engine, host, calls = transformer_impl.FSDPEngine, transformer_impl.FSDPEngine.optimizer_step, []

    def optimizer_step(self):
        calls.append(None)
        if len(calls) == 2 and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            fail("injected: the optimizer step failed")
        return host(self)

    engine.optimizer_step = optimizer_step


wrapt.register_post_import_hook(_patch, "verl.workers.engine.fsdp.transformer_impl")
