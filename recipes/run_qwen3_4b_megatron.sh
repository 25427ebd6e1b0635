#!/usr/bin/env bash
# FRPO | Qwen3-4B-Base | Megatron | DAPO-Math-17k
#
# Purpose:  the paper's run at 4B, where it found a KL loss better on AIME; the twin of run_qwen3_4b_fsdp2.sh on Megatron-Core.
# Table:    pass@16, rows of Qwen3-4B-Base; settings of Tables 6 and 7. arXiv 2601.10201.
# Hardware: one node of 8 x 80 GB (the paper: 4 nodes of 8 H20 with 96 GB).
# Time:     not measured here; a step is 1280 responses of up to 8192 tokens.
# Figure:   pass@16 in the paper, one seed: MATH500 92.9, AIME24 41.1, AIME25 42.2, AMC23 92.4, Olympiad 72.2, Minerva 58.6
#           (base model: 71.0, 21.1, 22.3, 71.4, 52.3, 47.0; GRPO with a KL loss: 91.1, 46.5, 50.9, 90.1, 72.5, 58.6).
#           Not reproduced here.
# verl:     0.9.1; pip install 'frpo-verl[megatron]', TransformerEngine and flash-attn
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_4b_frpo_megatron}
ENGINE=megatron
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Base}
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
ACTOR_TP=${ACTOR_TP:-2}
ROLLOUT_TP=${ROLLOUT_TP:-2}
source "${LIB}/paper.sh"

paper "$@"
