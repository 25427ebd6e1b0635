#!/usr/bin/env bash
# FRPO with LoRA | Qwen3-4B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  FRPO on low-rank adapters: the reference is the base with the adapter off, so that no second model is loaded.
# Table:    none of the paper; its settings except the adapter and its learning rate.
# Hardware: one node of 8 x 80 GB.
# Time:     not measured here.
# Figure:   none known.
# verl:     0.9.1, in which LoRA and a critic do not go together
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_4b_frpo_lora_fsdp2}
ENGINE=fsdp2
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Base}
LORA_RANK=${LORA_RANK:-64}
LORA_ALPHA=${LORA_ALPHA:-32}
ACTOR_LR=${ACTOR_LR:-1e-5}
ROLLOUT_TP=${ROLLOUT_TP:-2}
source "${LIB}/paper.sh"

MODEL+=(
    actor_rollout_ref.model.lora_rank="${LORA_RANK}"
    actor_rollout_ref.model.lora_alpha="${LORA_ALPHA}"
    actor_rollout_ref.model.target_modules=all-linear
    # The server gets whole weights, merged, and needs no adapter of its own.
    actor_rollout_ref.model.lora.merge=True
)

paper "$@"
