"""Bounds from below the memory that each phase of a step takes of a GPU.

Counted are weights, gradients, Adam's states, logits and vLLM's share. Activations, gathered layers, buffers, CUDA's
contexts and fragmentation come on top.
"""

from typing import Any, NamedTuple

from frpo_verl.plan.model import Model
from frpo_verl.preflight import layout
from frpo_verl.preflight.errors import SettingsError

GIB, MIB = 2**30, 2**20

TITLE = "Memory per GPU, a rough lower bound: without activations, buffers and CUDA's contexts"


class Engine(NamedTuple):
    """Bytes that a role's training engine holds on one GPU, and which of them stay between its turns."""

    weights: float = 0
    gradients: float = 0
    optimizer: float = 0
    keeps_weights: bool = False
    keeps_optimizer: bool = False

    @property
    def between(self) -> float:
        """Returns what stays between the engine's turns."""
        return self.weights * self.keeps_weights + self.optimizer * self.keeps_optimizer

    @property
    def forward(self) -> float:
        """Returns what is there while log-probs are computed."""
        return self.weights + self.optimizer * self.keeps_optimizer

    @property
    def update(self) -> float:
        """Returns what is there while the model is trained."""
        return self.weights + self.gradients + self.optimizer


def estimate(config: Any, actor: Model, critic: Model | None, reference: bool, gpu: float | None) -> dict[str, float]:
    """Returns bytes on one GPU by phase.

    Args:
        config: verl's whole configuration.
        actor: the policy's size.
        critic: the value model's size, or None.
        reference: whether a reference policy is loaded; with LoRA it is the policy without its adapters.
        gpu: bytes of a GPU; None counts vLLM's weights in place of its share.

    Returns:
        Lower bounds for `rollout`, `log-probs` and `update`.

    Raises:
        SettingsError: an engine other than FSDP, FSDP2 and Megatron.
    """
    section = config.actor_rollout_ref
    policy = _engine(config, section.actor, actor)
    value = _engine(config, config.critic, critic) if critic else Engine()
    # A reference is not trained.
    fixed = _engine(config, section.ref, actor._replace(trained=0)) if reference and actor.is_whole else Engine()
    together, served = section.get("hybrid_engine", True), max(vllm_weights(config, actor), _share(config, gpu))
    stays = served if together and not section.rollout.free_cache_engine else 0
    between = policy.between + value.between + fixed.between
    forward, update = _logits(config, actor)
    bucket = (section.rollout.get("checkpoint_engine") or {}).get("update_weights_bucket_megabytes", 0) * MIB
    return {
        "rollout": served + bucket + between * together,
        "log-probs": stays + between + max(policy.forward - policy.between, fixed.weights - fixed.between) + forward,
        "update": stays + between + max(policy.update - policy.between + update, value.update - value.between),
    }


def doubts(config: Any, phases: dict[str, float], actor: Model, gpu: float | None) -> list[str]:
    """Returns a sentence for each phase that cannot fit a GPU, and one where vLLM's weights exceed its share."""
    if gpu is None:
        return []
    found = [
        f"the {phase} phase takes {size / GIB:.1f} GiB or more of a GPU's {gpu / GIB:.1f} GiB; use more GPUs, offload, "
        "or lower rollout.gpu_memory_utilization and the tokens of a micro-batch"
        for phase, size in phases.items()
        if size > gpu
    ]
    share, weights = _share(config, gpu), vllm_weights(config, actor)
    if weights > share:
        used = config.actor_rollout_ref.rollout.gpu_memory_utilization
        found.append(
            f"actor_rollout_ref.rollout.gpu_memory_utilization={used}: vLLM gets {share / GIB:.1f} GiB and its weights "
            f"take {weights / GIB:.1f} GiB of it; raise it, or rollout.tensor_model_parallel_size"
        )
    return found


def table(config: Any, phases: dict[str, float], gpu: float | None) -> str:
    """Returns the phases for people, one figure each."""
    of_gpu = "" if gpu is None else f" of {gpu / GIB:.1f} GiB"
    lines = [TITLE, *(f"  {phase:<10}{size / GIB:>8.2f} GiB{of_gpu}" for phase, size in phases.items())]
    if gpu is None:
        lines.append("  vLLM takes gpu_memory_utilization of a GPU; --gpu-memory GIB counts that too")
    if not config.actor_rollout_ref.get("hybrid_engine", True):
        lines.append("  rollout has GPUs of its own")
    return "\n".join(lines)


