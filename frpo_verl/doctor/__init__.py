"""`frpo-verl doctor`: whether FRPO can run here and in Ray's workers, and what a verl command line would run.

Beside the plugin, not in it: it has to speak where the plugin does not load, and importing the plugin activates it.
"""

import contextlib
import os
import sys
from typing import Any

from frpo_verl.doctor import configuration, nodes, symbols, versions
from frpo_verl.doctor.report import Report, Section
from frpo_verl.preflight import command_line, findings, probe


def examine(for_verl: list[str] | None, *, use_ray: bool, ray_address: str | None, ray_seconds: float) -> Report:
    """Looks at everything; what it prints on the way goes to stderr.

    Args:
        for_verl: a command line of `verl.trainer.main_ppo`, or None for none.
        use_ray: whether to ask Ray's workers.
        ray_address: the cluster to ask; None for that of the command line or of RAY_ADDRESS, else one of its own.
        ray_seconds: how long Ray may take.

    Returns:
        The report.
    """
    line = None if for_verl is None else command_line.parse(for_verl)
    with contextlib.redirect_stdout(sys.stderr):
        # First: everything below imports the plugin, and would hide that verl did not.
        here = probe.examine()
        can_load = not (here["frpo_verl_error"] or here["verl_error"] or here["plugin_error"])
        contract = symbols.examine() if can_load else None
        config, refused = command_line.compose(line) if can_load and line else (None, [])
        sections = [versions.examine(_tested() if can_load else None), _here(here)]
        if use_ray:
            sections.append(nodes.examine(_question(config, ray_address, ray_seconds), here))
        if contract:
            sections.append(contract)
        if config is not None:
            sections.append(_configuration(config))
        elif line:
            why = "hydra refuses the command line" if refused else "not looked at: the plugin does not load"
            sections.append(Section(configuration.TITLE, {"none": why}, refused))
    return Report(sections)


def _configuration(config: Any) -> Section:
    from frpo_verl.preflight import cpu

    section = configuration.examine(config)
    if section.rows and not section.problems:
        section.problems.extend(configuration.on_the_cpu_platform(config, cpu.check))
    return section


def _tested() -> tuple[str, ...]:
    from frpo_verl.preflight.contract import TESTED_VERL

    return TESTED_VERL


def _here(finding: dict[str, Any]) -> Section:
    rows = {
        "active": "yes" if finding["active"] else "no",
        "route": " and ".join(findings.routes(finding)) or "none",
        "entry point seen": ", ".join(finding["entry_points"]) or "no",
        findings.POLICY: "not set" if finding["policy"] is None else repr(finding["policy"]),
        findings.MODULES: finding["modules"] or "not set",
        "frpo_verl from": str(finding["location"]),
    }
    return Section("Plugin, here", rows, findings.problems(finding, "here"))


def _question(config: Any, address: str | None, seconds: float) -> nodes.Question:
    options = _ray_options(config)
    address = address or options.get("address") or os.environ.get("RAY_ADDRESS") or "local"
    environment = {name: value for name, value in (options.get("runtime_env") or {}).items() if value is not None}
    if made := _variables_of_the_run(config):
        environment["env_vars"] = {**made, **(environment.get("env_vars") or {})}
    return nodes.Question(address, environment, seconds)


def _variables_of_the_run(config: Any) -> dict[str, str]:
    """What a run of this command line would add to its workers' environment."""
    algorithm = None if config is None else config.get("algorithm")
    # One that is no section is among the problems.
    if not hasattr(algorithm, "items"):
        return {}
    from frpo_verl.preflight import settings
    from frpo_verl.verl_plugin import cpu
    from frpo_verl.verl_plugin.ray import launch

    made = {**cpu.variables(), **(launch.variables() if settings.asks_for_future(algorithm) else {})}
    given = launch.variables_of_the_job()
    return {name: value for name, value in made.items() if name not in given}


def _ray_options(config: Any) -> dict[str, Any]:
    """Ray's own part of a composed configuration: a run's workers live in what it says."""
    if config is None:
        return {}
    from omegaconf import OmegaConf

    options = OmegaConf.select(config, "ray_kwargs.ray_init")
    return {} if options is None else OmegaConf.to_container(options, resolve=True)
