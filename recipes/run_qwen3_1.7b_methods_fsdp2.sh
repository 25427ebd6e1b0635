#!/usr/bin/env bash
# FRPO, its baselines and its ablations, λ-GRPO and DRPO | Qwen3-1.7B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  FRPO, the methods that the paper compares it with, its variants, and two other methods, all on one set-up. METHOD:
#             frpo                 the method: reverse KL (k1) as the return-to-go in the advantage
#             no_kl                baseline: GRPO without a KL
#             kl_loss              baseline: GRPO with the usual token penalty in the loss (k3)
#             kl_reward            baseline: GRPO with the KL in the reward, before it is normalised (Proposition 3.2)
#             gae_kl_reward        baseline: PPO, a critic's GAE with the KL in the reward
#             reverse_k3           ablation: reverse KL as k3
#             reverse_k3_baseline  ablation: the same less (T - t) times its mean (section 6.2.2)
#             forward_k1           ablation: forward KL
#             forward_k3           ablation: forward KL as k3
#             forward_k3_baseline  ablation: the same less (T - t) times its mean
#             lambda_grpo          λ-GRPO: no_kl with each token divided by the number of responses that share its prefix
#             drpo                 DRPO: no_kl without the standard deviation, anchored to the rollout's probabilities
#           TOKEN_WEIGHT and LOSS_MODE put a token weight and a policy loss on any of them: METHOD=frpo
#           TOKEN_WEIGHT=lambda_grpo LOSS_MODE=drpo is all three.
# Table:    pass@16 (baselines) and the k3 ablation, Qwen3-1.7B-Base; section 6.2. arXiv 2601.10201. The weights are those of
#           Theorem 4.1; the k3 of the paper's Appendix E is +algorithm.frpo.form=appendix_e.
#           lambda_grpo: Table 2 at beta = 0, arXiv 2509.21154: six responses, one update per batch. The rows at 0.04 are
#           METHOD=kl_loss TOKEN_WEIGHT=lambda_grpo BETA=0.04 ROLLOUT_N=6 PPO_MINI_BATCH_SIZE=256. Its model (1.5B), data
#           (OpenRS), batch of four prompts, temperature 0.75 and 4096 tokens are not this set-up's.
#           drpo: Figures of section 4, arXiv 2606.09821, with the released settings (delta = 12.5, which never binds: try
#           DELTA=0.15). Its models are Qwen3-4B-Base and larger.
# Hardware: one node of 8 x 80 GB.
# Time:     not measured here; gae_kl_reward also trains a critic of the same size.
# Figure:   MATH500 pass@16 in the paper, one seed: frpo 85.3, no_kl 78.6, kl_loss 77.1, kl_reward "collapse"; forward_k3
#           75.6, with baseline 75.2; reverse_k3 84.8, with baseline 68.3. lambda_grpo and drpo: none known for this model.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

METHOD=${METHOD:-frpo}
CHOICES="METHOD TOKEN_WEIGHT LOSS_MODE DELTA"
# Each choice has a folder of its own: a second run of one name resumes it.
EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_1.7b_${METHOD}${TOKEN_WEIGHT:+_${TOKEN_WEIGHT}}${LOSS_MODE:+_${LOSS_MODE}}_fsdp2}
ENGINE=fsdp2
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-1.7B-Base}
CRITIC_LR=${CRITIC_LR:-1e-5}
# The paper's comparison; most of these have no such key.
KL=${KL:-rollout}
case ${METHOD} in
    lambda_grpo)
        TOKEN_WEIGHT=${TOKEN_WEIGHT:-lambda_grpo}
        ROLLOUT_N=${ROLLOUT_N:-6}
        PPO_MINI_BATCH_SIZE=${PPO_MINI_BATCH_SIZE:-${TRAIN_BATCH_SIZE:-256}}
        ;;
    drpo)
        LOSS_MODE=${LOSS_MODE:-drpo}
        ROLLOUT_N=${ROLLOUT_N:-8}
        TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-64}
        PPO_MINI_BATCH_SIZE=${PPO_MINI_BATCH_SIZE:-16}
        ;;
esac
# A weight for each token of any method, and a policy loss.
TOKEN_WEIGHT=${TOKEN_WEIGHT:-null}
LOSS_MODE=${LOSS_MODE:-vanilla}
source "${LIB}/paper.sh"

