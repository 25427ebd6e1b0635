"""Makes verl's replay buffer look for finished rollouts ten times a second instead of every two seconds."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap

POLL_SECONDS = 0.1


def _poll_often(host: Callable, replay_buffer, *args, **kwargs) -> None:
    kwargs.setdefault("poll_interval", POLL_SECONDS)
    host(replay_buffer, *args, **kwargs)


def _is_needed(replay_buffer: ModuleType) -> bool:
    parameters = inspect.signature(replay_buffer.ReplayBuffer.__init__).parameters
    return parameters["poll_interval"].default > POLL_SECONDS


def _apply(replay_buffer: ModuleType) -> None:
    wrap(replay_buffer.ReplayBuffer, "__init__", _poll_often)


SHIM = Shim(
    name="frequent replay poll",
    module="verl.trainer.ppo.v1.replay_buffer",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="a two-second sleep that no key configures is most of a small model's step",
    is_needed=_is_needed,
    apply=_apply,
)
