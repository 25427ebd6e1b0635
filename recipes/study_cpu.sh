#!/usr/bin/env bash
# FRPO, the placements that its paper compares, λ-GRPO, DRPO and a control | a Llama of 0.3 million parameters | FSDP2 on a CPU
#
# Purpose:  a comparison with seeds and intervals, without a GPU or a download: model and task are made on the spot
#           (recipes/study/README.md), every method learns at three strengths with every seed through verl's trainer, and
#           tables and figures come of it. METHODS:
#             no_kl        GRPO without a KL
#             kl_loss      GRPO with the usual token penalty in the loss (k3)
#             kl_reward    GRPO with the KL in the reward, before it is normalised (Proposition 3.2)
#             frpo         reverse KL (k1) as the return-to-go in the advantage
#             frpo_k3      the same with k3
#             rloo_future  RLOO, less the same term
#             lambda_grpo  λ-GRPO: no_kl with each token divided by the number of responses that share its prefix
#             drpo         DRPO: no_kl without the standard deviation, anchored to the rollout's probabilities; δ is its strength
#             shuffled     control: frpo with each response's divergences at the wrong tokens
#             frpo_fitted  frpo less the fitted baseline (frpo_verl/advantage/variance.md); not run by default
#             frpo_current frpo with the current policy's divergence, kl=current (frpo_verl/advantage/staleness.md); not run by default
# Table:    section 6 of arXiv 2601.10201 asks these questions of models of 1.7B and more.
# Hardware: 2 cores, 7 GB of memory.
# Time:     3.5 to 12 minutes a run, 110 runs; recipes/study/README.md has them.
# Figure:   see recipes/study/README.md.
# verl:     0.9.1
# A second call goes on where the first was stopped; METHODS, BETAS, DELTAS, CONTROL_BETAS and SEEDS may name more, AT_MOST ends a
# call after so many runs. No weights are kept. DRY_RUN=1 shows the first run, TINY=1 takes a model that has hardly learned for two steps.
set -euo pipefail

METHODS=${METHODS:-no_kl kl_loss kl_reward frpo frpo_k3 rloo_future lambda_grpo drpo shuffled}
# Of every method with a KL; DELTAS are DRPO's, CONTROL_BETAS of those that are compared with frpo alone, at the same β.
BETAS=${BETAS:-0.1 0.3 1}
DELTAS=${DELTAS:-0.05 0.15 12.5}
CONTROL_BETAS=${CONTROL_BETAS:-0.1 0.3}
SEEDS=${SEEDS:-1 2 3 4 5}
AT_MOST=${AT_MOST:-1000}
RUNS=$(realpath -m "${RUNS:-runs}")
EXPERIMENT_NAME=study
WARM_UP=()
if [ "${TINY:-0}" = 1 ]; then
    # Model and data are the study's, not those that other recipes take.
    TINY=0
    EXPERIMENT_NAME=study-tiny
    WARM_UP=(--steps 5)
    METHODS="no_kl shuffled" CONTROL_BETAS=0.1 SEEDS=1
    STEPS=${STEPS:-2} TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-8} VAL_N=${VAL_N:-2}
fi
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

STEPS=${STEPS:-40}
ACTOR_LR=${ACTOR_LR:-1e-4}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-16}
ROLLOUT_N=${ROLLOUT_N:-8}
VAL_N=${VAL_N:-16}
TEST_FREQ=${TEST_FREQ:-${STEPS}}
# Two threads on a model this small wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH=${LIB%/lib}${PYTHONPATH:+:${PYTHONPATH}}
ENGINE=fsdp2 DTYPE=float32 PLACES=1 CPUS=12
source "${LIB}/cpu.sh"

FOLDER=${RUNS}/${EXPERIMENT_NAME}

say() {
    printf '%5d s  %s\n' "${SECONDS}" "$*"
}

