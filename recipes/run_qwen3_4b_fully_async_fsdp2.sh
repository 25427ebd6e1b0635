#!/usr/bin/env bash
# FRPO, fully asynchronous | Qwen3-4B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  FRPO while sampling and training run at the same time, on GPUs of their own (verl's fully-async trainer).
#           Its samples are up to STALENESS of a sync old; the divergence is that of the policy at each update.
# Table:    none of the paper; its settings except the trainer.
# Hardware: one node of 8 x 80 GB, 4 to train and 4 to sample; cupy, by which verl sends weights over NCCL.
# Time:     not measured here.
# Figure:   none known.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_4b_frpo_fully_async_fsdp2}
ENGINE=fsdp2
GPU_MEMORY=${GPU_MEMORY:-80}
if [ -n "${CLUSTER_NGPUS_PER_NODE:-}" ] && [ -z "${ROLLOUT_NGPUS:-}" ]; then
    # All of a cluster's: half of each node trains, half samples.
    ROLLOUT_NNODES=${ROLLOUT_NNODES:-${NNODES}}
    ROLLOUT_NGPUS=$((CLUSTER_NGPUS_PER_NODE / 2))
    NGPUS_PER_NODE=$((CLUSTER_NGPUS_PER_NODE - ROLLOUT_NGPUS))
fi
ROLLOUT_NNODES=${ROLLOUT_NNODES:-1}
ROLLOUT_NGPUS=${ROLLOUT_NGPUS:-$([ "${TINY:-0}" = 1 ] && echo 1 || echo 4)}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Base}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-4}
# Mini-batches a training step takes, steps between two syncs, and how much may be sampled ahead.
REQUIRE_BATCHES=${REQUIRE_BATCHES:-4}
SYNC_STEPS=${SYNC_STEPS:-1}
STALENESS=${STALENESS:-0.5}
STEPS=${STEPS:-470}
source "${LIB}/paper.sh"

MAIN=verl.experimental.fully_async_policy.fully_async_main
ALGORITHM+=(
    # The divergence is summed over a response; the server's log-probs would add up its rounding.
    algorithm.rollout_correction.bypass_mode=False
)
DATA+=(
    # Its data comes one prompt at a time.
    data.train_batch_size=0
    data.gen_batch_size=1
)
ACTOR+=(
    actor_rollout_ref.hybrid_engine=False
    # Weights that are set aside between updates have to be whole.
    actor_rollout_ref.actor.fsdp_config.reshard_after_forward=True
)
ROLLOUT+=(
    rollout.nnodes="${ROLLOUT_NNODES}"
    rollout.n_gpus_per_node="${ROLLOUT_NGPUS}"
    # Its length is counted in prompts.
    rollout.total_rollout_steps=$((STEPS * PPO_MINI_BATCH_SIZE * REQUIRE_BATCHES))
)
ASYNC=(
    async_training.require_batches="${REQUIRE_BATCHES}"
    async_training.trigger_parameter_sync_step="${SYNC_STEPS}"
    async_training.staleness_threshold="${STALENESS}"
    hydra.searchpath='[pkg://verl.trainer.config]'
)
if [ "${TINY}" = 1 ]; then
    SMALL+=(
        actor_rollout_ref.rollout.checkpoint_engine.backend=cpu
        actor_rollout_ref.actor.fsdp_config.reshard_after_forward=True
        # Any positive number: with -1 the last step's figures are not logged.
        trainer.test_freq=1000
    )
fi

TRAINER+=("${ASYNC[@]}")
paper "$@"
