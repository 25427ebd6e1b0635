"""Does a test notice? Every line of `MUTANTS` is a plausible mistake in the mathematics; each must turn the tests red.

`python tests/mutants.py` makes copies of the package with one mistake each and runs the core's tests on them, after the
same tests were green on a copy without a mistake. A mutant that survives, or whose text is no longer in the code, ends
it with an error. `--only TEXT` runs those whose name contains TEXT.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("advantage", "divergences", "test_masking.py", "test_rows.py")
FIRST = {
    "advantage/compiled.py": ("advantage/test_batch.py", "advantage/test_future.py"),
    "divergences/parts.py": ("divergences/test_catalogue.py",),
    "checks.py": ("advantage/test_future.py", "advantage/test_groups.py"),
    "verl_plugin/estimator.py": ("verl_plugin/test_estimator.py",),
    "rewards/shapes.py": ("rewards/test_answers.py",),
    "rewards/spelling.py": ("rewards/test_answers.py",),
    "rewards/units.py": ("rewards/test_answers.py",),
    "rewards/algebra.py": ("rewards/test_answers.py",),
    "rewards/worker.py": ("rewards/test_pool.py",),
    "rewards/verdict.py": ("rewards/test_math.py",),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""


class Mutant(NamedTuple):
    """One mistake: in `file` of the package, the only place where `right` stands says `wrong`."""

    file: str
    right: str
    wrong: str


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
    Mutant("advantage/frpo.py", "outcome: Outcome = normalise_by_group", "outcome: Outcome = centre_by_group"),
    Mutant("advantage/frpo.py", "generator: Generator = REVERSE_KL", "generator: Generator = REVERSE_KL_K3"),
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
    Mutant("advantage/steps.py", "(ends & mask) | _last(mask)", "ends & mask"),
    Mutant("advantage/steps.py", "ended - (ends & mask).long()", "ended"),
    Mutant(
        "advantage/steps.py",
        "mask.cumsum(-1) % step_length == 0",
        "(mask.cumsum(-1) + 1) % step_length == 0",
    ),
    Mutant("advantage/steps.py", "response_mask.bool() & (responses == separator)", "responses == separator"),
    Mutant("advantage/shuffled.py", "torch.where(mask, draw, 2.0)", "draw"),
    # divergences
    Mutant("divergences/parts.py", "torch.expm1(-delta) + delta", "torch.exp(-delta) + delta - 1"),
    Mutant("divergences/parts.py", "return -torch.expm1(-rising(delta))", "return torch.expm1(-rising(delta))"),
    Mutant("divergences/parts.py", "return delta.square() / 2 + delta", "return delta.square() / 2 - delta"),
    Mutant("divergences/parts.py", "return -delta * torch.exp(-delta)", "return delta * torch.exp(-delta)"),
    Mutant("divergences/parts.py", "return delta - torch.expm1(-delta)", "return delta + torch.expm1(-delta)"),
    Mutant(
        "divergences/parts.py",
        "torch.exp(-delta) * of_reference + of_policy",
        "torch.exp(-delta) * of_policy + of_reference",
    ),
    Mutant(
        "divergences/parts.py",
        "return log_of_mean_ratios(rising(delta))[1] / 2",
        "return log_of_mean_ratios(rising(delta))[0] / 2",
    ),
    Mutant("divergences/parts.py", "-torch.expm1(-2 * rising(delta, growth=2.0))", "-torch.expm1(-2 * rising(delta))"),
    Mutant(
        "divergences/parts.py",
        "return 2 * torch.expm1(saturated(delta))",
        "return torch.expm1(2 * saturated(delta))",
    ),
    Mutant("divergences/parts.py", "return torch.sign(delta) / 2", "return -torch.sign(delta) / 2"),
    Mutant("divergences/catalogue.py", "if order < 0.5:", "if order < 2.0:"),
    Mutant(
        "divergences/catalogue.py",
        "FORWARD_KL_K3 if order > 0.5 else REVERSE_KL_K3",
        "REVERSE_KL_K3 if order > 0.5 else FORWARD_KL_K3",
    ),
    Mutant("divergences/catalogue.py", "growth = max(1.0, abs(order))", "growth = 1.0"),
    Mutant("divergences/generator.py", "value.detach() + gradient + slope", "value.detach() - gradient + slope"),
    Mutant("divergences/generator.py", "value.detach() + gradient + slope", "value.detach() + gradient - slope"),
    Mutant(
        "advantage/groups.py",
        "scores.dtype, torch.float32), scores.double()",
        "scores.dtype, torch.float32), scores.float()",
    ),
    Mutant("checks.py", "offsets[-1] != len(tensor.values())", "False"),
    Mutant("divergences/forms.py", "local=generator.future,", "local=generator.local,"),
    Mutant("divergences/forms.py", "future=lambda delta: generator.future(clipped(delta))", "future=generator.future"),
    # base
    Mutant("masking.py", "mask.sum().clamp(min=1)", "mask.numel()"),
    Mutant(
        "masking.py",
        "torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))",
        "values * mask",
    ),
    Mutant(
        "rows.py", "parts[row].copy_(computed[: sizes[row]])", "parts[members[0]].copy_(computed[: sizes[members[0]]])"
    ),
    Mutant("rows.py", "result[rows] = block", "result[: len(block)] = block"),
    Mutant("checks.py", "int(bad[0][1][0])", "int(bad[0][1][-1])"),
    # figures
    Mutant("advantage/diagnostics.py", "off = old - new", "off = new - old"),
    Mutant("advantage/diagnostics.py", "old * new < 0", "old * new <= 0"),
    Mutant("advantage/diagnostics.py", "(count - 1) * PARTS", "count * PARTS - 1"),
    Mutant("advantage/diagnostics.py", "off, minlength=PARTS) / counts", "off, minlength=PARTS)"),
    Mutant("advantage/diagnostics.py", "variances[1] / sum(variances)", "variances[0] / sum(variances)"),
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
    Mutant("verl_plugin/variants.py", 'variant.step_value == "start"', 'variant.step_value == "end"'),
    Mutant("verl_plugin/variants.py", "if variant.discount == 1 else", "if variant.discount else"),
    # Megatron on the CPU
    Mutant("verl_plugin/cpu/megatron/attention.py", "is_causal=True", "is_causal=False"),
    Mutant("verl_plugin/cpu/megatron/attention.py", ">= torch.arange(length)", "> torch.arange(length)"),
    Mutant("verl_plugin/cpu/megatron/attention.py", "chunks[2 * size - 1 - rank]", "chunks[size + rank]"),
    Mutant("verl_plugin/cpu/megatron/attention.py", "key, value = key[order], value[order]", "pass"),
    Mutant(
        "verl_plugin/cpu/megatron/attention.py",
        "torch.distributed.all_reduce(gradient, group=ctx.group)",
        "pass",
    ),
    Mutant("verl_plugin/cpu/megatron/redirection.py", "elif _contexts == 0:", "else:"),
    Mutant("verl_plugin/cpu/megatron/redirection.py", 'kwargs = {**kwargs, "device": _CPU}', "pass"),
    # the memory that a run expects
    Mutant("plan/fsdp.py", "states=2 * trained * in_memory", "states=trained * in_memory"),
    Mutant("plan/fsdp.py", "layer + unit if model.head", "2 * unit if model.head"),
    Mutant("plan/megatron.py", "ranks / stages / of_experts", "ranks / tensor / stages / of_experts"),
    Mutant("plan/megatron.py", "a_micro_batch * (stages - 1)", "a_micro_batch * stages"),
    Mutant("plan/activations.py", "(2 + how.scaled + 4 * how.entropy)", "(1 + how.scaled + 4 * how.entropy)"),
    # rewards: what counts as an answer, and as the same one
    Mutant("rewards/box.py", "text.rfind(_COMMAND, 0, at)", "text.find(_COMMAND, 0, at)"),
    Mutant("rewards/box.py", "if depth == 0:", "if depth <= 1:"),
    Mutant("rewards/box.py", r'r"\\.|[{}]"', 'r"[{}]"'),
    Mutant("rewards/answers.py", "gold.brackets == answer.brackets", "True"),
    Mutant("rewards/answers.py", "    if len(gold) != len(answer):\n        return False\n    left", "    left"),
    Mutant("rewards/answers.py", "        del left[found]\n", ""),
    Mutant(
        "rewards/answers.py", "return _based(gold) == _based(answer)", "return _based(gold)[0] == _based(answer)[0]"
    ),
    Mutant("rewards/answers.py", "    if units.clash(gold.unit, answer.unit):\n        return False\n", ""),
    Mutant(
        "rewards/answers.py", "return word.casefold() == said.casefold()", "return word.casefold() in said.casefold()"
    ),
    Mutant("rewards/answers.py", "text)) for text in (right, said))", "text)) for text in (right, right))"),
    Mutant("rewards/answers.py", "or _COMPUTES.search(bare) ", ""),
    Mutant("rewards/answers.py", " or len(set(letters)) == len(letters)", ""),
    Mutant("rewards/answers.py", "_may_be_per_cent(gold, answer) and ", ""),
    Mutant("rewards/answers.py", "(10 ** len(period) - 1)", "10 ** len(period)"),
    Mutant("rewards/answers.py", "all(_same_one(last, step, same_value) for step in steps) and ", ""),
    Mutant("rewards/answers.py", "set(_QUESTION.findall(answer)) - set(_QUESTION.findall(gold))", "None"),
    Mutant("rewards/shapes.py", '_with_signs(text, "-", "+")', '_with_signs(text, "+", "-")'),
    Mutant("rewards/spelling.py", "if not text.isascii() or not text.isprintable():", "if not text.isprintable():"),
    Mutant("rewards/units.py", 'and _may_be_unit(said["words"])', ""),
    Mutant("rewards/algebra.py", 'extraction_mode="first_match"', 'extraction_mode="any_match"'),
    Mutant("rewards/algebra.py", "    if _another_curve(*read):\n        return False\n", ""),
    Mutant("rewards/algebra.py", "sympy.Rational(str(decimal))", "decimal"),
    Mutant("rewards/algebra.py", "_in_radians(_capitals_apart(text))", "_in_radians(text)"),
    Mutant("rewards/worker.py", "            _limit_memory(int(memory))\n", ""),
    Mutant("rewards/pool.py", "range(2):\n            self._wait", "range(1):\n            self._wait"),
    Mutant("rewards/pool.py", 'return verdict if about == number else ""', "return verdict"),
    Mutant("rewards/pool.py", "            self._ready = line == worker.READY", "            self._ready = bool(line)"),
    Mutant("rewards/worker.py", "        if any(current):\n", "        if status:\n"),
    Mutant("rewards/worker.py", "    os.dup2(nowhere, descriptor)\n", ""),
    Mutant("rewards/verdict.py", "score = float(bool(right))", "score = float(right is not False)"),
    # a cluster's nodes
    Mutant("verl_plugin/node_watch.py", ' and node["NodeID"] in homeless', ""),
    Mutant(
        "verl_plugin/megatron_layout.py", "expert_tensor_parallel_size or tensor", "expert_tensor_parallel_size or 1"
    ),
    Mutant("verl_plugin/cluster.py", "if found == __version__:", "if isinstance(found, str):"),
    Mutant("verl_plugin/cluster.py", "unfit if answer.has_ranks and is_known", "unfit if is_known"),
    Mutant("verl_plugin/cluster.py", "unfit if answer.has_ranks and is_known", "unfit if answer.has_ranks"),
    Mutant("verl_plugin/cluster.py", "if DRIVERS_VERSION not in os.environ:", "if False:"),
    Mutant("verl_plugin/cluster.py", "raise HostError", "print"),
    Mutant(
        "verl_plugin/megatron_layout.py", "if ranks % (tensor * pipeline * context):", "if ranks % (tensor * pipeline):"
    ),
    Mutant("verl_plugin/megatron_layout.py", "ranks // pipeline % (expert", "ranks % (expert"),
    Mutant("verl_plugin/layout.py", "value < least", "value <= least"),
    Mutant("verl_plugin/layout.py", "tokens * sequence_parallel(actor)[1]", "tokens"),
    Mutant("verl_plugin/layout.py", "gpus % server", "server % gpus"),
    Mutant("verl_plugin/layout.py", "heads % parts", "parts % heads"),
)


def places(mutant: Mutant) -> int:
    """How often the text to be changed stands in its file; anything but 1 means that the mutant is out of date."""
    return (ROOT / "frpo_verl" / mutant.file).read_text().count(mutant.right)


def copy_of_the_package(directory: Path, mutant: Mutant | None) -> Path:
    """The package under `directory`, with the mistake."""
    shutil.copytree(ROOT / "frpo_verl", directory / "frpo_verl", ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        file = directory / "frpo_verl" / mutant.file
        file.write_text(file.read_text().replace(mutant.right, mutant.wrong))
    return directory


def red(mutant: Mutant | None) -> bool:
    """Runs the tests on a copy, in a process of their own that has torch and pytest already; True when one fails."""
    with tempfile.TemporaryDirectory() as directory:
        package = copy_of_the_package(Path(directory), mutant)
        child = os.fork()
        if child == 0:
            sys.path.insert(0, str(package))
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            import pytest

            os._exit(pytest.main([*_arguments(mutant), *_order(mutant)]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # 2 to 5 are runs that were interrupted or did not start: no verdict. A negative status is a crash: noticed.
    if status > 1:
        raise RuntimeError(f"pytest ended with {status} on {mutant}")
    return status != 0


def _arguments(mutant: Mutant | None) -> list[str]:
    stop = [] if mutant is None else ["-x"]
    return [
        *stop,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore",
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
    ]


def _order(mutant: Mutant | None) -> Iterator[str]:
    """The test files where the mistake should show first, then all others."""
    files = [path for name in TESTS for path in sorted((ROOT / "tests" / name).rglob("test_*.py"))]
    files += [ROOT / "tests" / name for name in TESTS if name.endswith(".py")]
    if mutant is not None:
        path = Path(mutant.file)
        first = FIRST.get(mutant.file, (str(path.parent / f"test_{path.name}"),))
        files = [ROOT / "tests" / name for name in first] + files
    return (str(path) for path in dict.fromkeys(files))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    # Imported once and forked from then on: most of a test run's time is importing these.
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    stale = [mutant for mutant in MUTANTS if places(mutant) != 1]
    for mutant in stale:
        print(f"{mutant.file}: {mutant.right!r} stands there {places(mutant)} times, not once", file=sys.stderr)
    if stale:
        return 1
    chosen = [mutant for mutant in MUTANTS if options.only in f"{mutant.file}: {mutant.right}"]
    survivors = []
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        # The run without a mistake takes longest and goes first, beside the others.
        results = pool.imap(red, [None, *chosen])
        if next(results):
            print("the tests are red without any mistake", file=sys.stderr)
            return 1
        for mutant, killed in zip(chosen, results, strict=True):
            if not killed:
                survivors.append(mutant)
                print(f"survived: {mutant.file}: {mutant.right!r} -> {mutant.wrong!r}", file=sys.stderr, flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
