"""Plausible mistakes in the future policy and the losses of FPA, each of which a test must notice."""

from mutants.mutant import Mutant

FILE = "losses/future_policy.py"

FIRST = {
    FILE: ("losses/test_future_policy.py", "losses/test_vocabulary.py"),
    "losses/unfit.py": ("losses/test_unfit.py", "losses/test_vocabulary.py"),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # the future policy
    Mutant(FILE, "torch.add(current, current - reference,", "torch.add(reference, current - reference,"),
    Mutant(FILE, "torch.add(current, current - reference,", "torch.add(current, reference - current,"),
    Mutant(FILE, "return moved.masked_fill_(current == -torch.inf, -torch.inf)", "return moved"),
    Mutant(FILE, "ctx.mark_non_differentiable(reference, future)", "ctx.mark_non_differentiable(reference)"),
    Mutant(FILE, "save_for_backward(logits, column, own,", "save_for_backward(logits, column, own & False,"),
    Mutant(FILE, "totals * torch.exp(largest - top)", "totals"),
    Mutant(FILE, "torch.where(own, chosen, 0.0)", "chosen"),
    Mutant(FILE, "labels - part.index * logits.shape[1]", "labels"),
    Mutant(FILE, "top = part.maximum(largest)", "top = largest"),
    Mutant(FILE, "mul_(-gradient[rows, None])", "mul_(gradient[rows, None])"),
    Mutant(FILE, "logits[rows].to(top.dtype) - top[rows, None] - log", "logits[rows].to(top.dtype) - log"),
    Mutant(FILE, ".amax(1).clamp(min=lowest)", ".amax(1)"),
    Mutant(FILE, "block.amax(1)", "block.amin(1)"),
    Mutant(FILE, "policy, reference = logits[rows].to(dtype), ref", "policy, reference = logits[rows], ref"),
    Mutant(FILE, "extrapolated(log_prob.detach().to(dtype),", "extrapolated(log_prob.to(dtype),"),
    Mutant(FILE, "save_for_backward(logits,", "save_for_backward(logits + 0 * reference_logits,"),
    # the vocabulary in parts
    Mutant("losses/vocabulary.py", "dist.get_rank(group), dist", "0, dist"),
    Mutant("losses/vocabulary.py", "_reduced(values, dist.ReduceOp.MAX", "_reduced(values, dist.ReduceOp.SUM"),
    Mutant("losses/vocabulary.py", "_reduced(values, dist.ReduceOp.SUM", "_reduced(values, dist.ReduceOp.MAX"),
    Mutant("losses/vocabulary.py", "values.clone()", "values"),
    # responses
    Mutant("losses/responses.py", ".sum(-1, dtype=torch.float64)", ".sum(-1)"),
    Mutant("losses/responses.py", "zero_where_masked(log_prob, response_mask.bool())", "log_prob"),
    Mutant("losses/responses.py", ".sum(-1).clamp(min=1)", ".sum(-1)"),
    Mutant("losses/responses.py", "torch.exp(log_prob / lengths)", "torch.exp(log_prob)"),
    # coefficients
    Mutant("losses/coefficients.py", "coefficients.up - coefficients.down", "coefficients.up + coefficients.down"),
    Mutant("losses/coefficients.py", "return -(coefficients", "return (coefficients"),
    Mutant("losses/coefficients.py", "coefficients.down).detach()", "coefficients.down)"),
    Mutant("losses/coefficients.py", "Coefficients(current.up, future.down)", "Coefficients(future.up, current.down)"),
    # pairs
    Mutant(
        "losses/pairwise.py",
        "reward[pairs.rejected] - reward[pairs.chosen]",
        "reward[pairs.chosen] - reward[pairs.rejected]",
    ),
    Mutant("losses/pairwise.py", "strength = beta * torch.sigmoid", "strength = torch.sigmoid"),
    Mutant("losses/pairwise.py", "reward = beta * (", "reward = (log_prob.new_ones(())) * ("),
    Mutant("losses/pairwise.py", "(log_prob - ref_log_prob)", "log_prob"),
    Mutant("losses/pairwise.py", "alpha / lengths[pairs.chosen].to", "alpha * lengths[pairs.chosen].to"),
    Mutant("losses/pairwise.py", "alpha / lengths[pairs.chosen]", "alpha / lengths[pairs.rejected]"),
    Mutant(
        "losses/pairwise.py", "inverse_perplexity(log_prob, lengths) / lengths", "inverse_perplexity(log_prob, lengths)"
    ),
    Mutant(
        "losses/pairwise.py",
        "strength[pairs.chosen], strength[pairs.rejected]",
        "strength[pairs.chosen], strength[pairs.chosen]",
    ),
    Mutant(
        "losses/pairwise.py",
        "nothing.index_add(0, pairs.chosen, chosen)",
        "nothing.index_copy(0, pairs.chosen, chosen)",
    ),
    Mutant(
        "losses/pairwise.py",
        "nothing.index_add(0, pairs.rejected, rejected)",
        "nothing.index_add(0, pairs.chosen, rejected)",
    ),
    # the outcome form
    Mutant(
        "losses/outcome.py", "inverse_perplexity(log_prob, lengths) / lengths", "inverse_perplexity(log_prob, lengths)"
    ),
    Mutant("losses/outcome.py", "(-advantages).clamp(min=0)", "advantages.clamp(min=0)"),
    Mutant("losses/outcome.py", "Coefficients(advantages.clamp(min=0) *", "Coefficients(advantages.abs() *"),
    # what is refused
    Mutant("losses/unfit.py", "or strength < 0:", "or strength <= 0:"),
    Mutant("losses/unfit.py", "or strength < 0:", "or strength < -1:"),
    Mutant("losses/unfit.py", "if logits.shape[1] != reference_logits.shape[1]:", "if logits.shape[1] < 0:"),
    Mutant("losses/unfit.py", "size = logits.shape[1] * part.count", "size = logits.shape[1]"),
    Mutant("losses/unfit.py", "0 <= int(labels.amin())", "-101 <= int(labels.amin())"),
    Mutant("losses/unfit.py", "int(labels.amax()) < size", "int(labels.amax()) <= size"),
    Mutant("losses/unfit.py", " | (chosen == rejected)", ""),
    Mutant("losses/unfit.py", "(chosen < 0) | ", ""),
    Mutant("losses/unfit.py", " | (rejected >= rows)", ""),
    Mutant("losses/unfit.py", "len(tensor) != len(tensors[first])", "len(tensor) < 1"),
    Mutant("losses/unfit.py", "if not tensor.isfinite().all():", "if tensor.isnan().all():"),
    Mutant("losses/unfit.py", "if (lengths < 1).any():", "if (lengths < 0).any():"),
)
