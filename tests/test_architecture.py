"""Checks the house: which room imports which, sizes, and that importing changes nothing."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import frpo_verl

PACKAGE = Path(frpo_verl.__file__).parent
ROOT = Path(__file__).parents[1]
THIRD_PARTY_OF_THE_CORE = {"torch", "jaxtyping", "numpy", "numba"}
LONGEST_FUNCTION, LONGEST_FILE, MEDIAN_FUNCTION = 40, 250, 8

# Each room, in the order of the house, and the rooms that it may import besides itself.
ROOMS = {
    "rows": set(),
    "checks": set(),
    "findings": set(),
    "masking": {"rows"},
    "divergences": {"checks"},
    "advantage": {"checks", "divergences", "masking", "rows"},
    "losses": {"checks", "masking", "rows"},
    "rewards": set(),
    "data": {"rewards"},
    "evaluation": {"findings"},
    "quickstart": {"evaluation", "rewards"},
    "preflight": {"advantage", "divergences", "losses"},
    "verl_plugin": {"advantage", "checks", "divergences", "losses", "masking", "preflight", "rows"},
    "trainers": {"losses", "preflight", "verl_plugin"},
    "offline": {"evaluation", "findings", "preflight", "trainers"},
    "eval": {"evaluation", "findings", "offline", "preflight", "rewards", "trainers"},
    "doctor": {"divergences", "preflight"},
    "plan": {"preflight", "trainers"},
    "cli": {"data", "doctor", "eval", "evaluation", "offline", "plan", "quickstart"},
    "__main__": {"cli"},
}
CORE = {"checks", "rows", "masking", "divergences", "advantage", "losses"}
KNOW_VERL = {"verl_plugin", "trainers", "preflight", "doctor"}
ACTIVATE = {"verl_plugin", "trainers", "__main__"}

FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def _name(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _modules(nodes) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _imported(file: Path) -> set[str]:
    return _modules(ast.walk(ast.parse(file.read_text())))


def _imported_at_once(file: Path) -> set[str]:
    """Finds what importing the file imports: not what its functions import, nor what only type checkers see."""

    def reached(node):
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from reached(child)

    return _modules(reached(ast.parse(file.read_text())))


def _own_rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("frpo_verl.")} - {"__version__"}


def test_the_table_has_every_room_and_no_other():
    assert {_room(file) for file in FILES} == set(ROOMS)


def test_the_table_tells_a_direction():
    seen = set()
    for room, below in ROOMS.items():
        assert below <= seen, f"{room} imports a room that comes after it"
        seen.add(room)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_the_table_says_all_of_it_and_nothing_else(room):
    files = [file for file in FILES if _room(file) == room]
    imported = {file: _own_rooms(_imported(file)) - {room} for file in files}
    assert {_name(file): rooms - ROOMS[room] for file, rooms in imported.items() if rooms - ROOMS[room]} == {}
    used = set().union(*imported.values())
    assert used == ROOMS[room], "the table allows more than the house needs"


def test_data_knows_the_box_and_the_generators_of_problems_but_no_grading():
    imported = set().union(*(_imported(file) for file in FILES if _room(file) == "data"))
    own = {name.split(".")[2] for name in imported if name.startswith("frpo_verl.rewards.")}
    assert own == {"box", "gym"}


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_only_the_plugin_trainers_checks_and_doctor_name_verl_vllm_and_ray(file):
    hosts = {"verl", "vllm", "ray"}
    assert not {name.split(".")[0] for name in _imported(file)} & hosts or _room(file) in KNOW_VERL
    # trainers are subclasses of verl's
    at_once = {name.split(".")[0] for name in _imported_at_once(file)} & hosts
    assert not at_once or "cpu" in file.parts or _room(file) == "trainers"


@pytest.mark.parametrize("file", [file for file in FILES if _room(file) in CORE], ids=_name)
def test_the_core_needs_torch_and_the_standard_library_only(file):
    foreign = {name.split(".")[0] for name in _imported(file)} - {"frpo_verl"} - set(sys.stdlib_module_names)
    # The catalogue and the study of the losses draw themselves as figures.
    drawn = {"matplotlib"} if _name(file) in ("divergences/table.py", "losses/study.py") else set()
    assert foreign <= THIRD_PARTY_OF_THE_CORE | drawn


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def _functions(file: Path) -> list[tuple[str, int]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (node.name, node.end_lineno - node.lineno + 1 - _docstring_lines(node))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, kinds)
    ]


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_files_and_functions_are_short(file):
    assert _lines(file) <= LONGEST_FILE
    assert [(name, lines) for name, lines in _functions(file) if lines > LONGEST_FUNCTION] == []


def test_most_functions_are_very_short():
    assert statistics.median(lines for file in FILES for _, lines in _functions(file)) <= MEDIAN_FUNCTION


def test_every_room_has_a_page_that_says_what_belongs_there_and_what_does_not():
    rooms = [ROOT / "frpo_verl" / room for room in ROOMS if (PACKAGE / room).is_dir()]
    pages = {room.name: room / "README.md" for room in [*rooms, ROOT / "frpo_verl/verl_plugin/cpu"]}
    assert [name for name, page in pages.items() if not page.exists()] == []
    heads = {name: " ".join(page.read_text().splitlines()[:8]) for name, page in pages.items()}
    assert [name for name, head in heads.items() if not re.search(r"[Bb]elong|Not here", head)] == []


def test_importing_a_room_changes_nothing():
    modules = sorted(
        ".".join(("frpo_verl", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in FILES
        if _room(file) not in ACTIVATE and file.name != "__main__.py"
    )
    program = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    found = [other for other in sys.modules if other.split(".")[0] in ("verl", "vllm", "ray")
             or other.startswith("frpo_verl.verl_plugin")]
    assert not found, (name, found)
print("nothing")
"""
    assert _python(program) == "nothing"


def test_the_core_imports_numba_when_it_is_used_and_not_before():
    assert _python("import sys, frpo_verl.advantage; print('numba' in sys.modules)") == "False"


def test_importing_the_package_imports_neither_torch_nor_verl():
    program = "import sys, frpo_verl; print(sorted({'torch', 'verl', 'jaxtyping', 'wrapt'} & set(sys.modules)))"
    assert _python(program) == "[]"


def test_importing_the_plugin_imports_no_verl_module_and_nothing_for_the_cpu():
    program = (
        "import sys, frpo_verl.verl_plugin; print([name for name in sys.modules"
        " if name.split('.')[0] in ('verl', 'vllm', 'ray') or name.startswith('frpo_verl.verl_plugin.cpu')])"
    )
    assert _python(program) == "[]"


def test_the_installed_wheel_is_what_is_tested():
    assert "site-packages" in PACKAGE.parts


def _python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