# One method's overrides; the divergence to the reference is measured for all, with a coefficient of 0.
of_method() {
    local penalty=0
    ALGORITHM=(algorithm.adv_estimator=grpo algorithm.kl_ctrl.kl_coef=0 algorithm.use_kl_in_reward=False)
    case ${METHOD} in
        no_kl) ;;
        kl_loss) penalty=${BETA} ;;
        kl_reward) ALGORITHM+=(algorithm.use_kl_in_reward=True algorithm.kl_ctrl.kl_coef="${BETA}") ;;
        frpo) ALGORITHM+=(algorithm.adv_estimator=frpo algorithm.kl_ctrl.kl_coef="${BETA}") ;;
        frpo_k3) ALGORITHM+=(algorithm.adv_estimator=frpo algorithm.kl_ctrl.kl_coef="${BETA}" algorithm.kl_penalty=low_var_kl) ;;
        rloo_future)
            ALGORITHM+=(algorithm.adv_estimator=rloo +algorithm.kl_mode=future algorithm.kl_ctrl.kl_coef="${BETA}")
            ;;
        lambda_grpo) ALGORITHM+=(+algorithm.token_weight=lambda_grpo) ;;
        drpo)
            ALGORITHM+=(
                algorithm.norm_adv_by_std_in_grpo=False
                algorithm.rollout_correction.bypass_mode=True
                actor_rollout_ref.actor.policy_loss.loss_mode=drpo
                actor_rollout_ref.actor.clip_ratio_low="${BETA}"
                actor_rollout_ref.actor.clip_ratio_high="${BETA}"
                actor_rollout_ref.actor.clip_ratio_c=10000.0
                actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm
                actor_rollout_ref.actor.loss_scale_factor=16
                # Its old log-probs are the rollout's, so no other pass has the entropy.
                actor_rollout_ref.actor.calculate_entropy=True
            )
            ;;
        shuffled)
            ALGORITHM+=(algorithm.adv_estimator=frpo algorithm.kl_ctrl.kl_coef="${BETA}" +study.shuffled=True)
            ;;
        frpo_fitted)
            ALGORITHM+=(algorithm.adv_estimator=frpo algorithm.kl_ctrl.kl_coef="${BETA}" +algorithm.frpo.baseline=fitted)
            ;;
        frpo_current)
            ALGORITHM+=(algorithm.adv_estimator=frpo algorithm.kl_ctrl.kl_coef="${BETA}" +algorithm.frpo.kl=current)
            ;;
        *) stop "METHODS has ${METHOD}: choose from no_kl, kl_loss, kl_reward, frpo, frpo_k3, rloo_future, lambda_grpo," \
            "drpo, shuffled, frpo_fitted and frpo_current" ;;
    esac
    ALGORITHM+=(
        actor_rollout_ref.actor.use_kl_loss=True
        actor_rollout_ref.actor.kl_loss_type=low_var_kl
        actor_rollout_ref.actor.kl_loss_coef="${penalty}"
    )
}

# All overrides of the run of METHOD, BETA and SEED, in OVERRIDES.
overrides() {
    local before=False
    of_method
    # Before training all runs of a seed have the same validation.
    [ "${METHOD}" != no_kl ] || before=True
    OVERRIDES=(
        "${ALGORITHM[@]}"
        data.train_files="'${FOLDER}/train.parquet'"
        data.val_files="'${FOLDER}/held_out.parquet'"
        data.train_batch_size="${TRAIN_BATCH_SIZE}"
        data.max_prompt_length=8
        data.max_response_length=16
        data.seed="${SEED}"
        data.validation_shuffle=False
        data.filter_overlong_prompts=False
        actor_rollout_ref.model.path="'${FOLDER}/model'"
        actor_rollout_ref.actor.strategy=fsdp2
        actor_rollout_ref.actor.optim.lr="${ACTOR_LR}"
        actor_rollout_ref.actor.ppo_mini_batch_size=$((TRAIN_BATCH_SIZE / 4))
        actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=$((TRAIN_BATCH_SIZE * ROLLOUT_N / 4))
        actor_rollout_ref.actor.data_loader_seed="${SEED}"
        actor_rollout_ref.ref.strategy=fsdp2
        actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=$((TRAIN_BATCH_SIZE * ROLLOUT_N / 4))
        actor_rollout_ref.rollout.name=vllm
        actor_rollout_ref.rollout.n="${ROLLOUT_N}"
        actor_rollout_ref.rollout.seed="${SEED}"
        actor_rollout_ref.rollout.max_model_len=24
        actor_rollout_ref.rollout.calculate_log_probs=True
        actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=$((TRAIN_BATCH_SIZE * ROLLOUT_N / 4))
        actor_rollout_ref.rollout.agent.default_agent_loop=seeded
        actor_rollout_ref.rollout.agent.agent_loop_config_path="'${LIB%/lib}/study/sampling.yaml'"
        actor_rollout_ref.rollout.val_kwargs.n="${VAL_N}"
        actor_rollout_ref.rollout.val_kwargs.do_sample=True
        actor_rollout_ref.rollout.val_kwargs.temperature=1.0
        actor_rollout_ref.rollout.val_kwargs.top_p=1.0
        reward.custom_reward_function.path="'${LIB%/lib}/study/task.py'"
        reward.custom_reward_function.name=compute_score
        trainer.v1.sampler.custom_sampler.path=pkg://study.sampling
        trainer.v1.sampler.custom_sampler.name=OrderedBuffer
        trainer.nnodes=1
        trainer.n_gpus_per_node=1
        trainer.logger='[console,file]'
        trainer.project_name=frpo-study
        trainer.experiment_name="${METHOD}-${BETA}-seed-${SEED}"
        trainer.total_epochs=1000
        trainer.total_training_steps="${STEPS}"
        trainer.val_before_train="${before}"
        trainer.test_freq="${TEST_FREQ}"
        trainer.validation_data_dir="'${RUN_DIR}/validation'"
        trainer.save_freq=-1
        trainer.resume_mode=disable
        trainer.default_local_dir="'${RUN_DIR}/checkpoints'"
        "${CPU[@]}" "$@"
    )
}

