#!/usr/bin/env bash
# FRPO, or a baseline, through verl's own trainer on a machine without a GPU: FSDP2 or Megatron over gloo, vLLM's
# CPU build.
#
# Purpose:  the run behind `make quickstart` and the end-to-end tests; a starting point for your own CPU runs.
# Hardware: 2 cores; 7 GiB of memory for the tiny model, 13 GiB for SmolLM2-135M.
# Needs:    `make setup`; a model folder, parquet files and a reward. `make quickstart` makes them (in runs/) and calls this.
# verl:     0.9.1
set -euo pipefail

# What to train: frpo | grpo (no KL) | grpo_kl_loss (the usual token penalty in the loss)
METHOD=${METHOD:-frpo}
BETA=${BETA:-0.05}
MODEL_PATH=${MODEL_PATH:?folder of the model}
TRAIN_FILE=${TRAIN_FILE:?parquet file with the training prompts}
VAL_FILE=${VAL_FILE:?parquet file with the held-out prompts}
REWARD_FILE=${REWARD_FILE:?python file with compute_score}
RUN_DIR=${RUN_DIR:?folder for metrics and generations}

# How
STEPS=${STEPS:-10}
SEED=${SEED:-1}
LR=${LR:-3e-5}
PROMPTS=${PROMPTS:-16}
GROUP_SIZE=${GROUP_SIZE:-8}
MICRO_BATCH=${MICRO_BATCH:-32}
MAX_PROMPT=${MAX_PROMPT:-64}
MAX_RESPONSE=${MAX_RESPONSE:-16}
VAL_SAMPLES=${VAL_SAMPLES:-8}
VAL_BEFORE=${VAL_BEFORE:-True}
VAL_EVERY=${VAL_EVERY:-${STEPS}}
# Ranks on each node; nodes of a Ray cluster (more than one: RAY_ADDRESS).
RANKS=${RANKS:-1}
NODES=${NODES:-1}
DTYPE=${DTYPE:-bfloat16}
USE_V1=${USE_V1:-True}
# Which trainer of verl: sync | colocate_async | separate_async | one_step_off | fully_async. The last three serve from a
# vLLM of their own, beside the actor.
TRAINER=${TRAINER:-sync}
# What trains: fsdp2 | megatron; Megatron's layout in ranks: tensor, pipeline, context and expert parallel, the rest is data
# parallel.
ENGINE=${ENGINE:-fsdp2}
TP=${TP:-1}
PP=${PP:-1}
CP=${CP:-1}
EP=${EP:-1}

export VERL_PLATFORM=cpu
export VERL_FILE_LOGGER_PATH=${RUN_DIR}/metrics.jsonl
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
# vLLM: one GiB of key-value cache, both cores, and no busy polling between requests.
export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
export VLLM_CPU_OMP_THREADS_BIND=${VLLM_CPU_OMP_THREADS_BIND:-nobind}
export VLLM_SLEEP_WHEN_IDLE=${VLLM_SLEEP_WHEN_IDLE:-1}
# Spinning OpenMP threads of several processes starve each other on few cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
# Start-up: no C++ compilation in step 1, no idle Ray workers, no usage report.
export TORCH_COMPILE_DISABLE=${TORCH_COMPILE_DISABLE:-1}
export RAY_prestart_worker_first_driver=${RAY_prestart_worker_first_driver:-0}
export RAY_USAGE_STATS_ENABLED=${RAY_USAGE_STATS_ENABLED:-0}

# A Ray of its own, whatever else runs on this machine; or the address of a cluster that was started with
# `ray start --num-gpus=RANKS --num-cpus=…` on every node (`auto` on one of them).
export RAY_ADDRESS=${RAY_ADDRESS:-local}

ENVIRONMENT=(
    VERL_PLATFORM VERL_FILE_LOGGER_PATH HF_HUB_OFFLINE VLLM_CPU_KVCACHE_SPACE VLLM_CPU_OMP_THREADS_BIND
    VLLM_SLEEP_WHEN_IDLE OMP_WAIT_POLICY OMP_NUM_THREADS TORCH_COMPILE_DISABLE RAY_prestart_worker_first_driver
    RAY_USAGE_STATS_ENABLED RAY_ADDRESS
)

