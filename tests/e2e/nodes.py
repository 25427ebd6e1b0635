"""A Ray cluster of two nodes on one machine, started by `ray start` before any driver.

Where the system allows it, each node has a network namespace of its own: an address of its own and nothing shared but
a wire between them. Where it does not, both are on the loopback address.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frpo_verl.quickstart.run import MARK, Run, end, processes_of

SECONDS_TO_START = 60
WIRE = "eth0"


class Node(NamedTuple):
    """One node.

    Attributes:
        run: `ray start --block` and all that it started.
        prefix: what runs a command in the node's network.
    """

    run: Run
    prefix: list[str]

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        for process in processes_of(self.run):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


class Cluster(NamedTuple):
    """Two nodes.

    Attributes:
        variables: how a driver reaches it.
        head: the node where drivers run.
        second: the other one.
    """

    variables: dict[str, str]
    head: Node
    second: Node

    def recipe(self, recipe: Path, folder: Path) -> Path:
        """The recipe by `run_on_cluster.sh`, on the head's machine.

        Args:
            recipe: the shell script.
            folder: where to write the script that does it.

        Returns:
            The script.
        """
        script = folder / "on_head.sh"
        words = [*self.head.prefix, "bash", str(recipe.with_name("run_on_cluster.sh")), str(recipe)]
        script.write_text(f'exec {" ".join(words)} "$@"\n')
        return script


@contextlib.contextmanager
def two_nodes(folder: Path, places: int) -> Iterator[Cluster]:
    """Starts two nodes and ends them.

    Args:
        folder: for their logs.
        places: logical GPUs of each.

    Yields:
        The cluster, once both nodes have joined.
    """
    # Paths of Ray's sockets have little room.
    temporary = Path("/tmp") / f"ray-{uuid.uuid4().hex[:6]}"
    with network() as machines, contextlib.ExitStack() as stack:
        (address, prefix, variables), (other, other_prefix, other_variables) = machines
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        # What Ray asks of everyone who wants to join: nodes and drivers.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        start = ["--num-cpus=20", f"--num-gpus={places}", "--block", "--disable-usage-stats"]
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}"]
        nodes = []
        for name, where, before, of_ray, environment in (
            ("head", address, prefix, head, variables),
            ("second", other, other_prefix, [f"--address={address}:{port}"], other_variables),
        ):
            command = [*before, str(Path(sys.executable).parent / "ray"), "start", *of_ray, *start]
            started = _started([*command, f"--node-ip-address={where}"], {**environment, **token}, folder / name)
            stack.callback(end, started)
            nodes.append(Node(started, before))
            _wait_for(started)
        yield Cluster({"RAY_ADDRESS": f"{address}:{port}", **token}, *nodes)


def _started(command: list[str], environment: dict[str, str], folder: Path) -> Run:
    folder.mkdir()
    mark = uuid.uuid4().hex
    # Neither the platform nor the plugin is named here: a run has to bring both to nodes that it did not start.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_"))}
    with (folder / "trainer.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**inherited, "RAY_prestart_worker_first_driver": "0", MARK: mark, **environment},
            start_new_session=True,
        )
    return Run(process, mark, folder)


def _wait_for(node: Run) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while "Ray runtime started" not in node.log.read_text():
        assert node.process.poll() is None and time.monotonic() < deadline, node.log.read_text()
        time.sleep(0.2)


@contextlib.contextmanager
def network() -> Iterator[list[tuple[str, list[str], dict[str, str]]]]:
    """Address, command prefix and environment of each machine."""
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
