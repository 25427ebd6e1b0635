# shellcheck shell=bash
# FPA's set-up (arXiv 2509.19893), sourced by its recipes: knobs that they have not set, and the functions `sampled` and
# `trained`, its two stages. Reads MODEL_PATH, PROMPTS, VAL_FILES, REWARD_FILE, GRADED and RUN_DIR.
# What of these settings is the paper's, and what our reading, is in frpo_verl/losses/fpa.md.

# What is learned: outcome | dpo | rpo | simper, by the future policy of LAMBDA; 0 is the method without FPA.
METHOD=${METHOD:-outcome}
LAMBDA=${LAMBDA:-1}
ADVANTAGE=${ADVANTAGE:-signed}
BETA=${BETA:-0.1}
ACTOR_LR=${ACTOR_LR:-1e-6}
SEED=${SEED:-1}

# What it is learned from
ROLLOUT_N=${ROLLOUT_N:-16}
PAIRS_PER_PROMPT=${PAIRS_PER_PROMPT:-8}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-128}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-1024}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-3072}

# How it is placed, how long it runs, and what is kept of it
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
MAX_TOKEN_LEN_PER_GPU=${MAX_TOKEN_LEN_PER_GPU:-$((2 * (MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH)))}
STEPS=${STEPS:-null}
TOTAL_EPOCHS=${TOTAL_EPOCHS:-1}
SAVE_FREQ=${SAVE_FREQ:-100}
TEST_FREQ=${TEST_FREQ:-100}
VAL_BEFORE_TRAIN=${VAL_BEFORE_TRAIN:-True}
VAL_N=${VAL_N:-8}
VAL_TEMPERATURE=${VAL_TEMPERATURE:-0.7}

# Stage 1: writes GRADED, unless it is there. What was stopped goes on.
sampled() {
    local command=(
        python -P -m frpo_verl offline-data "${GRADED}" --model "${MODEL_PATH}" --prompts "${PROMPTS}" --n "${ROLLOUT_N}"
        --reward "${REWARD_FILE}" --max-tokens "${MAX_RESPONSE_LENGTH}" --max-prompt-tokens "${MAX_PROMPT_LENGTH}"
        # The mean over responses is that under the sampler.
        --seed "${SEED}" --duplicates keep ${SAMPLING[@]+"${SAMPLING[@]}"}
    )
    if [ "${DRY_RUN}" = 1 ]; then
        printf 'Stage 1, which makes data.train_files:\n' >&2
        printf '%q ' "${command[@]}" >&2
        printf '\n\n' >&2
    else
        "${command[@]}"
    fi
}

# Stage 2: takes the place of this shell, as verl's mains do.
trained() {
    local batch=${TRAIN_BATCH_SIZE}
    # As many responses in a step of pairs.
    [ "${METHOD}" = outcome ] || batch=$((TRAIN_BATCH_SIZE / 2))
    FPA=(
        fpa.loss="${METHOD}"
        fpa.lam="${LAMBDA}"
        fpa.advantage="${ADVANTAGE}"
        fpa.beta="${BETA}"
    )
    DATA=(
        data.train_files="$(quoted "${GRADED}")"
        data.val_files="$(quoted "${VAL_FILES}")"
        data.train_batch_size="${batch}"
        data.pairs_per_prompt="${PAIRS_PER_PROMPT}"
        data.max_length=$((MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH))
        data.max_token_len_per_gpu="${MAX_TOKEN_LEN_PER_GPU}"
        data.seed="${SEED}"
    )
    POLICY=(
        model.path="$(quoted "${MODEL_PATH}")"
        model.use_remove_padding=True
        model.enable_gradient_checkpointing=True
        engine.strategy=fsdp2
        optim.lr="${ACTOR_LR}"
    )
    VALIDATION=(
        validation.n="${VAL_N}"
        validation.temperature="${VAL_TEMPERATURE}"
        validation.max_prompt_length="${MAX_PROMPT_LENGTH}"
        validation.max_response_length="${MAX_RESPONSE_LENGTH}"
        reward.custom_reward_function.path="$(quoted "${REWARD_FILE}")"
    )
    TRAINER=(
        trainer.nnodes="${NNODES}"
        trainer.n_gpus_per_node="${NGPUS_PER_NODE}"
        trainer.total_epochs="${TOTAL_EPOCHS}"
        trainer.total_training_steps="${STEPS}"
        trainer.save_freq="${SAVE_FREQ}"
        trainer.test_freq="${TEST_FREQ}"
        trainer.val_before_train="${VAL_BEFORE_TRAIN}"
        trainer.logger='["console","file"]'
        trainer.experiment_name="${EXPERIMENT_NAME}"
        trainer.default_local_dir="'${RUN_DIR}/checkpoints'"
        trainer.validation_data_dir="'${RUN_DIR}/validation'"
        hydra.run.dir="'${RUN_DIR}/hydra'"
    )
    launch frpo_verl.trainers.fpa \
        "${FPA[@]}" "${DATA[@]}" "${POLICY[@]}" "${VALIDATION[@]}" "${TRAINER[@]}" ${SMALL[@]+"${SMALL[@]}"} "$@"
}

# What a machine without a GPU needs, for SMALL and SAMPLING; after cpu.sh, which sets FSDP_DTYPE.
on_the_cpu() {
    SMALL=(
        trainer.device=cpu
        data.num_workers=0
        model.use_remove_padding=False
        +model.override_config.attn_implementation=sdpa
        model.enable_gradient_checkpointing=False
        engine.use_torch_compile=False
        +engine.mixed_precision.param_dtype="${FSDP_DTYPE}"
        +validation.engine_kwargs.dtype="${DTYPE}"
        +validation.engine_kwargs.enforce_eager=True
    )
    SAMPLING=(--vllm dtype="${DTYPE}")
}
