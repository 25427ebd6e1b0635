"""Between a command line and Ray: what is checked then, and how every worker is made to load the plugin."""

import os
from collections.abc import Callable
from typing import Any

from frpo_verl import __version__
from frpo_verl.verl_plugin import contract, cpu, preflight, settings
from frpo_verl.verl_plugin.errors import HostError, SettingsError

MODULE = "frpo_verl.verl_plugin"
"""What `VERL_USE_EXTERNAL_MODULES` names."""

DRIVERS_VERSION = "FRPO_VERL_DRIVERS_VERSION"
"""Environment variable by which the driver tells its workers which frpo-verl they must have."""

_asked = False


def refuse_another_version() -> None:
    """Ends a worker whose frpo-verl is not the driver's: half of a run would compute something else.

    Raises:
        HostError: the versions differ.
    """
    driver = os.environ.get(DRIVERS_VERSION, __version__)
    if driver != __version__:
        import socket

        raise HostError(
            f"frpo-verl {__version__} on {socket.gethostname()}, but {driver} where the run was started; install the "
            "same version on every node"
        )


def checked_before_validation(host: Callable, config: Any, *args: Any, **kwargs: Any) -> Any:
    """verl's `validate_config`, after our own checks.

    Args:
        host: verl's function.
        config: verl's whole configuration.
        *args: passed on.
        **kwargs: passed on.

    Returns:
        What the host returns.

    Raises:
        SystemExit: with one sentence, in the driver before Ray starts.
        SettingsError: inside an actor, where V0 validates once more.
        HostError: likewise.
    """
    _check(config)
    return host(config, *args, **kwargs)


def with_plugin_in_workers(host: Callable, config: Any = None) -> dict[str, Any]:
    """verl's `get_ppo_ray_runtime_env`, with the plugin named in the environment of every worker.

    verl imports what VERL_USE_EXTERNAL_MODULES names and dies when it cannot, where a missing entry point would leave a
    worker without the plugin in silence. Also the last stop before Ray starts for mains that do not validate.

    Args:
        host: verl's function.
        config: verl's whole configuration; verl 0.8 passes none.

    Returns:
        Ray's runtime environment.
    """
    environment = host() if config is None else host(config)
    if config is not None:
        _check(config)
    if not _asked:
        return environment
    named = [name for name in os.environ.get("VERL_USE_EXTERNAL_MODULES", "").split(",") if name]
    variables = environment.setdefault("env_vars", {})
    variables["VERL_USE_EXTERNAL_MODULES"] = ",".join(dict.fromkeys([*named, MODULE]))
    variables[DRIVERS_VERSION] = __version__
    if contract.is_strict():
        variables["FRPO_VERL_STRICT"] = "1"
    return environment


def _check(config: Any) -> None:
    global _asked
    import ray

    _asked = settings.asks_for_future(config.algorithm)
    if ray.is_initialized():
        # V0 validates once more inside an actor, where Ray already holds the ports and the memory.
        preflight.check(config)
        return
    try:
        preflight.check(config)
        if cpu.is_asked_for():
            cpu.check(config)
    except (SettingsError, HostError) as error:
        # The driver, before Ray starts: a traceback through Hydra would bury the sentence.
        raise SystemExit(f"frpo-verl: {error}") from None
