"""Reads verl's reward settings as the run's main would: its older sections are moved to `reward`, or ignored."""

import copy
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECTIONS = ("reward_model", "custom_reward_function", "sandbox_fusion")
"""verl's older sections, all of whose values are null unless somebody sets them."""

MOVED = {
    "reward_model.reward_manager": "reward.reward_manager.name",
    "reward_model.reward_kwargs": "reward.reward_kwargs",
    "reward_model.num_workers": "reward.num_workers",
    "reward_model.model.path": "reward.reward_model.model_path",
    "reward_model": "reward.reward_model",
    "custom_reward_function": "reward.custom_reward_function",
    "sandbox_fusion": "reward.sandbox_fusion",
}
"""Older keys and where verl moves what is below them; the first that fits."""

_MOVES = "migrate_legacy_reward_impl"
_MAIN_PPO = "verl.trainer.main_ppo"
_FULLY_ASYNC = "verl.experimental.fully_async_policy.fully_async_main"
_ONE_STEP_OFF = "verl.experimental.one_step_off_policy.main_ppo"


def moved(config: Any) -> Any:
    """Returns a configuration without the older sections: moved by verl's own function, or dropped as its main does."""
    from omegaconf import open_dict

    if not all(name in config for name in SECTIONS):
        return config
    config = copy.deepcopy(config)
    if _is_moved(_main(config)):
        from verl.experimental import reward_loop

        return getattr(reward_loop, _MOVES)(config)
    with open_dict(config):
        for name in SECTIONS:
            del config[name]
    return config


def warnings(config: Any) -> Iterator[str]:
    """Yields the older keys that the run's main ignores, whatever reward they ask for."""
    if not all(name in config for name in SECTIONS) or _is_moved(main := _main(config)):
        return
    for key, value in (item for name in SECTIONS for item in _set(config[name], name)):
        place, new = next((old, new) for old, new in MOVED.items() if f"{key}.".startswith(f"{old}."))
        yield (
            f"{key}={value}: {main} of this verl ignores this older section, and the reward is computed without it; "
            f"set {new}{key.removeprefix(place)}"
        )


def _set(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the keys below a section that are not null, and their values."""
    from omegaconf import DictConfig

    for name, value in section.items():
        if isinstance(value, DictConfig):
            yield from _set(value, f"{prefix}.{name}")
        elif value is not None:
            yield f"{prefix}.{name}", value


def _main(config: Any) -> str:
    if "async_training" in config:
        return _FULLY_ASYNC
    return _ONE_STEP_OFF if "rollout" in config else _MAIN_PPO


@functools.cache
def _is_moved(main: str) -> bool:
    # Read, not imported: the mains bring Ray and all of verl.
    spec = importlib.util.find_spec(main)
    return spec is not None and spec.origin is not None and _MOVES in Path(spec.origin).read_text()
