"""A small policy, a reference near it and graded responses; the loss of all of them by plain autograd."""

import math
from pathlib import Path
from typing import Any

import torch

CPU = (
    "trainer.device=cpu",
    "trainer.logger=[file]",
    "trainer.save_freq=-1",
    "data.num_workers=0",
    "optim.lr_warmup_steps=0",
    "optim.weight_decay=0",
)
ENGINES = {
    "fsdp2": (
        "engine.strategy=fsdp2",
        "engine.use_torch_compile=False",
        "+engine.mixed_precision.param_dtype=fp32",
        "model.use_remove_padding=False",
        "+model.override_config.attn_implementation=sdpa",
        "model.enable_gradient_checkpointing=False",
    ),
    "megatron": (
        "engine=megatron",
        "optim=megatron",
        "engine.vanilla_mbridge=True",
        "engine.dtype=float32",
    ),
}
"""Overrides of the primary configuration on a machine without a GPU."""

LOSSES = ("outcome", "dpo", "rpo", "simper")
BETA, ALPHA = 0.3, 0.7


def build(folder: Path) -> Path:
    """Writes `policy`, `reference` and `graded.parquet`: ten prompts with three responses each."""
    import pyarrow as pa
    from pyarrow import parquet

    from frpo_verl.quickstart import tiny

    tokenizer = tiny.make_tokenizer()
    model = tiny.make_model(tokenizer, seed=0)
    for name, noise in (("policy", 0.0), ("reference", 0.02)):
        with torch.no_grad():
            torch.manual_seed(1)
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    torch.manual_seed(2)
    prompts = [torch.randint(3, 300, (n % 4 + 1,)).tolist() for n in range(10)]
    responses = [[torch.randint(3, 300, ((n * k) % 7 + 1,)).tolist() for k in range(1, 4)] for n in range(10)]
    scores = [[float((n + k) % 2 == 0) for k in range(3)] for n in range(10)]
    table = pa.table({"prompt_ids": prompts, "response_ids": responses, "scores": scores})
    parquet.write_table(table, folder / "graded.parquet")
    return folder


def items(folder: Path, pairs: bool) -> list[list[tuple[list[int], list[int], float]]]:
    """Returns what a step of all data is made of: (prompt, response, sign), alone or better and worse."""
    from pyarrow import parquet

    found = []
    for row in parquet.read_table(folder / "graded.parquet").to_pylist():
        graded = [
            (row["prompt_ids"], ids, 1.0 if score > 0.5 else -1.0)
            for ids, score in zip(row["response_ids"], row["scores"], strict=True)
        ]
        if pairs:
            found += [[a, b] for a in graded for b in graded if a[2] > b[2]]
        else:
            found += [[one] for one in graded]
    return found


def first_step(folder: Path, loss: str, lam: float, weighted: str = "both") -> dict[str, float]:
    """Returns the surrogate loss and the norm of its gradient before any update, computed row by row."""
    from transformers import AutoModelForCausalLM

    policy, reference = (
        AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32) for name in ("policy", "reference")
    )
    every = items(folder, pairs=loss != "outcome")
    total = torch.zeros(())
    for rows in every:
        said = [_said(policy, reference, prompt, response, lam) for prompt, response, _ in rows]
        for weight, (log_prob, *_) in zip(_weights(loss, rows, said, weighted), said, strict=True):
            total = total - weight * log_prob / len(every)
    total.backward()
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in policy.parameters() if p.grad is not None]))
    return {"loss": total.item(), "grad_norm": norm.item()}


def _said(policy: Any, reference: Any, prompt: list[int], response: list[int], lam: float) -> tuple[Any, ...]:
    """Returns log π_θ(y) with its gradient, and log π_ref(y), log π̂(y), |y|."""
    ids = torch.tensor([prompt + response])
    at = slice(len(prompt) - 1, ids.shape[1] - 1)
    logits = policy(ids).logits[0, at]
    with torch.no_grad():
        of_reference = reference(ids).logits[0, at]
        ahead = (1 + lam) * logits - lam * of_reference

    def of(values: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(values.double(), -1)[range(len(response)), response].sum()

    return of(logits), of(of_reference).item(), of(ahead).item(), len(response)


def _weights(loss: str, rows: list, said: list, weighted: str) -> list[float]:
    if loss in ("outcome", "simper"):
        weights = []
        for (_, _, sign), (now, _, ahead, length) in zip(rows, said, strict=True):
            p = now.item() if weighted == "negatives" and sign > 0 else ahead
            weights.append(sign * math.exp(p / length) / length)
        return weights
    better, worse = said

    def strength(which: int) -> float:
        values = [(float(torch.as_tensor(row[which]).detach()) - row[1]) * BETA for row in (better, worse)]
        return BETA / (1 + math.exp(values[0] - values[1]))

    up, down = strength(0 if weighted == "negatives" else 2), strength(2)
    return [up + (ALPHA / better[3] if loss == "rpo" else 0.0), -down]
