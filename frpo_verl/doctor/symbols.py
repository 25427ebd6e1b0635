"""Compares the symbols of the installed hosts with the contract table."""

import importlib
import warnings

from frpo_verl.doctor.report import Section

TITLE = "Contract with verl, Ray and Hydra"


def examine() -> Section:
    """Imports every module of the table and compares every symbol; those that differ have a row each."""
    from frpo_verl.preflight import contract

    table = contract.of_this_host()
    errors = {name: _import_error(name) for name in dict.fromkeys(symbol.module for symbol in table)}
    problems = [
        f"{name} cannot be imported ({error}); install what is missing, or verl {contract.TESTED_VERL[-1]}"
        for name, error in errors.items()
        if error
    ]
    differing = {}
    for symbol in table:
        if errors[symbol.module]:
            differing[f"{symbol.module}.{symbol.name}"] = "its module cannot be imported"
        elif difference := contract.mismatch(symbol, importlib.import_module(symbol.module)):
            differing[f"{symbol.module}.{symbol.name}"] = difference
            problems.append(f"{difference} (what it is for: {symbol.use}); {contract.FIX}")
    return Section(
        TITLE, {"as expected": f"{len(table) - len(differing)} of {len(table)} symbols", **differing}, problems
    )


def _import_error(name: str) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    except Exception as error:
        # Whatever verl's modules and what they import raise is the finding.
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None