case ${DTYPE} in
    float32) FSDP_DTYPE=fp32 ;;
    bfloat16) FSDP_DTYPE=bf16 ;;
    *) echo "DTYPE=${DTYPE}: choose float32 or bfloat16" >&2; exit 2 ;;
esac

ALGORITHM=(
    algorithm.use_kl_in_reward=False
    algorithm.kl_ctrl.kl_coef="${BETA}"
)
case ${METHOD} in
    frpo) ALGORITHM+=(algorithm.adv_estimator=frpo actor_rollout_ref.actor.use_kl_loss=False) ;;
    grpo) ALGORITHM+=(algorithm.adv_estimator=grpo actor_rollout_ref.actor.use_kl_loss=False) ;;
    grpo_kl_loss)
        ALGORITHM+=(
            algorithm.adv_estimator=grpo
            actor_rollout_ref.actor.use_kl_loss=True
            actor_rollout_ref.actor.kl_loss_coef="${BETA}"
            actor_rollout_ref.actor.kl_loss_type=low_var_kl
        )
        ;;
    *) echo "METHOD=${METHOD}: choose frpo, grpo or grpo_kl_loss" >&2; exit 2 ;;
esac

DATA=(
    data.train_files="${TRAIN_FILE}"
    data.val_files="${VAL_FILE}"
    data.train_batch_size="${PROMPTS}"
    data.max_prompt_length="${MAX_PROMPT}"
    data.max_response_length="${MAX_RESPONSE}"
    data.seed="${SEED}"
    data.dataloader_num_workers=0
    data.filter_overlong_prompts=False
)

MODEL=(
    actor_rollout_ref.model.path="${MODEL_PATH}"
    actor_rollout_ref.model.enable_gradient_checkpointing=False
)

ACTOR=(
    actor_rollout_ref.actor.optim.lr="${LR}"
    actor_rollout_ref.actor.ppo_mini_batch_size="${PROMPTS}"
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu="${MICRO_BATCH}"
    actor_rollout_ref.actor.data_loader_seed="${SEED}"
    actor_rollout_ref.actor.use_torch_compile=False
)

REF=(
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu="${MICRO_BATCH}"
    actor_rollout_ref.ref.use_torch_compile=False
)

case ${ENGINE} in
    fsdp2)
        MODEL+=(
            # Packed sequences need flash-attn.
            actor_rollout_ref.model.use_remove_padding=False
            +actor_rollout_ref.model.override_config.attn_implementation=sdpa
        )
        ACTOR+=(
            actor_rollout_ref.actor.strategy=fsdp2
            actor_rollout_ref.actor.fsdp_config.use_torch_compile=False
            actor_rollout_ref.actor.fsdp_config.reshard_after_forward=False
            +actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype="${FSDP_DTYPE}"
        )
        REF+=(
            actor_rollout_ref.ref.strategy=fsdp2
            actor_rollout_ref.ref.fsdp_config.use_torch_compile=False
            +actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype="${FSDP_DTYPE}"
        )
        ;;
    megatron)
        MODEL+=(model_engine=megatron actor_rollout_ref.model.use_remove_padding=True)
        ACTOR+=(
            actor_rollout_ref.actor.megatron.vanilla_mbridge=True
            actor_rollout_ref.actor.megatron.dtype="${DTYPE}"
            actor_rollout_ref.actor.megatron.tensor_model_parallel_size="${TP}"
            actor_rollout_ref.actor.megatron.pipeline_model_parallel_size="${PP}"
            actor_rollout_ref.actor.megatron.context_parallel_size="${CP}"
            actor_rollout_ref.actor.megatron.expert_model_parallel_size="${EP}"
        )
        # The layout of the reference is the actor's; its dtype is not.
        REF+=(actor_rollout_ref.ref.megatron.dtype="${DTYPE}")
        # Megatron traces its small fused functions in step 1, which costs more than they save here.
        export TORCHDYNAMO_DISABLE=${TORCHDYNAMO_DISABLE:-1}
        ENVIRONMENT+=(TORCHDYNAMO_DISABLE)
        ;;
    *) echo "ENGINE=${ENGINE}: choose fsdp2 or megatron" >&2; exit 2 ;;
