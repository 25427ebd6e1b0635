# shellcheck shell=bash
# The paper's training set-up (arXiv 2601.10201, Tables 6 and 7), sourced by the recipes: knobs that they have not set, then
# the arrays ALGORITHM, DATA, MODEL, ACTOR, REF, ROLLOUT, REWARD and TRAINER, which they pass to verl, changed or not.
# Reads ENGINE (fsdp2 | megatron). The paper prints neither the number of epochs nor its parallel layout.

# Data: `frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math` writes it.
DATA_DIR=${DATA_DIR:-${HOME}/data/frpo}
TRAIN_FILES=${TRAIN_FILES:-${DATA_DIR}/dapo_math_17k.parquet}
# One file, or a list as Hydra reads it: ['a.parquet','b.parquet'].
if [ -z "${VAL_FILES:-}" ]; then
    VAL_FILES=$(printf ",'%s'" "${DATA_DIR}"/{math500,aime24,aime25,amc23,olympiad_bench,minerva_math}.parquet)
    VAL_FILES=[${VAL_FILES:1}]
fi

# Tables 6 and 7
BETA=${BETA:-0.01}
ROLLOUT_N=${ROLLOUT_N:-5}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-256}
PPO_MINI_BATCH_SIZE=${PPO_MINI_BATCH_SIZE:-64}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-2048}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-8192}
ACTOR_LR=${ACTOR_LR:-1e-6}

# Not the paper's, which fixes the divergence before the first update: four updates a step would share it. `rollout` does.
KL=${KL:-current}

# How it is placed and how much a GPU computes at once
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
PPO_MAX_TOKEN_LEN_PER_GPU=${PPO_MAX_TOKEN_LEN_PER_GPU:-$((2 * (MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH)))}
OFFLOAD=${OFFLOAD:-False}
ROLLOUT_TP=${ROLLOUT_TP:-1}
ROLLOUT_GPU_MEM_UTIL=${ROLLOUT_GPU_MEM_UTIL:-0.6}

# How long, and what is kept of it
TOTAL_EPOCHS=${TOTAL_EPOCHS:-10}
STEPS=${STEPS:-null}
SAVE_FREQ=${SAVE_FREQ:-20}
# 24,736 responses, as many as 19 training steps sample.
TEST_FREQ=${TEST_FREQ:-100}
VAL_BEFORE_TRAIN=${VAL_BEFORE_TRAIN:-True}
VAL_N=${VAL_N:-16}
PROJECT_NAME=${PROJECT_NAME:-frpo}
LOGGER=${LOGGER:-'["console","file"]'}

case ${OFFLOAD} in
    True | False) ;;
    *) stop "OFFLOAD=${OFFLOAD}: choose True or False" ;;
esac

ALGORITHM=(
    algorithm.adv_estimator=frpo
    algorithm.use_kl_in_reward=False
    algorithm.kl_penalty=kl
    algorithm.kl_ctrl.kl_coef="${BETA}"
)
if [ "${KL}" != rollout ]; then
    ALGORITHM+=(+algorithm.frpo.kl="${KL}")
fi

DATA=(
    data.train_files="$(quoted "${TRAIN_FILES}")"
    data.val_files="$(quoted "${VAL_FILES}")"
    data.train_batch_size="${TRAIN_BATCH_SIZE}"
    data.max_prompt_length="${MAX_PROMPT_LENGTH}"
    data.max_response_length="${MAX_RESPONSE_LENGTH}"
    data.filter_overlong_prompts=True
    data.truncation=error
)

MODEL=(
    actor_rollout_ref.model.path="$(quoted "${MODEL_PATH}")"
    actor_rollout_ref.model.use_remove_padding=True
    actor_rollout_ref.model.enable_gradient_checkpointing=True
)

ACTOR=(
    actor_rollout_ref.actor.optim.lr="${ACTOR_LR}"
    actor_rollout_ref.actor.ppo_mini_batch_size="${PPO_MINI_BATCH_SIZE}"
    actor_rollout_ref.actor.ppo_epochs=1
    actor_rollout_ref.actor.use_dynamic_bsz=True
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu="${PPO_MAX_TOKEN_LEN_PER_GPU}"
    actor_rollout_ref.actor.use_kl_loss=False
    actor_rollout_ref.actor.entropy_coeff=0
)

# Batches of the reference and of the log-probs are the actor's (verl's defaults).
REF=()

