"""Plausible mistakes in `preflight`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    Mutant("preflight/methods.py", '"dro": "its', '"of nobody": "its'),
    Mutant("preflight/methods.py", "rollout.n == 1", "rollout.n == 0"),
    Mutant("preflight/methods.py", "settings.asks_for_future(algorithm) and native", "native"),
    Mutant("preflight/methods.py", "if there is not None and", "if False and"),
    Mutant("preflight/megatron_layout.py", "expert_tensor_parallel_size or tensor", "expert_tensor_parallel_size or 1"),
    Mutant(
        "preflight/megatron_layout.py", "if ranks % (tensor * pipeline * context):", "if ranks % (tensor * pipeline):"
    ),
    Mutant("preflight/megatron_layout.py", "ranks // pipeline % (expert", "ranks % (expert"),
    Mutant("preflight/layout.py", "value < least", "value <= least"),
    Mutant("preflight/layout.py", "tokens * sequence_parallel(actor)[1]", "tokens"),
    Mutant("preflight/layout.py", "gpus % server", "server % gpus"),
    Mutant("preflight/layout.py", "heads % parts", "parts % heads"),
    Mutant("preflight/meaning.py", "chosen.beta * kept**warm_up", "chosen.beta * kept"),
    Mutant("preflight/meaning.py", "not chosen.generator.one_sided", "True"),
    Mutant("preflight/estimators.py", "each.default is each.empty and", ""),
    Mutant("preflight/estimators.py", 'not is_v1(config) and "async_training" not in config', "not is_v1(config)"),
    Mutant("preflight/micro_batches.py", "if of_rollout != by_tokens:", "if of_rollout and not by_tokens:"),
    Mutant("preflight/micro_batches.py", "is None and (older is not None or always)", "is None and older is not None"),
    Mutant("preflight/micro_batches.py", "not has_adapters(section.model) and", ""),
    Mutant("preflight/older_reward.py", "if _is_moved(_main(config)):", "if True:"),
    Mutant("preflight/older_reward.py", "config = copy.deepcopy(config)", "config = config"),
    Mutant("preflight/older_reward.py", "elif value is not None:", "else:"),
    Mutant("preflight/layout.py", "// sequence_parallel(section)[1], 1)", ", 1)"),
    Mutant("preflight/layout.py", '"pipeline_model", "context"))', '"pipeline_model"))'),
    Mutant("preflight/model_folder.py", "isinstance(value, int)", "value"),
    # what verl is asked
    Mutant("preflight/rehearsal.py", "ppo_mini_batch_size * n,", "ppo_mini_batch_size,"),
    Mutant("preflight/rehearsal.py", " and not micro_batches.has_adapters(config.actor_rollout_ref.model)", ""),
    Mutant("preflight/rehearsal.py", 'partial(_cut, "batch", batch * n,', 'partial(_cut, "batch", batch,'),
    Mutant("preflight/rehearsal.py", "if layout.pool_gpus(config) or any(", "if any("),
    Mutant("preflight/rehearsal.py", " and not config.reward.custom_reward_function.path", ""),
    Mutant(
        "preflight/first_rows.py",
        "    if not any((folder / name).is_file() for name in _TOKENIZER):\n        return None\n",
        "",
    ),
    Mutant("preflight/first_rows.py", '"max_prompt_length": 2**40', '"max_prompt_length": 2**10'),
    Mutant("preflight/first_rows.py", '{"filter_overlong_prompts": True, ', '{"filter_overlong_prompts": False, '),
    Mutant("preflight/input_files.py", "if problem or not count else", "if problem else"),
    Mutant("preflight/input_files.py", "{} if _has_own_agent_loop(config) else {", "{"),
    # what a run depends on
    Mutant("preflight/cpu.py", 'options.get("num_gpus") or 0) < wanted', 'options.get("num_gpus") or 0) <= wanted'),
    Mutant("preflight/cpu_memory.py", "limit - used + int(", "limit - used - int("),
    Mutant("preflight/machine.py", "if _held_lock is not None or not LOCK.exists():", "if not LOCK.exists():"),
    Mutant("preflight/variants.py", "estimator not in _BY_GROUP", "estimator in _ACROSS_GROUPS"),
    Mutant("preflight/methods.py", "name not in OF_ONE_PROMPT and", "False and"),
    Mutant("preflight/settings.py", 'variant.baseline == "fitted" and beta == 0', "False"),
    Mutant("preflight/settings.py", "or beta < 0:", "or beta <= 0:"),
    Mutant("preflight/settings.py", '.get("kl_coef") != 0', '.get("kl_coef") is not None'),
    Mutant("preflight/variants.py", "and low <= value <= high", "and low < value <= high"),
    Mutant("preflight/variants.py", 'if variant.kl != "current":', "if False:"),
    Mutant("preflight/regulariser.py", "_mini_batches(config) == 1 and not meaning", "not meaning"),
    Mutant("preflight/regulariser.py", " and not meaning.is_stale(config)", ""),
    Mutant("preflight/regulariser.py", " and not losses.anchors_on_engine(config)", ""),
    Mutant("preflight/input_files.py", "rows = min(rows, limit)", "rows = max(rows, limit)"),
)

FIRST = {
    "preflight/cpu_memory.py": ("preflight/test_cpu.py",),
    "preflight/machine.py": ("preflight/test_cpu.py",),
    "preflight/layout.py": ("preflight/test_layout.py", "preflight/test_rehearsal.py"),
    "preflight/input_files.py": ("preflight/test_first_rows.py", "preflight/test_inputs.py"),
}
