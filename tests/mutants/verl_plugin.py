"""Plausible mistakes in `verl_plugin`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "verl_plugin/estimator.py": ("verl_plugin/test_estimator.py",),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # the mode in verl: any estimator, current policy, adaptive coefficient
    Mutant("verl_plugin/estimator.py", "before - beta * reg", "before + beta * reg"),
    Mutant("verl_plugin/estimator.py", "done.before if in_workers else done.after", "done.after"),
    Mutant("verl_plugin/estimator.py", 'batch["returns"] = done.before', 'batch["returns"] = done.after'),
    Mutant("verl_plugin/estimator.py", "int((lengths > 0).sum())", "len(lengths)"),
    Mutant("verl_plugin/worker.py", "advantages - told.beta * reg", "advantages + told.beta * reg"),
    Mutant("verl_plugin/worker.py", 'log_prob - padded["ref_log_prob"]', 'log_prob - padded["old_log_probs"]'),
    Mutant("verl_plugin/worker.py", "data = data.copy()", "data = data"),
    Mutant("verl_plugin/estimator.py", "torch.randperm(len(mask), generator=chance)", "torch.arange(0, len(mask), 10)"),
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
