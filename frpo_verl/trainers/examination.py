"""Says everything that is wrong with a run before it starts: settings, engine, models, and what the files hold."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from packaging.version import Version

from frpo_verl.preflight import contract, contract_table, environment, model_folder
from frpo_verl.preflight.errors import HostError
from frpo_verl.trainers import graded as graded_data
from frpo_verl.trainers import resumed, sampling, validation
from frpo_verl.trainers import settings as fpa_settings
from frpo_verl.trainers.graded import Graded
from frpo_verl.trainers.settings import Settings


class Found(NamedTuple):
    """Holds what was found, a sentence each; `graded` is None where there are problems."""

    settings: Settings | None
    graded: Graded | None
    problems: list[str]
    summary: str


def examine(config: Any, ranks: int) -> Found:
    """Checks a configuration, and reads the files that it names.

    Args:
        config: the whole configuration.
        ranks: how many processes the run will have.

    Returns:
        All problems at once, or what to train on.
    """
    problems = [*_host(), *fpa_settings.problems(config.fpa)]
    settings = None if list(fpa_settings.problems(config.fpa)) else fpa_settings.read(config.fpa)
    of_validation = list(_validation(config, ranks))
    problems += [*_engine(config, ranks), *_cpu(config), *of_validation, *resumed.problems(config)]
    of_model = list(_models(config, settings))
    graded = tokenizer = None
    if not of_model:
        tokenizer, of_model = _tokenizer(config)
    if tokenizer is not None:
        files = graded_data.listed(config.data.train_files)
        graded, of_model = graded_data.read(files, tokenizer, config.data.max_length)
        of_model += _longest(config, tokenizer) if not of_validation else ()
        of_model += _items(config, settings, graded) if graded and settings else ()
    problems += of_model
    summary = "" if problems else _summary(settings, graded)
    return Found(settings, None if problems else graded, problems, summary)


def dataset(config: Any, settings: Settings, graded: Graded) -> Any:
    """Makes what steps are drawn from."""
    from frpo_verl.trainers import offline_data

    if settings.is_pairwise:
        found = offline_data.pairs(graded, config.data.pairs_per_prompt, config.data.seed)
        return offline_data.Pairs(graded, found)
    advantage = offline_data.ADVANTAGES[settings.advantage]
    return offline_data.Responses(graded, advantage(graded.scores, graded.prompt_of(), settings.threshold))


def _host() -> Iterator[str]:
    """Yields where the installed verl is not the one that this trainer is for."""
    if Version(contract.verl_version()) < Version(contract_table.OFFLINE):
        yield f"verl {contract.verl_version()}: this trainer is for verl {contract_table.OFFLINE}; install that"
        return
    for name in contract_table.OF_TRAINERS:
        try:
            contract.require(importlib.import_module(name))
        except (HostError, ImportError) as error:
            yield str(error)


def _engine(config: Any, ranks: int) -> Iterator[str]:
    """Yields what the engine cannot do with two models, or with this batch."""
    engine, data = config.engine, config.data
    if config.model.get("use_fused_kernels"):
        yield "model.use_fused_kernels=True: fused kernels keep no logits, which FPA needs; set it to False"
    if (stages := engine.get("pipeline_model_parallel_size") or 1) > 1:
        yield (
            f"engine.pipeline_model_parallel_size={stages}: the reference runs within a step of the policy, which no "
            "pipeline schedule has room for; use tensor, context or data parallelism"
        )
    if data.pad_mode != "no_padding":
        yield f"data.pad_mode={data.pad_mode}: verl's engines take no_padding; set that"
    split = [engine.get(f"{name}_parallel_size") or 1 for name in ("tensor_model", "context", "ulysses_sequence")]
    replicas = ranks // int(np.prod(split))
    if replicas < 1 or ranks % int(np.prod(split)):
        yield f"engine.*_parallel_size: {ranks} ranks do not divide into parts of {int(np.prod(split))}"
    elif data.train_batch_size % replicas:
        yield (
            f"data.train_batch_size={data.train_batch_size}: it does not divide by the {replicas} data-parallel ranks; "
            f"set it to a multiple of {replicas}"
        )
    elif not data.use_dynamic_bsz and (data.train_batch_size // replicas) % data.micro_batch_size_per_gpu:
        yield (
            f"data.micro_batch_size_per_gpu={data.micro_batch_size_per_gpu}: it does not divide a rank's part of the "
            f"batch, {data.train_batch_size // replicas}; set it to a divisor"
        )


def _cpu(config: Any) -> Iterator[str]:
    """Yields what has one working value without a GPU."""
    from omegaconf import OmegaConf

    # Megatron's section has no strategy.
    if not environment.is_on_cpu() or "strategy" not in config.engine:
        return
    wanted = {
        "engine.strategy": ("fsdp2", "VERL_PLATFORM=cpu has FSDP2 and Megatron"),
        "model.use_remove_padding": (False, "packed sequences need flash-attn, which has no CPU build"),
        "model.override_config.attn_implementation": ("sdpa", "flash-attn has no CPU build"),
    }
    for key, (value, reason) in wanted.items():
        if OmegaConf.select(config, key) != value:
            yield f"{key}={OmegaConf.select(config, key)}: {reason}; set {key}={value}"


def _validation(config: Any, ranks: int) -> Iterator[str]:
    files = graded_data.listed(config.data.val_files)
    if not files:
        return
    if len(files) > 1:
        yield f"data.val_files: it names {len(files)} files; validation reads one"
    if ranks % (server := config.validation.tensor_model_parallel_size):
        yield (
            f"validation.tensor_model_parallel_size={server}: {ranks} ranks do not divide into servers of so many; "
            "set it to a divisor"
        )
    from pyarrow import ArrowException, parquet

    where = f"data.val_files={files[0]}"
    if not Path(files[0]).is_file():
        yield f"{where}: there is no such file; correct the path, or make it, for instance by `frpo-verl data`"
        return
    try:
        names = parquet.read_schema(files[0]).names
    except (ArrowException, OSError) as error:
        yield f"{where}: not a valid parquet file ({' '.join(str(error).split())}); make it again"
        return
    path = config.reward.custom_reward_function.path
    if missing := [name for name in ("prompt", "data_source", "reward_model") if name not in names]:
        there = ", ".join(names)
        yield f"{where}: it has no column {', '.join(missing)}, only {there}; `frpo-verl data` makes such files"
    elif path and not path.startswith("pkg://") and not Path(path.removeprefix("file://")).is_file():
        yield f"reward.custom_reward_function.path={path}: there is no such file; correct the path"
    else:
        yield from _reward(config, files[0], where)


def _longest(config: Any, tokenizer: Any) -> Iterator[str]:
    """Yields where a prompt of validation is longer than its limit, which would end the first validation."""
    from pyarrow import parquet

    most, template = config.validation.max_prompt_length, config.data.get("apply_chat_template_kwargs", {})
    for file in graded_data.listed(config.data.val_files):
        prompts = parquet.read_table(file, columns=["prompt"])["prompt"].to_pylist()
        longest = max(len(sampling.prompt_ids(tokenizer, prompt, **template)) for prompt in prompts)
        if longest > most:
            yield f"validation.max_prompt_length={most}: {file} has a prompt of {longest} tokens; raise it"


def _reward(config: Any, file: str, where: str) -> Iterator[str]:
    """Yields what the reward function says of validation's prompts, before anything is sampled for it."""
    from pyarrow import parquet

    reward, problems = validation.loaded(config, "reward.custom_reward_function")
    yield from problems
    if reward is None:
        return
    names = [name for name in parquet.read_schema(file).names if name != "prompt"]
    for said in validation.unfit(reward, parquet.read_table(file, columns=names).to_pylist()):
        yield f"{where}: its reward: {said}; set reward.custom_reward_function.path to a function that grades it"


