"""The divergences that can be chosen by name."""

import difflib

from torch import Tensor

from frpo_verl.divergences.generator import Generator


def _log_ratio(delta: Tensor) -> Tensor:
    return delta


REVERSE_KL = Generator(name="reverse KL (k1)", local=_log_ratio, future=_log_ratio)
"""Reverse KL, KL(π_θ‖π_ref): f(u) = −log u, sampled by k1 = δ.

f(u) − f'(u)·u = −log u + 1 = δ + 1; the constant is dropped, so local and future part are the same function and
reg_i = Σ_{j≥i} δ_j (arXiv 2601.10201, eq. 4.5).
"""

BY_NAME: dict[str, Generator] = {"kl": REVERSE_KL, "k1": REVERSE_KL}
"""verl's names first (`algorithm.kl_penalty`), then those of the literature."""


class UnknownDivergence(ValueError):
    """A divergence was asked for by a name that the catalogue does not have."""


def by_name(name: str) -> Generator:
    """Looks a divergence up.

    Args:
        name: a key of `BY_NAME`, for instance `kl`.

    Returns:
        The generator of that name.

    Raises:
        UnknownDivergence: the catalogue has no such name; the message shows the names and the nearest one.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    nearest = difflib.get_close_matches(name, BY_NAME, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UnknownDivergence(f"unknown divergence {name!r}: {hint}known are {', '.join(sorted(BY_NAME))}")
