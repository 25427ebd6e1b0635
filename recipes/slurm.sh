#!/usr/bin/env bash
#SBATCH --job-name=frpo
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --output=slurm-%j.log
# Any recipe on nodes of Slurm: sbatch [--nodes=N …] recipes/slurm.sh RECIPE [OVERRIDE …]
#
# Purpose:  starts a Ray of the job's own on its nodes, runs run_on_cluster.sh there, and ends it with the job.
# Table:    that of the recipe.
# Hardware: what sbatch is asked for; the environment with verl and frpo-verl has to be active (sbatch passes it on) and at the
#           same place on all nodes.
# Time:     that of the recipe, and about a minute to start Ray.
# Figure:   that of the recipe.
# verl:     0.9.1
# PORT: Ray's on the first node; HEAD_ADDRESS: that node's, where it has several and the first is not the one to use.
# RAY_HEAD_ARGS: further options of that node's `ray start`. DRY_RUN=1 and TINY=1 as for the recipe.
set -euo pipefail

PORT=${PORT:-6379}
if [ "${#}" = 0 ]; then
    echo "frpo-verl: no recipe given; use sbatch recipes/slurm.sh recipes/run_….sh [OVERRIDE …]" >&2
    exit 2
fi
if [ -z "${SLURM_SUBMIT_DIR:-}" ]; then
    echo "frpo-verl: not a Slurm job; use sbatch recipes/slurm.sh recipes/run_….sh [OVERRIDE …]" >&2
    exit 2
fi

# Slurm copies the script: the checkout is where sbatch was called.
RECIPES=${RECIPES:-${SLURM_SUBMIT_DIR}/recipes}

mapfile -t HOSTS < <(scontrol show hostnames "${SLURM_JOB_NODELIST}")
# Its process is ended at the end, so that no function may wrap it.
ON=(srun --overlap --nodes=1 --ntasks=1 --nodelist)

if [ -z "${HEAD_ADDRESS:-}" ]; then
    read -r HEAD_ADDRESS _ < <("${ON[@]}" "${HOSTS[0]}" hostname -I)
fi
ADDRESS=${HEAD_ADDRESS}:${PORT}
RAY=(--num-cpus="${SLURM_CPUS_PER_TASK:-64}" --num-gpus="${SLURM_GPUS_ON_NODE:-${SLURM_GPUS_PER_NODE:-8}}" --block)
read -ra FIRST <<< "${RAY_HEAD_ARGS:-}"
echo "Ray on ${#HOSTS[@]} nodes, first ${HOSTS[0]} (${ADDRESS})"

started=()
stop_ray() {
    kill "${started[@]}" 2> /dev/null || true
    wait
}
trap stop_ray EXIT
"${ON[@]}" "${HOSTS[0]}" ray start --head --node-ip-address="${HEAD_ADDRESS}" --port="${PORT}" "${RAY[@]}" "${FIRST[@]}" &
started+=($!)
for host in "${HOSTS[@]:1}"; do
    # `ray start` waits until the first node answers.
    "${ON[@]}" "${host}" ray start --address="${ADDRESS}" "${RAY[@]}" &
    started+=($!)
done

export RAY_ADDRESS=${ADDRESS} NNODES=${#HOSTS[@]}
"${ON[@]}" "${HOSTS[0]}" bash "${RECIPES}/run_on_cluster.sh" "$@"
