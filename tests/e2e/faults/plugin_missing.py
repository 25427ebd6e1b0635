"""Hides frpo-verl from Ray's workers, as on a machine where it is not installed; the driver can import it."""

import os
import sys
from pathlib import Path


class _NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "frpo_verl":
            Path(os.environ["FAULT_MARKER"]).touch()
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


if "default_worker.py" in " ".join(sys.argv):
    sys.meta_path.insert(0, _NotInstalled())
