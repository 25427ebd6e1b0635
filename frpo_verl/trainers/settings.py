"""Reads the section `fpa` of a configuration, and says what it asks for."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

PAIRWISE = ("dpo", "rpo", "simper")
CHOICES = {
    "loss": ("outcome", *PAIRWISE),
    "weighted": ("both", "negatives"),
    "future": ("exact", "without_normaliser"),
    "advantage": ("signed", "standardised"),
}
"""Key -> its values."""

LEAST = {"lam": 0.0, "beta": 0.0, "alpha": 0.0}
"""Key -> the least number that it may be."""


class Settings(NamedTuple):
    """Holds what `fpa.*` says; `config/fpa_trainer.yaml` has the meaning of each key."""

    loss: str
    lam: float
    weighted: str
    future: str
    beta: float
    alpha: float
    advantage: str
    threshold: float
    reference_path: str | None
    reference_cache: str | None

    @property
    def is_pairwise(self) -> bool:
        """Returns True where a loss is of two responses."""
        return self.loss in PAIRWISE

    @property
    def needs_reference(self) -> bool:
        """Returns True where the reference's logits, or its log-probs, enter the loss."""
        return self.lam > 0 or self.loss in ("dpo", "rpo")

    @property
    def is_over_the_vocabulary(self) -> bool:
        """Returns True where the loss needs h_ref of every token of the vocabulary."""
        return self.lam > 0 and self.future == "exact"

    @property
    def runs_reference(self) -> bool:
        """Returns True where the reference runs next to the policy."""
        return self.needs_reference and self.reference_cache is None


def read(section: Any) -> Settings:
    """Reads the section, which `problems` found nothing in."""
    numbers = ("lam", "beta", "alpha", "threshold")
    return Settings(**{key: float(section[key]) if key in numbers else section[key] for key in Settings._fields})


def problems(section: Any) -> Iterator[str]:
    """Yields a sentence for each key that is not one of ours, or has no meaning."""
    for key in section:
        if key not in Settings._fields:
            yield f"fpa.{key}: there is no such key; choose one of {', '.join(Settings._fields)}"
    for key, values in CHOICES.items():
        if section[key] not in values:
            yield f"fpa.{key}={section[key]}: choose {', '.join(values[:-1])} or {values[-1]}"
    for key in ("lam", "beta", "alpha", "threshold"):
        value = section[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"fpa.{key}={value}: it must be a finite number"
        elif key in LEAST and value < LEAST[key]:
            why = ": lambda looks ahead, and 0 is the method without FPA" if key == "lam" else ""
            yield f"fpa.{key}={value}: it must not be negative{why}; set it to {LEAST[key]:g} or more"
    if section["loss"] == "dpo" and section["beta"] == 0:
        yield "fpa.beta=0: every coefficient of dpo has it as a factor, so that nothing is learned; set it above 0"
    if section["reference_cache"] is not None and section["lam"] and section["future"] == "exact":
        yield (
            f"fpa.reference_cache={section['reference_cache']}: the normaliser of the future policy is a sum over the "
            "vocabulary that changes with every update, and cannot be kept; leave it out, or set fpa.lam=0 or "
            "fpa.future=without_normaliser"
        )
