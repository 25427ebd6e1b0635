"""Describes one mistake, and finds those that could prove nothing."""

import builtins
import symtable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "frpo_verl"
_OF_EVERY_MODULE = {*dir(builtins), "__file__", "__path__", "__name__", "__doc__"}


class Mutant(NamedTuple):
    """In `file` of the package, `wrong` replaces `right`, which occurs there once."""

    file: str
    right: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.file}: {self.right!r} -> {self.wrong!r}"


def mutated(mutant: Mutant) -> str:
    """Returns the text of the file with the mistake."""
    return (PACKAGE / mutant.file).read_text().replace(mutant.right, mutant.wrong)


def faults(mutant: Mutant) -> Iterator[str]:
    """Says why tests that fail on this mutant would prove nothing."""
    path = PACKAGE / mutant.file
    if not path.is_file():
        yield "there is no such file"
        return
    if (places := path.read_text().count(mutant.right)) != 1:
        yield f"the text occurs {places} times, not once"
        return
    if mutant.wrong == mutant.right:
        yield "nothing is changed"
    try:
        names = undefined(mutated(mutant), mutant.file)
    except SyntaxError as error:
        yield f"it does not compile: {error}"
    else:
        if names:
            yield f"it names what is not defined: {', '.join(sorted(names))}"


def undefined(text: str, file: str) -> set[str]:
    """Returns the global names that a module uses and neither assigns nor imports."""
    scopes = list(_scopes(symtable.symtable(text, file, "exec")))
    module, inner = scopes[0], scopes[1:]
    known = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    used = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    for scope in inner:
        for symbol in scope.get_symbols():
            if symbol.is_declared_global() and symbol.is_assigned():
                known.add(symbol.get_name())
            elif symbol.is_global() and symbol.is_referenced():
                used.add(symbol.get_name())
    return used - known - _OF_EVERY_MODULE


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)
