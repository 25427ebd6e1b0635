#!/usr/bin/env bash
# FRPO with DAPO's clip-higher | Qwen3-4B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  FRPO with DAPO's asymmetric clipping, token-mean loss and soft penalty of overlong responses (arXiv 2503.14476).
#           DAPO drops the KL; here it stays, in the advantage. Its dynamic sampling (algorithm.filter_groups) is left out:
#           it would drop the divergence of prompts that are always or never solved (frpo_verl/preflight/README.md).
# Table:    none of the paper; its settings except those named above.
# Hardware: one node of 8 x 80 GB.
# Time:     not measured here.
# Figure:   none known.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_4b_frpo_dapo_fsdp2}
ENGINE=fsdp2
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Base}
CLIP_RATIO_LOW=${CLIP_RATIO_LOW:-0.2}
CLIP_RATIO_HIGH=${CLIP_RATIO_HIGH:-0.28}
CLIP_RATIO_C=${CLIP_RATIO_C:-10.0}
# Tokens before the limit over which the penalty grows from 0 to OVERLONG_PENALTY.
OVERLONG_BUFFER=${OVERLONG_BUFFER:-$((${MAX_RESPONSE_LENGTH:-8192} / 4))}
OVERLONG_PENALTY=${OVERLONG_PENALTY:-1.0}
ROLLOUT_TP=${ROLLOUT_TP:-2}
source "${LIB}/paper.sh"

ACTOR+=(
    actor_rollout_ref.actor.clip_ratio_low="${CLIP_RATIO_LOW}"
    actor_rollout_ref.actor.clip_ratio_high="${CLIP_RATIO_HIGH}"
    actor_rollout_ref.actor.clip_ratio_c="${CLIP_RATIO_C}"
    actor_rollout_ref.actor.loss_agg_mode=token-mean
)
REWARD+=(
    reward.reward_manager.name=dapo
    +reward.reward_kwargs.overlong_buffer_cfg.enable=True
    +reward.reward_kwargs.overlong_buffer_cfg.len="${OVERLONG_BUFFER}"
    +reward.reward_kwargs.overlong_buffer_cfg.penalty_factor="${OVERLONG_PENALTY}"
    +reward.reward_kwargs.overlong_buffer_cfg.log=True
    +reward.reward_kwargs.max_resp_len="${MAX_RESPONSE_LENGTH}"
)

paper "$@"
