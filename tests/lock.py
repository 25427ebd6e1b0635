"""The last step of `make lock`: a resolved PEP 751 file as requirements that pip of any age installs from any index.

Of each package the version and the hashes of its files are kept, not their addresses: a mirror that serves the same
files will do, and pip refuses one that serves others.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

HEADER = """\
# The CPU environment, pinned: Linux on x86-64 with glibc 2.31 or newer, CPython 3.11.
# `make lock` writes it from pyproject.toml (the extras test and megatron, the group cpu-environment).
"""


def requirement_lines(lock: dict) -> Iterator[str]:
    """Each package as one requirement with the hashes of its wheels, or of its source where it has none.

    Args:
        lock: a parsed pylock.toml, resolved for one platform, so that it names that platform's wheels only.

    Yields:
        `name==version --hash=sha256:… …`, in the file's order.

    Raises:
        ValueError: for a package with neither, or without a SHA-256.
    """
    for package in lock["packages"]:
        pin = f"{package['name']}=={package['version']}"
        files = package.get("wheels") or [package.get("sdist", {})]
        hashes = [file.get("hashes", {}).get("sha256") for file in files]
        if None in hashes:
            raise ValueError(f"{pin} has no SHA-256 in the lock; resolve it from an index that publishes them")
        yield " ".join([pin, *(f"--hash=sha256:{value}" for value in sorted(set(hashes)))])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    lock = tomllib.loads(source.read_text())
    lines = list(requirement_lines(lock))
    target.write_text(HEADER + "\n".join(lines) + "\n")
    from_source = [package["name"] for package in lock["packages"] if not package.get("wheels")]
    print(f"{target}: {len(lines)} packages, {len(from_source)} of them without a wheel: {', '.join(from_source)}")
