"""Updates one real worker by every cell of a matrix of methods, each time from the same weights.

A cell is what a user would add to a command line. verl's own `compute_advantage`, with the plugin in it, makes its
advantages; `update_actor` then runs once where the old policy is the worker's (`at`) and once where it is another
(`away`). `megatron_worker.py` runs this for a case that has `cells`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import command_lines
import numpy as np
import torch
from real_worker import _plain, log_probs, sent

PROMPTS = {"a": [5, 6, 7], "b": [5, 6, 7, 8]}
RESPONSES = (
    # Two groups, scattered: a duplicate, a prefix of another, other first tokens, other second ones.
    ("a", [11, 12, 13, 14, 15, 16], 1.0),
    ("b", [21, 22, 23], 0.0),
    ("a", [11, 12, 13, 17, 18], 0.0),
    ("b", [21, 22, 23, 24, 25, 26], 1.0),
    ("a", [11, 12, 13, 14, 15, 16], 1.0),
    ("b", [21, 27, 23, 24, 25], 1.0),
    ("a", [19, 12, 13, 14], 0.5),
    ("b", [28, 22, 23, 24, 25, 26], 0.0),
)
OBSERVATION = 1
"""The place of a token that the environment wrote."""


def batch() -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Returns the padded rows of one rollout with their rewards, and the group of each."""
    width, length = (max(map(len, rows)) for rows in (PROMPTS.values(), [ids for _, ids, _ in RESPONSES]))
    rows = [(PROMPTS[group], ids) for group, ids, _ in RESPONSES]
    prompts = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt, _ in rows])
    responses = torch.tensor([ids + [0] * (length - len(ids)) for _, ids in rows])
    attended = (torch.cat([prompts, responses], -1) != 0).long()
    mask = attended[:, width:].clone()
    mask[:, OBSERVATION] = 0
    rewards = torch.zeros(responses.shape)
    for row, (_, ids, reward) in enumerate(RESPONSES):
        rewards[row, len(ids) - 1] = reward
    tensors = {
        "prompts": prompts,
        "responses": responses,
        "input_ids": torch.cat([prompts, responses], -1),
        "attention_mask": attended,
        "position_ids": (attended.cumsum(-1) - 1).clamp(min=0),
        "response_mask": mask,
        "token_level_rewards": rewards,
    }
    return tensors, np.array([group for group, _, _ in RESPONSES], dtype=object)


def run(worker: Any, config: Any, cells: dict[str, list[str]], gradients: str) -> dict[str, Any]:
    """Updates by every cell in turn.

    Args:
        worker: verl's actor worker, whose optimizer steps by the gradient itself and remembers nothing.
        config: verl's whole configuration.
        cells: the overrides of each.
        gradients: the file for the gradient of every update, one vector each.

    Returns:
        What start-up had against a cell, or its figures and advantages; and what they are made of.
    """
    tensors, group = batch()
    torch.manual_seed(2)
    old = log_probs(worker, tensors)
    tensors["ref_log_prob"] = old + 0.5 * torch.randn_like(old)
    policies = {"at": old, "away": old + 0.5 * torch.randn_like(old)}
    start, weights = [parameter.detach().clone() for parameter in _parameters(worker)], _weights(worker)
    found, vectors = {}, {}
    for name, words in cells.items():
        chosen = command_lines.changed(config, *words)
        if refused := command_lines.refused(chosen):
            found[name] = {"refused": refused}
            continue
        worker.set_loss_fn(loss(chosen))
        found[name] = {}
        for place, policy in policies.items():
            data = advantages(chosen.algorithm, {**tensors, "old_log_probs": policy}, group)
            found[name][place] = {**update(worker, data), "advantages": data.batch["advantages"].tolist()}
            vectors[f"{name} {place}"] = weights - _weights(worker)
            with torch.no_grad():
                for parameter, kept in zip(_parameters(worker), start, strict=True):
                    parameter.copy_(kept)
    assert torch.equal(log_probs(worker, tensors), old), "a cell did not start from the same weights"
    torch.save(vectors, gradients)
    made_of = {**policies, "reference": tensors["ref_log_prob"], "mask": tensors["response_mask"]}
    return {"cells": found, "rows": RESPONSES, **{name: tensor.tolist() for name, tensor in made_of.items()}}


def advantages(algorithm: Any, tensors: dict[str, torch.Tensor], group: np.ndarray) -> Any:
    """Returns verl's DataProto after its `compute_advantage`, as V0's trainer calls it."""
    from verl.protocol import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    data = DataProto.from_dict(dict(tensors), {"uid": group})
    return compute_advantage(
        data,
        adv_estimator=algorithm.adv_estimator,
        gamma=algorithm.gamma,
        lam=algorithm.lam,
        num_repeat=len(group) // len(PROMPTS),
        norm_adv_by_std_in_grpo=algorithm.norm_adv_by_std_in_grpo,
        config=algorithm,
    )


def loss(config: Any) -> Callable:
    """Returns what verl's worker makes of its configuration when it starts."""
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.utils import losses

    return partial(losses.ppo_loss, config=omega_conf_to_dataclass(config.actor_rollout_ref.actor))


def update(worker: Any, data: Any) -> dict[str, Any]:
    """Updates once by all rows; returns verl's figures of the trainer and of the worker."""
    from verl.trainer.ppo.metric_utils import compute_data_metrics
    from verl.utils import tensordict_utils as tu

    rows = len(RESPONSES)
    updated = worker.update_actor(
        sent(
            dict(data.batch),
            **data.meta_info,
            global_batch_size=rows,
            mini_batch_size=rows,
            epochs=1,
            seed=0,
            dataloader_kwargs={"shuffle": False},
            compute_loss=True,
        )
    )
    figures = tu.get(updated, "metrics")
    data.batch["token_level_scores"] = data.batch["token_level_rewards"]
    of_trainer = {k: float(v) for k, v in compute_data_metrics(data, use_critic=False).items() if k.startswith("frpo/")}
    return {"grad_norm": figures["grad_norm"][0], "figures": {**_plain(figures)["reduced"], **of_trainer}}


def _parameters(worker: Any) -> list[torch.Tensor]:
    modules = worker.actor.engine.module
    return [p for module in (modules if isinstance(modules, list) else [modules]) for p in module.parameters()]


def _weights(worker: Any) -> torch.Tensor:
    named = {name: weight.detach().float().flatten() for name, weight in worker.actor.engine.get_per_tensor_param()[0]}
    return torch.cat([weight for _, weight in sorted(named.items())])
