#!/usr/bin/env bash
# FRPO | SmolLM2-135M-Instruct | FSDP2 on a CPU | one-digit sums of reasoning-gym
#
# Purpose:  the whole loop on a machine without a GPU or a download: model and data are made on the spot, then run_cpu.sh
#           trains, and a table and a figure show what was learned. What `make quickstart` runs.
# Table:    none of the paper.
# Hardware: 2 cores, 13 GB of memory.
# Time:     8 minutes on two cores (ten steps of about 30 s).
# Figure:   reward 0.17 to 0.47, held-out pass@1 0.11 to 0.57 in ten steps (one seed).
# verl:     0.9.1
# Knobs of run_cpu.sh (METHOD, BETA, STEPS, …). DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1
# takes a model of a few hundred thousand parameters for two steps.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "${TINY:-0}" = 1 ]; then
    MODEL=tiny
    export STEPS=${STEPS:-2}
    # Model and data are the quickstart's, not those that the other recipes take.
    unset TINY
fi

exec python -P -m frpo_verl quickstart --model "${MODEL:-smollm2}" --recipe "${HERE}/run_cpu.sh" \
    ${RUNS:+--runs "${RUNS}"} -- "$@"
