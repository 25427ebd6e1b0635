"""Plausible mistakes in `verl_plugin`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "verl_plugin/checkpoint.py": ("verl_plugin/test_control.py",),
    "verl_plugin/estimator.py": ("verl_plugin/test_estimator.py", "verl_plugin/test_every_estimator.py"),
    "verl_plugin/figures.py": ("verl_plugin/test_estimator.py",),
    "verl_plugin/hooks.py": ("verl_plugin/test_hooks.py", "verl_plugin/test_run.py", "verl_plugin/test_worker.py"),
    "verl_plugin/note.py": ("verl_plugin/test_worker.py",),
    "verl_plugin/outcome.py": ("verl_plugin/test_outcome.py", "verl_plugin/test_estimator.py"),
    "verl_plugin/term.py": ("verl_plugin/test_estimator.py",),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # the mode in verl: any estimator, current policy
    Mutant("verl_plugin/estimator.py", "if not in_workers:", "if True:"),
    Mutant("verl_plugin/estimator.py", "int((done.sums.tokens > 0).sum())", "len(done.advantages)"),
    Mutant("verl_plugin/estimator.py", 'batch["returns"] = batch["advantages"] = _out', 'batch["advantages"] = _out'),
    Mutant("verl_plugin/estimator.py", "if as_advantages:", "if False:"),
    Mutant("verl_plugin/figures.py", "done.sums.tokens[slots // mask.shape[1]] > 0", "slots >= 0"),
    Mutant("verl_plugin/term.py", ' if variant.centring == "group" else None', " if False else None"),
    Mutant("verl_plugin/estimator.py", "_nested.reset(token)", "pass"),
    Mutant("verl_plugin/estimator.py", "nested: Callable = _as_it_is", "nested: Callable | None = None"),
    Mutant("verl_plugin/outcome.py", "mask[~is_valid].any(-1)", "False"),
    Mutant("verl_plugin/outcome.py", "stable=True", "stable=False, descending=True"),
    Mutant("verl_plugin/outcome.py", "if size > 1 else of.new_zeros(())", ""),
    Mutant("verl_plugin/outcome.py", "outcome[:, None] * data.batch", "outcome[:, None] + 0 * data.batch"),
    Mutant("verl_plugin/worker.py", "advantages - told.beta * reg", "advantages + told.beta * reg"),
    Mutant("verl_plugin/worker.py", 'log_prob - padded["ref_log_prob"]', 'log_prob - padded["old_log_probs"]'),
    Mutant("verl_plugin/worker.py", "data = data.copy()", "data = data"),
    Mutant("verl_plugin/worker.py", ", max_seqlen=longest", ""),
    # seams
    Mutant(
        "verl_plugin/token_weights.py",
        "torch.where(mask.bool(), adv",
        "torch.where(mask > -1, adv",
    ),
    Mutant("verl_plugin/token_weights.py", "fetched[name] if name in missing else batch[name]", "batch.get(name)"),
    Mutant("verl_plugin/token_weights.py", "weights.shape != mask.shape or", ""),
    # the state of a run: settings, coefficient, what waits to be logged, checkpoints
    Mutant("verl_plugin/run.py", "or _current.algorithm == algorithm", ""),
    Mutant("verl_plugin/run.py", "self._figures, self._note = figures, note", "self._figures = figures"),
    Mutant("verl_plugin/run.py", "figures, self._figures = self._figures, {}", "figures = self._figures"),
    Mutant("verl_plugin/run.py", "note, self._note = self._note, None", "note = self._note"),
    Mutant("verl_plugin/note.py", "formed(by_name(said", "(lambda generator, _: generator)(by_name(said"),
    Mutant("verl_plugin/note.py", "read(text).beta is not None and", ""),
    Mutant("verl_plugin/control.py", "n_steps=responses", "n_steps=1"),
    Mutant("verl_plugin/control.py", "if self._controller.value <= 0:", "if False:"),
    Mutant("verl_plugin/control.py", "partial.replace(target)", "pass"),
    Mutant("verl_plugin/control.py", "with partial.open", "with target.open"),
    Mutant("verl_plugin/checkpoint.py", "    run.end()\n", ""),
    Mutant("verl_plugin/checkpoint.py", 'of_trainer.resume_mode == "resume_path"', "False"),
    Mutant("verl_plugin/checkpoint.py", "run.of(algorithm).beta.save(folder", "(lambda path: None)(folder"),
    Mutant("verl_plugin/checkpoint.py", "ConnectionError | TimeoutError", "KeyError"),
    Mutant("verl_plugin/checkpoint.py", "if _is_of_writing(error):", "if True:"),
    Mutant("verl_plugin/hooks.py", "metrics.update(_take_figures())", "pass"),
    Mutant("verl_plugin/hooks.py", "note.require_acknowledgement(told, metrics)", "pass"),
    Mutant("verl_plugin/hooks.py", "host(config) or settings", "settings"),
    # a cluster's nodes
    Mutant("verl_plugin/ray/node_watch.py", ' and node["NodeID"] in homeless', ""),
    Mutant("verl_plugin/ray/node_check.py", "if found == __version__:", "if isinstance(found, str):"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if is_known"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if answer.has_ranks"),
    Mutant("verl_plugin/ray/node_check.py", "if DRIVERS_VERSION not in os.environ:", "if False:"),
    Mutant("verl_plugin/ray/node_check.py", "raise HostError", "print"),
)
