#!/usr/bin/env bash
# FPA and its base methods | SmolLM2-135M-Instruct | FSDP2 on a CPU | one-digit sums of reasoning-gym
#
# Purpose:  offline policy optimisation from end to end without a GPU or a download: model and task are made on the spot, the
#           model answers each problem ROLLOUT_N times, the answers are graded, every method learns from them with every seed
#           (of order, pairs and validation) and is validated by sampling. Ends with a table and a figure of the methods.
# Table:    none of the paper.
# Hardware: 2 cores, 24 GB of memory.
# Time:     about 50 minutes on two cores: 3:14 to 4:37 a run (median 3:35), 4 to 9 minutes to sample.
# Figure:   held-out pass@1 0.10 before, 0.43 (outcome), 0.46 (DPO), with lambda 1 0.38 and 0.39 after; frpo_verl/losses/fpa.md.
# verl:     0.9.1
# A second call goes on where the first was stopped, and METHODS and SEEDS may name more. No weights are kept. DRY_RUN=1 shows
# both stages of the first run, TINY=1 takes a model of a few hundred thousand parameters for two steps in two ranks.
set -euo pipefail

# METHOD:LAMBDA; 0 is the method without FPA. outcome | dpo | rpo | simper
METHODS=${METHODS:-outcome:0 outcome:1 dpo:0 dpo:1}
SEEDS=${SEEDS:-1 2 3}
RUNS=$(realpath -m "${RUNS:-runs}")
MODEL=smollm2
if [ "${TINY:-0}" = 1 ]; then
    # Model and data are the quickstart's, not those that other recipes take.
    TINY=0
    MODEL=tiny
    NGPUS_PER_NODE=${NGPUS_PER_NODE:-2}
    STEPS=${STEPS:-2}
    ACTOR_LR=${ACTOR_LR:-1e-3}
    ROLLOUT_N=${ROLLOUT_N:-4}
    # Two threads on a model this small wait for each other.
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
EXPERIMENT_NAME=fpa-${MODEL}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

# The model is right once in nine: signed, the outcome form would lower eight responses for each that it raises.
ADVANTAGE=${ADVANTAGE:-standardised}
ROLLOUT_N=${ROLLOUT_N:-8}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-32}
STEPS=${STEPS:-8}
ACTOR_LR=${ACTOR_LR:-5e-5}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-48}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-16}
MAX_TOKEN_LEN_PER_GPU=${MAX_TOKEN_LEN_PER_GPU:-2048}
VAL_TEMPERATURE=${VAL_TEMPERATURE:-1.0}
TEST_FREQ=${TEST_FREQ:--1}
# STEPS decides, and nothing is resumed.
TOTAL_EPOCHS=1000
SAVE_FREQ=-1
NGPUS_PER_NODE=${NGPUS_PER_NODE:-1}
# Faster than bfloat16 where the processor has no matrix unit for it.
DTYPE=${DTYPE:-float32}
source "${LIB}/fpa.sh"

ENGINE=fsdp2 PLACES=1 CPUS=1
source "${LIB}/cpu.sh"
on_the_cpu
SMALL+=(trainer.resume_mode=disable validation.measured=64)

FOLDER=${RUNS}/${EXPERIMENT_NAME}
MODEL_PATH=${RUNS}/models/${MODEL}
PROMPTS=${RUNS}/data/one_digit_sums_train.parquet
VAL_FILES=${RUNS}/data/one_digit_sums_held_out.parquet
GRADED=${FOLDER}/graded.parquet
REWARD_FILE=pkg://frpo_verl.quickstart.reward

say() {
    printf '%5d s  %s\n' "${SECONDS}" "$*"
}

# The knobs of one run.
chosen() {
    METHOD=${1%%:*} LAMBDA=${1#*:} SEED=$2
    EXPERIMENT_NAME=${METHOD}-${LAMBDA}-seed-${SEED}
    RUN_DIR=${FOLDER}/${EXPERIMENT_NAME}
    export VERL_FILE_LOGGER_PATH=${RUN_DIR}/metrics.jsonl
}

one() {
    local of_seed=("${FOLDER}"/*-seed-"${SEED}"/finished)
    [ ! -e "${RUN_DIR}/finished" ] || return 0
    # All runs of a seed have the same validation before training: the first makes it.
    VAL_BEFORE_TRAIN=$([ -e "${of_seed[0]}" ] && echo False || echo True)
    say "${METHOD}, lambda ${LAMBDA}, seed ${SEED} (${RUN_DIR}/trainer.log)"
    mkdir -p "${RUN_DIR}"
    (trained "$@") > "${RUN_DIR}/trainer.log" 2>&1 || {
        tail -n 20 "${RUN_DIR}/trainer.log" >&2
        stop "${METHOD}, lambda ${LAMBDA}, seed ${SEED} failed; its log is ${RUN_DIR}/trainer.log"
    }
    if [ "${VAL_BEFORE_TRAIN}" = False ]; then
        took_over "${of_seed[0]%/finished}"
    fi
    # Over a GB each.
    rm -rf "${RUN_DIR}/checkpoints"
    touch "${RUN_DIR}/finished"
}

took_over() {
    cp "$1/validation/0.jsonl" "${RUN_DIR}/validation/"
    { grep -m 1 '"step":0,' "$1/metrics.jsonl"; cat "${RUN_DIR}/metrics.jsonl"; } > "${RUN_DIR}/metrics.whole"
    mv "${RUN_DIR}/metrics.whole" "${RUN_DIR}/metrics.jsonl"
}

# One folder has runs of one kind: what METHODS and SEEDS do not name is the same.
remember() {
    local settings
    settings=$(printf '%s\n' "${ROLLOUT_N} responses, batch ${TRAIN_BATCH_SIZE}, ${STEPS} steps, lr ${ACTOR_LR}" \
        "advantage ${ADVANTAGE}, beta ${BETA}, ${PAIRS_PER_PROMPT} pairs" \
        "${NGPUS_PER_NODE} ranks, ${DTYPE}, micro-batches of ${MAX_TOKEN_LEN_PER_GPU} tokens" \
        "tokens ${MAX_PROMPT_LENGTH} and ${MAX_RESPONSE_LENGTH}, validation ${VAL_N} at ${VAL_TEMPERATURE}" "$@")
    mkdir -p "${FOLDER}"
    [ -e "${FOLDER}/settings.txt" ] || printf '%s\n' "${settings}" > "${FOLDER}/settings.txt"
    [ "${settings}" = "$(cat "${FOLDER}/settings.txt")" ] \
        || stop "${FOLDER} holds runs with other settings (settings.txt); set RUNS to another folder, or remove it"
}

study() {
    local seed method compared=()
    say "model and task"
    python -P -m frpo_verl.quickstart.inputs "${MODEL}" "${RUNS}"
    if [ "${DRY_RUN}" = 1 ]; then
        sampled
        chosen "${METHODS%% *}" "${SEEDS%% *}"
        trained "$@"
    fi
    remember "$@"
    say "${ROLLOUT_N} responses to each problem"
    [ -e "${GRADED}" ] || sampled
    for seed in ${SEEDS}; do
        for method in ${METHODS}; do
            chosen "${method}" "${seed}"
            one "$@"
            compared+=("${METHOD}, lambda ${LAMBDA}=${RUN_DIR}")
        done
    done
    say "all runs are done"
    python -P -m frpo_verl report -o "${FOLDER}/report.html" "${compared[@]}" | tee "${FOLDER}/learned.md"
}

study "$@"
