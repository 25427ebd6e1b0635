"""Plausible mistakes in `verl_plugin`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "verl_plugin/checkpoint.py": ("verl_plugin/test_control.py",),
    "verl_plugin/estimator.py": (
        "verl_plugin/test_estimator.py",
        "verl_plugin/test_every_estimator.py",
        "verl_plugin/test_token_weights.py",
        "verl_plugin/test_sampled.py",
    ),
    "verl_plugin/figures.py": ("verl_plugin/test_figures.py", "verl_plugin/test_estimator.py"),
    "verl_plugin/hooks.py": (
        "verl_plugin/test_hooks.py",
        "verl_plugin/test_run.py",
        "verl_plugin/test_update.py",
    ),
    "verl_plugin/note.py": ("verl_plugin/test_worker.py", "verl_plugin/test_update.py"),
    "verl_plugin/outcome.py": ("verl_plugin/test_outcome.py", "verl_plugin/test_estimator.py"),
    "verl_plugin/term.py": ("verl_plugin/test_estimator.py", "verl_plugin/test_sampled.py"),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # the mode in verl: any estimator, current policy
    Mutant("verl_plugin/estimator.py", "    if in_workers:\n", "    if False:\n"),
    Mutant("verl_plugin/estimator.py", "int((done.sums.tokens > 0).sum())", "len(done.advantages)"),
    Mutant("verl_plugin/estimator.py", "of_responses.to(advantages.dtype)[:, None].expand(mask.shape)", "advantages"),
    Mutant("verl_plugin/estimator.py", "term.spread(advantages, mask) if", "advantages[:, None].expand(mask.shape) if"),
    Mutant("verl_plugin/estimator.py", "run.outbox.put(seen, _noted(data, told))", "run.outbox.put(seen)"),
    Mutant("verl_plugin/estimator.py", "seen | of_term", "of_term"),
    Mutant("verl_plugin/estimator.py", "weigh is not None or this", "weigh is None and this"),
    # the weight belongs to the reward's part alone
    Mutant(
        "verl_plugin/estimator.py",
        "_written(data, advantages, of_responses)",
        "_written(data, advantages if weigh is None else advantages * weights, of_responses)",
    ),
    Mutant("verl_plugin/figures.py", "done.sums.tokens[slots // mask.shape[1]] > 0", "slots >= 0"),
    Mutant("verl_plugin/term.py", "if is_centred and key in named", 'if is_centred and key == "uid"'),
    Mutant("verl_plugin/estimator.py", "_nested.reset(token)", "pass"),
    Mutant("verl_plugin/estimator.py", "nested: Callable = _as_it_is", "nested: Callable | None = None"),
    Mutant("verl_plugin/outcome.py", "mask[~is_valid].any(-1)", "False"),
    Mutant("verl_plugin/outcome.py", "stable=True", "stable=False, descending=True"),
    Mutant("verl_plugin/outcome.py", "if size > 1 else of.new_zeros(())", ""),
    Mutant("verl_plugin/outcome.py", "outcome[:, None] * data.batch", "outcome[:, None] + 0 * data.batch"),
    Mutant("verl_plugin/worker.py", "advantages - beta * reg", "advantages + beta * reg"),
    Mutant(
        "verl_plugin/worker.py",
        'log_prob - _exact(padded["ref_log_prob"])',
        'log_prob - _exact(padded["old_log_probs"])',
    ),
    Mutant("verl_plugin/worker.py", "data = data.copy()", "data = data"),
    Mutant("verl_plugin/worker.py", ", max_seqlen=longest", ""),
    # seams
    Mutant("verl_plugin/token_weights.py", "torch.where(valid, outcome", "torch.where(weights > -1, outcome"),
    Mutant("verl_plugin/token_weights.py", "(prompt.tobytes() for", "(b'' for"),
    Mutant("verl_plugin/token_weights.py", "[row[there] for", "[row for"),
    Mutant(
        "verl_plugin/token_weights.py",
        "tokens.present & torch.from_numpy(valid.numpy().any(-1, keepdims=True))",
        "tokens.present",
    ),
    Mutant("verl_plugin/token_weights.py", "torch.arange(ids.shape[1]) < ", "torch.arange(ids.shape[1]) <= "),
    Mutant("verl_plugin/token_weights.py", "valid.numpy() > tokens", "tokens.present.numpy() > tokens"),
    Mutant("verl_plugin/token_weights.py", "elif queue.has_kl_loss:", "else:"),
    Mutant("verl_plugin/token_weights.py", "FIELD, weights, tokens.present.sum(-1)", "FIELD, weights, counted.sum(-1)"),
    Mutant("verl_plugin/token_weights.py", "_queue.reset(token)", "pass"),
    Mutant("verl_plugin/kl_loss.py", 'FIELD = "frpo_token_weights"', 'FIELD = "token_weights"'),
    Mutant("verl_plugin/kl_loss.py", "penalty * here.values.to(penalty.dtype)", "penalty"),
    Mutant("verl_plugin/kl_loss.py", "here.used = True", "pass"),
    Mutant("verl_plugin/kl_loss.py", "if here.used:", "if True:"),
    Mutant("verl_plugin/kl_loss.py", "_weights.reset(token)", "pass"),
    Mutant("verl_plugin/kl_loss.py", "sent is not None and FIELD in sent and", ""),
    Mutant("verl_plugin/update.py", "_drop(batch, kl_loss.FIELD)", "pass"),
    Mutant("verl_plugin/update.py", "kl_loss.require_acknowledgement(sent, figures)", "pass"),
    # what the run asks for was done
    Mutant("verl_plugin/update.py", 'method_name.endswith("update_actor")', 'method_name == "update_actor"'),
    Mutant("verl_plugin/update.py", "_told(batch) or waiting", "_told(batch)"),
    Mutant("verl_plugin/update.py", "run.outbox.take_note()", "run.outbox._note"),
    Mutant("verl_plugin/update.py", "_tell(batch, told)", "pass"),
    Mutant("verl_plugin/update.py", "note.require(told, asked.algorithm)", "pass"),
    Mutant("verl_plugin/note.py", " and not native.is_left_to_host(estimator)", ""),
    Mutant("verl_plugin/note.py", "done.token_weight != name", "text is None"),
    Mutant("verl_plugin/note.py", "asks and done.generator is None", "asks and text is None"),
    Mutant("verl_plugin/hooks.py", "run.remember(config)", "pass"),
    Mutant("verl_plugin/estimator.py", "_asked() if given is None else given", "given"),
    # what was sampled
    Mutant("verl_plugin/sampled.py", "done.batch[FIELD] = before", 'done.batch[FIELD] = done.batch["response_mask"]'),
    Mutant("verl_plugin/sampled.py", 'if rollout_corr_config.get("rollout_rs"):', "if True:"),
    Mutant(
        "verl_plugin/sampled.py", 'batch[FIELD] if FIELD in batch else batch["response_mask"]', 'batch["response_mask"]'
    ),
    Mutant(
        "verl_plugin/estimator.py",
        "zero_where_masked(done.advantages, valid) if rejects else",
        "done.advantages if True else",
    ),
    Mutant("verl_plugin/worker.py", "padded.get(sampled.FIELD, valid)", "mask"),
    Mutant("verl_plugin/worker.py", "padded.get(sampled.COUNTED, mask)", "mask"),
    Mutant(
        "verl_plugin/worker.py",
        '_exact(no_padding_2_padding(model_output["log_probs"], data).detach())',
        'no_padding_2_padding(model_output["log_probs"], data).detach()',
    ),
    Mutant("verl_plugin/figures.py", "if is_coarse(done, beta) else None", "if False else None"),
    # the state of a run: settings, coefficient, what waits to be logged, checkpoints
    Mutant("verl_plugin/run.py", "or _current.algorithm == algorithm", ""),
    Mutant("verl_plugin/run.py", "self._figures, self._note = figures, note", "self._figures = figures"),
    Mutant("verl_plugin/run.py", "figures, self._figures = self._figures, {}", "figures = self._figures"),
    Mutant("verl_plugin/run.py", "note, self._note = self._note, None", "note = self._note"),
    Mutant("verl_plugin/note.py", "formed(by_name(name)", "(lambda generator, _: generator)(by_name(name)"),
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
    Mutant("verl_plugin/hooks.py", "metrics.update(run.outbox.take_figures())", "pass"),
    Mutant("verl_plugin/update.py", "note.require_acknowledgement(told, figures)", "pass"),
    Mutant("verl_plugin/hooks.py", "host(config) or settings", "settings"),
    # a cluster's nodes
    Mutant("verl_plugin/ray/node_watch.py", ' and node["NodeID"] in homeless', ""),
    Mutant("verl_plugin/ray/node_check.py", "if found == __version__:", "if isinstance(found, str):"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if is_known"),
    Mutant("verl_plugin/ray/node_check.py", "unfit if answer.has_ranks and is_known", "unfit if answer.has_ranks"),
    Mutant("verl_plugin/ray/node_check.py", "if DRIVERS_VERSION not in os.environ:", "if False:"),
    Mutant("verl_plugin/ray/node_check.py", "raise HostError", "print"),
)
