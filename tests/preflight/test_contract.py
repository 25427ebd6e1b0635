"""The table of host symbols against the installed hosts, and against what the sources use."""

import ast
import importlib
import importlib.util
import inspect
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import frpo_verl
from frpo_verl.preflight import contract
from frpo_verl.preflight.contract import CONTRACT, Symbol, mismatch
from frpo_verl.preflight.contract_table import UNHOOKED
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import hooks

pytest.importorskip("verl")

PACKAGE = Path(frpo_verl.__file__).parent
HOSTS = ("verl", "ray", "hydra", "transfer_queue")
CPU_PLATFORM = PACKAGE / "verl_plugin" / "cpu"
"""Each of its shims names its hosts and checks itself."""


@pytest.mark.parametrize("symbol", CONTRACT, ids=lambda symbol: f"{symbol.module}.{symbol.name}")
def test_the_installed_host_has_it_as_expected(symbol):
    if symbol not in contract.of_this_host():
        pytest.skip(f"new in verl {symbol.since}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(symbol.module)
    assert mismatch(symbol, module) is None


def _chain(node: ast.expr) -> tuple[str, ...]:
    """`a.b.c` as its names; empty for anything else."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (before := _chain(node.value)):
        return (*before, node.attr)
    return ()


def _is_module(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    if parent and not isinstance(getattr(importlib.import_module(parent), last, importlib), ModuleType):
        return False
    return importlib.util.find_spec(name) is not None


def _used(tree: ast.AST, bound: dict[str, str]) -> Iterator[str]:
    """The host symbols of a piece of code as `module.name`, where `bound` says what names stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                if root in HOSTS:
                    bound[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in HOSTS:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if not _is_module(f"{node.module}.{alias.name}"):
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Assign) and (chain := _chain(node.value)) and chain[0] in bound:
            bound[ast.unparse(node.targets[0])] = ".".join((bound[chain[0]], *chain[1:]))
    chains = {id(node): _chain(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for key, chain in chains.items():
        if chain and chain[0] in bound and key not in inner:
            yield ".".join((bound[chain[0]], *chain[1:]))
    for node in ast.walk(tree):
        # wrap(trainer, "method", …)
        if isinstance(node, ast.Call) and _chain(node.func) == ("wrap",):
            owner, name = _chain(node.args[0]), node.args[1]
            if owner[0] in bound and isinstance(name, ast.Constant):
                yield ".".join((bound[owner[0]], *owner[1:], name.value))


def _of_hook(module: str, hook: Callable) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(hook))))
    return set(_used(tree, {next(iter(inspect.signature(hook).parameters)): module}))


def _of_sources() -> dict[str, str]:
    """Symbol -> a file that uses it."""
    used = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if CPU_PLATFORM not in file.parents:
            used |= dict.fromkeys(_used(ast.parse(file.read_text()), {}), str(file.relative_to(PACKAGE)))
    for module, functions in hooks.HOOKS.items():
        for function in functions:
            used |= dict.fromkeys(_of_hook(module, function), f"a hook, {function.__name__}")
    return used


ROWS = {f"{symbol.module}.{symbol.name}": symbol for symbol in CONTRACT}
USED = _of_sources()
OF_VERL_ALONE = {
    # Through verl's own compute_advantage and registry.
    "verl.trainer.ppo.core_algos.compute_grpo_outcome_advantage",
    "verl.trainer.ppo.core_algos.get_adv_estimator_fn",
}


def _covers(row: str, symbol: str) -> bool:
    return f"{symbol}.".startswith(f"{row}.")


def test_every_symbol_that_the_sources_use_has_a_row():
    without = {f"{symbol} ({where})" for symbol, where in USED.items() if not any(_covers(row, symbol) for row in ROWS)}
    # what a longer row names in full: hydra.core.plugins.Plugins.instance has one for Plugins too
    without -= {f"{symbol} ({where})" for symbol, where in USED.items() if any(_covers(symbol, row) for row in ROWS)}
    assert without == set()


def test_every_row_is_of_a_symbol_that_is_used():
    assert {row for row in ROWS if not any(_covers(row, symbol) for symbol in USED)} - OF_VERL_ALONE == set()


def test_the_scan_sees_imports_attributes_and_what_is_wrapped():
    code = """
    def function(ours):
        import ray
        from verl.utils import tensordict_utils as tu
        from verl.trainer.config import AlgoConfig
        ray.util.state.list_nodes(); tu.get(AlgoConfig.__dataclass_fields__)
        wrap(ours.Trainer, "fit", None)
    """
    assert set(_used(ast.parse(textwrap.dedent(code)), {"ours": "verl.fake"})) == {
        "ray.util.state.list_nodes",
        "verl.utils.tensordict_utils.get",
        "verl.trainer.config.AlgoConfig",
        "verl.trainer.config.AlgoConfig.__dataclass_fields__",
        "verl.fake.Trainer",
        "verl.fake.Trainer.fit",
    }


def test_private_symbols_have_a_reason():
    for symbol in CONTRACT:
        is_private = any(part.startswith("_") and not part.startswith("__") for part in symbol.module.split("."))
        assert not is_private or "public" in symbol.use or symbol.use.endswith("likewise"), symbol


def test_every_module_that_a_run_uses_is_checked_by_a_hook_or_before_ray_starts():
    run = {
        symbol
        for symbol, where in USED.items()
        if where.startswith(("verl_plugin", "a hook", "preflight/native", "preflight/environment"))
    }
    modules = {symbol.module for row, symbol in ROWS.items() if any(_covers(row, used) for used in run)}
    # Hydra's is imported when the hook asks for it, and V1's trainer imports its own queue.
    by_hydra = {"hydra.core.config_search_path", "hydra.plugins.search_path_plugin"}
    assert modules - set(hooks.HOOKS) - by_hydra - {"transfer_queue"} <= set(UNHOOKED)
    assert set(UNHOOKED) <= {symbol.module for symbol in CONTRACT}
    assert set(hooks.HOOKS) <= {symbol.module for symbol in CONTRACT}


def test_what_workers_use_is_refused_before_ray_starts(monkeypatch):
    from verl.utils import tensordict_utils

    contract.refuse_misfit()
    monkeypatch.delattr(tensordict_utils, "get_non_tensor_data")
    with pytest.raises(
        HostError, match=r"verl \S+ differs .*get_non_tensor_data is gone; install verl 0\.9\.1 with what"
    ):
        contract.refuse_misfit()


def test_a_symbol_of_ray_is_named_with_rays_version(monkeypatch):
    import ray

    monkeypatch.delattr(ray, "nodes")
    with pytest.raises(HostError, match=rf"ray {ray.__version__} differs .*: ray\.nodes is gone"):
        contract.require(ray)


def test_a_symbol_that_is_gone_is_named():
    symbol = Symbol("verl.fake", "Trainer.fit", (), "test")
    assert mismatch(symbol, ModuleType("verl.fake")) == "verl.fake.Trainer.fit is gone"


def test_a_lost_parameter_is_named():
    module = ModuleType("verl.fake")
    module.advantage = lambda data, lam: None
    symbol = Symbol("verl.fake", "advantage", ("data", "gamma"), "test")
    assert mismatch(symbol, module) == "verl.fake.advantage has no parameter gamma"


def test_a_missing_verl_is_one_sentence_with_the_fix(monkeypatch):
    def missing(name):
        raise contract.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(contract.importlib.metadata, "version", missing)
    with pytest.raises(HostError, match=r"verl is not installed; pip install 'verl==0\.9\.1'"):
        contract.check_version()
