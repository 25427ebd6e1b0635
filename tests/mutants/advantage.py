"""Plausible mistakes in `advantage`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "advantage/compiled.py": ("advantage/test_batch.py", "advantage/test_future.py"),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # the return-to-go, as defined
    Mutant("advantage/later.py", "values[:, 1:].flip(-1).cumsum(-1).flip(-1)", "values[:, :-1].cumsum(-1)"),
    Mutant("advantage/later.py", "later[:, :-1] = values[:, 1:]", "later[:, 1:] = values[:, 1:]"),
    Mutant("advantage/later.py", "if steps & width:", "if width:"),
    Mutant("advantage/later.py", "discount ** (covered + 1)", "discount ** covered"),
    Mutant("advantage/later.py", "window + discount**width", "window + discount"),
    Mutant("advantage/later.py", "_shifted(window, covered + 1)", "_shifted(window, covered)"),
    Mutant("advantage/later.py", "min(horizon, values.shape[1])", "values.shape[1]"),
    Mutant("advantage/later.py", "< mask.sum(-1, keepdim=True)", "<= mask.sum(-1, keepdim=True)"),
    Mutant("advantage/future.py", "generator.local(delta) + later(", "generator.future(delta) + later("),
    Mutant("advantage/future.py", "later(generator.future(delta), mask)", "later(generator.local(delta), mask)"),
    Mutant("advantage/future.py", "+ (delta - delta)", ""),
    Mutant("advantage/future.py", "log_ratio.to(torch.promote_types(log_ratio.dtype, torch.float32))", "log_ratio"),
    Mutant("advantage/future.py", "zero_where_masked(divergence_to_go + (delta - delta), mask)", "divergence_to_go"),
    Mutant("advantage/future.py", "log_ratio = log_ratio.detach()", "log_ratio = log_ratio"),
    Mutant(
        "advantage/future.py", "torch.zeros(log_ratio.size(0)), log_ratio", "torch.ones(log_ratio.size(0)), log_ratio"
    ),
    Mutant("advantage/future.py", "later is undiscounted and compiled", "compiled"),
    # the fused pass
    Mutant("advantage/compiled.py", "own, following = local[t], future[t]", "own, following = future[t], future[t]"),
    Mutant("advantage/compiled.py", "own, following = local[t], future[t]", "own, following = local[t], local[t]"),
    Mutant("advantage/compiled.py", "to_go = own + later\n", "to_go = later\n"),
    Mutant("advantage/compiled.py", "later += following", "later = following"),
    Mutant("advantage/compiled.py", "of_response - beta * to_go", "of_response + beta * to_go"),
    Mutant("advantage/compiled.py", "log_prob[t] - reference[t]", "reference[t] - log_prob[t]"),
    Mutant(
        "advantage/compiled.py", "offsets[row + 1] - 1, offsets[row] - 1, -1", "offsets[row + 1] - 1, offsets[row], -1"
    ),
    Mutant("advantage/compiled.py", "advantages[t] = 0.0", "advantages[t] = of_response"),
    Mutant("advantage/compiled.py", "outcomes[t] = 0.0", "outcomes[t] = of_response"),
    Mutant("advantage/compiled.py", "squares += to_go * to_go", "squares += own * own"),
    Mutant("advantage/compiled.py", "= later, total, squares", "= total, later, squares"),
    Mutant("advantage/compiled.py", "witness += log_prob[t]", "witness += 0.0"),
    Mutant("advantage/compiled.py", "witness += advantages[t]", "witness += 0.0"),
    Mutant(
        "advantage/compiled.py",
        "generator.local is generator.future is log_ratio_itself",
        "generator.local is log_ratio_itself",
    ),
    Mutant("advantage/compiled.py", "delta - read[1].to(dtype)", "delta + read[1].to(dtype)"),
    Mutant("advantage/compiled.py", "delta = read[0].to(dtype)", "delta = read[0]"),
    Mutant(
        "advantage/compiled.py", "offsets[first : last + 1] - offsets[first], beta", "offsets[first : last + 1], beta"
    ),
    Mutant("advantage/compiled.py", 'side="right")) - 1)', 'side="right")))'),
    # groups and composition
    Mutant("advantage/groups.py", "(of.size - 1).clamp(min=1)", "of.size"),
    Mutant(
        "advantage/groups.py", "(of.square_sum / of.size).sqrt()", "(of.square_sum / (of.size - 1).clamp(min=1)).sqrt()"
    ),
    Mutant("advantage/groups.py", "_sum_by_group(scores, group) / size", "scores.mean()"),
    Mutant("advantage/groups.py", "torch.where(single, alone(scores), deviation)", "deviation"),
    Mutant("advantage/groups.py", "torch.where(single, torch.ones_like(square_sum), square_sum)", "square_sum"),
    Mutant(
        "advantage/frpo.py",
        "outcome[:, None], divergence_to_go, alpha=beta",
        "outcome[:, None], divergence_to_go, alpha=-beta",
    ),
    Mutant("advantage/frpo.py", "import normalise_by_group", "import centre_by_group as normalise_by_group"),
    Mutant("advantage/frpo.py", "import REVERSE_KL, Generator", "import REVERSE_KL_K3 as REVERSE_KL, Generator"),
    # adjustments, steps, control
    Mutant(
        "advantage/adjustments.py",
        "divergence_to_go - baseline, mask",
        "divergence_to_go + baseline, mask",
    ),
    Mutant("advantage/adjustments.py", "[group] - own_sum", "[group]"),
    Mutant("advantage/adjustments.py", "[group] - own_count", "[group]"),
    Mutant("advantage/adjustments.py", "remaining * masked_mean", "(remaining + 1) * masked_mean"),
    Mutant(
        "advantage/adjustments.py",
        "divergence_to_go / mask.sum(-1, keepdim=True)",
        "divergence_to_go / mask.shape[1]",
    ),
    Mutant("advantage/variant.py", 'variant.step_value == "start"', 'variant.step_value == "end"'),
    Mutant("advantage/variant.py", "if variant.discount == 1 else", "if variant.discount else"),
    Mutant("advantage/steps.py", "(ends & mask) | _last(mask)", "ends & mask"),
    Mutant("advantage/steps.py", "ended - (ends & mask).long()", "ended"),
    Mutant(
        "advantage/steps.py",
        "mask.cumsum(-1) % step_length == 0",
        "(mask.cumsum(-1) + 1) % step_length == 0",
    ),
    Mutant("advantage/steps.py", "response_mask.bool() & (responses == separator)", "responses == separator"),
    Mutant("advantage/shuffled.py", "torch.where(mask, draw, 2.0)", "draw"),
    Mutant(
        "advantage/groups.py",
        "scores.dtype, torch.float32), scores.double()",
        "scores.dtype, torch.float32), scores.float()",
    ),
    # figures
    Mutant("advantage/diagnostics.py", "off = old - new", "off = new - old"),
    Mutant("advantage/diagnostics.py", "old * new < 0", "old * new <= 0"),
    Mutant("advantage/diagnostics.py", "(count - 1) * PARTS", "count * PARTS - 1"),
    Mutant("advantage/diagnostics.py", "off, minlength=PARTS) / counts", "off, minlength=PARTS)"),
    Mutant("advantage/diagnostics.py", "variances[1] / sum(variances)", "variances[0] / sum(variances)"),
)
