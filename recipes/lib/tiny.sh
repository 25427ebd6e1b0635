# shellcheck shell=bash
# TINY=1, sourced: the recipe on a machine without a GPU, with a model of a few hundred thousand parameters, for two steps.
# The recipe's own arrays stay; what cannot be the same is set here, as knobs and in SMALL. What you set yourself stays too.
# Reads ENGINE, and TINY_MODEL of the recipe.

TINY_MODEL=${TINY_MODEL:-qwen3}
# Where such models are kept, one folder each.
TINY_DIR=${TINY_DIR:-${PWD}/runs/tiny}
DTYPE=${DTYPE:-float32}
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-1}
ROLLOUT_NGPUS=${ROLLOUT_NGPUS:-0}

# Two threads on a model this small wait for each other.
OMP_NUM_THREADS=1 python -P -m frpo_verl.quickstart.tiny "${TINY_DIR}/${TINY_MODEL}" "${TINY_MODEL}" > /dev/null
MODEL_PATH=${MODEL_PATH:-${TINY_DIR}/${TINY_MODEL}/model}
TRAIN_FILES=${TRAIN_FILES:-${TINY_DIR}/${TINY_MODEL}/train.parquet}
VAL_FILES=${VAL_FILES:-${TINY_DIR}/${TINY_MODEL}/val.parquet}

TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-8}
PPO_MINI_BATCH_SIZE=${PPO_MINI_BATCH_SIZE:-4}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-64}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-16}
PPO_MAX_TOKEN_LEN_PER_GPU=${PPO_MAX_TOKEN_LEN_PER_GPU:-640}
ACTOR_LR=${ACTOR_LR:-1e-3}
OFFLOAD=${OFFLOAD:-False}
SP_SIZE=${SP_SIZE:-1}
ACTOR_TP=${ACTOR_TP:-1}
ACTOR_PP=${ACTOR_PP:-1}
ACTOR_EP=${ACTOR_EP:-1}
ROLLOUT_TP=${ROLLOUT_TP:-1}
VAL_N=${VAL_N:-1}
VAL_BEFORE_TRAIN=${VAL_BEFORE_TRAIN:-False}
TEST_FREQ=${TEST_FREQ:--1}
SAVE_FREQ=${SAVE_FREQ:--1}
STEPS=${STEPS:-2}
LOGGER=${LOGGER:-'["console","file"]'}

PLACES=$((NGPUS_PER_NODE * NNODES + ROLLOUT_NGPUS))
CPUS=$((8 + 4 * PLACES + (ROLLOUT_NGPUS > 0 ? 32 : 0)))
source "${LIB}/cpu.sh"
# shellcheck disable=SC2034  # passed on by paper.sh
SMALL=("${CPU[@]}" data.filter_overlong_prompts=False actor_rollout_ref.rollout.seed=1)
