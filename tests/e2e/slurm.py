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
while [[ $1 == --* ]]; do
    [[ $1 == --nodelist=* ]] && host=${1#*=}
    shift
done
case $host in
%s
    *) echo "srun: no node $host" >&2; exit 1 ;;
esac
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
        cases = [
            f'    {host}) exec {" ".join([*prefix, "env", *map("=".join, variables.items())])} "$@" ;;'
            for host, (_, prefix, variables) in zip(hosts, machines, strict=True)
        ]
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
            "RAY_HEAD_ARGS": f"--include-dashboard=false --temp-dir=/tmp/ray-{uuid.uuid4().hex[:6]}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        }
