"""Tests `slurm.sh` on the nodes of its job, without Slurm and without Ray; with Ray in tests/e2e."""

import os
import subprocess

from composed import RECIPES

SRUN = """#!/bin/bash
until [[ $1 == --nodelist ]]; do shift; done
host=$2
shift 2
trap 'echo "$host ended" >> "$LOG"; kill %1; exit 143' TERM
HOST=$host "$@" &
wait $!
"""
PROGRAMS = {
    "srun": SRUN,
    "scontrol": "#!/bin/sh\nprintf 'first\\nsecond\\n'\n",
    "hostname": "#!/bin/sh\necho 10.0.0.1 192.168.0.1\n",
    "ray": '#!/bin/sh\necho "$HOST: ray $@" >> "$LOG"\nexec sleep 60\n',
}


def test_ray_starts_on_every_node_and_ends_with_the_run(tmp_path):
    (tmp_path / "recipes").mkdir()
    # Not before both nodes have started, as the layout waits for them.
    launcher = 'until [ "$(grep -c ": ray start" "$LOG" 2> /dev/null)" = 2 ]; do sleep 0.05; done\n'
    launcher += 'echo "$HOST: run on $NNODES nodes at $RAY_ADDRESS: $@" >> "$LOG"\nexit 3\n'
    (tmp_path / "recipes" / "run_on_cluster.sh").write_text(launcher)
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_CPUS_PER_TASK": "32",
        "PORT": "7000",
    }
    command = ["bash", RECIPES / "slurm.sh", "recipes/run_it.sh", "trainer.total_epochs=1"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, timeout=30)
    # The run's own status is the job's.
    assert run.returncode == 3
    log = (tmp_path / "log").read_text().splitlines()
    resources = "--num-cpus=32 --num-gpus=4 --block"
    assert sorted(log[:2]) == [
        f"first: ray start --head --node-ip-address=10.0.0.1 --port=7000 {resources}",
        f"second: ray start --address=10.0.0.1:7000 {resources}",
    ]
    assert log[2] == "first: run on 2 nodes at 10.0.0.1:7000: recipes/run_it.sh trainer.total_epochs=1"
    assert sorted(log[3:]) == ["first ended", "second ended"]
