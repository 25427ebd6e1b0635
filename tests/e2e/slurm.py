"""Two nodes as Slurm gives them to `recipes/slurm.sh`: `srun` and `scontrol` that know the machines of `nodes.py`."""

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

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
# As Slurm ends a step: whatever it has started on the node goes with it.
trap 'kill -KILL $(on_node) 2> /dev/null; exit 143' TERM
run "$@" &
wait $!
"""


@contextlib.contextmanager
def job(folder: Path, gpus: int) -> Iterator[dict[str, str]]:
    """What a job on two nodes finds in its environment.

    Args:
        folder: for the commands; made.
        gpus: logical GPUs of each node.

    Yields:
        The environment.
    """
    folder.mkdir()
    with network() as machines, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        hosts = [f"node{number}" for number in range(len(machines))]
        sockets = f"/tmp/ray-{uuid.uuid4().hex[:6]}"
        cases = []
        for host, (_, prefix, variables) in zip(hosts, machines, strict=True):
            run = " ".join([*prefix, "env", *map("=".join, variables.items())])
            on_node = f"ip netns pids {prefix[-1]}" if prefix else f"pgrep -f {sockets}"
            cases.append(f'    {host}) run() {{ {run} "$@"; }}; on_node() {{ {on_node}; }} ;;')
        commands = {"srun": SRUN % "\n".join(cases), "scontrol": f"#!/bin/sh\nprintf '%s\\n' {' '.join(hosts)}\n"}
        for name, text in commands.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        probe.close()
        yield {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_NODELIST": "node[0-1]",
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_CPUS_PER_TASK": "20",
            "SLURM_GPUS_ON_NODE": str(gpus),
            "HEAD_ADDRESS": machines[0][0],
            "PORT": str(port),
            "RAY_HEAD_ARGS": f"--include-dashboard=false --temp-dir={sockets}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        }
