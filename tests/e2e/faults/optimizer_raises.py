"""Makes the last rank's FSDP worker raise at an optimizer step, while the others wait for it."""

import os

import wrapt
from raising import fail, is_due


def _patch(transformer_impl) -> None:
    engine, host = transformer_impl.FSDPEngine, transformer_impl.FSDPEngine.optimizer_step

    def optimizer_step(self):
        if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1 and is_due():
            fail("injected: the optimizer step failed")
        return host(self)

    engine.optimizer_step = optimizer_step


wrapt.register_post_import_hook(_patch, "verl.workers.engine.fsdp.transformer_impl")
