#!/usr/bin/env bash
# FRPO, or a baseline, through verl's own trainer on a machine without a GPU: FSDP2 or Megatron over gloo, vLLM's
# CPU build.
#
# Purpose:  the run behind `make quickstart` and the end-to-end tests; a starting point for your own CPU runs.
# Table:    none of the paper.
# Hardware: 2 cores; 7 GiB of memory for the tiny model, 13 GiB for SmolLM2-135M.
# Time:     a minute to start, then 3 s per step of the tiny model or 30 s per step of SmolLM2-135M.
# Figure:   that of `make quickstart`, see run_smollm2_cpu.sh.
# Needs:    `make setup`; a model folder, parquet files and a reward. `make quickstart` makes them (in runs/) and calls this.
# verl:     0.9.1
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 brings a tiny model and its data.
set -euo pipefail

# What to train: frpo | no_kl (GRPO alone) | kl_loss (GRPO with the usual token penalty in the loss)
METHOD=${METHOD:-frpo}
CHOICES=METHOD
EXPERIMENT_NAME=${EXPERIMENT_NAME:-${METHOD}}
# What trains: fsdp2 | megatron; Megatron's layout in ranks: tensor, pipeline, context and expert parallel, the rest is data
# parallel.
ENGINE=${ENGINE:-fsdp2}
ACTOR_TP=${ACTOR_TP:-1}
ACTOR_PP=${ACTOR_PP:-1}
ACTOR_CP=${ACTOR_CP:-1}
ACTOR_EP=${ACTOR_EP:-1}
# Which trainer of verl: sync | colocate_async | separate_async | one_step_off | fully_async. The last three serve from a
# vLLM of their own, separate from the actor.
TRAINER=${TRAINER:-sync}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

BETA=${BETA:-0.05}
MODEL_PATH=${MODEL_PATH:?folder of the model}
TRAIN_FILES=${TRAIN_FILES:?parquet file with the training prompts}
VAL_FILES=${VAL_FILES:?parquet file with the held-out prompts}
# A python file with compute_score, or pkg://…
REWARD_FILE=${REWARD_FILE:-pkg://frpo_verl.rewards.math}

# How
STEPS=${STEPS:-10}
SEED=${SEED:-1}
ACTOR_LR=${ACTOR_LR:-3e-5}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-16}
ROLLOUT_N=${ROLLOUT_N:-8}
MICRO_BATCH=${MICRO_BATCH:-32}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-64}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-16}
VAL_N=${VAL_N:-8}
VAL_BEFORE_TRAIN=${VAL_BEFORE_TRAIN:-True}
TEST_FREQ=${TEST_FREQ:-${STEPS}}
# Ranks on each node; nodes of a Ray cluster (more than one: RAY_ADDRESS).
NGPUS_PER_NODE=${NGPUS_PER_NODE:-1}
NNODES=${NNODES:-1}
DTYPE=${DTYPE:-bfloat16}
USE_V1=${USE_V1:-True}

ALGORITHM=(
    algorithm.use_kl_in_reward=False
    algorithm.kl_ctrl.kl_coef="${BETA}"
)
case ${METHOD} in
    frpo) ALGORITHM+=(algorithm.adv_estimator=frpo actor_rollout_ref.actor.use_kl_loss=False) ;;
    no_kl) ALGORITHM+=(algorithm.adv_estimator=grpo actor_rollout_ref.actor.use_kl_loss=False) ;;
    kl_loss)
        ALGORITHM+=(
            algorithm.adv_estimator=grpo
            actor_rollout_ref.actor.use_kl_loss=True
            actor_rollout_ref.actor.kl_loss_coef="${BETA}"
            actor_rollout_ref.actor.kl_loss_type=low_var_kl
        )
        ;;
    *) stop "METHOD=${METHOD}: choose frpo, no_kl or kl_loss" ;;
esac

DATA=(
    data.train_files="$(quoted "${TRAIN_FILES}")"
    data.val_files="$(quoted "${VAL_FILES}")"
    data.train_batch_size="${TRAIN_BATCH_SIZE}"
    data.max_prompt_length="${MAX_PROMPT_LENGTH}"
    data.max_response_length="${MAX_RESPONSE_LENGTH}"
    data.seed="${SEED}"
    data.filter_overlong_prompts=False
)

MODEL=(actor_rollout_ref.model.path="$(quoted "${MODEL_PATH}")")

ACTOR=(
    actor_rollout_ref.actor.optim.lr="${ACTOR_LR}"
    actor_rollout_ref.actor.ppo_mini_batch_size="${TRAIN_BATCH_SIZE}"
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu="${MICRO_BATCH}"
    actor_rollout_ref.actor.data_loader_seed="${SEED}"
)

REF=(actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu="${MICRO_BATCH}")

