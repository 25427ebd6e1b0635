"""Computes advantages and losses of fixed batches, so that one verl can be compared with another. Run as a script:

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
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig
from verl.workers.utils import losses

ROWS, LENGTH, GROUP = 24, 200, 4


def batch() -> DataProto:
    """Returns a batch in float32 with tool spans, padding and one row without any valid token."""
    chance = torch.Generator().manual_seed(7)
    mask = torch.rand(ROWS, LENGTH, generator=chance) > 0.3
    lengths = torch.randint(1, LENGTH, (ROWS, 1), generator=chance)
    present = torch.arange(LENGTH) < lengths
    mask &= present
    mask[:, 0], mask[-1] = True, False
    rewards = torch.zeros(ROWS, LENGTH)
    rewards[:, 0] = torch.randn(ROWS, generator=chance)
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask.long(),
        "old_log_probs": -3 * torch.rand(ROWS, LENGTH, generator=chance),
        "ref_log_prob": -3 * torch.rand(ROWS, LENGTH, generator=chance),
        # Two tokens, so that responses of a group share prefixes.
        "responses": torch.randint(2, (ROWS, LENGTH), generator=chance),
        "prompts": torch.arange(ROWS)[:, None] // GROUP,
        "attention_mask": torch.cat([torch.ones(ROWS, 1), present], dim=1).long(),
    }
    names = np.array([f"prompt-{row // GROUP}" for row in range(ROWS)], dtype=object)
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": names})


# Two outputs of a rollout, then two rollouts of one output.
KEYS = [f"prompt-{row // GROUP}_{max(1, row % GROUP)}_{row % GROUP}" for row in range(ROWS)]

FUTURE = {"kl_mode": "future"}
K3 = {"kl_penalty": "low_var_kl"}
NO_KL = {"kl_ctrl": {"type": "fixed", "kl_coef": 0.0}}
LAMBDA_GRPO = {"token_weight": "lambda_grpo"}
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
    "grpo, lambda_grpo": ("grpo", LAMBDA_GRPO),
    "rloo, lambda_grpo": ("rloo", LAMBDA_GRPO),
}


LOSS, LOSS_OF_VERL = "loss, lambda_grpo", "loss, weighed by verl"


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
    # Nothing reads the returns of masked slots, and the plugin leaves a response's number in them.
    returns = torch.where(data.batch["response_mask"].bool(), data.batch["returns"], 0)
    return {"advantages": data.batch["advantages"], "returns": returns}


def loss(field: str, *, advantages_are_weighed: bool) -> dict[str, torch.Tensor]:
    """Returns the actor's loss and its gradient for a micro-batch with weights, in this field, and a KL term."""
    chance, shape = torch.Generator().manual_seed(8), (4, 50)
    weights = torch.rand(shape, generator=chance)
    advantages = torch.randn(shape, generator=chance)
    old_log_probs = -torch.rand(shape, generator=chance)
    fields = {
        "prompts": torch.ones(4, 1, dtype=torch.long),
        "responses": torch.ones(shape, dtype=torch.long),
        "attention_mask": torch.ones(4, 51, dtype=torch.long),
        "response_mask": (torch.rand(shape, generator=chance) > 0.3).long(),
        "old_log_probs": old_log_probs,
        "ref_log_prob": old_log_probs + 0.3 * torch.randn(shape, generator=chance),
        "advantages": advantages * weights if advantages_are_weighed else advantages,
        field: weights,
    }
    tokens = int(fields["response_mask"].sum())
    data = tu.get_tensordict(fields, {"dp_size": 1, "batch_num_tokens": tokens, "global_batch_size": 4})
    # Of prompt and response, on the slot before each token; some ratios are clipped.
    log_probs = torch.nn.functional.pad(old_log_probs + 0.3 * torch.randn(shape, generator=chance), (0, 1)).flatten()
    config = ActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, use_kl_loss=True, kl_loss_coef=0.1
    )
    value, _ = losses.ppo_loss(config, {"log_probs": log_probs.requires_grad_()}, data)
    value.backward()
    return {"loss": value.detach(), "gradient": log_probs.grad}


def all_cases() -> dict[str, dict[str, torch.Tensor]]:
    alone = {name: made(*case, grouped=False) for name, case in CASES.items()}
    several = {f"{name}, several outputs": made(*case, grouped=True) for name, case in CASES.items()}
    ours = loss("frpo_token_weights", advantages_are_weighed=True)
    return alone | several | {LOSS: ours, LOSS_OF_VERL: loss("token_weights", advantages_are_weighed=False)}


if __name__ == "__main__":
    torch.save(all_cases(), sys.argv[1])
