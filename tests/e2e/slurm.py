"""Gives two nodes as Slurm does to `recipes/slurm.sh`: `srun` and `scontrol` that know the machines of `nodes.py`."""

import contextlib
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nodes import network

ROOT = Path(__file__).parents[2]

SRUN = """#!/bin/bash
until [[ $1 == --nodelist ]]; do shift; done
host=$2
shift 2
case $host in
%s
    *) echo "srun: no node $host" >&2; exit 1 ;;
esac
# A run has to bring the platform and the plugin to nodes that it did not start.
unset "${!VERL_@}"
# As Slurm ends a step: whatever it has started on the node goes with it.
trap 'kill -KILL $(on_node) 2> /dev/null; exit 143' TERM
run "$@" &
wait $!
"""


class Job(NamedTuple):
    """A job on two nodes.

    Attributes:
        environment: what the job finds in it.
        on_second: the command that prints the processes of the second node.
    """

    environment: dict[str, str]
    on_second: str

    def kill_second(self) -> None:
        """Sends SIGKILL to all processes of the second node, as when its power fails."""
        subprocess.run(f"kill -KILL $({self.on_second})", shell=True, check=True)


@contextlib.contextmanager
def job(folder: Path, gpus: int) -> Iterator[Job]:
    """Makes a job.

    Args:
        folder: for the commands; made.
        gpus: logical GPUs of each node.

    Yields:
        The job.
    """
    folder.mkdir()
    with network() as machines, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        hosts = [f"node{number}" for number in range(len(machines))]
        sockets = f"/tmp/ray-{uuid.uuid4().hex[:6]}"
        cases, on_nodes = [], []
        for host, (_, prefix, variables) in zip(hosts, machines, strict=True):
            # Without namespaces, a node's processes are those of the sessions that its steps began.
            before = prefix or ["setsid", "sh", "-c", f"'echo $$ >> {folder / host}; exec \"$@\"'", "sh"]
            run = " ".join([*before, "env", *map("=".join, variables.items())])
            on_nodes.append(f"ip netns pids {prefix[-1]}" if prefix else f"pgrep -s $(paste -sd, {folder / host})")
            cases.append(f'    {host}) run() {{ {run} "$@"; }}; on_node() {{ {on_nodes[-1]}; }} ;;')
        commands = {"srun": SRUN % "\n".join(cases), "scontrol": f"#!/bin/sh\nprintf '%s\\n' {' '.join(hosts)}\n"}
        for name, text in commands.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        probe.close()
        environment = {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_NODELIST": "node[0-1]",
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_CPUS_PER_TASK": "20",
            "SLURM_GPUS_ON_NODE": str(gpus),
            "HEAD_ADDRESS": machines[0][0],
            "PORT": str(port),
            "RAY_HEAD_ARGS": f"--include-dashboard=false --temp-dir={sockets}",
            "RAY_USAGE_STATS_ENABLED": "0",
            # What Ray asks of everyone who wants to join: nodes and drivers.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        }
        yield Job(environment, on_nodes[1])
