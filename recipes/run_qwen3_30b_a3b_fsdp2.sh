#!/usr/bin/env bash
# FRPO | Qwen3-30B-A3B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  the paper's largest run, a mixture of experts, where FRPO is best on every benchmark.
# Table:    pass@16, rows of Qwen3-30B-A3B-Base; settings of Tables 6 and 7. arXiv 2601.10201.
# Hardware: 4 nodes of 8 x 80 GB on a Ray cluster (the paper: 8 H20 with 96 GB a node); see run_on_cluster.sh.
# Time:     not measured here; a step is 1280 responses of up to 8192 tokens.
# Figure:   pass@16 in the paper, one seed: MATH500 96.1, AIME24 63.9, AIME25 45.2, AMC23 94.3, Olympiad 77.7, Minerva 58.7
#           (base model: 87.8, 35.3, 21.0, 76.7, 61.4, 51.7; GRPO with a KL loss: 90.2, 51.3, 22.0, 89.1, 62.9, 55.5).
#           Not reproduced here.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_30b_a3b_frpo_fsdp2}
ENGINE=fsdp2
TINY_MODEL=qwen3_moe
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-30B-A3B-Base}
NNODES=${NNODES:-4}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
SP_SIZE=${SP_SIZE:-2}
OFFLOAD=${OFFLOAD:-True}
ROLLOUT_TP=${ROLLOUT_TP:-4}
source "${LIB}/paper.sh"

paper "$@"
