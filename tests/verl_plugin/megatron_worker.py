"""One rank of verl's own actor worker, on Megatron or FSDP2, for tests that compare what they compute.

Run as `python megatron_worker.py OUT` with the ranks' usual environment and JSON with the cases, by name, on standard
input; of each case, the first rank that has outputs writes JSON with what it computed into the folder OUT.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import matrix
import real_worker
import torch
from real_worker import ROWS, batch, sent

BETA = 0.3
DEVICE = "cpu"


def configuration(model: Path, engine: str, overrides: list[str]) -> Any:
    """Composes verl's whole configuration of a small worker."""
    from hydra import compose, initialize_config_module

    of_engine = {
        "fsdp2": [
            "actor_rollout_ref.actor.strategy=fsdp2",
            "actor_rollout_ref.model.use_remove_padding=False",
            "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
            "actor_rollout_ref.actor.use_torch_compile=False",
            "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
            "+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
        ],
        "megatron": [
            "actor_rollout_ref.actor.megatron.vanilla_mbridge=True",
            "actor_rollout_ref.actor.megatron.dtype=float32",
            "actor_rollout_ref.actor.optim.total_training_steps=10",
            "actor_rollout_ref.model.use_remove_padding=True",
        ],
    }
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_megatron_trainer" if engine == "megatron" else "ppo_trainer",
            [
                f"actor_rollout_ref.model.path={model}",
                "actor_rollout_ref.actor.optim.lr=1e-3",
                "actor_rollout_ref.actor.optim.lr_warmup_steps=0",
                # Megatron leaves biases and norms out of it, FSDP does not.
                "actor_rollout_ref.actor.optim.weight_decay=0",
                f"actor_rollout_ref.actor.ppo_mini_batch_size={ROWS}",
                "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
                "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
                f"trainer.device={DEVICE}",
                *of_engine[engine],
                *overrides,
            ],
        )


def actor(model: Path, engine: str, overrides: list[str]) -> Any:
    """Makes a real worker of role `actor`, with a fresh optimizer."""
    from verl.workers.engine_workers import ActorRolloutRefWorker

    config = configuration(model, engine, overrides)
    worker = ActorRolloutRefWorker(config=config.actor_rollout_ref, role="actor")
    worker.init_model()
    return worker


def own_rows(worker: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns this data-parallel rank's part of a batch, as verl's dispatch would send it."""
    engine = worker.actor.engine
    rank, size = engine.get_data_parallel_rank(), engine.get_data_parallel_size()
    return {name: tensor.chunk(size)[rank] for name, tensor in tensors.items()}


def log_probs(worker: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns, on every rank, the log-probs of the whole batch's responses."""
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import no_padding_2_padding

    own = own_rows(worker, tensors)
    output = worker.compute_log_prob(sent(own, compute_loss=False))
    found = None
    if worker.actor.engine.is_mp_src_rank_with_outputs():
        rows = no_padding_2_padding(tu.get(output, "log_probs"), sent(own)).float()
        found = (worker.actor.engine.get_data_parallel_rank(), rows)
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, found)
    return torch.cat([rows for _, rows in sorted((part for part in every if part), key=lambda part: part[0])])