def _tokenizer(config: Any) -> tuple[Any, list[str]]:
    from verl.utils import hf_tokenizer

    key = "model.tokenizer_path" if config.model.get("tokenizer_path") else "model.path"
    path = config.model.get("tokenizer_path") or config.model.path
    trusted = config.model.get("trust_remote_code", False)
    return model_folder.tokenizer(lambda: hf_tokenizer(path, trust_remote_code=trusted), f"{key}={path}")


def _models(config: Any, settings: Settings | None) -> Iterator[str]:
    paths = {"model.path": config.model.path}
    if settings is not None and settings.reference_path is not None:
        paths["fpa.reference_path"] = settings.reference_path
    sizes = {}
    for key, path in paths.items():
        if model_folder.is_path(path) and not (Path(path).expanduser() / "config.json").is_file():
            yield f"{key}={path}: there is no such folder with a config.json; give the folder of a Hugging Face model"
        elif not model_folder.is_readable(path):
            yield f"{key}={path}: the folder's config.json is not a JSON object; download or save the model again"
        sizes[key] = model_folder.description(path).get("vocab_size")
    if None not in sizes.values() and len(set(sizes.values())) > 1:
        yield (
            f"fpa.reference_path={settings.reference_path}: it has a vocabulary of {sizes['fpa.reference_path']} and "
            f"model.path one of {sizes['model.path']}; take a reference with the policy's tokenizer and head"
        )


def _items(config: Any, settings: Settings, graded: Graded) -> Iterator[str]:
    found, data = dataset(config, settings, graded), config.data
    if settings.is_pairwise and not len(found):
        yield (
            f"fpa.loss={settings.loss}: it compares a better with a worse response, and data.train_files have no "
            "prompt with two different scores; use fpa.loss=outcome, or sample more responses of each prompt"
        )
    elif not len(found):
        yield (
            f"fpa.advantage={settings.advantage}: data.train_files have no prompt with two different scores, so that "
            "no response has an advantage; set fpa.advantage=signed, or sample more responses of each prompt"
        )
    elif len(found) < data.train_batch_size:
        kind = "pairs" if settings.is_pairwise else "responses with an advantage"
        more = ", raise data.pairs_per_prompt" if settings.is_pairwise else ""
        yield (
            f"data.train_batch_size={data.train_batch_size}: data.train_files make {len(found)} {kind}; lower "
            f"it{more}, or give more responses"
        )
    if settings.loss == "outcome" and settings.advantage == "signed" and max(graded.scores) <= settings.threshold:
        yield (
            f"fpa.threshold={settings.threshold:g}: no response scores more, {max(graded.scores):g} at most, so that "
            "none is right; lower it"
        )
    if data.use_dynamic_bsz and len(found):
        rows = [sum(len(row["input_ids"]) for row in item) for item in found]
        if max(rows) > data.max_token_len_per_gpu:
            yield (
                f"data.max_token_len_per_gpu={data.max_token_len_per_gpu}: a micro-batch must hold the longest "
                f"{'pair' if settings.is_pairwise else 'response'} with its prompt, {max(rows)} tokens; raise it"
            )


def _summary(settings: Settings, graded: Graded) -> str:
    prompts = np.diff(graded.first)
    flat = sum(len(set(graded.scores[a:b])) == 1 for a, b in zip(graded.first, graded.first[1:], strict=False))
    ahead = f"weights of the future policy, lambda {settings.lam:g}" if settings.lam else "without FPA (lambda 0)"
    return (
        f"{settings.loss}, {ahead}: {len(graded.scores)} responses to {len(prompts)} prompts, {flat} of them with one "
        "score for all"
    )
