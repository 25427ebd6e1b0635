"""Prompts for training and evaluation, as verl's parquet files: `frpo-verl data`.

`build` makes the files of a set, `verify` checks a folder of them. Importing them is light: datasets, pyarrow,
filelock and reasoning-gym are loaded by what needs them.
"""

from frpo_verl.data.building import OUTPUT as OUTPUT
from frpo_verl.data.building import Built as Built
from frpo_verl.data.building import build as build
from frpo_verl.data.catalogue import GYM as GYM
from frpo_verl.data.catalogue import SETS as SETS
from frpo_verl.data.check import verify as verify
from frpo_verl.data.errors import DataError as DataError
from frpo_verl.data.gym_tasks import Draw as Draw
