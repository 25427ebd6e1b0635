"""From a generator of the package to what the oracles know of it, independently."""

from collections.abc import Callable

import torch
from divergence_oracles import TEXTBOOK, Key, Textbook
from divergence_oracles import alpha as textbook_alpha
from torch import Tensor

from frpo_verl.divergences import Generator


def key_of(generator: Generator) -> Key | None:
    """The oracles' key; None for a generator that is not of the catalogue."""
    for alias in generator.aliases:
        if alias in TEXTBOOK:
            return alias
        if alias.startswith("alpha:"):
            return "alpha", float(alias.removeprefix("alpha:"))
    return None


def entry_of(generator: Generator) -> Textbook | None:
    key = key_of(generator)
    return textbook_alpha(key[1]) if isinstance(key, tuple) else TEXTBOOK.get(key)


def f_of(generator: Generator) -> Callable[[Tensor], Tensor]:
    """f(u), from the textbook where there is one; otherwise the generator's own future part as a function of u."""
    entry = entry_of(generator)
    return entry.f if entry else lambda u: generator.future(-torch.log(u))
