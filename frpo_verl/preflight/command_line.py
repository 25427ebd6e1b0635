"""Reads a command line of one of verl's mains and composes its configuration as Hydra would."""

import argparse
import ast
import difflib
import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.preflight.errors import SettingsError

DEFAULT_MAIN = "verl.trainer.main_ppo"
HYDRA_SAYS = ("Could not override", "Could not delete")
"""Begins Hydra's message where a key does not exist."""


class CommandLine(NamedTuple):
    """Holds the words after `python -m`; an option of Hydra's that is None takes the main's own value."""

    config_name: str | None
    config_path: str | None
    config_dir: str | None
    overrides: list[str]
    main: str = DEFAULT_MAIN


def parse(arguments: list[str]) -> CommandLine:
    """Reads the part of Hydra's options that chooses a configuration; ends the program with status 2 at any other.

    Args:
        arguments: the words after `--`; all up to the name of the main's module may be among them.

    Returns:
        The command line.
    """
    at = next((at for at, word in enumerate(arguments) if _names_a_main(arguments[:at], word)), None)
    main = DEFAULT_MAIN if at is None else arguments[at]
    # No abbreviations and no `--` of its own: what is read here must be read alike by Hydra.
    parser = argparse.ArgumentParser(prog="frpo-verl … --", add_help=False, allow_abbrev=False)
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    return CommandLine(**vars(parser.parse_args(arguments[0 if at is None else at + 1 :])), main=main)


def compose(line: CommandLine) -> tuple[Any, list[str]]:
    """Composes the configuration that the main would get.

    Args:
        line: the command line.

    Returns:
        The configuration, or None where Hydra refuses something, and a sentence for everything that it refuses.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        name, folders = _primary(line)
        with initialize_config_dir(str(folders[0]), job_name=line.main.rpartition(".")[2], version_base=None):
            return _compose_or_explain(name, folders, _overrides(line, name, folders))
    except SettingsError as error:
        return None, [str(error)]
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        return None, [f"hydra refuses the command line: {_one_line(error)}; fix what it names"]


def nearest(key: str, keys: list[str]) -> str | None:
    """Returns the existing key that was meant: near in its section, of that name elsewhere, or near as a whole."""
    section, _, name = key.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in keys if other.rpartition(".")[0] == section}
    if found := difflib.get_close_matches(name, siblings, n=1, cutoff=0.7):
        return siblings[found[0]]
    elsewhere = [other for other in keys if other.rpartition(".")[2] == name]
    return next(iter(difflib.get_close_matches(key, elsewhere, 1, 0) or difflib.get_close_matches(key, keys, 1)), None)


def _names_a_main(before: list[str], word: str) -> bool:
    """Returns True for `python -m MODULE`, or verl's module alone; Hydra's own `-m` has an override after it."""
    return "=" not in word and (word.startswith("verl.") or before[-1:] == ["-m"])


def _primary(line: CommandLine) -> tuple[str, list[Path]]:
    """Returns the name of the configuration and the folders of the line and its main, the one that has it first."""
    spec = _found(line.main)
    if spec is None or spec.origin is None:
        raise SettingsError(f"{line.main}: there is no such module; correct it, for instance to {DEFAULT_MAIN}")
    # Read, not imported: the mains bring Ray, vLLM and all of verl.
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hydra.main":
            own = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            path = line.config_path or own["config_path"]
            name = (line.config_name or own["config_name"]).removesuffix(".yaml").removesuffix(".yml")
            folders = [_folder(path, Path(spec.origin).parent), *([Path(line.config_dir)] if line.config_dir else [])]
            folders = [Path(os.path.abspath(folder)) for folder in folders]
            return name, sorted(folders, key=lambda folder: not (folder / f"{name}.yaml").is_file())
    raise SettingsError(f"{line.main}: it has no @hydra.main; name the module of one of verl's mains")


def _folder(path: str, here: Path) -> Path:
    """Returns the folder of a configuration: of a package, absolute, or relative to the main's module."""
    if path.startswith("pkg://"):
        spec = _found(path.removeprefix("pkg://").replace("/", "."))
        return Path(*(spec.submodule_search_locations or [])[:1]) if spec else Path(path)
    return here / path.removeprefix("file://")


