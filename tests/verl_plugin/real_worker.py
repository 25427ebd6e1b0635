"""verl's own actor worker in this process, for tests of what happens inside it: FSDP2, its optimizer, its loss.

Run as `python real_worker.py MODEL OUT`: writes JSON with what each way of regularising did.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

PROMPT, RESPONSE, ROWS = 4, 6, 8
BETA = 0.3


def actor(model: Path, *overrides: str) -> Any:
    """A real worker of role `actor`, with a fresh optimizer."""
    from hydra import compose, initialize_config_module
    from verl.workers.engine_workers import ActorRolloutRefWorker

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(
            "ppo_trainer",
            [
                f"actor_rollout_ref.model.path={model}",
                "actor_rollout_ref.model.use_remove_padding=False",
                "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
                "actor_rollout_ref.actor.strategy=fsdp2",
                "actor_rollout_ref.actor.optim.lr=1e-3",
                "actor_rollout_ref.actor.optim.lr_warmup_steps=0",
                f"actor_rollout_ref.actor.ppo_mini_batch_size={ROWS}",
                "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
                "actor_rollout_ref.actor.use_torch_compile=False",
                "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
                "+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
                "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
                "trainer.device=cpu",
                *overrides,
            ],
        )
    worker = ActorRolloutRefWorker(config=config.actor_rollout_ref, role="actor")
    worker.init_model()
    return worker


def batch() -> dict[str, torch.Tensor]:
    """Prompts and responses with padding on both sides and a masked token inside each response."""
    torch.manual_seed(1)
    ids = torch.randint(10, 60, (ROWS, PROMPT + RESPONSE))
    prompt_lengths, lengths = torch.randint(2, PROMPT + 1, (ROWS,)), torch.randint(3, RESPONSE + 1, (ROWS,))
    attended = torch.cat(
        [
            torch.arange(PROMPT).flip(0) < prompt_lengths[:, None],
            torch.arange(RESPONSE) < lengths[:, None],
        ],
        -1,
    ).long()
    mask = attended[:, PROMPT:].clone()
    mask[:, 1] = 0
    return {
        "input_ids": ids,
        "prompts": ids[:, :PROMPT],
        "responses": ids[:, PROMPT:],
        "attention_mask": attended,
        "position_ids": (attended.cumsum(-1) - 1).clamp(min=0),
        "response_mask": mask,
    }


def sent(tensors: dict[str, torch.Tensor], **non_tensors: Any) -> Any:
    """As the trainer sends it: rows of their own length."""
    from verl.protocol import DataProto
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import left_right_2_no_padding

    data = left_right_2_no_padding(DataProto.from_dict(tensors=dict(tensors)).to_tensordict())
    tu.assign_non_tensor(data, temperature=1.0, calculate_entropy=False, **non_tensors)
    return data


def log_probs(worker: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The worker's log-probs of the responses."""
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import no_padding_2_padding

    data = sent(tensors, compute_loss=False)
    output = worker.compute_log_prob(data)
    return no_padding_2_padding(tu.get(output, "log_probs"), sent(tensors)).float()


def train(model: Path, how: str, mini_batch: int, epochs: int) -> dict[str, Any]:
    """Updates a fresh worker with the term taken off by the trainer or by the worker.

    Args:
        model: the model's folder.
        how: `rollout`, `current`, or `none`.
        mini_batch: responses in a mini-batch.
        epochs: passes over the batch.

    Returns:
        What verl logs of every mini-batch, and the parameters' sum of squares after it all.
    """
    from omegaconf import OmegaConf

    from frpo_verl.advantage import return_to_go
    from frpo_verl.divergences import by_name
    from frpo_verl.preflight import settings
    from frpo_verl.verl_plugin import note as note_of

    worker, tensors = actor(model), batch()
    old = log_probs(worker, tensors)
    torch.manual_seed(2)
    reference, outcome = old + 0.5 * torch.randn_like(old), torch.randn(ROWS, 1)
    mask = tensors["response_mask"].bool()
    reg = return_to_go(old - reference, mask, by_name("k3"))
    before = torch.where(mask, outcome.expand(mask.shape), 0.0)
    advantages = torch.where(mask, before - BETA * reg, 0.0) if how == "rollout" else before
    chosen = settings.read(
        OmegaConf.create({"kl_penalty": "k3", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}, "frpo": {"kl": "current"}})
    )
    note = {"none": {}, "rollout": {note_of.KEY: note_of.write(chosen, None)}}
    note["current"] = {note_of.KEY: note_of.write(chosen, BETA)}
    data = sent(
        {**tensors, "old_log_probs": old, "ref_log_prob": reference, "advantages": advantages},
        **note[how],
        global_batch_size=mini_batch,
        mini_batch_size=mini_batch,
        epochs=epochs,
        seed=0,
        dataloader_kwargs={"shuffle": False},
        compute_loss=True,
    )
    from verl.utils import tensordict_utils as tu

    figures = tu.get(worker.update_actor(data), "metrics")
    squares = sum(float(parameter.to_local().double().square().sum()) for parameter in _parameters(worker))
    return {"grad_norm": figures["grad_norm"], "squares": squares, "figures": _plain(figures), "old": old.tolist()} | {
        "reference": reference.tolist(),
        "mask": mask.long().tolist(),
    }


def _parameters(worker: Any) -> list:
    return list(worker.actor.engine.module.parameters())


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    from verl.utils.metric import reduce_metrics

    every = {
        name: value
        for name, value in figures.items()
        if name.startswith(("frpo/", "actor/", "ppo_kl", "pg_", "kl_loss"))
    }
    return {"names": sorted(figures), "reduced": {k: float(v) for k, v in reduce_metrics(dict(every)).items()}}


def main(model: Path, out: Path) -> None:
    """Every way with one mini-batch, and the two that differ with two mini-batches and two epochs."""
    import verl  # noqa: F401 (loads the plugin)

    found = {f"{how}-1": train(model, how, ROWS, 1) for how in ("none", "rollout", "current")}
    found |= {f"{how}-4": train(model, how, ROWS // 2, 2) for how in ("rollout", "current")}
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", VERL_PLATFORM="cpu")
    os.environ.setdefault("MASTER_PORT", "29511")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
