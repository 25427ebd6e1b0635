"""Which Ray cluster a run is on, and what its nodes are called."""

import os
from collections.abc import Mapping
from typing import Any


def cluster_address(options: Mapping[str, Any]) -> str:
    """Where a run's Ray is.

    Args:
        options: verl's `ray_kwargs.ray_init`.

    Returns:
        Its `address`, else RAY_ADDRESS, else that of the cluster to which `ray start` has joined this machine, which
        Ray takes unasked; else `local`, a Ray of the run's own.
    """
    return options.get("address") or os.environ.get("RAY_ADDRESS") or _joined(options.get("_temp_dir")) or "local"


def _joined(folder: str | None) -> str | None:
    from ray._private.services import find_bootstrap_address

    return find_bootstrap_address(folder)


def is_runs_own(config: Any) -> bool:
    """Whether a run starts a Ray of its own.

    Args:
        config: verl's whole configuration.

    Returns:
        False on a cluster.
    """
    from omegaconf import OmegaConf

    return cluster_address(OmegaConf.select(config, "ray_kwargs.ray_init") or {}) == "local"


def is_judged_here(config: Any, path: str) -> bool:
    """Whether what is not found here cannot be found by a worker either.

    Args:
        config: verl's whole configuration.
        path: of a file, or the name of a module.

    Returns:
        False on a cluster, and where Ray gives its workers another folder or environment.
    """
    from omegaconf import OmegaConf

    sent = OmegaConf.select(config, "ray_kwargs.ray_init.runtime_env") or {}
    elsewhere = any(sent.get(name) for name in ("working_dir", "py_modules", "pip", "conda", "uv", "image_uri"))
    return is_runs_own(config) and (not elsewhere or path.startswith(("/", "~")))


def node_name(node: Mapping[str, Any]) -> str:
    """A node, so that a person finds it.

    Args:
        node: a row of `ray.nodes()`.

    Returns:
        Host name, address and the beginning of Ray's id: several nodes may share a machine.
    """
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node {node['NodeID'][:6]})"
