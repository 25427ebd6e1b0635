"""The layers of the project, as its import statements show them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import frpo_verl

PACKAGE = Path(frpo_verl.__file__).parent
THIRD_PARTY_OF_THE_CORE = {"torch", "jaxtyping", "numpy", "numba"}

# Each layer and the layers of this package that it may import, beside itself.
LAYERS = {
    "checks": set(),
    "rows": set(),
    "masking": {"rows"},
    "divergences": {"checks", "masking"},
    "advantage": {"checks", "divergences", "masking", "rows"},
    "losses": {"checks", "divergences", "masking"},
    "evaluation": set(),
    "rewards": set(),
    "quickstart": {"evaluation", "rewards"},
    "data": {"rewards", "__version__"},
    # Says what can be said before Ray starts, and changes nothing.
    "preflight": {"advantage", "checks", "divergences", "losses", "masking", "__version__"},
    "verl_plugin": {"advantage", "checks", "divergences", "losses", "masking", "preflight", "rows", "__version__"},
    "trainers": {"losses", "preflight", "verl_plugin"},
    "doctor": {"divergences", "preflight", "verl_plugin", "__version__"},
    "plan": {"doctor", "preflight"},
    "cli": {"data", "doctor", "evaluation", "plan", "quickstart"},
    "__main__": {"cli"},
}
CORE = {"checks", "rows", "masking", "divergences", "advantage"}


def _layer(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "frpo_verl":
            names |= {f"frpo_verl.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def test_every_file_belongs_to_a_layer():
    assert {_layer(file) for file in FILES} <= set(LAYERS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down_the_layers(file):
    own = {name.split(".")[1] for name in _imported(file) if name.startswith("frpo_verl.")}
    assert own <= LAYERS[_layer(file)] | {_layer(file)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_plugin_its_checks_and_its_doctor_know_verl_vllm_and_ray(file):
    hosts = {name.split(".")[0] for name in _imported(file)} & {"verl", "vllm", "ray"}
    assert not hosts or _layer(file) in ("verl_plugin", "trainers", "preflight", "doctor")


@pytest.mark.parametrize("file", [f for f in FILES if _layer(f) in CORE], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_the_core_needs_torch_and_the_standard_library_only(file):
    foreign = {name.split(".")[0] for name in _imported(file)} - {"frpo_verl"} - set(sys.stdlib_module_names)
    drawing = {"matplotlib"} if file == PACKAGE / "divergences" / "table.py" else set()
    assert foreign <= THIRD_PARTY_OF_THE_CORE | drawing


def test_the_core_imports_numba_when_it_is_used_and_not_before():
    program = "import sys, frpo_verl.advantage; print('numba' in sys.modules)"
    assert _python(program) == "False"


def test_importing_the_package_imports_neither_torch_nor_verl():
    program = "import sys, frpo_verl; print(sorted({'torch', 'verl', 'jaxtyping', 'wrapt'} & set(sys.modules)))"
    assert _python(program) == "[]"


def test_importing_the_plugin_imports_no_verl_module():
    program = (
        "import sys, frpo_verl.verl_plugin; "
        "print([name for name in sys.modules if name.split('.')[0] in ('verl', 'vllm', 'ray')])"
    )
    assert _python(program) == "[]"


def test_the_installed_wheel_is_what_is_tested():
    assert "site-packages" in PACKAGE.parts


def _python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
