"""Takes the port on which a worker group meets from below those that the system gives to connections."""

import inspect
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap

# Above Ray's own (10002 to 19999), below Linux's ephemeral ones.
FIRST, LAST = 20000, 32000
_TRIED = 500


def _below_the_systems(
    host: Callable, group: Any, pg: Any, bundle_index: int = 0, master_port_range: list[int] | None = None
) -> None:
    # verl takes the first free port from the start: two groups that start there together would take the same one.
    start = random.SystemRandom().randrange(FIRST, LAST)
    host(group, pg, bundle_index, master_port_range or [start, start + _TRIED])


def _is_needed(base: ModuleType) -> bool:
    return 's.bind(("", 0))' in inspect.getsource(base)


def _apply(base: ModuleType) -> None:
    name = "_get_master_addr_port"
    inspect.signature(getattr(base.RayWorkerGroup, name)).bind(None, None, 0, [FIRST, LAST])
    wrap(base.RayWorkerGroup, name, _below_the_systems)


SHIM = Shim(
    name="a port that stays free",
    module="verl.single_controller.ray.base",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl picks a port long before a worker listens there, and the system may give it to another",
    is_needed=_is_needed,
    apply=_apply,
)
