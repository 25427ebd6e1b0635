"""Computes advantages of fixed batches, so that one verl can be compared with another. Run as a script:

    python cases.py FILE

writes a dictionary of tensors by case. `frpo_verl.verl_plugin` has to be loaded by verl.
"""

import sys

import numpy as np
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

ROWS, LENGTH, GROUP = 24, 200, 4


def batch() -> DataProto:
    """Returns a batch in float32 with tool spans, padding and one row without any valid token."""
    chance = torch.Generator().manual_seed(7)
    mask = torch.rand(ROWS, LENGTH, generator=chance) > 0.3
    lengths = torch.randint(1, LENGTH, (ROWS, 1), generator=chance)
    mask &= torch.arange(LENGTH) < lengths
    mask[:, 0], mask[-1] = True, False
    rewards = torch.zeros(ROWS, LENGTH)
    rewards[:, 0] = torch.randn(ROWS, generator=chance)
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask.long(),
        "old_log_probs": -3 * torch.rand(ROWS, LENGTH, generator=chance),
        "ref_log_prob": -3 * torch.rand(ROWS, LENGTH, generator=chance),
    }
    names = np.array([f"prompt-{row // GROUP}" for row in range(ROWS)], dtype=object)
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": names})


# Two outputs of a rollout, then two rollouts of one output.
KEYS = [f"prompt-{row // GROUP}_{max(1, row % GROUP)}_{row % GROUP}" for row in range(ROWS)]

FUTURE = {"kl_mode": "future"}
K3 = {"kl_penalty": "low_var_kl"}
NO_KL = {"kl_ctrl": {"type": "fixed", "kl_coef": 0.0}}
UNSCALED = {"norm_adv_by_std_in_grpo": False}
CASES = {
    "frpo": ("frpo", {}),
    "frpo, k3": ("frpo", K3),
    "frpo, without the deviation": ("frpo", UNSCALED),
    "frpo and the mode": ("frpo", FUTURE),
    "frpo, beta 0": ("frpo", NO_KL),
    "grpo": ("grpo", {}),
    "grpo, future": ("grpo", FUTURE),
    "rloo": ("rloo", {}),
    "rloo, future": ("rloo", FUTURE),
    "rloo, future, k3": ("rloo", FUTURE | K3),
    "rloo, future, beta 0": ("rloo", FUTURE | NO_KL),
    "rloo_vectorized, future": ("rloo_vectorized", FUTURE),
    "reinforce_plus_plus, future": ("reinforce_plus_plus", FUTURE),
}


def made(estimator: str, changes: dict, grouped: bool) -> dict[str, torch.Tensor]:
    control = {"type": "fixed", "kl_coef": 0.01, "horizon": 10000, "target_kl": 0.1}
    section = {"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": control, "gamma": 1.0, **changes}
    config = OmegaConf.create({"norm_adv_by_std_in_grpo": True, **section})
    norm = config.norm_adv_by_std_in_grpo
    arguments = {"adv_estimator": estimator, "norm_adv_by_std_in_grpo": norm, "config": config}
    if grouped:
        data = compute_advantage_for_multi_trajectories(batch(), batch_keys=KEYS, **arguments)
    else:
        data = compute_advantage(batch(), **arguments)
    return {key: data.batch[key] for key in ("advantages", "returns")}


def all_cases() -> dict[str, dict[str, torch.Tensor]]:
    alone = {name: made(*case, grouped=False) for name, case in CASES.items()}
    return alone | {f"{name}, several outputs": made(*case, grouped=True) for name, case in CASES.items()}


if __name__ == "__main__":
    torch.save(all_cases(), sys.argv[1])
