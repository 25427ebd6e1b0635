"""Puts the hooks in place, once per process."""

import wrapt

from frpo_verl.preflight import contract, environment
from frpo_verl.verl_plugin import hooks
from frpo_verl.verl_plugin.ray import launch

_installed = False


def install() -> None:
    """Registers every hook with Python's import system; light, idempotent, and imports no verl module.

    Raises HostError: verl is missing, or untested and FRPO_VERL_STRICT=1, or frpo-verl is not the driver's version.
    """
    global _installed
    if _installed:
        return
    launch.refuse_another_version()
    contract.check_version()
    for module in hooks.HOOKS:
        wrapt.register_post_import_hook(hooks.apply, module)
    if environment.is_on_cpu():
        from frpo_verl.verl_plugin import cpu

        cpu.install()
    _installed = True


def is_active() -> bool:
    """Returns True once `install` has run to its end in this process."""
    return _installed
