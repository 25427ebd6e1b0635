"""Runs the command `frpo-verl` for `python -m frpo_verl`."""

import sys

from frpo_verl.cli import main

# Guarded: the process that asks Ray imports this module again.
if __name__ == "__main__":
    sys.exit(main())
