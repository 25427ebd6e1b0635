"""Plausible mistakes in `advantage`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "advantage/compiled.py": ("advantage/test_batch.py",),
    "advantage/sums.py": ("advantage/test_batch.py", "advantage/test_diagnostics.py"),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # the return-to-go, as defined
    Mutant("advantage/later.py", "from_the_end.cumsum_(-1).flip(-1)", "from_the_end.cumsum_(-1)"),
    Mutant("advantage/later.py", "from_the_end[:, 1:] = values[:, 1:]", "from_the_end[:, :-1] = values[:, 1:]"),
    Mutant("advantage/later.py", "torch.zeros_like(values, dtype=torch.float64)", "torch.zeros_like(values)"),
    Mutant("advantage/later.py", "if steps & width:", "if width:"),
    Mutant("advantage/later.py", "discount ** (covered + 1)", "discount ** covered"),
    Mutant("advantage/later.py", "window + discount**width", "window + discount"),
    Mutant("advantage/later.py", "_shifted(window, covered + 1)", "_shifted(window, covered)"),
    Mutant("advantage/later.py", "min(horizon, values.shape[1])", "values.shape[1]"),
    Mutant("advantage/later.py", "< mask.sum(-1, keepdim=True)", "<= mask.sum(-1, keepdim=True)"),
    Mutant("advantage/future.py", "generator.local(delta) + of_later", "generator.future(delta) + of_later"),
    Mutant("advantage/future.py", "later(generator.future(delta), mask)", "later(generator.local(delta), mask)"),
    Mutant("advantage/future.py", ".add_(delta.sub_(delta))", ""),
    Mutant("advantage/future.py", "log_ratio.to(torch.promote_types(log_ratio.dtype, torch.float32))", "log_ratio"),
    Mutant("advantage/future.py", ".masked_fill_(~mask, 0)", ""),
    Mutant("advantage/future.py", "log_ratio = log_ratio.detach()", "log_ratio = log_ratio"),
    # the batch, as defined, and its sums
    Mutant("advantage/batch.py", "torch.sub(before, reg, alpha=beta)", "torch.sub(before, reg.float(), alpha=beta)"),
    Mutant("advantage/batch.py", "valid) if outcome.dim() == 1 else outcome", "valid)"),
    Mutant("advantage/batch.py", "log_prob.to(dtype) - reference.to(dtype)", "(log_prob - reference).to(dtype)"),
    Mutant("advantage/batch.py", 'checks.row_tensor("outcome", outcome, response_mask)', "pass"),
    Mutant("advantage/sums.py", "number.sub_(1).mul_(PARTS)", "number.mul_(PARTS).sub_(1)"),
    Mutant("advantage/sums.py", "mul_(outcome.sign()) < 0", "mul_(outcome.sign()) <= 0"),
    Mutant("advantage/sums.py", "of_valid.square_().sum(-1)", "of_valid.abs_().sum(-1)"),
    # the one pass
    Mutant("advantage/compiled.py", "delta if local is None else local[t]", "delta if local is None else future[t]"),
    Mutant("advantage/compiled.py", "delta if future is None else future[t]", "delta if future is None else local[t]"),
    Mutant("advantage/compiled.py", "else local[t]) + later", "else local[t])"),
    Mutant("advantage/compiled.py", "later += delta", "later = delta"),
    Mutant("advantage/compiled.py", "outcome - beta * reg", "outcome + beta * reg"),
    Mutant("advantage/compiled.py", "delta = log_prob[t] - reference[t]", "delta = reference[t] - log_prob[t]"),
    Mutant("advantage/compiled.py", "range(last - 1, -1, -1)", "range(last - 1, 0, -1)"),
    Mutant("advantage/compiled.py", "advantages[row, last:] = 0.0", "advantages[row, last:] = outcome[row]"),
    Mutant("advantage/compiled.py", "outcome - beta * reg if valid else 0.0", "outcome - beta * reg"),
    Mutant("advantage/compiled.py", "log_probs += log_prob[t] if valid else ZERO", "log_probs += log_prob[t]"),
    Mutant("advantage/compiled.py", "to_go[t] = 0.0", "to_go[t] = later"),
    Mutant("advantage/compiled.py", "squares += reg * reg", "squares += reg"),
    Mutant("advantage/compiled.py", "outcome * advantages[t] < 0", "outcome * advantages[t] <= 0"),
    Mutant("advantage/compiled.py", "rank = -(-part * tokens // PARTS)", "rank = part * tokens // PARTS"),
    Mutant("advantage/compiled.py", "if last == tokens:", "if tokens:"),
    Mutant("advantage/compiled.py", "total[7] += found[3]", "total[7] = found[3]"),
    Mutant("advantage/compiled.py", "of * of * tokens", "of * of"),
    Mutant("advantage/compiled.py", "witness += log_prob[t] - reference[t] if valid else ZERO", "pass"),
    Mutant("advantage/compiled.py", "witness += advantages[t]", "pass"),
    Mutant(
        "advantage/compiled.py",
        "generator.local is generator.future is log_ratio_itself",
        "generator.local is log_ratio_itself",
    ),
    Mutant("advantage/compiled.py", "delta = pair[0] - pair[1]", "delta = pair[0] + pair[1]"),
    Mutant("advantage/compiled.py", "log_prob[rows].to(advantages.dtype)", "log_prob[rows].float()"),
    Mutant("advantage/compiled.py", "outcome[rows].double()", "outcome[: rows.stop - rows.start].double()"),
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
    Mutant(
        "advantage/frpo.py",
        "divergences import REVERSE_KL, Generator",
        "divergences.catalogue import REVERSE_KL_K3 as REVERSE_KL, Generator",
    ),
    # adjustments, steps, control
    Mutant(
        "advantage/adjustments.py",
        "reg - remaining * mean",
        "reg + remaining * mean",
    ),
    Mutant("advantage/adjustments.py", "_by(group, values) - _by(rollout, values)", "_by(group, values)"),
    Mutant("advantage/adjustments.py", "if rollout is None else rollout", "if True else rollout"),
    Mutant(
        "advantage/diagnostics.py",
        "divergence_to_go.reshape(-1)[slots].double()",
        "divergence_to_go.reshape(-1)[: len(slots)].double()",
    ),
    Mutant("advantage/adjustments.py", "remaining * mean", "(remaining + 1) * mean"),
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
        "mask.cumsum(-1, dtype=torch.int32) % step_length == 0",
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
    Mutant("advantage/diagnostics.py", "(done.sums.tokens > 0).sum()", "len(outcome)"),
    Mutant("advantage/diagnostics.py", "beta**2 * of_term", "beta * of_term"),
    Mutant("advantage/diagnostics.py", "subtracted / (of_outcome", "of_outcome / (of_outcome"),
    Mutant("advantage/diagnostics.py", "/ _tokens_by_tenth(done.sums.tokens).clamp(min=1)", "/ tokens"),
    Mutant("advantage/diagnostics.py", "* torch.arange(PARTS + 1", "* torch.arange(1, PARTS + 2"),
    Mutant("advantage/diagnostics.py", "mask.reshape(-1)[slots] != 0", "mask.reshape(-1)[slots] > -1"),
    Mutant("advantage/diagnostics.py", "outcome[slots // mask.shape[1]]", "outcome[slots % len(outcome)]"),
    Mutant("advantage/diagnostics.py", "number * GOLDEN % 1", "number * 0"),
    Mutant("advantage/diagnostics.py", "min(slots, SAMPLE)", "slots // (slots // SAMPLE or 1)"),
    Mutant("advantage/diagnostics.py", "mean_square - mean**2", "mean_square"),
    Mutant("advantage/diagnostics.py", "if variance > 1e-12 * mean_square else", "if variance > 0 else"),
    # λ-GRPO's counts
    Mutant("advantage/process_sets.py", "order = order[length[order] > 0]", "order = order[length[order] >= 0]"),
    Mutant("advantage/process_sets.py", "if start.any():", "if False:"),
    Mutant("advantage/process_sets.py", "(length > 0) & (start + length", "(start + length"),
    Mutant("advantage/process_sets.py", "length + behind < there", "length + behind < -len(there) + there"),
    Mutant("advantage/process_sets.py", "np.maximum(first - 1, 0)", "first"),
    Mutant("advantage/process_sets.py", "np.minimum(shared, length[order])", "shared"),
    Mutant("advantage/process_sets.py", "] += np.where(equal", "] = np.where(equal"),
    Mutant("advantage/process_sets.py", "tied[places[1:]] = equal", "tied[places[1:]] |= equal"),
    Mutant("advantage/process_sets.py", "group[order[1:]] == group[order[:-1]]", "True"),
    Mutant("advantage/process_sets.py", "np.maximum.reduceat(length, begins)", "np.minimum.reduceat(length, begins)"),
    Mutant("advantage/process_sets.py", "(length, begins) > column", "(length, begins) > column + 1"),
    Mutant("advantage/process_sets.py", 'tie_number.astype(">i8").view(np.int64)', "tie_number"),
    Mutant("advantage/process_sets.py", ">= length[:, None]] = NO_TOKEN", ">= length[:, None]] = 0"),
    Mutant("advantage/process_sets.py", ">= length[:, None]]", "> length[:, None]]"),
    Mutant("advantage/process_sets.py", "if length.min() < column + width:", "if length.min() < width:"),
    Mutant(
        "advantage/process_sets.py", "order[places], keys = rows[by_bytes], keys[by_bytes]", "keys = keys[by_bytes]"
    ),
    Mutant("advantage/process_sets.py", "max(open_nodes[-1][0], depth), end", "open_nodes[-1][0], end"),
    Mutant("advantage/process_sets.py", "open_nodes.append((depth, first))", "open_nodes.append((depth, place - 1))"),
    Mutant("advantage/process_sets.py", "[rows] if aligned else rows[:, None]", "[rows]"),
    Mutant("advantage/process_sets.py", "slice(start[part[0]] + begin, start[part[0]] + end)", "slice(begin, end)"),
    Mutant("advantage/process_sets.py", "& (shared == np.roll(ends, 1))", ""),
    Mutant("advantage/process_sets.py", "(shared == ends) & ", ""),
    # its weights and figures
    Mutant("advantage/token_weights.py", "columns] /= size", "columns] *= size"),
    Mutant("advantage/token_weights.py", ".mean_weight or 1.0)", ".mean_weight)"),
    Mutant(
        "advantage/token_weights.py", "lambda_grpo(sets, response_mask).div_(", "lambda_grpo(sets, response_mask).mul_("
    ),
    Mutant("advantage/token_weights.py", "weights.copy_(response_mask.bool()).mul_", "weights.fill_(1).mul_"),
    Mutant("advantage/token_weights.py", "weights.copy_(response_mask.bool())\n", "weights.copy_(response_mask)\n"),
    Mutant("advantage/token_weights.py", "int(response_mask.count_nonzero())", "response_mask.numel()"),
    Mutant("advantage/token_weights.py", "np.count_nonzero(mask[rows, columns])", "mask[rows, columns].size"),
    Mutant("advantage/token_weights.py", "valid * (1 - 1 / size)", "valid / size"),
    Mutant("advantage/token_weights.py", "1 - saved / tokens if tokens else 0.0", "1 - saved / max(1, tokens)"),
    Mutant("advantage/token_weights.py", "group.cpu()[sets.order]", "group.cpu()"),
    Mutant("advantage/token_weights.py", "return_counts=True)[1] > 1", "return_counts=True)[1] > 0"),
    Mutant(
        "advantage/token_weights.py", "with_sets = len(group[sets.steps[:, 0]].unique())", "with_sets = len(sets.steps)"
    ),
    Mutant("advantage/token_weights.py", "(sets.copies > 1).sum()", "(sets.copies - 1).clamp(min=0).sum()"),
    Mutant("advantage/token_weights.py", "max(1, len(sets.order))", "len(sets.copies)"),
)
