"""Everything that the quickstart trains on, made on the spot without a download.

`smollm2` and `tiny` build model folders, `task` writes the data, `reward` scores a completion. Importing any of them is
light: torch, transformers and reasoning-gym are loaded by the functions that need them.
"""
