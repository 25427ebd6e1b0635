"""Goes from the command line to the table: what can be computed is, and all that cannot is said at the end."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl import __version__
from frpo_verl.eval import output, reading, sampling
from frpo_verl.eval.errors import EvalError
from frpo_verl.eval.measured import Asked, Estimate, measure
from frpo_verl.eval.output import Result
from frpo_verl.eval.problem import Problem, Samples, of_source
from frpo_verl.eval.reading import Kept, Unit
from frpo_verl.eval.sources import DUMPS, MODEL, Source, recognise, steps_of
from frpo_verl.offline import request
from frpo_verl.offline.errors import OfflineError

Seeds = list[tuple[str, Samples]]
"""The samples of each source, by the source's word."""


class Said(NamedTuple):
    """Collects sentences: problems, which kept something from being computed, and remarks."""

    problems: list[str]
    remarks: list[str]


def evaluate(options: argparse.Namespace) -> int:
    """Evaluates; returns the exit status."""
    named = [recognise(word) for word in options.sources]
    sources = [source for source in named if isinstance(source, Source)]
    said = Said([sentence for sentence in named if isinstance(sentence, str)], [])
    said.problems.extend([*sampling.problems(options, sources), *_unfit(options, sources)])
    if said.problems:
        return _refused(said.problems)
    kept = Kept(_folder(options), {"score_key": options.score_key, "version": __version__})
    results: list[Result] = []
    for step, units in _units(options, sources, said):
        results += _results(options, step, _read(options, units, kept, said), said)
    _write(options, results, said)
    if said.problems:
        return _refused(said.problems)
    kept.remove()
    return 0


def _unfit(options: argparse.Namespace, sources: Sequence[Source]) -> Iterator[str]:
    known: dict[Path, str] = {}
    for source in sources:
        if (place := source.path.resolve()) in known:
            yield f"{source.word}: it is the same as {known[place]}, and would count as another seed; leave it out"
        known[place] = source.word
    if not any(source.kind == DUMPS for source in sources):
        if options.steps is not None:
            yield "--steps: no source has dumps of steps; leave it out"
        if options.score_key != "score":
            yield "--score-key: no source has dumps with other fields; leave it out"
    elif options.steps is not None:
        try:
            request.steps(options.steps)
        except ValueError:
            yield f"--steps {options.steps}: it is not of the form A:B; write for instance 100:200"
    asked = {name: file.expanduser() for name in ("json", "csv") if (file := getattr(options, name)) is not None}
    for name, file in asked.items():
        if not file.parent.is_dir():
            yield f"--{name} {file}: there is no such folder; make it"
        elif file.is_dir():
            yield f"--{name} {file}: it is a folder; name a file in it"
    if len(asked) == 2 and len({file.resolve() for file in asked.values()}) == 1:
        yield f"--json and --csv are both {options.csv}; name two files"


def _units(
    options: argparse.Namespace, sources: Sequence[Source], said: Said
) -> Iterator[tuple[int | None, list[Unit]]]:
    """Yields the files of each step, a file for each seed; those of models when they are sampled."""
    of_steps = [source for source in sources if source.kind == DUMPS]
    chosen = steps_of(of_steps, None if options.steps is None else request.steps(options.steps))
    said.problems.extend(chosen.problems)
    said.remarks.extend(chosen.remarks)
    for step, having in chosen.steps.items():
        yield step, [Unit(source, step, source.dumps[step]) for source in having]
    files = [file for source in sources if source.kind != DUMPS if (file := _file(options, source, said))]
    if files:
        yield None, [Unit(source, None, source.path) for source in files]


def _file(options: argparse.Namespace, source: Source, said: Said) -> Source | None:
    from frpo_verl.offline import making

    try:
        return sampling.sampled(options, source) if source.kind == MODEL else source
    except making.Unfit as error:
        said.problems.extend(error.problems)
    except (EvalError, OfflineError, OSError) as error:
        said.problems.append(str(error))
    return None


