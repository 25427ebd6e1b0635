#!/usr/bin/env bash
# FRPO | Qwen3-1.7B-Base | Megatron | DAPO-Math-17k
#
# Purpose:  the paper's smallest run; the twin of run_qwen3_1.7b_fsdp2.sh on Megatron-Core.
# Table:    pass@16, rows of Qwen3-1.7B-Base; settings of Tables 6 and 7. arXiv 2601.10201.
# Hardware: one node of 8 x 80 GB (the paper: 4 nodes of 8 H20 with 96 GB).
# Time:     not measured here; a step is 1280 responses of up to 8192 tokens.
# Figure:   pass@16 in the paper, one seed: MATH500 85.3, AIME24 27.0, AIME25 20.3, AMC23 74.5, Olympiad 59.1, Minerva 47.2
#           (base model: 69.7, 12.9, 7.2, 52.8, 38.8, 36.0; GRPO with a KL loss: 77.1, 27.2, 18.3, 81.6, 54.9, 46.4).
#           Not reproduced here.
# verl:     0.9.1; pip install 'frpo-verl[megatron]', TransformerEngine and flash-attn
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_1.7b_frpo_megatron}
ENGINE=megatron
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-1.7B-Base}
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
ACTOR_TP=${ACTOR_TP:-1}
source "${LIB}/paper.sh"

paper "$@"