def _found(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None


def _overrides(line: CommandLine, name: str, folders: list[Path]) -> list[str]:
    """Returns the overrides, with the other folder at the end of Hydra's search path."""
    from omegaconf import OmegaConf

    if not folders[1:]:
        return line.overrides
    given = [override for override in line.overrides if override.startswith("hydra.searchpath=")]
    primary = folders[0] / f"{name}.yaml"
    own = OmegaConf.load(primary) if primary.is_file() else {}
    path = OmegaConf.select(OmegaConf.merge(own, OmegaConf.from_dotlist(given)), "hydra.searchpath") or []
    path = ",".join(f"'{folder}'" for folder in [*path, *(f"file://{folder}" for folder in folders[1:])])
    return [override for override in line.overrides if override not in given] + [f"hydra.searchpath=[{path}]"]


def _compose_or_explain(name: str, folders: list[Path], overrides: list[str]) -> tuple[Any, list[str]]:
    from hydra.errors import HydraException, MissingConfigException

    left, refused = list(overrides), []
    while True:
        try:
            config = _composed(name, left)
            break
        except (HydraException, ValueError) as error:
            if isinstance(error, MissingConfigException) and error.missing_cfg_file == name:
                return None, [_missing(name, folders)]
            guilty = _guilty(error, left)
            if guilty is None:
                raise
            refused.append((guilty, error))
            left.remove(guilty)
    keys = list(_keys(config)) if refused else []
    return (None if refused else config), [_refusal(override, error, keys) for override, error in refused]


def _composed(name: str, overrides: list[str]) -> Any:
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    config = compose(name, overrides, return_hydra_config=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = "."
        # As in a run, so that interpolations of hydra's own values resolve.
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return config


def _missing(name: str, folders: list[Path]) -> str:
    names = sorted(file.stem for folder in folders for file in folder.glob("[!_]*.yaml"))
    where = " and ".join(map(str, folders))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0)
    nearest_of = f"the nearest is {near[0]}, of {', '.join(names)}" if near else "correct the path"
    return f"--config-name={name}: no such configuration in {where}; {nearest_of}"


def _guilty(error: Exception, overrides: list[str]) -> str | None:
    """Returns the override that Hydra's message is about."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    if isinstance(error, OverrideParseException):
        return error.override if error.override in overrides else None
    parser, said = OverridesParser.create(), str(error)
    keys = {override: parser.parse_override(override).key_or_group for override in overrides}
    # Named whole, or by its key; a group's choice is named as group/choice.
    named = [override for override, key in keys.items() if f"'{key}'" in said or f"'{key}/" in said]
    return next(iter([override for override in overrides if f"'{override}'" in said] + named), None)


def _refusal(override: str, error: Exception, keys: list[str]) -> str:
    from hydra.errors import OverrideParseException

    if isinstance(error, OverrideParseException):
        reason = _one_line(error).removeprefix(f"Error parsing override '{override}' ")
        return f"{override}: hydra cannot read it ({reason}); write key=value, and quote what the shell or hydra splits"
    if not str(error).startswith(HYDRA_SAYS):
        return f"{override}: {_one_line(error)}"
    key = override.lstrip("+~").split("=")[0]
    if key == "algorithm.kl_mode" or key.startswith("algorithm.frpo."):
        return f"{override}: verl's own configuration has no such key; write +{override}, or use frpo_trainer"
    hint = f"the nearest is {near}" if (near := nearest(key, keys)) else "no other key is like it"
    add = "" if override.startswith("~") else f" (+{override} adds a key of that name)"
    return f"{override}: the configuration has no key {key}; {hint}{add}"


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig, OmegaConf

    for name in config:
        yield f"{prefix}{name}"
        if OmegaConf.is_missing(config, name) or OmegaConf.is_interpolation(config, name):
            continue
        if isinstance(value := config[name], DictConfig):
            yield from _keys(value, f"{prefix}{name}.")


def _one_line(error: Exception) -> str:
    text = str(error).split("Config search path:")[0].split("See https://")[0]
    return " ".join(text.split()).rstrip(".")
