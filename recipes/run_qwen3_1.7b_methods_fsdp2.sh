#!/usr/bin/env bash
# FRPO, its baselines and its ablations | Qwen3-1.7B-Base | FSDP2 | DAPO-Math-17k
#
# Purpose:  FRPO, the methods that the paper compares it with, and its variants, all on one set-up. METHOD:
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
# Table:    pass@16 (baselines) and the k3 ablation, Qwen3-1.7B-Base; section 6.2. arXiv 2601.10201. The weights are those of
#           Theorem 4.1; the k3 of the paper's Appendix E is +algorithm.frpo.form=appendix_e.
# Hardware: one node of 8 x 80 GB.
# Time:     not measured here; gae_kl_reward also trains a critic of the same size.
# Figure:   MATH500 pass@16 in the paper, one seed: frpo 85.3, no_kl 78.6, kl_loss 77.1, kl_reward "collapse"; forward_k3
#           75.6, with baseline 75.2; reverse_k3 84.8, with baseline 68.3.
# verl:     0.9.1
# Before:   frpo-verl data dapo_math_17k math500 aime24 aime25 amc23 olympiad_bench minerva_math
# DRY_RUN=1 shows the configuration and the memory that it expects, TINY=1 runs two steps without a GPU.
set -euo pipefail

METHOD=${METHOD:-frpo}
HAS_METHOD=1
EXPERIMENT_NAME=${EXPERIMENT_NAME:-qwen3_1.7b_${METHOD}_fsdp2}
ENGINE=fsdp2
GPU_MEMORY=${GPU_MEMORY:-80}
source "$(dirname "${BASH_SOURCE[0]}")/lib/start.sh"

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-1.7B-Base}
CRITIC_LR=${CRITIC_LR:-1e-5}
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
    *) stop "METHOD=${METHOD}: choose frpo, no_kl, kl_loss, kl_reward, gae_kl_reward, reverse_k3, reverse_k3_baseline," \
        "forward_k1, forward_k3 or forward_k3_baseline" ;;
esac

paper "$@"
