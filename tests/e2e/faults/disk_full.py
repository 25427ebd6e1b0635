"""Fills the disk when the actor writes its second checkpoint: the kernel refuses files of more than 4 KB."""

import os
import resource
from pathlib import Path

import wrapt


def _patch(transformer_impl) -> None:
    engine, host, calls = transformer_impl.FSDPEngine, transformer_impl.FSDPEngine.save_checkpoint, []

    def save_checkpoint(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == 2:
            Path(os.environ["FAULT_MARKER"]).touch()
            # Python ignores the limit's signal, so that writing fails as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return host(self, *args, **kwargs)

    engine.save_checkpoint = save_checkpoint


wrapt.register_post_import_hook(_patch, "verl.workers.engine.fsdp.transformer_impl")
