"""Parameters counted on the meta device, against published sizes and models made for real."""

import pytest

pytest.importorskip("transformers")
from omegaconf import OmegaConf
from plan.published import TINY, TINY_EXPERTS, qwen3
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config, Qwen3MoeConfig

from frpo_verl.plan import model


@pytest.mark.parametrize(
    ("size", "parameters", "outside_of_embeddings"),
    # As the cards say: total, and without embeddings.
    [("1.7B", 1.72e9, 1.4e9), ("4B", 4.02e9, 3.6e9), ("30B-A3B", 30.5e9, 29.9e9)],
)
def test_published_sizes(size, parameters, outside_of_embeddings):
    found = model.count(qwen3(size))
    assert found.parameters == pytest.approx(parameters, rel=2e-3)
    assert found.parameters - found.embedding - found.head == pytest.approx(outside_of_embeddings, rel=0.01)


def test_what_a_token_does_not_use_is_in_the_experts():
    # Qwen3-30B-A3B: 128 experts, 8 a token, 3.3e9 parameters at work.
    found = model.count(qwen3("30B-A3B"))
    assert found.parameters - found.experts * (1 - 8 / 128) == pytest.approx(3.3e9, rel=0.02)


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**{key: value for key, value in TINY.items() if key != "head_dim"}, tie_word_embeddings=True),
        Qwen3Config(**TINY, tie_word_embeddings=False),
        Qwen3MoeConfig(**TINY_EXPERTS, tie_word_embeddings=False),
    ],
    ids=lambda config: config.model_type,
)
def test_models_made_for_real(config):
    made, found = AutoModelForCausalLM.from_config(config), model.count(config)
    assert found.parameters == sum(parameter.numel() for parameter in made.parameters())
    assert found.in_layers == sum(parameter.numel() for parameter in made.model.layers.parameters())
    assert found.embedding == made.model.embed_tokens.weight.numel()
    assert found.head == (0 if config.tie_word_embeddings else made.lm_head.weight.numel())
    layer = made.model.layers[0]
    assert (found.query, found.key) == (layer.self_attn.q_proj.out_features, layer.self_attn.k_proj.out_features)


def test_adapters_of_lora():
    peft = pytest.importorskip("peft")
    config = Qwen3Config(**TINY, tie_word_embeddings=True)
    made = peft.get_peft_model(
        AutoModelForCausalLM.from_config(config), peft.LoraConfig(r=4, target_modules=["q_proj"])
    )
    trained = sum(parameter.numel() for parameter in made.parameters() if parameter.requires_grad)
    found = model.count(config, 4, OmegaConf.create(["q_proj"]))
    # In every layer, (in + out)·rank.
    assert found.adapters == trained == 4 * (32 + 32) * 4
    assert found.parameters == model.count(config).parameters


@pytest.mark.parametrize("lora", [{"lora_rank": 8}, {"lora": {"rank": 8}}])
def test_the_rank_of_lora_stands_in_either_place(lora):
    assert model.lora_rank(OmegaConf.create(lora)) == 8


def test_a_model_that_cannot_be_had_is_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(model.UnknownModel) as error:
        model.read(OmegaConf.create({"path": "/nowhere/model"}))
    assert str(error.value) == "actor_rollout_ref.model.path=/nowhere/model: there is no such folder; correct the path"
    with pytest.raises(model.UnknownModel, match=r"its config\.json cannot be had here \(") as error:
        model.read(OmegaConf.create({"path": str(tmp_path)}))
    assert str(error.value).endswith("so no memory is estimated; give a folder that has it")
    assert "\n" not in str(error.value)
