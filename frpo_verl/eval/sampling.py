"""Samples models and grades the samples, as `frpo-verl offline-data` does, which keeps all and goes on."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from frpo_verl.eval import checkpoint
from frpo_verl.eval.sources import GRADED, MODEL, Source
from frpo_verl.offline import request

OPTIONS = ("prompts", "reward", "template", "vllm", *request.SAMPLING)
"""Those of `offline.command.add_sampling`."""


def problems(options: argparse.Namespace, sources: Sequence[Source]) -> Iterator[str]:
    """Yields what is wrong with the options of sampling by themselves."""
    models = [source for source in sources if source.kind == MODEL]
    if options.prompts is None and (absent := [source.word for source in models if not source.path.exists()]):
        for word in absent:
            yield f"{word}: there is no such folder; correct the path, or give --prompts if it is a model of the hub"
        return
    if models:
        yield from request.problems(_namespace(options, "MODEL", Path("samples.parquet")))
        n = request.SAMPLING["n"] if options.n is None else options.n
        yield from (f"--k {k}: --n is {n}; draw more, or lower k" for k in options.k or () if k > n)
        return
    for name in OPTIONS:
        if getattr(options, name) is not None:
            yield f"--{name.replace('_', '-')}: nothing is sampled, since no source is a model; leave it out"


def sampled(options: argparse.Namespace, source: Source) -> Source:
    """Samples a model into a parquet file of graded responses in `options.samples`, or finds what is there.

    Args:
        options: of the command line.
        source: of the kind MODEL.

    Returns:
        The file.

    Raises:
        EvalError: verl's merger failed.
        OfflineError: sampling or grading failed; what is there is kept.
        making.Unfit: the inputs have problems.
    """
    from frpo_verl.offline import making

    folder = Path(options.samples)
    folder.mkdir(parents=True, exist_ok=True)
    model = checkpoint.model_of(source, folder)
    out = folder / f"{checkpoint.name_of(source)}.parquet"
    making.make(request.of(_namespace(options, model, out)))
    return Source(source.word, GRADED, out)


def _namespace(options: argparse.Namespace, model: str, out: Path) -> argparse.Namespace:
    given = {name: getattr(options, name) for name in OPTIONS}
    # pass@k counts every sample and every prompt
    kept = {"duplicates": "keep", "no_signal": "keep", "responses": None, "rollouts": None, "steps": None}
    return argparse.Namespace(out=str(out), model=model, **given, **kept)