def fields(worker: Any, tensors: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    """Computes what the trainer would from the worker's log-probs and a reference."""
    from frpo_verl.advantage import return_to_go
    from frpo_verl.divergences import by_name

    old = log_probs(worker, tensors)
    torch.manual_seed(2)
    reference, outcome = old + 0.5 * torch.randn_like(old), torch.randn(ROWS, 1)
    mask = tensors["response_mask"].bool()
    advantages = torch.where(mask, outcome.expand(mask.shape), 0.0)
    if how == "rollout":
        reg = return_to_go(old - reference, mask, by_name("k3"))
        advantages = torch.where(mask, advantages - BETA * reg, 0.0)
    return {"old_log_probs": old, "ref_log_prob": reference, "advantages": advantages}


def update(worker: Any, tensors: dict[str, torch.Tensor], case: dict[str, Any]) -> dict[str, Any]:
    """Updates by one pass over the batch, or as many as the case says; returns its figures on the rank with outputs."""
    from omegaconf import OmegaConf
    from verl.utils import tensordict_utils as tu

    from frpo_verl.preflight import settings
    from frpo_verl.verl_plugin import note as note_of

    chosen = settings.read(
        OmegaConf.create({"kl_penalty": "k3", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}, "frpo": {"kl": "current"}})
    )
    data = sent(
        own_rows(worker, tensors),
        **{note_of.KEY: note_of.write(chosen, BETA if case["how"] == "current" else None)},
        global_batch_size=case.get("mini_batch", ROWS),
        mini_batch_size=case.get("mini_batch", ROWS),
        epochs=case.get("epochs", 1),
        seed=0,
        dataloader_kwargs={"shuffle": False},
        compute_loss=True,
    )
    updated = worker.update_actor(data)
    return {} if updated is None else tu.get(updated, "metrics")


def weights(worker: Any) -> dict[str, list[float]]:
    """Returns the weights under Hugging Face's names, as they are sent to the server."""
    named = {name: weight.float().clone() for name, weight in worker.actor.engine.get_per_tensor_param()[0]}
    return {name: weight.flatten().tolist() for name, weight in sorted(named.items())}


def run(case: dict[str, Any]) -> dict[str, Any] | None:
    """Computes log-probs, one update of a fresh worker and its weights; then a second update, also after a resume.

    Args:
        case: `model`, `engine`, `overrides`, `how` (`rollout` or `current`); perhaps `mini_batch` and `epochs`; perhaps
            `checkpoint`, an empty folder, or `resume`, one that another layout filled: the update is the second. Or
            `cells` and `gradients` in the place of `how`, see `matrix.run`.

    Returns:
        What came of it, on the rank that has outputs.
    """
    worker, tensors = actor(Path(case["model"]), case["engine"], case["overrides"]), batch()
    if "cells" in case:
        config = configuration(Path(case["model"]), case["engine"], case["overrides"])
        return matrix.run(worker, config, case["cells"], case["gradients"])
    mask = tensors["response_mask"].long().tolist()
    tensors |= fields(worker, tensors, case["how"])
    if "resume" in case:
        worker.load_checkpoint(case["resume"])
    figures = update(worker, tensors, case)
    found = {"log_probs": tensors["old_log_probs"].tolist(), "mask": mask, "weights": weights(worker)}
    if "checkpoint" in case:
        worker.save_checkpoint(case["checkpoint"], None, 1)
        resumed = actor(Path(case["model"]), case["engine"], case["overrides"])
        resumed.load_checkpoint(case["checkpoint"])
        seconds = []
        for one in (worker, resumed):
            again = update(one, tensors, case)
            seconds.append({"grad_norm": again.get("grad_norm"), "weights": weights(one)})
        found["second"], found["second, resumed"] = seconds
    if not worker.actor.engine.is_mp_src_rank_with_outputs():
        return None
    return {**found, "grad_norm": figures["grad_norm"], "figures": real_worker._plain(figures)}


def main(out: Path, cases: dict[str, dict[str, Any]]) -> None:
    """Runs every case in turn, each in a layout of its own."""
    import verl  # noqa: F401 (loads the plugin)
    from megatron.core import parallel_state

    for number, (name, case) in enumerate(cases.items()):
        print(f"case {name}", flush=True)
        found = run(case)
        sources: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(sources, found is not None)
        if sources.index(True) == torch.distributed.get_rank():
            (out / f"{number}.json").write_text(json.dumps(found))
        parallel_state.destroy_model_parallel()
        gc.collect()


if __name__ == "__main__":
    os.environ["VERL_PLATFORM"] = "cpu"
    main(Path(sys.argv[1]), json.load(sys.stdin))