# The runs that are not done, first all methods of the first seed; their folders, in PENDING.
pending() {
    local strengths name
    PENDING=()
    for SEED in ${SEEDS}; do
        for METHOD in ${METHODS}; do
            case ${METHOD} in
                no_kl | lambda_grpo) strengths=0 ;;
                drpo) strengths=${DELTAS} ;;
                shuffled | frpo_fitted | frpo_current) strengths=${CONTROL_BETAS} ;;
                *) strengths=${BETAS} ;;
            esac
            for BETA in ${strengths}; do
                RUN_DIR=${FOLDER}/${METHOD}-${BETA}-seed-${SEED}
                if [ ! -e "${RUN_DIR}/finished" ] && [ "${#PENDING[@]}" -lt "${AT_MOST}" ]; then
                    overrides "$@"
                    export VERL_FILE_LOGGER_PATH=${RUN_DIR}/metrics.jsonl
                    [ "${DRY_RUN}" = 0 ] || launch verl.trainer.main_ppo "${OVERRIDES[@]}"
                    PENDING+=("${RUN_DIR}")
                    # What was stopped begins anew.
                    rm -rf "${RUN_DIR}"
                    mkdir -p "${RUN_DIR}"
                    printf '%s\n' "${OVERRIDES[@]}" > "${RUN_DIR}/overrides.txt"
                    {
                        for name in PYTHONPATH FRPO_VERL_RECIPE "${ENVIRONMENT[@]}"; do
                            printf '%s=%q ' "${name}" "${!name}"
                        done
                        printf '%q ' python -P -m study.runs "${RUN_DIR}"
                    } > "${RUN_DIR}/command.txt"
                fi
            done
        done
    done
}

# One folder has runs of one kind: what METHODS, BETAS, DELTAS, CONTROL_BETAS and SEEDS do not name is the same.
remember() {
    local settings
    settings=$(printf '%s\n' "${STEPS} steps, ${TRAIN_BATCH_SIZE} prompts x ${ROLLOUT_N}, lr ${ACTOR_LR}" \
        "validation ${VAL_N} every ${TEST_FREQ} steps" "$@")
    mkdir -p "${FOLDER}"
    [ -e "${FOLDER}/settings.txt" ] || printf '%s\n' "${settings}" > "${FOLDER}/settings.txt"
    [ "${settings}" = "$(cat "${FOLDER}/settings.txt")" ] \
        || stop "${FOLDER} holds runs with other settings (settings.txt); set RUNS to another folder, or remove it"
}

study() {
    local log
    say "model and task"
    python -P -m study.model "${FOLDER}" ${WARM_UP[@]+"${WARM_UP[@]}"}
    [ "${DRY_RUN}" = 1 ] || remember "$@"
    pending "$@"
    if [ "${#PENDING[@]}" -gt 0 ]; then
        log=${FOLDER}/trainer-$(date +%Y%m%d-%H%M%S).log
        say "${#PENDING[@]} runs (${log})"
        python -P -m study.runs "${PENDING[@]}" > "${log}" 2>&1 || {
            tail -n 20 "${log}" >&2
            stop "a run failed; the log is ${log}, and a second call goes on after the runs that are done"
        }
    fi
    say "all that was asked for is done"
    python -P -m study.tables "${FOLDER}"
}

study "$@"
