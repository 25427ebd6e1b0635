"""Samples a model by vLLM and grades what it says; both go on where they were stopped."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frpo_verl.offline.errors import OfflineError
from frpo_verl.offline.groups import Group, Response
from frpo_verl.offline.prompts import Prompts
from frpo_verl.offline.request import Request
from frpo_verl.offline.work import Work
from frpo_verl.trainers import sampler, sampling, validation


def sample(request: Request, prompts: Prompts, work: Work) -> None:
    """Samples the prompts that have no responses yet, on every GPU at once.

    Args:
        request: model and settings.
        prompts: to sample from.
        work: gets the responses.

    Raises:
        OfflineError: vLLM failed; what was sampled is kept.
    """
    from pyarrow import parquet

    done = work.places()
    rows = [row for row in range(prompts.table.num_rows) if row not in done]
    if not rows:
        return
    parquet.write_table(prompts.table.select(["prompt"]), work.folder / "prompts.parquet")
    each = request.vllm.get("tensor_parallel_size", 1)
    parts = min(max(1, sampler.gpus() // each), len(rows))
    specs = [_spec(request, work.folder, part, rows[part::parts]) for part in range(parts)]
    devices = [sampler.visible(part * each, each) if sampler.gpus() else {} for part in range(parts)]
    written = Written([Path(spec.out) for spec in specs])
    with _bar("sampling", prompts.table.num_rows, len(done)) as bar:
        try:
            sampler.run_all(specs, devices, lambda: bar.update(written.more()))
        except RuntimeError as error:
            raise OfflineError(f"{error}\nfrpo-verl: what was sampled is kept in {work.folder}") from None
    work.places()


class Written:
    """Counts the lines that files get after this was made."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._ends = {}
        for file in files:
            sampling.mend(file)
            self._ends[file] = file.stat().st_size

    def more(self) -> int:
        """Returns how many lines have come since the last call."""
        lines = 0
        for path, end in self._ends.items():
            with path.open("rb") as file:
                file.seek(end)
                new = file.read()
            lines += new.count(b"\n")
            self._ends[path] = end + len(new)
        return lines


def grade(reward: Callable, where: str, prompts: Prompts, work: Work) -> None:
    """Grades the responses that have no score yet.

    Args:
        reward: as in `validation.grade`.
        where: how a sentence names it.
        prompts: what was sampled from.
        work: has the responses, and gets the scores.

    Raises:
        OfflineError: the function raised, or its score is not a finite number; samples and scores are kept.
    """
    sampling.mend(work.scores)
    there, rows = {line["row"] for line in sampling.read(work.scores)}, prompts.rows()
    to_do = [row for row in range(len(rows)) if row not in there]
    with _bar("grading", len(rows), len(there)) as bar, work.scores.open("a", encoding="utf-8") as scores:
        for line in work.lines(to_do):
            row = line["row"]
            place = f"{where}, row {prompts.origin[row]} of the prompts"
            found = [_graded(reward, place, rows[row], text) for text in line["responses"]]
            said = {name: [each[name] for each in found] for name in ("score", "pred")}
            scores.write(json.dumps({"row": row, "scores": said["score"], "preds": said["pred"]}) + "\n")
            scores.flush()
            bar.update()


def groups(work: Work) -> Iterator[Group]:
    """Yields what was sampled and graded, in the order of the prompts."""
    scores = sampling.read(work.scores)
    has_preds = any(pred is not None for scored in scores for pred in scored["preds"])
    for line, scored in zip(work.lines(score["row"] for score in scores), scores, strict=True):
        preds = [pred or "" if has_preds else None for pred in scored["preds"]]
        said = zip(line["responses"], scored["scores"], line["response_ids"], line["log_probs"], preds, strict=True)
        responses = [Response(text, score, ids, log_probs, pred=pred) for text, score, ids, log_probs, pred in said]
        yield Group(line["row"], responses, line["prompt_ids"])


def _graded(reward: Callable, where: str, row: dict[str, Any], text: str) -> dict[str, Any]:
    """Returns the score, and the answer that the function found, if it says `pred`."""
    at = f"{where}, response {text[:40]!r}"
    fix = "correct it and run the same command again, which keeps the samples"
    try:
        said = validation.grade(reward, row, text)
    # whatever the user's function raises
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise OfflineError(f"{at}: it raised {reason}; {fix}") from error
    if not math.isfinite(said["score"]):
        raise OfflineError(f"{at}: its score is {said['score']}; {fix}")
    return {"score": said["score"], "pred": None if said.get("pred") is None else str(said["pred"])}


def _spec(request: Request, folder: Path, part: int, rows: list[int]) -> sampling.Spec:
    return sampling.Spec(
        model=str(Path(request.model).expanduser()) if Path(request.model).expanduser().exists() else request.model,
        prompts=str(folder / "prompts.parquet"),
        out=str(folder / f"part-{part}.jsonl"),
        rows=rows,
        engine=({"enforce_eager": True} if sampler.is_on_cpu() else {}) | request.vllm,
        template=request.template,
        **request.sampling,
    )


def _bar(name: str, total: int, done: int) -> Any:
    from tqdm import tqdm

    # a log gets a line now and then
    often = 0.1 if sys.stderr.isatty() else 30
    return tqdm(desc=name, total=total, initial=done, unit=" prompts", mininterval=often, maxinterval=often)