GRPO=(algorithm.adv_estimator=grpo)
KL_IN_REWARD=(algorithm.use_kl_in_reward=True)
LESS_ITS_MEAN=(+algorithm.frpo.baseline=length)
CRITIC=(
    critic.strategy=fsdp2
    critic.model.path="$(quoted "${MODEL_PATH}")"
    critic.optim.lr="${CRITIC_LR}"
    critic.use_dynamic_bsz=True
    critic.ppo_max_token_len_per_gpu="${PPO_MAX_TOKEN_LEN_PER_GPU}"
    # V1 takes this one for both directions.
    +critic.ppo_infer_max_token_len_per_gpu="${PPO_MAX_TOKEN_LEN_PER_GPU}"
    critic.fsdp.ulysses_sequence_parallel_size="${SP_SIZE}"
    critic.fsdp.param_offload="${OFFLOAD}"
    critic.fsdp.optimizer_offload="${OFFLOAD}"
)
if [ "${TINY}" = 1 ]; then
    CRITIC+=(
        critic.model.use_remove_padding=False
        ++critic.model.override_config.attn_implementation=sdpa
        ++critic.fsdp.mixed_precision.param_dtype="${FSDP_DTYPE}"
    )
fi

case ${METHOD} in
    frpo) ;;
    no_kl) ALGORITHM+=("${GRPO[@]}") ;;
    kl_loss)
        ALGORITHM+=("${GRPO[@]}")
        ACTOR+=(
            actor_rollout_ref.actor.use_kl_loss=True
            actor_rollout_ref.actor.kl_loss_coef="${BETA}"
            actor_rollout_ref.actor.kl_loss_type=low_var_kl
        )
        ;;
    kl_reward) ALGORITHM+=("${GRPO[@]}" "${KL_IN_REWARD[@]}") ;;
    gae_kl_reward) ALGORITHM+=(algorithm.adv_estimator=gae "${KL_IN_REWARD[@]}" "${CRITIC[@]}") ;;
    reverse_k3) ALGORITHM+=(algorithm.kl_penalty=low_var_kl) ;;
    reverse_k3_baseline) ALGORITHM+=(algorithm.kl_penalty=low_var_kl "${LESS_ITS_MEAN[@]}") ;;
    forward_k1) ALGORITHM+=(algorithm.kl_penalty=forward_kl) ;;
    forward_k3) ALGORITHM+=(algorithm.kl_penalty=forward_kl_k3) ;;
    forward_k3_baseline) ALGORITHM+=(algorithm.kl_penalty=forward_kl_k3 "${LESS_ITS_MEAN[@]}") ;;
    lambda_grpo) ALGORITHM+=("${GRPO[@]}") ;;
    drpo) ALGORITHM+=("${GRPO[@]}" algorithm.norm_adv_by_std_in_grpo=False) ;;
    *) stop "METHOD=${METHOD}: choose frpo, no_kl, kl_loss, kl_reward, gae_kl_reward, reverse_k3, reverse_k3_baseline," \
        "forward_k1, forward_k3, forward_k3_baseline, lambda_grpo or drpo" ;;
esac

if [ "${TOKEN_WEIGHT}" != null ]; then
    ALGORITHM+=(+algorithm.token_weight="${TOKEN_WEIGHT}")
fi
case ${LOSS_MODE} in
    vanilla) ;;
    # The released settings: 0.15 is DPPO's threshold on a probability, 0.05 that on a KL.
    drpo | spo) DELTA=${DELTA:-12.5} ;;
    drpo_outside | dppo_tv) DELTA=${DELTA:-0.15} ;;
    dppo_kl) DELTA=${DELTA:-0.05} ;;
    *) stop "LOSS_MODE=${LOSS_MODE}: choose vanilla, drpo, spo, drpo_outside, dppo_tv or dppo_kl; for another one" \
        "of verl's, set actor_rollout_ref.actor.policy_loss.loss_mode" ;;
esac
if [ "${LOSS_MODE}" != vanilla ]; then
    # Their anchor is the policy that sampled.
    ALGORITHM+=(algorithm.rollout_correction.bypass_mode=True)
    ACTOR+=(
        actor_rollout_ref.actor.policy_loss.loss_mode="${LOSS_MODE}"
        actor_rollout_ref.actor.clip_ratio_low="${DELTA}"
        actor_rollout_ref.actor.clip_ratio_high="${DELTA}"
        # No ratio is cut off.
        actor_rollout_ref.actor.clip_ratio_c=10000.0
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm
        actor_rollout_ref.actor.loss_scale_factor="${MAX_RESPONSE_LENGTH}"
    )
fi

paper "$@"
