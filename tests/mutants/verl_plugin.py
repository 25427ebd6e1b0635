"""Plausible mistakes in `verl_plugin`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "verl_plugin/estimator.py": ("verl_plugin/test_estimator.py",),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    Mutant("verl_plugin/estimator.py", "if not in_workers:", "if True:"),
    Mutant("verl_plugin/estimator.py", "int((done.sums.tokens > 0).sum())", "len(done.advantages)"),
    Mutant("verl_plugin/estimator.py", "done.sums.tokens[slots // mask.shape[1]] > 0", "slots >= 0"),
    Mutant(
        "verl_plugin/estimator.py", 'batch["returns"] = batch["advantages"] = _spread', 'batch["advantages"] = _spread'
    ),
    # the mode in verl: any estimator, current policy, adaptive coefficient
    Mutant("verl_plugin/estimator.py", 'batch["returns"] = batch["advantages"] =', 'batch["advantages"] ='),
    Mutant("verl_plugin/worker.py", "advantages - told.beta * reg", "advantages + told.beta * reg"),
    Mutant("verl_plugin/worker.py", 'log_prob - padded["ref_log_prob"]', 'log_prob - padded["old_log_probs"]'),
    Mutant("verl_plugin/worker.py", "data = data.copy()", "data = data"),
    Mutant("verl_plugin/worker.py", "values.sum() / tokens * ranks", "values.sum() / tokens"),
    Mutant("verl_plugin/worker.py", ", max_seqlen=longest", ""),
    Mutant("verl_plugin/control.py", "n_steps=responses", "n_steps=1"),
    # a cluster's nodes
    Mutant("verl_plugin/ray/node_watch.py", ' and node["NodeID"] in homeless', ""),
    Mutant("verl_plugin/ray/node_check.py", "if found == __version__:", "if isinstance(found, str):"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if is_known"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if answer.has_ranks"),
    Mutant("verl_plugin/ray/node_check.py", "if DRIVERS_VERSION not in os.environ:", "if False:"),
    Mutant("verl_plugin/ray/node_check.py", "raise HostError", "print"),
)
