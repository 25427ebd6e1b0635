"""The model that is sampled from: its tokenizer, its identity, and the reward function that grades it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from frpo_verl.offline.prompts import Prompts, sha256
from frpo_verl.preflight import inputs, model_folder


def tokenizer(model: str) -> tuple[Any, list[str]]:
    """Loads a model's tokenizer; returns a sentence where there is none."""
    from transformers import AutoTokenizer

    where, folder = f"--model {model}", Path(model).expanduser()
    local = folder.exists() or model_folder.is_path(model)
    if local and not (folder / "config.json").is_file():
        return None, [f"{where}: there is no such folder with a config.json; give the folder of a Hugging Face model"]
    return model_folder.tokenizer(lambda: AutoTokenizer.from_pretrained(str(folder) if local else model), where)


def encoded(
    tokenizer: Any, prompts: Prompts, template: dict[str, Any], where: str
) -> tuple[list[list[int]], list[str]]:
    """Tokenizes prompts as the sampler does; returns a sentence where the chat template does not take one."""
    from frpo_verl.trainers import sampling

    found = []
    for row, origin in zip(prompts.rows(), prompts.origin, strict=True):
        try:
            found.append(sampling.prompt_ids(tokenizer, row["prompt"], **template))
        # a template raises what its author wrote
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            return [], [
                f"{where}, row {origin}: the model's chat template cannot be applied ({reason}); correct the prompt"
            ]
    return found, []


def too_short(model: str, wanted: int) -> Iterator[str]:
    """Yields where a prompt and a response may be longer than the model's positions."""
    said = model_folder.description(model)
    scaled = said.get("rope_scaling") or (said.get("rope_parameters") or {}).get("rope_type", "default") != "default"
    most = said.get("max_position_embeddings")
    if most is not None and not scaled and wanted > most:
        yield f"--max-tokens: with the longest prompt {wanted} tokens, and {model} has {most} positions; lower it"


def weights(model: str) -> str | None:
    """Hashes the weights of a local model, so that another checkpoint in the same folder is another model."""
    files = sorted(Path(model).expanduser().glob("*.safetensors"))
    if not files:
        return None
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()


def reward_parts(reward: str | None) -> tuple[str | None, str]:
    """Divides FILE.py[:NAME] or pkg://module[:NAME] into path and name."""
    path, colon, name = (reward or "").rpartition(":")
    return (path, name) if colon and name.isidentifier() else (reward, "compute_score")


def reward_identity(reward: str | None) -> dict[str, Any]:
    """Names a reward function: path, name and, of a file or module, the hash of what it says."""
    path, name = reward_parts(reward)
    if path is None:
        return {"function": "verl.utils.reward_score.default_compute_score", "sha256": None}
    if path.startswith("pkg://"):
        spec = inputs.spec_of(path.removeprefix("pkg://").replace("/", "."))
        file = Path(spec.origin) if spec and spec.origin else None
    else:
        file = Path(path.removeprefix("file://"))
    return {"function": f"{path}:{name}", "sha256": sha256(file) if file and file.is_file() else None}


def reward_function(reward: str | None) -> tuple[Callable | None, list[str]]:
    """Loads a reward function as verl's trainers do; returns a sentence where it cannot be loaded."""
    from omegaconf import OmegaConf

    from frpo_verl.trainers import validation

    path, name = reward_parts(reward)
    where = f"--reward {reward}"
    if path and not path.startswith("pkg://") and not Path(path.removeprefix("file://")).is_file():
        return None, [f"{where}: there is no such file; correct the path, or name a module by pkg://"]
    config = OmegaConf.create({"reward": {"custom_reward_function": {"path": path, "name": name}}})
    return validation.loaded(config, where)