case ${ENGINE} in
    fsdp2)
        SP_SIZE=${SP_SIZE:-1}
        ACTOR+=(
            actor_rollout_ref.actor.strategy=fsdp2
            actor_rollout_ref.actor.fsdp_config.param_offload="${OFFLOAD}"
            actor_rollout_ref.actor.fsdp_config.optimizer_offload="${OFFLOAD}"
            actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size="${SP_SIZE}"
        )
        REF+=(
            actor_rollout_ref.ref.strategy=fsdp2
            actor_rollout_ref.ref.fsdp_config.ulysses_sequence_parallel_size="${SP_SIZE}"
        )
        ;;
    megatron)
        ACTOR_TP=${ACTOR_TP:-1}
        ACTOR_PP=${ACTOR_PP:-1}
        ACTOR_EP=${ACTOR_EP:-1}
        MODEL+=(
            model_engine=megatron
            # Megatron's communication overlaps with computation only with one queue to the device. Exported here, it would
            # not reach the workers of a cluster: verl leaves to them what the driver's environment has.
            "++ray_kwargs.ray_init.runtime_env.env_vars.CUDA_DEVICE_MAX_CONNECTIONS='1'"
        )
        ACTOR+=(
            actor_rollout_ref.actor.megatron.vanilla_mbridge=True
            actor_rollout_ref.actor.megatron.tensor_model_parallel_size="${ACTOR_TP}"
            actor_rollout_ref.actor.megatron.pipeline_model_parallel_size="${ACTOR_PP}"
            actor_rollout_ref.actor.megatron.expert_model_parallel_size="${ACTOR_EP}"
            actor_rollout_ref.actor.megatron.param_offload="${OFFLOAD}"
            actor_rollout_ref.actor.megatron.optimizer_offload="${OFFLOAD}"
            ++actor_rollout_ref.actor.megatron.override_transformer_config.recompute_granularity=full
            ++actor_rollout_ref.actor.megatron.override_transformer_config.recompute_method=uniform
            ++actor_rollout_ref.actor.megatron.override_transformer_config.recompute_num_layers=1
        )
        # The layout of the reference is the actor's; whether it is offloaded is not.
        REF+=(actor_rollout_ref.ref.megatron.param_offload="${OFFLOAD}")
        ;;
    *) stop "ENGINE=${ENGINE}: choose fsdp2 or megatron" ;;
esac

ROLLOUT=(
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.n="${ROLLOUT_N}"
    actor_rollout_ref.rollout.temperature=1.0
    actor_rollout_ref.rollout.top_p=1.0
    actor_rollout_ref.rollout.tensor_model_parallel_size="${ROLLOUT_TP}"
    actor_rollout_ref.rollout.gpu_memory_utilization="${ROLLOUT_GPU_MEM_UTIL}"
    actor_rollout_ref.rollout.max_model_len=$((MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH))
    # So that verl logs how far the server's probabilities are from the trainer's.
    actor_rollout_ref.rollout.calculate_log_probs=True
    actor_rollout_ref.rollout.val_kwargs.n="${VAL_N}"
    actor_rollout_ref.rollout.val_kwargs.do_sample=True
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    actor_rollout_ref.rollout.val_kwargs.top_p=1.0
)

# The last \boxed{} of the response, by math-verify.
REWARD=(
    reward.custom_reward_function.path=pkg://frpo_verl.rewards.math
    reward.custom_reward_function.name=compute_score
)

TRAINER=(
    trainer.nnodes="${NNODES}"
    trainer.n_gpus_per_node="${NGPUS_PER_NODE}"
    trainer.total_epochs="${TOTAL_EPOCHS}"
    trainer.total_training_steps="${STEPS}"
    trainer.val_before_train="${VAL_BEFORE_TRAIN}"
    trainer.save_freq="${SAVE_FREQ}"
    trainer.test_freq="${TEST_FREQ}"
    trainer.logger="${LOGGER}"
    trainer.project_name="${PROJECT_NAME}"
    trainer.experiment_name="${EXPERIMENT_NAME}"
    trainer.default_local_dir="'${RUN_DIR}/checkpoints'"
    trainer.validation_data_dir="'${RUN_DIR}/validation'"
    hydra.run.dir="'${RUN_DIR}/hydra'"
)

# All sections in verl's order; a recipe that changes one changes the array before. MAIN is another main of verl, where set.
paper() {
    launch "${MAIN:-verl.trainer.main_ppo}" \
        "${ALGORITHM[@]}" "${DATA[@]}" "${MODEL[@]}" "${ACTOR[@]}" ${REF[@]+"${REF[@]}"} "${ROLLOUT[@]}" "${REWARD[@]}" \
        "${TRAINER[@]}" ${SMALL[@]+"${SMALL[@]}"} "$@"
}
