"""Plausible mistakes in `losses`, in what registers them and in what checks them, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "losses/__init__.py": ("losses/test_figures.py",),
    "losses/drpo.py": ("losses/test_drpo.py", "losses/test_gradients.py"),
    "losses/drpo_outside.py": ("losses/test_drpo_outside.py", "losses/test_gradients.py"),
    "losses/importance.py": ("losses/test_importance.py", "losses/test_gradients.py"),
    "losses/spo.py": ("losses/test_spo.py", "losses/test_gradients.py"),
    "losses/study.py": ("losses/test_study.py", "losses/test_page.py"),
    "verl_plugin/reduction.py": ("verl_plugin/test_reduction.py", "verl_plugin/test_policy_losses.py"),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    Mutant("losses/importance.py", "LARGEST_LOG_RATIO = 20.0", "LARGEST_LOG_RATIO = 80.0"),
    Mutant("losses/importance.py", "(wide(log_prob) - old_log_prob)", "(old_log_prob - wide(log_prob))"),
    Mutant("losses/importance.py", ".clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)", ".clamp(max=LARGEST_LOG_RATIO)"),
    Mutant(
        "losses/importance.py",
        "torch.exp(old_log_prob) * excess",
        "torch.exp(wide(log_prob)) - torch.exp(old_log_prob)",
    ),
    Mutant("losses/importance.py", "excess = torch.expm1(log_ratio)", "excess = torch.exp(log_ratio) - 1"),
    Mutant("losses/importance.py", "advantages > 0, torch", "advantages < 0, torch"),
    Mutant("losses/importance.py", "advantages > 0, torch", "advantages >= 0, torch"),
    Mutant("losses/importance.py", "torch.promote_types(values.dtype, torch.float32)", "values.dtype"),
    Mutant("losses/drpo.py", "advantages.abs() / (2 * delta)", "advantages.abs() / delta"),
    Mutant("losses/drpo.py", "advantages.abs() / (2 * delta)", "advantages / (2 * delta)"),
    Mutant("losses/drpo.py", "advantages.abs() / (2 * delta)", "1 / (2 * delta)"),
    Mutant("losses/drpo.py", "(gap * excess)", "excess.square()"),
    Mutant("losses/drpo.py", "(gap * excess)", "gap.square()"),
    Mutant("losses/drpo.py", "-advantages * ratio + ", "advantages * ratio + "),
    Mutant("losses/drpo.py", "return 1 - torch.sign(", "return 1 + torch.sign("),
    Mutant("losses/drpo.py", "torch.sign(wide(advantages)) * gap", "torch.sign(wide(advantages)) * gap.abs()"),
    Mutant("losses/spo.py", "excess.square()", "excess.abs()"),
    Mutant("losses/spo.py", "/ (2 * epsilon) * excess", "/ (2 * epsilon) * ratio * excess"),
    Mutant("losses/spo.py", "torch.sign(wide(advantages)) * excess", "wide(advantages) * excess"),
    Mutant("losses/drpo_outside.py", "gap.abs() > delta", "gap.abs() >= delta"),
    Mutant("losses/drpo_outside.py", "gap.abs() > delta", "gap > delta"),
    Mutant("losses/drpo_outside.py", "gap.abs() > delta", "gap.abs() < delta"),
    Mutant("losses/figures.py", "outside = distance > radius(", "outside = distance < radius("),
    Mutant("losses/figures.py", "(weight - 1).abs()", "weight - 1"),
    Mutant("losses/figures.py", "(weight < 0)", "(weight < 1)"),
    Mutant("losses/figures.py", '"drpo/ratio/max": ratio', '"drpo/ratio/max": ratio - 1'),
    Mutant("losses/figures.py", '"drpo/ratio/max": ratio', '"drpo/ratio/largest": ratio'),
    Mutant("losses/__init__.py", "config.clip_ratio if low is None else low", "low"),
    Mutant(
        "losses/__init__.py", "low, high = config.clip_ratio_low, config", "high, low = config.clip_ratio_low, config"
    ),
    Mutant(
        "losses/__init__.py", "_of_region(drpo_outside, drpo_outside_weight)", "_of_region(drpo_outside, drpo_weight)"
    ),
    Mutant("losses/study.py", "return (mu * values).sum(-1).mean().item()", "return values.double().mean().item()"),
    Mutant("losses/study.py", "mean(distance > delta)", "mean(distance > 0.2)"),
    Mutant("losses/study.py", "(logits - LEARNING_RATE * gradient)", "(logits + LEARNING_RATE * gradient)"),
    # in verl
    Mutant("verl_plugin/policy_losses.py", "per_token * zero_where_masked(rollout_is_weights, valid)", "per_token"),
    Mutant("verl_plugin/policy_losses.py", "zero_where_masked(rollout_is_weights, valid)", "rollout_is_weights"),
    Mutant("verl_plugin/policy_losses.py", "loss_mask=response_mask", "loss_mask=response_mask.new_ones(())"),
    Mutant("verl_plugin/policy_losses.py", "[zero_where_masked(tensor, valid) for", "[tensor for"),
    Mutant("verl_plugin/policy_losses.py", 'counted.get("dp_size", 1)', "1"),
    Mutant(
        "verl_plugin/policy_losses.py", "largest(values, valid) for", "token_mean(values, valid, tokens, ranks) for"
    ),
    Mutant("verl_plugin/policy_losses.py", "{**host(plain, aggregation), **ready}", "host(plain, aggregation)"),
    Mutant("verl_plugin/reduction.py", "total / tokens * ranks", "total / tokens"),
    Mutant("verl_plugin/reduction.py", "zero_where_masked(values, valid).sum(", "(values * valid).sum("),
    Mutant("verl_plugin/reduction.py", "zero_where_masked(values, valid).max()", "values.max()"),
    Mutant("verl_plugin/reduction.py", "aggregation=AggregationType.MAX", "aggregation=AggregationType.MEAN"),
    # before Ray starts
    Mutant("preflight/losses.py", "or not value > 0:", "or not value >= 0:"),
    Mutant("preflight/losses.py", "or not value > 0:", "or value <= 0:"),
    Mutant("preflight/losses.py", "and not config.actor_rollout_ref.rollout.calculate_log_probs:", "and False:"),
    Mutant("preflight/losses.py", "if not anchors_on_engine(config):", "if False:"),
    Mutant("preflight/losses.py", "actor.clip_ratio_c < LEAST_TRUNCATION", "actor.clip_ratio_c <= LEAST_TRUNCATION"),
    Mutant("preflight/losses.py", "not in (_CLIP_RATIO, low, high)", "not in (low, high)"),
    Mutant("preflight/losses.py", "        yield from contract.misfits()\n", ""),
)
