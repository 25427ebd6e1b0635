"""A plan's memory as a table for people."""

from frpo_verl.plan.memory import GIB, Phase, peak

TITLE = "Memory per GPU in GiB, estimated; without CUDA's contexts, NCCL's buffers and fragmentation"


def table(phases: list[Phase], gpu: float | None, apart: bool) -> str:
    """Components by phase.

    Args:
        phases: of `memory.estimate`.
        gpu: bytes of a GPU, or None.
        apart: whether the rollout has GPUs of its own.

    Returns:
        Aligned lines.
    """
    rows = [name for name in dict.fromkeys(name for phase in phases for name in phase.parts) if _of(phases, name)]
    width = max(map(len, [*rows, "together"]))
    heads = [f"{phase.name}*" if apart and phase.name == "rollout" else phase.name for phase in phases]
    lines = [TITLE, _line("", width, heads)]
    lines += [_line(name, width, [_gib(phase.parts.get(name, 0)) for phase in phases]) for name in rows]
    lines.append(_line("together", width, [_gib(phase.total) for phase in phases]))
    most = peak(phases)
    compared = "" if gpu is None else f", of {gpu / GIB:.1f} GiB"
    lines.append(f"  peak: {most.total / GIB:.1f} GiB in the {most.name} phase{compared}")
    if gpu is None:
        lines.append("  vLLM takes gpu_memory_utilization of a GPU; with --gpu-memory GIB that is counted too")
    if apart:
        lines.append("  * on GPUs of its own")
    return "\n".join(lines)


def _of(phases: list[Phase], name: str) -> float:
    return sum(phase.parts.get(name, 0) for phase in phases)


def _gib(size: float) -> str:
    return f"{size / GIB:.2f}" if size else "-"


def _line(name: str, width: int, cells: list[str]) -> str:
    return f"  {name:<{width}}" + "".join(f"{cell:>12}" for cell in cells)
