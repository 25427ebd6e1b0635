"""Interprets what `probe.examine` found in a process: the plugin's route, and a sentence for each problem."""

from typing import Any

from frpo_verl.preflight.environment import MODULES, PLUGIN

ENTRY_POINT = "entry point"
POLICY = "VERL_USE_EXTERNAL_PLUGINS"


def routes(finding: dict[str, Any]) -> list[str]:
    """Returns the ways by which verl loads the plugin in a process, by the rules of `verl/__init__.py`."""
    # Set but empty, it lets no entry point in.
    policy = "auto" if finding["policy"] is None else finding["policy"].strip().lower()
    allowed = {name.strip() for name in policy.split(",")}
    modules = (finding["modules"] or "").split(",")
    found = []
    if policy != "none" and any(policy == "auto" or name in allowed for name in finding["entry_points"]):
        found.append(ENTRY_POINT)
    if any(name == PLUGIN or name.startswith(f"{PLUGIN}.") for name in modules):
        found.append(MODULES)
    return found


def can_load(finding: dict[str, Any]) -> bool:
    """Returns True where verl and the plugin can be imported, whether or not verl loads the plugin by itself."""
    return not (finding["frpo_verl_error"] or finding["verl_error"] or finding["plugin_error"])


def state(finding: dict[str, Any]) -> str:
    """Describes a process: `active by entry point, frpo-verl 0.1.0, verl 0.9.1, python 3.11.7`."""
    versions = f"frpo-verl {finding['frpo_verl']}, verl {finding['verl']}, python {finding['python']}"
    way = f"by {' and '.join(routes(finding))}" if routes(finding) else "without a route"
    return f"{'active' if finding['active'] else 'not active'} {way}, {versions}".replace("None", "not installed")


def problems(finding: dict[str, Any], where: str) -> list[str]:
    """Returns what keeps the plugin from working in a process, which the sentences call `where`."""
    if finding["frpo_verl_error"]:
        return [
            f"{where}: frpo-verl is not installed ({finding['frpo_verl_error']}); "
            "install it into the environment that has verl, on every node"
        ]
    if finding["verl_error"]:
        named = f" with {MODULES}={finding['modules']}" if finding["modules"] else ""
        return [
            f"{where}: verl cannot be imported{named} ({finding['verl_error']}); "
            "fix that first, for instance by pip install 'frpo-verl[verl]'"
        ]
    if finding["plugin_error"]:
        return [f"{where}: the plugin does not load ({finding['plugin_error']}); fix that first"]
    if finding["active"]:
        return []
    return [f"{where}: importing verl does not load the plugin, since {_why_no_route(finding)}"]


def differences(finding: dict[str, Any], here: dict[str, Any], where: str) -> list[str]:
    """Returns a sentence for each version in which a worker differs from the driver.

    What is not installed is a problem of its own and not repeated here.
    """
    names = {"frpo_verl": "frpo-verl", "verl": "verl"}
    return [
        f"{where}: {name} {finding[key]}, where the driver has {here[key]}; install one version on every node"
        for key, name in names.items()
        if finding[key] and here[key] and finding[key] != here[key]
    ]


def _why_no_route(finding: dict[str, Any]) -> str:
    instead = f"set {MODULES}={PLUGIN}"
    if not finding["entry_points"]:
        return f"its entry point is not installed; pip install path/to/frpo-verl, or {instead}"
    if not routes(finding):
        entry_point = finding["entry_points"][0]
        return f"{POLICY}={finding['policy']} leaves out its entry point {entry_point}; unset {POLICY}, or {instead}"
    return f"its {' and '.join(routes(finding))} failed the first time; run with VERL_LOGGING_LEVEL=DEBUG to see why"
