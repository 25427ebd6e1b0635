"""Checks the parquet files of a folder against their manifests, and its train sets against its test sets."""

import os
from contextlib import nullcontext
from pathlib import Path

from frpo_verl.data import leakage, table


def verify(folder: str | Path) -> list[str]:
    """Returns one sentence for each fault of the files in a folder that `build` wrote to; none if all is well."""
    folder = Path(folder).expanduser()
    if not any(folder.glob("*.manifest.json")):
        return [f"{folder}: no set of problems was built there; frpo-verl data NAME --output {folder} builds one"]
    # A process that may not write here can still check what others have built.
    with table.locked(folder) if os.access(folder, os.W_OK) else nullcontext():
        return _changed(folder) or _leaked(folder)


def _changed(folder: Path) -> list[str]:
    found = []
    for manifest in sorted(folder.glob("*.manifest.json")):
        path = manifest.with_name(manifest.name.replace(".manifest.json", ".parquet"))
        known = table.read_manifest(path)
        if known is None:
            found.append(f"{path}: the file is missing, or its manifest is broken; build it again")
        elif table.checksum(path) != (known["rows"], known["sha256"]):
            found.append(
                f"{path}: its rows are not the {known['rows']} with sha256 {known['sha256'][:12]}… of its manifest; "
                f"build it again: frpo-verl data {known['name']} --output {folder}"
            )
    return found


def _leaked(folder: Path) -> list[str]:
    return [
        f"{folder / train}.parquet: {counts.total()} of its problems are {' and '.join(counts)}; build that test set "
        "again, which removes them"
        for train, counts in leakage.found(folder).items()
    ]
