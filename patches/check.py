"""Says of each patch whether it applies to a checkout of verl, or to an installed verl, and what it needs.

    python patches/check.py --verl ~/verl

Nothing there is changed: the files that the patches touch go into an index of git's in a temporary folder. Where a file
does not take its part of a patch, the others get theirs, so that the patches after it are judged too.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SERIES = sorted(Path(__file__).parent.glob("0*.patch"))
"""The patches, in the order in which they apply."""


def touched(patch: Path) -> list[str]:
    """The files that a patch touches.

    Args:
        patch: as `git format-patch` wrote it.

    Returns:
        Paths from verl's root, in order.
    """
    return re.findall(r"^diff --git a/\S+ b/(\S+)$", patch.read_text(), flags=re.MULTILINE)


def created(patch: Path) -> list[str]:
    """The files that a patch adds.

    Args:
        patch: as `git format-patch` wrote it.

    Returns:
        Paths from verl's root, in order.
    """
    return re.findall(r"^diff --git a/\S+ b/(\S+)\nnew file", patch.read_text(), flags=re.MULTILINE)


def needs(patch: Path, root: Path, environment: Mapping[str, str]) -> list[str]:
    """Applies a patch to the index, file by file, and says what it could not do.

    Args:
        patch: a patch of the series.
        root: verl's root.
        environment: names the index.

    Returns:
        One clause per file that did not take its part; empty when the patch applies.
    """
    absent, unfit = [], []
    for path in touched(patch):
        if path not in created(patch) and not (root / path).is_file():
            absent.append(path)
            continue
        command = ["git", "apply", "--cached", f"--include={path}", str(patch)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            hunks = ", ".join(re.findall(r"patch failed: \S+:(\d+)", done.stderr)) or done.stderr.strip()
            unfit.append(f"{path} by hand (the hunk at line {hunks})")
    return unfit + [f"{path}, which is not there" for path in absent]


def report(root: Path) -> dict[str, list[str]]:
    """Judges the whole series.

    Args:
        root: a checkout of verl, or the folder where it is installed (site-packages).

    Returns:
        Name of each patch to what it needs; an empty list where it applies.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GIT_DIR": folder, "GIT_WORK_TREE": str(root)}
        environment.pop("GIT_INDEX_FILE", None)
        subprocess.run(["git", "init", "-q"], env=environment, check=True)
        there = sorted({path for patch in SERIES for path in touched(patch) if (root / path).is_file()})
        subprocess.run(["git", "update-index", "--add", *there], env=environment, cwd=root, check=True)
        return {patch.name: needs(patch, root, environment) for patch in SERIES}


def main() -> int:
    """Prints the report.

    Returns:
        0 when every patch applies.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verl", type=Path, required=True, metavar="FOLDER", help="verl's root")
    root = parser.parse_args().verl.absolute()
    if not (root / "verl" / "trainer").is_dir():
        sys.exit(f"--verl {root}: no verl/trainer there; name a checkout of verl, or the site-packages that has it")
    found = report(root)
    for name, missing in found.items():
        print(f"{name}: {'needs ' + '; '.join(missing) if missing else 'applies'}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
