"""Reads the environment variables of a run, and makes those of its workers."""

import json
import os

PLUGIN = "frpo_verl.verl_plugin"
"""The module that verl imports in every process of a run with FRPO."""

MODULES = "VERL_USE_EXTERNAL_MODULES"
"""verl's variable that names modules to import; verl ends a process that cannot import one."""

STRICT = "FRPO_VERL_STRICT"
"""Set to 1, it makes an untested verl an error."""


def is_on_cpu() -> bool:
    """Returns True where this process runs on the CPU platform: VERL_PLATFORM=cpu."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def is_strict() -> bool:
    """Returns True where an untested host is an error rather than a warning: FRPO_VERL_STRICT=1."""
    return os.environ.get(STRICT) == "1"


def of_cpu_workers() -> dict[str, str]:
    """Returns what selects the CPU platform in a worker on any node; nothing on other platforms."""
    return {"VERL_PLATFORM": "cpu"} if is_on_cpu() else {}


def of_frpo_workers() -> dict[str, str]:
    """Returns what makes a worker load the plugin, however its node was started."""
    named = [name for name in os.environ.get(MODULES, "").split(",") if name]
    strict = {STRICT: "1"} if is_strict() else {}
    return {MODULES: ",".join(dict.fromkeys([*named, PLUGIN])), **strict}


def of_ray_job() -> dict[str, str]:
    """Returns what a submitted Ray job sets already and Ray forbids to repeat; nothing outside of jobs."""
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    return (job.get("runtime_env") or {}).get("env_vars") or {}
