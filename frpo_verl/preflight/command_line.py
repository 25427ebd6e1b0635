"""A command line of one of verl's mains, read and composed as Hydra would."""

import argparse
import ast
import contextlib
import difflib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_MAIN = "verl.trainer.main_ppo"
HYDRA_SAYS = ("Could not override", "Could not delete")
"""How Hydra's message begins where a key is not there."""


class CommandLine(NamedTuple):
    """What stands behind `python -m`.

    Attributes:
        config_name: `--config-name`; None for the main's own.
        config_path: `--config-path`; a relative one starts at the main's module, as Hydra has it; None for its own.
        config_dir: `--config-dir`, or None.
        overrides: Hydra's overrides.
        main: the module that would be run.
    """

    config_name: str | None
    config_path: str | None
    config_dir: str | None
    overrides: list[str]
    main: str = DEFAULT_MAIN


class UnknownMain(ValueError):
    """A module that is not there, or that Hydra does not configure."""


def parse(arguments: list[str]) -> CommandLine:
    """Reads the part of Hydra's options that chooses a configuration; ends the program with status 2 at any other.

    Args:
        arguments: the words behind `--`; all up to the name of the main's module may be there too.

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


def _names_a_main(before: list[str], word: str) -> bool:
    """`python -m MODULE`, or verl's module alone; Hydra's own `-m` would have an override behind it."""
    return "=" not in word and (word.startswith("verl.") or before[-1:] == ["-m"])


def _file_of(main: str) -> Path:
    try:
        spec = importlib.util.find_spec(main)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise UnknownMain(f"{main}: there is no such module; correct it, for instance to {DEFAULT_MAIN}")
    return Path(spec.origin)


def _with_its_own(line: CommandLine) -> CommandLine:
    """The line, with the name and path of the configuration that its main's `@hydra.main` gives where it has none."""
    # Read, not imported: the mains bring Ray, vLLM and all of verl.
    for node in ast.walk(ast.parse(_file_of(line.main).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hydra.main":
            said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            name, path = line.config_name or said["config_name"], line.config_path or said["config_path"]
            return line._replace(config_name=name, config_path=path)
    raise UnknownMain(f"{line.main}: nothing in it is @hydra.main; name the module of one of verl's mains")


def compose(line: CommandLine) -> tuple[Any, list[str]]:
    """Composes the configuration that the main would get.

    Args:
        line: the command line.

    Returns:
        The configuration, or None where Hydra refuses something, and a sentence for everything that it refuses.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        line = _with_its_own(line)
        with _search_path(line):
            return _compose_or_explain(line)
    except UnknownMain as error:
        return None, [str(error)]
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        return None, [f"hydra refuses the command line: {_one_line(error)}; mend what it names"]


@contextlib.contextmanager
def _search_path(line: CommandLine) -> Iterator[None]:
    # Hydra's own steps behind @hydra.main; its public initialize_* know neither --config-dir nor relative paths.
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_automatic_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    version.setbase(None)
    path = create_automatic_config_search_path(str(_file_of(line.main)), None, line.config_path)
    if line.config_dir is not None:
        directory = f"file://{os.path.abspath(line.config_dir)}"
        path.prepend(provider="command-line", path=directory, anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2(task_name=line.main.rpartition(".")[2], config_search_path=path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def _compose_or_explain(line: CommandLine) -> tuple[Any, list[str]]:
    from hydra.errors import HydraException, OverrideParseException

    if missing := _missing_config(line):
        return None, [missing]
    left, refused = list(line.overrides), []
    while True:
        try:
            config = _composed(line.config_name, left)
        except (HydraException, ValueError) as error:
            guilty = _guilty(error, left)
            if guilty is None:
                raise
            refused.append((guilty, error))
            left.remove(guilty)
        else:
            break
    if not refused:
        return config, []
    keys = list(_keys(config))
    return None, [
        _syntax(override, error) if isinstance(error, OverrideParseException) else _refusal(override, error, keys)
        for override, error in refused
    ]


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


def _missing_config(line: CommandLine) -> str | None:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.object_type import ObjectType

    names = GlobalHydra.instance().config_loader().get_group_options("", results_filter=ObjectType.CONFIG)
    wanted = line.config_name.removesuffix(".yaml").removesuffix(".yml")
    if wanted in names or "/" in wanted:
        return None
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0) or ["none"]
    return (
        f"--config-name={line.config_name}: no such configuration in {line.config_path}; "
        f"the nearest is {near[0]}, of {', '.join(names) or 'none'}"
    )


def _guilty(error: Exception, overrides: list[str]) -> str | None:
    """The override that Hydra's message is about."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    parser, keys = OverridesParser.create(), {}
    for override in overrides:
        try:
            keys[override] = parser.parse_overrides([override])[0].key_or_group
        except OverrideParseException:
            return override
    said = str(error)
    quoted = [override for override in overrides if f"'{override}'" in said]
    # A group's choice is named as group/choice.
    named = [override for override, key in keys.items() if f"'{key}'" in said or f"'{key}/" in said]
    return next(iter(quoted + named), None)


def _syntax(override: str, error: Exception) -> str:
    reason = _one_line(error).removeprefix(f"Error parsing override '{override}' ")
    return (
        f"{override}: hydra cannot read it ({reason}); write key=value, and quote what the shell or hydra would split"
    )


def _refusal(override: str, error: Exception, keys: list[str]) -> str:
    if not str(error).startswith(HYDRA_SAYS):
        return f"{override}: {_one_line(error)}"
    key = override.lstrip("+~").split("=")[0]
    if key == "algorithm.kl_mode" or key.startswith("algorithm.frpo."):
        return f"{override}: verl's own configuration has no such key; write +{override}, or use frpo_trainer"
    hint = f"the nearest is {near}" if (near := nearest(key, keys)) else "none is near it"
    add = "" if override.startswith("~") else f" (+{override} adds a key of that name)"
    return f"{override}: the configuration has no key {key}; {hint}{add}"


def nearest(key: str, keys: list[str]) -> str | None:
    """The key that was meant.

    Args:
        key: one that does not exist.
        keys: all that do.

    Returns:
        The nearest by its last part within the same section, else by its whole; None where none is near.
    """
    section, _, name = key.rpartition(".")
    beside = {other.rpartition(".")[2]: other for other in keys if other.rpartition(".")[0] == section}
    if found := difflib.get_close_matches(name, beside, n=1, cutoff=0.7):
        return beside[found[0]]
    # The right name in a wrong section, else a wrong name anywhere.
    elsewhere = [other for other in keys if other.rpartition(".")[2] == name]
    return next(iter(difflib.get_close_matches(key, elsewhere, 1, 0) or difflib.get_close_matches(key, keys, 1)), None)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for name in config:
        yield f"{prefix}{name}"
        value = config._get_node(name)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _keys(value, f"{prefix}{name}.")


def _one_line(error: Exception) -> str:
    text = str(error).split("Config search path:")[0].split("See https://")[0]
    return " ".join(text.split()).rstrip(".")