case ${ENGINE} in
    fsdp2)
        ACTOR+=(actor_rollout_ref.actor.strategy=fsdp2)
        REF+=(actor_rollout_ref.ref.strategy=fsdp2)
        ;;
    megatron)
        MODEL+=(model_engine=megatron actor_rollout_ref.model.use_remove_padding=True)
        ACTOR+=(
            actor_rollout_ref.actor.megatron.tensor_model_parallel_size="${ACTOR_TP}"
            actor_rollout_ref.actor.megatron.pipeline_model_parallel_size="${ACTOR_PP}"
            actor_rollout_ref.actor.megatron.context_parallel_size="${ACTOR_CP}"
            actor_rollout_ref.actor.megatron.expert_model_parallel_size="${ACTOR_EP}"
        )
        ;;
    *) stop "ENGINE=${ENGINE}: choose fsdp2 or megatron" ;;
esac

ROLLOUT=(
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.n="${ROLLOUT_N}"
    actor_rollout_ref.rollout.seed="${SEED}"
    actor_rollout_ref.rollout.max_model_len=$((MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH))
    actor_rollout_ref.rollout.calculate_log_probs=True
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu="${MICRO_BATCH}"
    actor_rollout_ref.rollout.val_kwargs.n="${VAL_N}"
    actor_rollout_ref.rollout.val_kwargs.do_sample=True
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    actor_rollout_ref.rollout.val_kwargs.top_p=1.0
)

REWARD=(
    reward.custom_reward_function.path="$(quoted "${REWARD_FILE}")"
    reward.custom_reward_function.name=compute_score
)

MAIN=verl.trainer.main_ppo
# Logical places for workers, and cores for actors (fully-async's trainer alone asks for ten).
PLACES=$((NGPUS_PER_NODE * NNODES))
CPUS=$((8 + 4 * PLACES))
POOL=(
    actor_rollout_ref.rollout.checkpoint_engine.backend=cpu
    algorithm.rollout_correction.bypass_mode=False
)
if [ "${ENGINE}" = fsdp2 ]; then
    # Weights that are set aside between updates have to be whole.
    POOL+=(actor_rollout_ref.actor.fsdp_config.reshard_after_forward=True)
fi
case ${TRAINER} in
    sync | colocate_async) POOL=(trainer.v1.trainer_mode="${TRAINER}") ;;
    separate_async)
        PLACES=$((PLACES + 1))
        CPUS=$((40 + 4 * PLACES))
        POOL+=(
            trainer.v1.trainer_mode=separate_async
            trainer.v1.separate_async.parameter_sync_step=1
            actor_rollout_ref.rollout.nnodes=1
            actor_rollout_ref.rollout.n_gpus_per_node=1
        )
        ;;
    one_step_off)
        MAIN=verl.experimental.one_step_off_policy.main_ppo
        PLACES=$((PLACES + 1))
        CPUS=$((40 + 4 * PLACES))
        POOL+=(
            hydra.searchpath='[pkg://verl.trainer.config]'
            actor_rollout_ref.hybrid_engine=False
            rollout.nnodes=1
            rollout.n_gpus_per_node=1
        )
        ;;
    fully_async)
        MAIN=verl.experimental.fully_async_policy.fully_async_main
        PLACES=$((PLACES + 1))
        CPUS=$((40 + 4 * PLACES))
        POOL+=(
            actor_rollout_ref.hybrid_engine=False
            rollout.nnodes=1
            rollout.n_gpus_per_node=1
            # Its length is counted in prompts, and its data comes one by one.
            rollout.total_rollout_steps=$((STEPS * TRAIN_BATCH_SIZE))
            data.train_batch_size=0
            data.gen_batch_size=1
            async_training.trigger_parameter_sync_step=1
            async_training.require_batches=1
            async_training.staleness_threshold=0.5
            # Any positive number: with -1 the last step's figures are not logged.
            trainer.test_freq=1000
        )
        ;;
    *) stop "TRAINER=${TRAINER}: choose sync, colocate_async, separate_async, one_step_off or fully_async" ;;
esac

RUN=(
    trainer.use_v1="${USE_V1}"
    trainer.nnodes="${NNODES}"
    trainer.n_gpus_per_node="${NGPUS_PER_NODE}"
    trainer.logger='[console,file]'
    trainer.project_name=frpo
    trainer.experiment_name="${EXPERIMENT_NAME}"
    trainer.total_training_steps="${STEPS}"
    trainer.val_before_train="${VAL_BEFORE_TRAIN}"
    trainer.test_freq="${TEST_FREQ}"
    trainer.validation_data_dir="'${RUN_DIR}/validation'"
    trainer.rollout_data_dir="'${RUN_DIR}/rollouts'"
    trainer.save_freq=-1
    trainer.resume_mode=disable
    trainer.default_local_dir="'${RUN_DIR}/checkpoints'"
    hydra.run.dir="'${RUN_DIR}/hydra'"
)

source "${LIB}/cpu.sh"
launch "${MAIN}" \
    "${ALGORITHM[@]}" "${DATA[@]}" "${MODEL[@]}" "${ACTOR[@]}" "${REF[@]}" "${ROLLOUT[@]}" "${REWARD[@]}" \
    "${RUN[@]}" "${CPU[@]}" "${POOL[@]}" \
    "$@"
