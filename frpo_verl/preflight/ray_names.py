"""Finds the Ray cluster that a run joins, and names its nodes."""

import os
from collections.abc import Mapping
from typing import Any


def cluster_address(config: Any) -> str:
    """Returns where a run's Ray is.

    That is `ray_kwargs.ray_init.address`, else RAY_ADDRESS, else the cluster that `ray start` has joined this machine
    to, which Ray takes unasked; else `local`, a Ray of the run's own.
    """
    options = ray_options(config)
    return options.get("address") or os.environ.get("RAY_ADDRESS") or _joined(options.get("_temp_dir")) or "local"


def ray_options(config: Any) -> dict[str, Any]:
    """Returns verl's `ray_kwargs.ray_init`, resolved; nothing where there is no configuration."""
    from omegaconf import OmegaConf

    options = None if config is None else OmegaConf.select(config, "ray_kwargs.ray_init")
    return {} if options is None else OmegaConf.to_container(options, resolve=True)


def is_local(config: Any) -> bool:
    """Returns True for a run that starts a Ray of its own, False on a cluster."""
    return cluster_address(config) == "local"


def is_judged_here(config: Any, path: str) -> bool:
    """Returns True where a file or module that is missing here is missing in the workers too.

    False on a cluster, and where Ray gives its workers another folder or environment.
    """
    sent = ray_options(config).get("runtime_env") or {}
    elsewhere = any(sent.get(name) for name in ("working_dir", "py_modules", "pip", "conda", "uv", "image_uri"))
    return is_local(config) and (not elsewhere or path.startswith(("/", "~")))


def node_name(node: Mapping[str, Any]) -> str:
    """Returns host name, address and the start of Ray's id of a row of `ray.nodes()`: nodes may share a machine."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node {node['NodeID'][:6]})"


def _joined(folder: str | None) -> str | None:
    from ray._private.services import find_bootstrap_address

    return find_bootstrap_address(folder)
