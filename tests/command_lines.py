"""Command lines of verl, composed as its mains would."""

import copy
from collections.abc import Iterable
from typing import Any

from omegaconf import open_dict

from frpo_verl.preflight import command_line, examination

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


def changed(config: Any, *words: str) -> Any:
    """A copy with other values, much faster than to compose once more; keys that are not there are added."""
    config = copy.deepcopy(config)
    with open_dict(config):
        # One by one: what a later one sets replaces a list.
        for word in words:
            config.merge_with_dotlist([word])
    return config


def refused(config: Any) -> list[str]:
    """Lists what the settings' checks have against a configuration."""
    return list(examination.settings_problems(config))
