"""The memory that a run is expected to take of each GPU, phase by phase: an estimate, not measured on a GPU."""

from typing import Any, NamedTuple

from frpo_verl.plan import fsdp, megatron
from frpo_verl.plan.activations import Logits
from frpo_verl.plan.engine import Batch, Engine
from frpo_verl.plan.model import Model
from frpo_verl.preflight import layout

GIB = 2**30
MIB = 2**20

COMFORTABLE = 0.9
"""The part of a GPU that an estimate may take: CUDA's contexts, NCCL's buffers and fragmentation are not in it."""


class Phase(NamedTuple):
    """One phase of a step.

    Attributes:
        name: `rollout`, `log-probs`, `update` or `critic`.
        parts: bytes on one GPU by component.
    """

    name: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of them together."""
        return sum(self.parts.values())


class Roles(NamedTuple):
    """Which models a run loads.

    Attributes:
        actor: the policy.
        critic: the value model, or None.
        reference: whether a reference policy of its own is loaded; with LoRA it is the policy without its adapters.
    """

    actor: Model
    critic: Model | None
    reference: bool


class Unsupported(ValueError):
    """An engine that there is no estimate for."""


def estimate(config: Any, roles: Roles, gpu: float | None) -> list[Phase]:
    """Bytes on a GPU in each phase.

    Colocated, vLLM's share (`gpu_memory_utilization` of the GPU; without one given, its weights alone) stands beside
    what the engines leave there between their turns (`param_offload`, `optimizer_offload`), and is given back for
    training where `free_cache_engine=True`. Rollout on GPUs of its own has them to itself. Weights travel through
    buckets of `update_weights_bucket_megabytes`.

    Args:
        config: verl's whole configuration.
        roles: which models it loads.
        gpu: bytes of a GPU, or None.

    Returns:
        The phases.

    Raises:
        Unsupported: an engine other than FSDP, FSDP2 and Megatron.
    """
    section = config.actor_rollout_ref
    actor = _engine(config, section.actor, section.model, roles.actor, _logits(config))
    critic = None if roles.critic is None else _engine(config, config.critic, config.critic.model, roles.critic, None)
    served = _rollout(config, roles.actor, gpu)
    together = section.get("hybrid_engine", True)
    stays = {} if not together or section.rollout.free_cache_engine else served
    actors = _labelled("actor", actor.between())
    critics = {} if critic is None else _labelled("critic", critic.between())
    reference = _reference(config, roles, _logits(config))
    kept = 0 if reference is None else reference.weights * reference.keeps_weights
    beside = {**stays, **({"reference weights": kept} if kept else {})}
    rollout = {**served, **actors, **critics, **beside} if together else served
    phases = [
        Phase("rollout", {**rollout, "weight transfer": _bucket(section.rollout)}),
        Phase("log-probs", {**beside, **actors, **critics, **_forward(actor, reference)}),
        Phase("update", {**beside, **critics, **_update("actor", actor)}),
    ]
    return phases if critic is None else [*phases, Phase("critic", {**beside, **actors, **_update("critic", critic)})]


def peak(phases: list[Phase]) -> Phase:
    """The phase that takes most.

    Args:
        phases: of `estimate`.

    Returns:
        One of them.
    """
    return max(phases, key=lambda phase: phase.total)


def doubts(config: Any, phases: list[Phase], gpu: float | None) -> list[str]:
    """Whether the estimate fits a GPU.

    Args:
        config: verl's whole configuration.
        phases: of `estimate`.
        gpu: bytes of a GPU, or None.

    Returns:
        A sentence for each doubt.
    """
    if gpu is None:
        return []
    most, found = peak(phases), []
    if most.total > COMFORTABLE * gpu:
        found.append(
            f"the {most.name} phase is expected to take {most.total / GIB:.1f} GiB of a GPU's {gpu / GIB:.1f} GiB, of "
            f"which about {1 - COMFORTABLE:.0%} goes to CUDA, NCCL and fragmentation; lower its largest part, "
            f"{max(most.parts, key=most.parts.get)} ({max(most.parts.values()) / GIB:.1f} GiB)"
        )
    share = config.actor_rollout_ref.rollout.gpu_memory_utilization
    weights = phases[0].parts["vLLM weights"]
    if weights > share * gpu:
        found.append(
            f"actor_rollout_ref.rollout.gpu_memory_utilization={share}: vLLM gets {share * gpu / GIB:.1f} GiB and its "
            f"weights take {weights / GIB:.1f} GiB of it; raise it, or rollout.tensor_model_parallel_size"
        )
    return found


def _engine(config: Any, section: Any, of_model: Any, model: Model, logits: Logits | None) -> Engine:
    ranks = layout.trainer_gpus(config)
    how = logits or Logits(fused=True, chunk=0, entropy=False, scaled=False)
    if section.strategy == "megatron":
        own = section.megatron
        split = own.tensor_model_parallel_size * own.pipeline_model_parallel_size
        batch = _batch(config, section, own.context_parallel_size, ranks / split)
        return megatron.engine(model, own, section.get("optim") or {}, ranks, batch, how)
    if section.strategy not in ("fsdp", "fsdp2"):
        raise Unsupported(
            f"actor_rollout_ref.actor.strategy={section.strategy}: memory is estimated for fsdp, fsdp2 and megatron"
        )
    own = section.get("fsdp_config") or section.fsdp
    batch = _batch(config, section, layout.sequence_parallel(section)[1], ranks)
    return fsdp.engine(model, own, ranks, of_model.enable_gradient_checkpointing, batch, how)


def _reference(config: Any, roles: Roles, logits: Logits) -> Engine | None:
    if not roles.reference:
        return None
    section = config.actor_rollout_ref
    return _engine(config, section.ref, section.model, roles.actor._replace(adapters=0), logits)


def _logits(config: Any) -> Logits:
    section = config.actor_rollout_ref
    own = section.actor.get("fsdp_config") or section.actor.get("megatron")
    chunked = section.actor.get("entropy_from_logits_with_chunking") or own.get("entropy_from_logits_with_chunking")
    size = section.actor.get("entropy_from_logits_chunk_size") or own.get("entropy_from_logits_chunk_size") or 2048
    return Logits(
        fused=section.model.use_fused_kernels,
        chunk=size if chunked else 0,
        entropy=bool(section.actor.entropy_coeff or section.actor.get("calculate_entropy")),
        scaled=section.rollout.temperature != 1,
    )


def _batch(config: Any, section: Any, split: int, ranks: float) -> Batch:
    """Tokens on one GPU, of which `split` ranks share a sequence."""
    rollout, length = config.actor_rollout_ref.rollout, config.data.max_prompt_length + config.data.max_response_length
    responses = max(config.data.train_batch_size, section.get("ppo_mini_batch_size") or 1) * rollout.n
    most = responses * length / max(1, ranks)

    def tokens(dynamic: bool, longest: int, rows: int | None) -> float:
        return min(longest if dynamic else (rows or 1) * length / split, max(most, length / split))

    if "log_prob_max_token_len_per_gpu" in section:
        dynamic = section.log_prob_use_dynamic_bsz
        given = tokens(dynamic, section.log_prob_max_token_len_per_gpu, section.log_prob_micro_batch_size_per_gpu)
        return Batch(given, given)
    update = tokens(section.use_dynamic_bsz, section.ppo_max_token_len_per_gpu, section.ppo_micro_batch_size_per_gpu)
    if "forward_max_token_len_per_gpu" in section:
        rows = section.forward_micro_batch_size_per_gpu
        return Batch(update, tokens(section.use_dynamic_bsz, section.forward_max_token_len_per_gpu, rows))
    own = rollout.log_prob_micro_batch_size_per_gpu
    forward = tokens(rollout.log_prob_use_dynamic_bsz, rollout.log_prob_max_token_len_per_gpu, own)
    return Batch(update, forward)


def _rollout(config: Any, model: Model, gpu: float | None) -> dict[str, float]:
    rollout = config.actor_rollout_ref.rollout
    ranks = rollout.tensor_model_parallel_size * rollout.get("pipeline_model_parallel_size", 1)
    weights = model.parameters * (4 if "32" in str(rollout.dtype) else 2) / ranks
    if gpu is None:
        return {"vLLM weights": weights}
    share = rollout.gpu_memory_utilization * gpu
    return {"vLLM weights": weights, "vLLM cache and buffers": max(0, share - weights)}


def _bucket(rollout: Any) -> float:
    return (rollout.get("checkpoint_engine") or {}).get("update_weights_bucket_megabytes", 0) * MIB


def _labelled(role: str, parts: dict[str, float]) -> dict[str, float]:
    return {f"{role} {name}": size for name, size in parts.items()}


def _forward(actor: Engine, reference: Engine | None) -> dict[str, float]:
    """What comes to the GPU for log-probs: the policy's, then the reference's."""
    policy = actor.gathered + actor.forward + actor.logits_forward
    others = 0 if reference is None else reference.gathered + reference.forward + reference.logits_forward
    chosen = actor if reference is None or policy >= others else reference
    parts = {
        "actor weights": actor.weights,
        "gathered weights": chosen.gathered,
        "activations": chosen.forward,
        "logits": chosen.logits_forward,
    }
    # Loaded one after the other where they are offloaded.
    if reference is not None:
        parts["reference weights"] = reference.weights
        if not actor.keeps_weights and not reference.keeps_weights:
            parts["actor weights"], parts["reference weights"] = max(actor.weights, reference.weights), 0
    return parts


def _update(role: str, engine: Engine) -> dict[str, float]:
    at_work = {
        "gathered weights": engine.gathered,
        "activations": engine.update,
        "logits": engine.logits_update,
        "unreduced gradients": engine.reduced,
    }
    if engine.step > sum(at_work.values()):
        at_work = {"optimizer step": engine.step}
    kept = {"weights": engine.weights, "gradients": engine.gradients, "optimizer": engine.states}
    return {**_labelled(role, kept), **at_work}
