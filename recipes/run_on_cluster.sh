#!/usr/bin/env bash
# Any recipe on a Ray cluster that is running: run_on_cluster.sh RECIPE [OVERRIDE …]
#
# Purpose:  several nodes, started beforehand with `ray start` on each (or by slurm.sh), each with frpo-verl and verl; run it on
#           one of them. Model, data and RUN_DIR have to be at the same place on all of them.
# Table:    that of the recipe.
# Hardware: NNODES nodes with NGPUS_PER_NODE GPUs each; asked of Ray where they are not set.
# Time:     that of the recipe.
# Figure:   that of the recipe.
# verl:     0.9.1
# The nodes are counted before anything is loaded. DRY_RUN=1 and TINY=1 as for the recipe.
set -euo pipefail

RECIPE=${1:-}
export RAY_ADDRESS=${RAY_ADDRESS:-auto}

if [ ! -f "${RECIPE}" ]; then
    echo "frpo-verl: recipe '${RECIPE}': no such file; use run_on_cluster.sh recipes/run_….sh [OVERRIDE …]" >&2
    exit 2
fi
shift

source "$(dirname "${BASH_SOURCE[0]}")/lib/check.sh"
LAYOUT=$(python -P -m frpo_verl.preflight.cluster_size "${RAY_ADDRESS}" "${NNODES:-}" "${NGPUS_PER_NODE:-}")
if [ -z "${NGPUS_PER_NODE:-}" ]; then
    # For recipes that divide them among several pools.
    export CLUSTER_NGPUS_PER_NODE=${LAYOUT#* }
fi
export NNODES=${LAYOUT% *} NGPUS_PER_NODE=${LAYOUT#* }
exec bash "${RECIPE}" "$@"
