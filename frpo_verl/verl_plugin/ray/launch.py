"""Checks a run between its command line and Ray, and makes every worker load the plugin."""

import os
import sys
from collections.abc import Callable
from typing import Any

from frpo_verl import __version__
from frpo_verl.preflight import environment, examination, machine, methods, settings
from frpo_verl.preflight.environment import MODULES, PLUGIN
from frpo_verl.preflight.errors import HostError, SettingsError
from frpo_verl.verl_plugin.ray import node_watch

DRIVERS_VERSION = "FRPO_VERL_DRIVERS_VERSION"
"""Environment variable by which the driver tells its workers which frpo-verl they must have."""

_said: set[str] = set()


def refuse_another_version() -> None:
    """Raises HostError in a worker whose frpo-verl is not the driver's, since half of a run would compute otherwise."""
    driver = os.environ.get(DRIVERS_VERSION, __version__)
    if driver != __version__:
        import socket

        raise HostError(another_version(__version__, socket.gethostname(), driver))


def another_version(found: str, where: str, drivers: str) -> str:
    """Returns the sentence about a node whose frpo-verl is not the driver's."""
    return (
        f"frpo-verl {found} on {where}, but {drivers} where the run was started; install the same version on every node"
    )


def checked_before_validation(host: Callable, config: Any, *args: Any, **kwargs: Any) -> Any:
    """Runs verl's `validate_config` after our own checks.

    Ends the driver with one sentence before Ray starts; inside an actor, where V0 validates once more, SettingsError or
    HostError is raised.
    """
    _check(config)
    return host(config, *args, **kwargs)


def with_plugin_in_workers(host: Callable, config: Any = None) -> dict[str, Any]:
    """Returns verl's `get_ppo_ray_runtime_env` with the plugin named in the environment of every worker.

    verl imports what VERL_USE_EXTERNAL_MODULES names and dies when it cannot, whereas a missing entry point would
    silently leave a worker without the plugin. For mains that do not validate, this is where checks run before Ray
    starts. verl 0.8 passes no configuration.
    """
    made = host() if config is None else host(config)
    wanted, given = environment.of_cpu_workers(), environment.of_ray_job()
    # Where no configuration is passed, the plugin is here only because somebody named it.
    if config is None or _check(config):
        wanted |= {**environment.of_frpo_workers(), DRIVERS_VERSION: __version__}
        node_watch.start()
        if PLUGIN not in given.get(MODULES, PLUGIN).split(","):
            raise SystemExit(
                f"frpo-verl: {MODULES}={given[MODULES]!r} in the Ray job's runtime_env leaves the plugin out; add "
                f"{PLUGIN} to it"
            )
    # Ray refuses a variable that the submitted job has already, whatever its value.
    added = {key: wanted[key] for key in wanted.keys() - given.keys()}
    if added:
        made.setdefault("env_vars", {}).update(added)
    return made


def _check(config: Any) -> bool:
    """Returns True for a run with a method of ours; refuses one that has problems, and says once what will run."""
    import ray

    if "algorithm" not in config:
        return False
    found = examination.examine(config, starting=True)
    try:
        if found.problems:
            raise SettingsError(found.problems[0])
        if environment.is_on_cpu() and not ray.is_initialized():
            machine.hold()
    except (SettingsError, HostError) as error:
        if ray.is_initialized():
            raise
        # The driver, before Ray starts: a traceback through Hydra would bury the sentence.
        raise SystemExit(f"frpo-verl: {error}") from None
    for line in found.warnings:
        _say_once(f"frpo-verl: warning: {line}", sys.stderr)
    for line in found.summary:
        _say_once(f"frpo-verl {__version__}: {line}", sys.stdout)
    return settings.asks_for_future(config.algorithm) or methods.are_chosen(config)


def _say_once(line: str, stream: Any) -> None:
    # Several mains check the same configuration more than once on their way to Ray.
    if line not in _said:
        _said.add(line)
        print(line, file=stream)
