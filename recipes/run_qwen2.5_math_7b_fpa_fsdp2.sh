#!/usr/bin/env bash
# FPA, offline | Qwen2.5-Math-7B | FSDP2 | DAPO-Math-17k
#
# Purpose:  offline policy optimisation on the model's own graded responses: stage 1 samples them once with vLLM, stage 2 trains
#           on them. METHOD: outcome | dpo | rpo | simper, each with LAMBDA (0: the base method without FPA).
# Table:    arXiv 2509.19893, of which we have seen no table. Version 1: Qwen2.5-Math-7B, DeepSeekMath-7B and
#           Llama-3.2-3B-Instruct (MODEL_PATH); lambda 0.5, 1 and 2; pass@1 of 8 samples at temperature 0.7, on MATH500 and
#           GSM8K. Our reading, for we have seen none of them: training data, responses per prompt, learning rate, beta, batch.
# Hardware: one node of 8 x 80 GB.
# Time:     not measured here.
# Figure:   in summaries of version 1, FPA is above DPO by 1.2 points, above RPO by 1.9, above SimPER by 2.6 (means over models and
#           benchmarks). Not reproduced.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500
# DRY_RUN=1 shows both stages and what keeps them from running, TINY=1 runs two steps without a GPU.
set -euo pipefail

METHOD=${METHOD:-outcome}
LAMBDA=${LAMBDA:-1}
CHOICES=METHOD
EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen2.5_math_7b_fpa_${METHOD}_${LAMBDA}_fsdp2}
ENGINE=fsdp2
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-Math-7B}
DATA_DIR=${DATA_DIR:-${HOME}/data/frpo}
PROMPTS=${TRAIN_FILES:-${DATA_DIR}/dapo_math_17k.parquet}
VAL_FILES=${VAL_FILES:-${DATA_DIR}/math500.parquet}
REWARD_FILE=${REWARD_FILE:-pkg://frpo_verl.rewards.math}
source "${LIB}/fpa.sh"
# Of all methods: the responses depend on the model and the seed alone.
GRADED=$(realpath -m "${GRADED:-runs/graded/${MODEL_PATH//\//_}-${ROLLOUT_N}-${SEED}.parquet}")
if [ "${TINY}" = 1 ]; then
    on_the_cpu
fi

case ${METHOD} in
    outcome | dpo | rpo | simper) ;;
    *) stop "METHOD=${METHOD}: choose outcome, dpo, rpo or simper" ;;
esac

sampled
trained "$@"
