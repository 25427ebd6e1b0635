"""Says of each patch whether it applies to a checkout of verl or to an installed verl, is in it, or needs a hand.

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
from typing import NamedTuple

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


class Verdict(NamedTuple):
    """What there is to say of a patch.

    Attributes:
        present: it is in there already.
        unfit: a clause for each file that does not take its part.
        absent: documents and examples that it changes, and that are not there: an installed verl has none.
    """

    present: bool
    unfit: tuple[str, ...]
    absent: tuple[str, ...]

    def __str__(self) -> str:
        if self.present:
            return "is in there already"
        if self.unfit:
            return "needs " + "; ".join([*self.unfit, *(f"{path}, which is not there" for path in self.absent)])
        return f"applies, but for {', '.join(self.absent)}: not there" if self.absent else "applies"


def apply(patch: Path, paths: list[str], environment: Mapping[str, str], *options: str) -> str:
    """Applies the parts of a patch to the index, all or none of them.

    Args:
        patch: a patch of the series.
        paths: which parts.
        environment: names the index.
        options: of `git apply`.

    Returns:
        What git says where it does not apply, else nothing.
    """
    command = ["git", "apply", "--cached", *options, *(f"--include={path}" for path in paths), str(patch)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def take_out(patch: Path, there: list[str], environment: Mapping[str, str]) -> bool:
    """Takes a patch out of the index, if it is in it.

    Args:
        patch: a patch of the series; those after it are out.
        there: the files of the index.
        environment: names the index.

    Returns:
        Whether it was in.
    """
    paths = [path for path in touched(patch) if path in there]
    return bool(paths) and not apply(patch, paths, environment, "--reverse")


def put_in(patch: Path, there: list[str], environment: Mapping[str, str]) -> Verdict:
    """Applies a patch to the index, file by file.

    Args:
        patch: a patch of the series; those before it are in, as far as they fit.
        there: the files of verl's root that any of the patches touches.
        environment: names the index.

    Returns:
        What it could not do.
    """
    absent, unfit = [], []
    for path in touched(patch):
        if path not in created(patch) and path not in there:
            if path.startswith(("verl/", "tests/")):
                unfit.append(f"{path}, which is not there")
            else:
                absent.append(path)
        elif refusal := apply(patch, [path], environment):
            hunks = ", ".join(re.findall(r"patch failed: \S+:(\d+)", refusal))
            unfit.append(f"{path} by hand ({f'the hunk at line {hunks}' if hunks else refusal.strip()})")
    return Verdict(present=False, unfit=tuple(unfit), absent=tuple(absent))


def report(root: Path) -> dict[str, Verdict]:
    """Judges the whole series.

    Args:
        root: a checkout of verl, or the folder where it is installed (site-packages).

    Returns:
        Name of each patch to what there is to say of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GIT_DIR": folder, "GIT_WORK_TREE": str(root)}
        environment.pop("GIT_INDEX_FILE", None)
        subprocess.run(["git", "init", "-q"], env=environment, check=True)
        there = sorted({path for patch in SERIES for path in touched(patch) if (root / path).is_file()})
        subprocess.run(["git", "update-index", "--add", *there], env=environment, cwd=root, check=True)
        # The last one first: those before it fit to what there was before it.
        present = {patch: take_out(patch, there, environment) for patch in reversed(SERIES)}
        verdicts = {patch: put_in(patch, there, environment) for patch in SERIES}
        return {patch.name: verdicts[patch]._replace(present=present[patch]) for patch in SERIES}


def main() -> int:
    """Prints the report.

    Returns:
        0 when every patch applies or is in there.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verl", type=Path, required=True, metavar="FOLDER", help="verl's root")
    root = parser.parse_args().verl.absolute()
    if not (root / "verl" / "trainer").is_dir():
        sys.exit(f"--verl {root}: no verl/trainer there; name a checkout of verl, or the site-packages that has it")
    found = report(root)
    for name, verdict in found.items():
        print(f"{name}: {verdict}")
    return int(any(verdict.unfit and not verdict.present for verdict in found.values()))


if __name__ == "__main__":
    sys.exit(main())