def _read(options: argparse.Namespace, units: Sequence[Unit], kept: Kept, said: Said) -> Seeds:
    seeds = []
    for unit in units:
        found = reading.read(unit, options.score_key, options.reference, kept)
        said.problems.extend(found.problems)
        said.remarks.extend(found.remarks)
        if found.samples is not None:
            seeds.append((unit.source.word, found.samples))
    return seeds


def _results(options: argparse.Namespace, step: int | None, seeds: Seeds, said: Said) -> Iterator[Result]:
    """Yields a result for each data source; for each seed alone where these were asked something else."""
    if len({frozenset(samples.problems) for _, samples in seeds}) > 1:
        counts = "; ".join(f"{word} {len(samples.problems)}" for word, samples in seeds)
        at = "" if step is None else f"step {step}: "
        said.problems.append(
            f"{at}the sources do not have the same problems ({counts}), so they are not seeds of one method; "
            "each is shown alone"
        )
        for seed in seeds:
            yield from _results(options, step, [seed], said)
        return
    if not seeds:
        return
    for data_source, first in of_source(seeds[0][1]):
        each = [{key: samples.problems[key] for key in first} for _, samples in seeds]
        counts, estimates = _estimates(options, seeds, each, said)
        yield Result(step, data_source, [word for word, _ in seeds], len(first), counts, estimates)


def _estimates(
    options: argparse.Namespace, seeds: Seeds, each: list[dict[str, Problem]], said: Said
) -> tuple[tuple[int, int], list[Estimate]]:
    """Returns how many samples problems have, at least and at most, and the estimates."""
    every = [problem for of_seed in each for problem in of_seed.values()]
    fewest, most = (choose(every, key=lambda problem: len(problem.scores)) for choose in (min, max))
    n, greatest = len(fewest.scores), len(most.scores)
    if n < greatest:
        said.remarks.append(f"{fewest.place}: this problem has {n} samples, and others up to {greatest}; is all there?")
    for k in options.k or ():
        if k > n:
            said.problems.append(f"--k {k}: a problem has {n} samples ({fewest.place}); draw more, or lower k")
    asked = Asked(
        ks=[k for k in options.k or default(n) if k <= n],
        correct_at=options.correct_at,
        votes=all(samples.voted for _, samples in seeds),
        log_probs=all(samples.has_log_probs for _, samples in seeds),
        reference=all(samples.has_reference for _, samples in seeds),
    )
    with reading.bar("computing", len(every), " problems") as computing:
        return (n, greatest), measure(each, asked, computing.update)


def default(n: int) -> list[int]:
    """Returns 1, 4, 16, … and n."""
    return sorted({4**power for power in range(n) if 4**power < n} | {n})


def _write(options: argparse.Namespace, results: Sequence[Result], said: Said) -> None:
    remarks = list(dict.fromkeys(said.remarks))
    about: dict[str, Any] = {"frpo_verl": __version__, "sources": options.sources, "reference": options.reference}
    about |= {"correct_at": options.correct_at, "score_key": options.score_key}
    about |= {"problems": said.problems, "remarks": remarks}
    if results:
        print(output.table(results))
    for remark in remarks:
        print(f"frpo-verl: {remark}", file=sys.stderr)
    try:
        if options.json is not None:
            output.write_json(options.json.expanduser(), results, about)
        if options.csv is not None:
            output.write_csv(options.csv.expanduser(), results)
    except OSError as error:
        said.problems.append(f"{error.filename}: it cannot be written ({error.strerror}); give another file")


def _folder(options: argparse.Namespace) -> Path | None:
    file = options.json or options.csv
    # a pipe or a device has nothing beside it
    if file is None or (file.exists() and not file.is_file()):
        return None
    return file.expanduser().with_name(f"{file.name}.work")


def _refused(problems: Sequence[str]) -> int:
    from frpo_verl.preflight.sentences import as_text

    print(f"frpo-verl: {as_text([], list(problems))}", file=sys.stderr)
    return 1