def vllm_weights(config: Any, model: Model) -> float:
    """Returns the bytes of vLLM's weights on one GPU."""
    rollout = config.actor_rollout_ref.rollout
    split = rollout.tensor_model_parallel_size * rollout.get("pipeline_model_parallel_size", 1)
    return model.parameters * (4 if "32" in str(rollout.dtype) else 2) / split


def _share(config: Any, gpu: float | None) -> float:
    return config.actor_rollout_ref.rollout.gpu_memory_utilization * (gpu or 0)


def _engine(config: Any, section: Any, model: Model) -> Engine:
    ranks = layout.trainer_gpus(config)
    if section.strategy == "megatron":
        return _megatron(section.megatron, section.get("optim") or {}, model, ranks)
    if section.strategy in ("fsdp", "fsdp2"):
        return _fsdp(section.get("fsdp_config") or section.fsdp, model, ranks)
    raise SettingsError(
        f"actor_rollout_ref.actor.strategy={section.strategy}: memory is estimated for fsdp, fsdp2 and megatron"
    )


def _fsdp(section: Any, model: Model, ranks: int) -> Engine:
    """Spreads everything over a shard group; Adam's two moments have the weights' dtype (`torch.optim.AdamW`)."""
    shards = ranks if section.fsdp_size in (-1, 0) else min(section.fsdp_size, ranks)
    on_gpu = not (section.offload_policy or section.forward_only)
    each = on_gpu * (4 if str(section.get("model_dtype") or "fp32") in ("fp32", "float32", "float") else 2) / shards
    return Engine(
        weights=model.parameters * each,
        gradients=model.trained * each,
        optimizer=2 * model.trained * each,
        keeps_weights=not section.param_offload,
        keeps_optimizer=not section.optimizer_offload,
    )


def _megatron(section: Any, optimizer: Any, model: Model, ranks: int) -> Engine:
    """Splits the model, and its distributed optimizer over all ranks.

    A parameter has b bytes of weight, 4 of gradient, and 12 of optimizer (8 where b = 4): a float32 weight and two
    moments (Megatron-Core's documentation of `dist_optimizer`).
    """
    kept = 4 if "32" in str(section.dtype) else 2
    tensor, stages = section.tensor_model_parallel_size, section.pipeline_model_parallel_size
    of_experts = section.expert_model_parallel_size * (section.expert_tensor_parallel_size or tensor)
    held = ((model.parameters - model.experts) / tensor + model.experts / of_experts) / stages
    trained = held * model.trained / model.parameters
    settings = optimizer.get("override_optimizer_config") or {}
    on_cpu = settings.get("optimizer_offload_fraction", 1) if settings.get("optimizer_cpu_offload") else 0
    stepped = model.trained / ranks if section.use_distributed_optimizer else trained
    return Engine(
        weights=kept * held,
        gradients=4 * trained,
        optimizer=(12 if kept == 2 else 8) * (1 - on_cpu) * stepped,
        keeps_weights=not section.param_offload,
        keeps_optimizer=not section.optimizer_offload,
    )


def _logits(config: Any, model: Model) -> tuple[float, float]:
    """Returns the bytes of a full micro-batch's logits for log-probs, and of logits and their gradient for an update.

    In half precision; fused kernels never keep them.
    """
    section, data = config.actor_rollout_ref, config.data
    if section.model.use_fused_kernels:
        return 0, 0
    actor, rollout, length = section.actor, section.rollout, data.max_prompt_length + data.max_response_length
    megatron = actor.megatron if actor.strategy == "megatron" else None
    tensor, stages = (
        (megatron.tensor_model_parallel_size, megatron.pipeline_model_parallel_size) if megatron else (1, 1)
    )
    split = megatron.context_parallel_size if megatron else layout.sequence_parallel(actor)[1]
    ranks = layout.trainer_gpus(config) / tensor / stages
    responses = max(data.train_batch_size, actor.ppo_mini_batch_size) * rollout.n

    def size(dynamic: bool, budget: int, rows: int | None) -> float:
        tokens = budget if dynamic else (rows or 1) * length / split
        # A budget of tokens may exceed what there is.
        return min(tokens, max(responses * length / ranks, length / split)) * model.vocabulary / tensor * 2

    rows = rollout.log_prob_micro_batch_size_per_gpu
    forward = size(rollout.log_prob_use_dynamic_bsz, rollout.log_prob_max_token_len_per_gpu, rows)
    return forward, 2 * size(actor.use_dynamic_bsz, actor.ppo_max_token_len_per_gpu, actor.ppo_micro_batch_size_per_gpu)
