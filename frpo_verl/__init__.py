"""frpo-verl: future-KL regularised policy optimisation (FRPO, arXiv 2601.10201) as a plugin for verl.

The core (`masking`, `divergences`, `advantage`) is pure functions on tensors; `verl_plugin` is the only part that
knows verl. Importing this package imports neither torch nor verl.
"""

__version__ = "0.1.0"
