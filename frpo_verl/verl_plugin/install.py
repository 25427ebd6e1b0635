"""Puts the hooks in place, once per process."""

import functools

import wrapt

from frpo_verl.preflight import contract
from frpo_verl.verl_plugin import cpu, hooks
from frpo_verl.verl_plugin.ray import launch

_installed = False


def install() -> None:
    """Registers every hook with Python's import system; light, idempotent, and imports no verl module.

    Raises:
        HostError: verl is missing, or untested and FRPO_VERL_STRICT=1, or frpo-verl is not the driver's version.
    """
    global _installed
    if _installed:
        return
    launch.refuse_another_version()
    contract.check_version()
    for module_name, hook in hooks.HOOKS.items():
        wrapt.register_post_import_hook(functools.partial(hooks.run, hook), module_name)
    cpu.install()
    _installed = True


def is_active() -> bool:
    """Whether this process has the hooks.

    Returns:
        True once `install` has run to its end.
    """
    return _installed
