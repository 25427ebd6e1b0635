"""Plan on models of every type that transformers knows: an estimate or one sentence, never a traceback."""

import functools
import json

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed
from transformers import CONFIG_MAPPING

from frpo_verl.plan import command, model
from frpo_verl.preflight import examination

pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")

WITH_AN_ESTIMATE = ("gpt2", "mixtral", "gpt_oss", "llama4", "qwen2_5_vl", "qwen3_vl_moe", "deepseek_v3", "mamba", "t5")
WITHOUT = ("clip", "vit")

OF_EXPERTS = ("mixtral", "gpt_oss", "llama4", "qwen3_vl_moe", "deepseek_v3")

# Of the model cards: GPT-2, Mixtral 8x7B and gpt-oss-120b, which are transformers' defaults.
PUBLISHED = {"gpt2": 0.124e9, "mixtral": 46.7e9, "gpt_oss": 116.8e9}


@functools.cache
def command_line(*words):
    return composed([*FRPO, "actor_rollout_ref.actor.use_dynamic_bsz=True", *words])


def planned(folder, *words):
    """Returns the table of memory, the warnings and the problems of a model's folder."""
    config = changed(command_line(*words), f"actor_rollout_ref.model.path={folder}")
    warnings = []
    return command._memory(config, 80, warnings), warnings, examination.examine(config, look_at_machine=False).problems


def is_one_sentence(warnings, folder):
    return (
        len(warnings) == 1
        and warnings[0].startswith(f"actor_rollout_ref.model.path={folder}: ")
        and ("\n" not in warnings[0])
    )


@pytest.mark.parametrize("model_type", WITH_AN_ESTIMATE)
def test_any_model_with_a_vocabulary_has_an_estimate(tmp_path, model_type):
    described = CONFIG_MAPPING[model_type]()
    described.save_pretrained(tmp_path)
    said, warnings, problems = planned(tmp_path)
    assert "  update" in said and problems == []
    assert not any("not estimated" in warning for warning in warnings)
    found = model.count(described)
    assert found.parameters == pytest.approx(PUBLISHED.get(model_type, found.parameters), rel=5e-3)
    assert (found.experts > 0.8 * found.parameters) == (model_type in OF_EXPERTS)


@pytest.mark.parametrize("model_type", WITHOUT)
def test_a_model_without_a_vocabulary_is_one_sentence(tmp_path, model_type):
    CONFIG_MAPPING[model_type]().save_pretrained(tmp_path)
    said, warnings, problems = planned(tmp_path)
    assert said == "Memory per GPU: not estimated, see below"
    assert is_one_sentence(warnings, tmp_path) and f"a model of type {model_type} " in warnings[0]
    assert problems == []


@pytest.mark.parametrize("engine", [(), ("--config-name", "ppo_megatron_trainer")], ids=["fsdp", "megatron"])
@pytest.mark.thorough
def test_every_type_has_an_estimate_or_one_sentence(tmp_path, engine):
    estimated = []
    for model_type in sorted(CONFIG_MAPPING):
        try:
            CONFIG_MAPPING[model_type]().save_pretrained(folder := tmp_path / model_type)
        # Some types have no configuration of their own without arguments.
        except Exception:
            continue
        said, warnings, _ = planned(folder, *engine)
        if "  update" in said:
            estimated.append(model_type)
        else:
            assert is_one_sentence(warnings, folder), (model_type, warnings)
    assert len(estimated) > 150


CODE = """
from transformers import PretrainedConfig, PreTrainedModel
import torch
class Config(PretrainedConfig):
    model_type = "of_my_own"
class Model(PreTrainedModel):
    config_class = Config
    def __init__(self, config):
        super().__init__(config)
        self.embedding = torch.nn.Embedding(10, 4)
        self.head = torch.nn.Linear(4, 10, bias=False)
        self.post_init()
    def get_output_embeddings(self):
        return self.head
"""


@pytest.mark.parametrize(
    ("code", "trusted", "says"),
    [
        (CODE, True, ""),
        (CODE, False, "its config.json cannot be read ("),
        ("import not_installed_here\n" + CODE, True, "its config.json cannot be read (ImportError: "),
        (
            CODE.replace("Embedding(10, 4)", "Embedding(10)"),
            True,
            "a model of type of_my_own without its weights (Type",
        ),
    ],
    ids=["runs", "not trusted", "needs a package", "is wrong"],
)
def test_code_of_the_models_own(tmp_path, monkeypatch, code, trusted, says):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    named = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "of_my_own", "auto_map": named}))
    (tmp_path / "own.py").write_text(code)
    config = changed(
        command_line(),
        f"actor_rollout_ref.model.path={tmp_path}",
        f"actor_rollout_ref.model.trust_remote_code={trusted}",
    )
    warnings = []
    said = command._memory(config, None, warnings)
    if says:
        assert is_one_sentence(warnings, tmp_path) and says in warnings[0]
    else:
        assert "  update" in said and warnings == []
