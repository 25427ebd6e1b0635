"""Between a command line and Ray: what is checked then, and how every worker is made to load the plugin."""

import json
import os
from collections.abc import Callable
from typing import Any

from frpo_verl import __version__
from frpo_verl.preflight import contract, inputs, regulariser, settings
from frpo_verl.preflight.environment import is_on_cpu
from frpo_verl.preflight.errors import CheckpointError, HostError, SettingsError
from frpo_verl.verl_plugin import policy_losses, token_weights
from frpo_verl.verl_plugin.ray import node_watch

MODULE = "frpo_verl.verl_plugin"
"""What `VERL_USE_EXTERNAL_MODULES` names."""

DRIVERS_VERSION = "FRPO_VERL_DRIVERS_VERSION"
"""Environment variable by which the driver tells its workers which frpo-verl they must have."""


def refuse_another_version() -> None:
    """Ends a worker whose frpo-verl is not the driver's: half of a run would compute something else.

    Raises:
        HostError: the versions differ.
    """
    driver = os.environ.get(DRIVERS_VERSION, __version__)
    if driver != __version__:
        import socket

        raise HostError(another_version(__version__, socket.gethostname(), driver))


def another_version(found: str, where: str, drivers: str) -> str:
    """What is said of a node whose frpo-verl is not the driver's.

    Args:
        found: its version.
        where: the node.
        drivers: the driver's version.

    Returns:
        One sentence.
    """
    return (
        f"frpo-verl {found} on {where}, but {drivers} where the run was started; install the same version on every node"
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
    # Also on a node that was started without it.
    wanted, given = ({"VERL_PLATFORM": "cpu"} if is_on_cpu() else {}), variables_of_the_job()
    # Where no configuration is passed, the plugin is here only because somebody named it.
    if config is None or _check(config):
        wanted |= {**variables(), DRIVERS_VERSION: __version__}
        node_watch.start()
        if MODULE not in given.get("VERL_USE_EXTERNAL_MODULES", MODULE).split(","):
            raise SystemExit(
                f"frpo-verl: VERL_USE_EXTERNAL_MODULES={given['VERL_USE_EXTERNAL_MODULES']!r} in the Ray job's "
                f"runtime_env leaves the plugin out; add {MODULE} to it"
            )
    # Ray refuses a variable that the submitted job has already, whatever its value.
    added = {key: wanted[key] for key in wanted.keys() - given.keys()}
    if added:
        environment.setdefault("env_vars", {}).update(added)
    return environment


def variables() -> dict[str, str]:
    """By which environment variables a worker loads the plugin, whatever its node was started with.

    Returns:
        By name.
    """
    named = [name for name in os.environ.get("VERL_USE_EXTERNAL_MODULES", "").split(",") if name]
    strict = {"FRPO_VERL_STRICT": "1"} if contract.is_strict() else {}
    return {"VERL_USE_EXTERNAL_MODULES": ",".join(dict.fromkeys([*named, MODULE])), **strict}


def variables_of_the_job() -> dict[str, str]:
    """What a submitted Ray job sets already, which Ray lets nobody repeat.

    Returns:
        By name; nothing outside of jobs.
    """
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    return (job.get("runtime_env") or {}).get("env_vars") or {}


def _check(config: Any) -> bool:
    """Whether the run asks for the future divergence, after its settings have been checked."""
    import ray

    if "algorithm" not in config:
        return False
    try:
        regulariser.check(config)
        token_weights.chosen(config.algorithm)
        policy_losses.refuse_taken(config)
        # V0 validates once more inside an actor, which Ray shows no GPU and where it holds the ports and the memory.
        if not ray.is_initialized():
            if settings.asks_for_future(config.algorithm) or inputs.RECIPE in os.environ:
                inputs.check(config)
            if is_on_cpu():
                from frpo_verl.preflight import cpu as cpu_preflight

                cpu_preflight.check(config)
    except (SettingsError, HostError, CheckpointError) as error:
        if ray.is_initialized():
            raise
        # The driver, before Ray starts: a traceback through Hydra would bury the sentence.
        raise SystemExit(f"frpo-verl: {error}") from None
    return settings.asks_for_future(config.algorithm)
