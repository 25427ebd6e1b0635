"""Makes two machines of one.

Where the system allows it, each has a network namespace of its own: an address of its own and nothing shared but a wire
between them. Where it does not, both are on the loopback address.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator

WIRE = "eth0"


@contextlib.contextmanager
def network() -> Iterator[list[tuple[str, list[str], dict[str, str]]]]:
    """Yields address, command prefix and environment of each machine."""
    names = [f"frpo-{os.getpid()}-{letter}" for letter in "ab"]
    addresses = ["10.203.0.1", "10.203.0.2"]
    wire = ["link", "add", WIRE, "netns", names[0], "type", "veth", "peer", "name", WIRE, "netns", names[1]]
    try:
        if not all(_ip("netns", "add", name) for name in names) or not _ip(*wire):
            print("\ntwo nodes: on one loopback address")
            yield [("127.0.0.1", [], {})] * 2
            return
        for name, address in zip(names, addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", WIRE)
            for device in (WIRE, "lo"):
                _ip("-n", name, "link", "set", device, "up")
        # Gloo looks its own address up by the machine's name, which both share.
        variables = {"GLOO_SOCKET_IFNAME": WIRE}
        print("\ntwo nodes: in network namespaces of their own")
        prefixes = [["ip", "netns", "exec", name] for name in names]
        yield [(address, prefix, variables) for address, prefix in zip(addresses, prefixes, strict=True)]
    finally:
        for name in names:
            _ip("netns", "del", name)


def _ip(*arguments: str) -> bool:
    try:
        return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
