"""Finds a divergence by the name in a configuration."""

import difflib
import pkgutil

from frpo_verl.divergences.catalogue import CATALOGUE, alpha
from frpo_verl.divergences.generator import Generator

BY_NAME: dict[str, Generator] = {alias: generator for generator in CATALOGUE for alias in generator.aliases}
"""verl's names (`algorithm.kl_penalty`) and those of the literature."""

_STRAIGHT_THROUGH = "a straight-through estimator repairs the gradient of a loss; the weight here is the gradient: use"
_LOSS_ONLY = {
    "abs": "|δ| is not an f-divergence; 'total_variation' is the one with an absolute value",
    "full": "it needs the whole vocabulary, and the weights are of sampled tokens; 'kl' has the same gradient",
    "k1+": f"{_STRAIGHT_THROUGH} 'k1'",
    "k3+": f"{_STRAIGHT_THROUGH} 'k3'",
    "low_var_kl+": f"{_STRAIGHT_THROUGH} 'k3'",
}


class UnknownDivergence(ValueError):
    """A name that leads to no divergence."""


def by_name(name: str) -> Generator:
    """Looks a divergence up.

    Args:
        name: a key of `BY_NAME`, for instance `kl`; `alpha:<order>`, for instance `alpha:0.5`; or
            `<module>:<attribute>`, a `Generator` of the user's own that can be imported in every process.

    Returns:
        The generator of that name.

    Raises:
        UnknownDivergence: there is none; the message shows the names and the nearest one.
    """
    if not isinstance(name, str):
        raise UnknownDivergence(f"divergence {name!r}: a name is a string, for instance 'kl'")
    if name in BY_NAME:
        return BY_NAME[name]
    family, colon, rest = name.partition(":")
    if colon:
        return _alpha(rest) if family == "alpha" else _imported(name)
    known = f"known are {', '.join(sorted(BY_NAME))}, alpha:<order> and <module>:<attribute>"
    if name in _LOSS_ONLY:
        raise UnknownDivergence(f"divergence {name!r} exists only as a loss of verl: {_LOSS_ONLY[name]}; {known}")
    if name == "alpha" or "." in name:
        raise UnknownDivergence(
            f"unknown divergence {name!r}: did you mean alpha:0.5, or <module>:<attribute>? {known}"
        )
    nearest = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UnknownDivergence(f"unknown divergence {name!r}: {hint}{known}")


def _alpha(order: str) -> Generator:
    try:
        number = float(order)
    except ValueError:
        raise UnknownDivergence(f"divergence 'alpha:{order}': the order must be a number, as in alpha:0.5") from None
    try:
        return alpha(number)
    except ValueError as error:
        raise UnknownDivergence(f"divergence 'alpha:{order}': {error}") from None


def _imported(name: str) -> Generator:
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownDivergence(f"divergence {name!r} cannot be imported: {error}") from None
    if not isinstance(found, Generator):
        raise UnknownDivergence(f"divergence {name!r} is a {type(found).__name__}, not a frpo_verl Generator")
    return found
