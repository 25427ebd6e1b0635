"""Command lines of verl, composed as its mains would."""

from collections.abc import Iterable
from typing import Any

from frpo_verl.preflight import command_line

FRPO = (
    "algorithm.adv_estimator=frpo",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.n=5",
)
"""The least that is set of every run with FRPO; verl wants batch sizes too."""


def composed(words: Iterable[str]) -> Any:
    """A configuration that Hydra takes.

    Args:
        words: a command, or overrides of `main_ppo` alone.

    Returns:
        verl's whole configuration.
    """
    config, refused = command_line.compose(command_line.parse(list(words)))
    assert refused == []
    return config