esac

ROLLOUT=(
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.n="${GROUP_SIZE}"
    actor_rollout_ref.rollout.dtype="${DTYPE}"
    actor_rollout_ref.rollout.seed="${SEED}"
    actor_rollout_ref.rollout.tensor_model_parallel_size=1
    actor_rollout_ref.rollout.max_model_len=$((MAX_PROMPT + MAX_RESPONSE))
    actor_rollout_ref.rollout.max_num_seqs=256
    actor_rollout_ref.rollout.enforce_eager=True
    actor_rollout_ref.rollout.free_cache_engine=False
    +actor_rollout_ref.rollout.enable_sleep_mode=False
    actor_rollout_ref.rollout.calculate_log_probs=True
    actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=128
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu="${MICRO_BATCH}"
    actor_rollout_ref.rollout.agent.num_workers=1
    actor_rollout_ref.rollout.val_kwargs.n="${VAL_SAMPLES}"
    actor_rollout_ref.rollout.val_kwargs.do_sample=True
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    actor_rollout_ref.rollout.val_kwargs.top_p=1.0
)

REWARD=(
    reward.custom_reward_function.path="${REWARD_FILE}"
    reward.custom_reward_function.name=compute_score
    reward.num_workers=1
)

MAIN=verl.trainer.main_ppo
# Logical places for workers, and cores for actors (fully-async's trainer alone asks for ten).
PLACES=$((RANKS * NODES))
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
            rollout.total_rollout_steps=$((STEPS * PROMPTS))
            data.train_batch_size=0
            data.gen_batch_size=1
            async_training.trigger_parameter_sync_step=1
            async_training.require_batches=1
            async_training.staleness_threshold=0.5
            # Any positive number: with -1 the last step's figures are not logged.
            trainer.test_freq=1000
        )
        ;;
    *) echo "TRAINER=${TRAINER}: choose sync, colocate_async, separate_async, one_step_off or fully_async" >&2; exit 2 ;;
esac

RUN=(
    trainer.device=cpu
    trainer.use_v1="${USE_V1}"
    trainer.nnodes="${NODES}"
    trainer.n_gpus_per_node="${RANKS}"
    trainer.logger='[console,file]'
    trainer.project_name=frpo
    trainer.experiment_name="${METHOD}"
    trainer.total_training_steps="${STEPS}"
    trainer.val_before_train="${VAL_BEFORE}"
    trainer.test_freq="${VAL_EVERY}"
    trainer.validation_data_dir="${RUN_DIR}/validation"
    trainer.save_freq=-1
    trainer.resume_mode=disable
    trainer.default_local_dir="${RUN_DIR}/checkpoints"
)

RAY=(
    transfer_queue.backend.SimpleStorage.num_data_storage_units=1
    hydra.run.dir="${RUN_DIR}/hydra"
)
if [ "${RAY_ADDRESS}" = local ]; then
    RAY+=(
        # verl asks Ray for one "GPU" per worker.
        +ray_kwargs.ray_init.num_gpus="${PLACES}"
        ray_kwargs.ray_init.num_cpus="${CPUS}"
        +ray_kwargs.ray_init.include_dashboard=False
    )
else
    # Nodes that were started elsewhere know nothing of this shell.
    for name in "${ENVIRONMENT[@]}"; do
        case ${name} in
            RAY_* | VERL_PLATFORM) ;;
            *) RAY+=("+ray_kwargs.ray_init.runtime_env.env_vars.${name}='${!name}'") ;;
        esac
    done
fi

mkdir -p "${RUN_DIR}"
COMMAND=(
    python -m "${MAIN}"
    "${ALGORITHM[@]}" "${DATA[@]}" "${MODEL[@]}" "${ACTOR[@]}" "${REF[@]}" "${ROLLOUT[@]}" "${REWARD[@]}"
    "${RUN[@]}" "${RAY[@]}" "${POOL[@]}"
    "$@"
)
{
    for name in "${ENVIRONMENT[@]}"; do
        printf '%s=%q ' "${name}" "${!name}"
    done
    printf '%q ' "${COMMAND[@]}"
} > "${RUN_DIR}/command.txt"
exec "${COMMAND[@]}"
