"""Prompts for training and evaluation, as verl's parquet files: `frpo-verl data`.

`build` makes the files of a set, `verify` checks a folder of them. Importing them is light: datasets, pyarrow and
reasoning-gym are loaded by what needs them.
"""

from frpo_verl.data.building import OUTPUT, Built, build
from frpo_verl.data.catalogue import GYM, SETS
from frpo_verl.data.check import verify
from frpo_verl.data.errors import DataError
from frpo_verl.data.gym_tasks import Draw

__all__ = ["GYM", "OUTPUT", "SETS", "Built", "DataError", "Draw", "build", "verify"]
