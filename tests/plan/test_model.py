"""Parameters counted on the meta device, against published sizes and models made for real."""

import json

import pytest

pytest.importorskip("transformers")
from omegaconf import OmegaConf
from plan.published import TINY, TINY_EXPERTS, qwen3
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3MoeConfig

from frpo_verl.plan import model


@pytest.mark.parametrize(("size", "parameters"), [("1.7B", 1.72e9), ("4B", 4.02e9), ("30B-A3B", 30.5e9)])
def test_published_sizes(size, parameters):
    assert model.count(qwen3(size)).parameters == pytest.approx(parameters, rel=2e-3)


def test_what_a_token_does_not_use_is_in_the_experts():
    # Qwen3-30B-A3B: 128 experts, 8 a token, 3.3e9 parameters at work.
    found = model.count(qwen3("30B-A3B"))
    assert found.parameters - found.experts * (1 - 8 / 128) == pytest.approx(3.3e9, rel=0.02)


@pytest.mark.parametrize(
    "config",
    [Qwen3Config(**TINY, tie_word_embeddings=True), Qwen3MoeConfig(**TINY_EXPERTS, tie_word_embeddings=False)],
    ids=lambda config: config.model_type,
)
def test_models_made_for_real(config):
    made, found = AutoModelForCausalLM.from_config(config), model.count(config)
    assert found.parameters == found.trained == sum(parameter.numel() for parameter in made.parameters())
    assert found.vocabulary == made.get_output_embeddings().out_features


@pytest.mark.parametrize("lora", [{"lora_rank": 8}, {"lora": {"rank": 8}}, {"lora_adapter_path": "adapters"}])
def test_with_lora_the_model_itself_is_not_trained(tmp_path, lora):
    config = Qwen3Config(**TINY, tie_word_embeddings=True)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    alone, adapted = (model.read(OmegaConf.create({"path": str(tmp_path), **keys})) for keys in ({}, lora))
    assert alone.is_whole and not adapted.is_whole
    assert (adapted.trained, adapted.parameters) == (0, alone.parameters)


def test_a_model_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(ValueError) as error:
        model.read(OmegaConf.create({"path": "/nowhere/model"}))
    assert str(error.value) == "actor_rollout_ref.model.path=/nowhere/model: there is no such folder; correct the path"
    with pytest.raises(ValueError, match=r"its config\.json cannot be read \(") as error:
        model.read(OmegaConf.create({"path": str(tmp_path)}))
    assert str(error.value).endswith("so no memory is estimated; give a folder that has it")
    assert "\n" not in str(error.value)
