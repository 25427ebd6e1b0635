"""`python -m frpo_verl`: the command `frpo-verl`."""

import sys

from frpo_verl.cli import main

# Guarded: the process that asks Ray imports this module again.
if __name__ == "__main__":
    sys.exit(main())
