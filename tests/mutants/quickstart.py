"""Plausible mistakes in `quickstart`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    # what is trained and what is held out
    Mutant("quickstart/task.py", "tuple(problems[HELD_OUT:])", "tuple(problems)"),
    Mutant("quickstart/task.py", "order.sample(problems, len(problems))", "order.choices(problems, k=len(problems))"),
    Mutant("quickstart/warm_up.py", "labels[row, len(prompt) : end]", "labels[row, len(prompt) : end - 1]"),
    Mutant("quickstart/warm_up.py", "return -losses.sum(-1)", "return -losses.mean(-1)"),
    Mutant("quickstart/warm_up.py", ".mean() < START_ACCURACY", ".mean() > START_ACCURACY"),
    # the reward
    Mutant("quickstart/reward.py", "numbers[-1]", "numbers[0]"),
    Mutant("quickstart/reward.py", "(?:(?<![0-9])-)?", "-?"),
    # a run and its end
    Mutant("quickstart/run.py", "in_session or process.environ().get(MARK) == run.mark", "in_session"),
    Mutant("quickstart/run.py", 'if (directory / "metrics.jsonl").exists():', "if False:"),
    Mutant("quickstart/command.py", "return status or 1", "return status"),
    Mutant("quickstart/progress.py", "if step.step == 1:", "if step.step == 2:"),
    Mutant("quickstart/atomic_folder.py", "return all((folder", "return any((folder"),
    Mutant("quickstart/atomic_folder.py", "write(scratch)", "write(destination)"),
)
