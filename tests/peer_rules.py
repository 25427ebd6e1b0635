"""Computes what three frameworks do when configured to be FRPO with k1, in own words and by loops in float64.

Each takes (scores, group_size, log_prob, ref_log_prob, mask, beta); responses of one prompt are consecutive, rows cover
response slots only, right padding is masked. All three are A_t = A - beta * sum over j >= t of m_j k_j; they differ in
epsilon, in the clamp of k, in lone responses, and in what masked slots hold. All use the sample deviation (n - 1).

Checked against the shipped functions, executed with stubs: at most 7e-7 apart for log-ratios up to 3 and 7e-6 up to 90
(their float32), masks with holes included; prl_fill of regulariser_oracles.py likewise, without a difference.
"""

import math

Rows = list[list[float]]
Marks = list[list[bool]]


def group_of(i: int, scores: list[float], group_size: int) -> list[float]:
    """The scores of response i's prompt, its own included."""
    first = i - i % group_size
    return scores[first : first + group_size]


def normalised(scores: list[float], group_size: int, epsilon: float) -> list[float]:
    """(r - mean) / (sample std + epsilon); NaN for a group of one, whose sample deviation does not exist."""
    result = []
    for i, score in enumerate(scores):
        members = group_of(i, scores, group_size)
        if len(members) == 1:
            result.append(math.nan)
            continue
        mean = sum(members) / len(members)
        std = math.sqrt(sum((member - mean) ** 2 for member in members) / (len(members) - 1))
        result.append((score - mean) / (std + epsilon))
    return result


def clamped(x: float, bound: float) -> float:
    return min(max(x, -bound), bound)


def last_valid(valid: list[bool]) -> int | None:
    positions = [t for t in range(len(valid)) if valid[t]]
    return positions[-1] if positions else None


def openrlhf(
    scores: list[float], group_size: int, log_prob: Rows, ref_log_prob: Rows, mask: Marks, beta: float
) -> Rows:
    """OpenRLHF 0.11.0, commit 3c3be62: advantage estimator group_norm, KL in the reward with k1.

    openrlhf/trainer/ppo_utils/experience_maker.py (compute_advantages_and_returns, get_cumulative_returns) and
    openrlhf/models/utils.py (compute_approx_kl, compute_reward).
    - epsilon 1e-9; a group of one gives NaN (the command line refuses n_samples_per_prompt = 1 for it).
    - clamps k1 at +-10 (after the subtraction), and the NORMALISED score at +-10 (reward.clip_range; reachable only
      with more than 101 responses per prompt). A negative beta counts as 0.
    - reward on the last valid token. gamma is forced to 1; no whitening for group_norm.
    - masked slots add 0 but HOLD the return of the next valid token; 0 behind the last one.
    - masking multiplies, so that NaN or inf in a masked slot spreads to all earlier slots. This rule skips it: finite
      inputs only. KL, reward and return are float32 there.
    """
    advantages = [clamped(a, 10.0) if not math.isnan(a) else a for a in normalised(scores, group_size, 1e-9)]
    strength = max(beta, 0.0)
    rows = []
    for i, valid in enumerate(mask):
        last = last_valid(valid)
        result = [0.0] * len(valid)
        for t in range(len(valid)):
            for j in range(t, len(valid)):
                if valid[j]:
                    result[t] -= strength * clamped(log_prob[i][j] - ref_log_prob[i][j], 10.0)
                if j == last:
                    result[t] += advantages[i]
        rows.append(result)
    return rows


def areal(
    scores: list[float],
    group_size: int,
    log_prob: Rows,
    ref_log_prob: Rows,
    mask: Marks,
    beta: float,
    attended: Marks | None = None,
    epsilon: float = 1e-5,
) -> Rows:
    """AReaL 1.0.4, commit 4aef98d: group reward_norm (mean and std), adv_norm None, discount = lambda = 1, no values.

    areal/trainer/ppo/actor.py (PPOActor._compute_advantages), areal/utils/data.py (Normalization, KLEstimator).
    - epsilon is NormConfig.eps, 1e-5 by default; std_unbiased defaults to True; a group of one gets 0 (mean = itself).
    - KLEstimator clamps k1 at +-10 (apply_clamp defaults to True). Scores are clipped at +-20 BEFORE normalising.
    - the reward sits on the last ATTENDED token, and a token without loss is skipped with all that sits on it: where
      the sequence ends with masked tokens that are attended (a tool reply), the outcome reward is lost. `attended`
      (default: nothing is attended behind the last valid token) states such rows. With the default the rule holds
      whenever masked trailing slots are padding. mask_no_eos_with_zero = False is assumed: True drops the reward of
      every sequence that fills the batch's width.
    - masked slots HOLD the advantage of the next valid token; 0 behind the last one.
    - masking multiplies: finite inputs only. Everything after the normalisation is float32 there. A missing ref_logp
      is taken as zeros, so that k1 is the policy's own log-probability.
    """
    clipped = [clamped(score, 20.0) for score in scores]
    advantages = [0.0] * len(scores) if group_size == 1 else normalised(clipped, group_size, epsilon)
    rows = []
    for i, valid in enumerate(mask):
        last = last_valid(valid if attended is None else attended[i])
        result = [0.0] * len(valid)
        for t in range(len(valid)):
            for j in range(t, len(valid)):
                if valid[j]:
                    result[t] -= beta * clamped(log_prob[i][j] - ref_log_prob[i][j], 10.0)
                    if j == last:
                        result[t] += advantages[i]
        rows.append(result)
    return rows


def roll(
    scores: list[float],
    group_size: int,
    log_prob: Rows,
    ref_log_prob: Rows,
    mask: Marks,
    beta: float,
    attended: Marks | None = None,
) -> Rows:
    """ROLL 0.3.0: grpo + add_token_level_kl, kl_penalty "kl", no whitening. Read at 8eb27cc, same rule as v0.3.0.

    roll/utils/functionals.py (reward_norm, reward_postprocess, expand_to_token_level, compute_token_reward,
    compute_approx_kl, compute_reinforce_return, compute_advantage); order in roll/pipeline/rlvr/rlvr_pipeline.py.
    - epsilon 1e-6; a group of one gives NaN.
    - k1 is NOT clamped (only its k3 is, at +-10). reward_clip and advantage_clip default to None; were reward_clip
      set, it would clip the normalised score and then every token's reward, KL included.
    - reward on the last ATTENDED token, then times the mask: lost, as in AReaL, where that token is masked. `attended`
      as there. The sample filters (max_len_mask, difficulty_mask, error_max_len_clip) are off.
    - masked slots hold 0 (advantages times mask; its `returns` keep the carried value).
    - gamma = 1, beta = kl_ctrl.value before this batch's update. Masking multiplies: finite inputs only; float32.
    """
    advantages = normalised(scores, group_size, 1e-6)
    rows = []
    for i, valid in enumerate(mask):
        last = last_valid(valid if attended is None else attended[i])
        result = [0.0] * len(valid)
        for t in range(len(valid)):
            if not valid[t]:
                continue
            for j in range(t, len(valid)):
                if valid[j]:
                    result[t] -= beta * (log_prob[i][j] - ref_log_prob[i][j])
                    if j == last:
                        result[t] += advantages[i]
        rows.append(result)
    return rows
