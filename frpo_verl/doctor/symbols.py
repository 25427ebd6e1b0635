"""Compares the symbols of the installed hosts with the contract table."""

import importlib
import warnings

from frpo_verl.doctor.report import Section


def examine() -> Section:
    """Imports every module of the table and compares every row."""
    from frpo_verl.preflight import contract

    rows, problems = {}, []
    table = contract.of_this_host()
    errors = {name: _import_error(name) for name in dict.fromkeys(symbol.module for symbol in table)}
    for symbol in table:
        error = errors[symbol.module]
        difference = None if error else contract.mismatch(symbol, importlib.import_module(symbol.module))
        rows[f"{symbol.module}.{symbol.name}"] = "module cannot be imported" if error else difference or "ok"
        if difference:
            problems.append(
                f"{difference} in verl {contract.verl_version()}, where frpo-verl {symbol.use}; {contract.FIX}"
            )
    unimportable = [
        f"{name} cannot be imported ({error}); install what is missing, or verl {contract.TESTED_VERL[-1]}"
        for name, error in errors.items()
        if error
    ]
    return Section("Contract with verl", rows, unimportable + problems)


def _import_error(name: str) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    except Exception as error:
        # Whatever verl's modules and what they import raise is the finding.
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None
