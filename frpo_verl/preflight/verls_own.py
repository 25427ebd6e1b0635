"""Asks the installed verl which models a run loads and whether it accepts a configuration."""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple


class Loaded(NamedTuple):
    """Says which models a run loads besides the policy."""

    reference: bool
    critic: bool


def loaded(config: Any) -> Loaded:
    """Returns which models verl would load."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    # verl warns about every estimator without a critic.
    with warnings.catch_warnings(action="ignore"):
        return Loaded(bool(need_reference_policy(config)), bool(need_critic(config)))


def problems(config: Any) -> Iterator[str]:
    """Yields verl's own objection to a configuration."""
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    try:
        needed = loaded(config)
        with warnings.catch_warnings(action="ignore"):
            if "async_training" in config:
                # Of all mains, fully-async alone makes the dataclasses without validating the whole.
                omega_conf_to_dataclass(config.actor_rollout_ref.actor)
            else:
                # Without the plugin's wrapper, whose checks have been made and which ends the program.
                inspect.unwrap(validate_config)(config, needed.reference, needed.critic)
    except Exception as error:
        # Whatever verl raises is what would end the run.
        yield f"verl refuses this configuration: {' '.join(str(error).split())}"
