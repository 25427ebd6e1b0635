"""`frpo-verl doctor`: says whether FRPO works here and in Ray's workers, and what a verl command line would run.

It has to speak where the plugin does not load, so that it is not part of the plugin.
"""

import contextlib
import sys
from typing import Any

from frpo_verl.doctor import configuration, nodes, symbols, versions
from frpo_verl.doctor.report import Report, Section
from frpo_verl.preflight import command_line, environment, findings, probe


def examine(for_verl: list[str] | None, *, use_ray: bool, ray_address: str | None, ray_seconds: float) -> Report:
    """Checks everything; what verl and Ray print on the way goes to stderr.

    Args:
        for_verl: a command line of one of verl's mains, or None for none.
        use_ray: whether to ask Ray's workers.
        ray_address: the cluster to ask; None for the one that the run would join.
        ray_seconds: how long Ray may take.

    Returns:
        The report.
    """
    line = None if for_verl is None else command_line.parse(for_verl)
    with contextlib.redirect_stdout(sys.stderr):
        # First, before anything here can have loaded the plugin.
        here = probe.examine()
        can_load = findings.can_load(here)
        contract = symbols.examine() if can_load else None
        config, refused = command_line.compose(line) if can_load and line else (None, [])
        sections = [versions.examine(), _here(here)]
        if use_ray:
            sections.append(nodes.examine(_question(_usable(config), ray_address, ray_seconds), here))
        if contract:
            sections.append(contract)
        if config is not None:
            sections.append(configuration.examine(config))
        elif line:
            why = "hydra refuses the command line" if refused else "not checked: the plugin does not load"
            sections.append(Section(configuration.TITLE, {"none": why}, refused))
    return Report(sections)


def _here(finding: dict[str, Any]) -> Section:
    rows = {
        "active": "yes" if finding["active"] else "no",
        "route": " and ".join(findings.routes(finding)) or "none",
        "entry point seen": ", ".join(finding["entry_points"]) or "no",
        findings.POLICY: "not set" if finding["policy"] is None else repr(finding["policy"]),
        environment.MODULES: finding["modules"] or "not set",
        "frpo_verl from": str(finding["location"]),
    }
    return Section("Plugin, here", rows, findings.problems(finding, "here"))


def _usable(config: Any) -> Any:
    """Returns a configuration from which something can be read; what is wrong with another is among the problems."""
    if config is None:
        return None
    from frpo_verl.preflight import examination

    return None if examination.unusable(config) else config


def _question(config: Any, address: str | None, seconds: float) -> nodes.Question:
    from frpo_verl.preflight import ray_names

    sent = ray_names.ray_options(config).get("runtime_env") or {}
    runtime_env = {name: value for name, value in sent.items() if value is not None}
    if made := _variables_of_the_run(config):
        runtime_env["env_vars"] = {**made, **(runtime_env.get("env_vars") or {})}
    return nodes.Question(address or _address(config), runtime_env, seconds)


def _address(config: Any) -> str:
    from frpo_verl.preflight import ray_names

    try:
        return ray_names.cluster_address(config)
    except ImportError:
        # Without Ray, asking it says so.
        return "local"


def _variables_of_the_run(config: Any) -> dict[str, str]:
    """Returns what a run of this command line would add to its workers' environment."""
    algorithm = None if config is None else config.get("algorithm")
    # One that is not a section is among the problems.
    if not hasattr(algorithm, "items"):
        return {}
    from frpo_verl.preflight import settings

    frpos = environment.of_frpo_workers() if settings.asks_for_future(algorithm) else {}
    made, given = {**environment.of_cpu_workers(), **frpos}, environment.of_ray_job()
    return {name: value for name, value in made.items() if name not in given}
