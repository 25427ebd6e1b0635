"""A model's tokenizer and a reward function, and what is said where there is none."""

import json

import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("verl")

from frpo_verl.offline import model  # noqa: E402
from frpo_verl.offline.prompts import Prompts, sha256  # noqa: E402


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        (None, None, "compute_score"),
        ("r.py", "r.py", "compute_score"),
        ("r.py:grade", "r.py", "grade"),
        ("file:///a/r.py", "file:///a/r.py", "compute_score"),
        ("pkg://a.b", "pkg://a.b", "compute_score"),
        ("pkg://a.b:grade", "pkg://a.b", "grade"),
    ],
)
def test_path_and_name_of_a_reward_function(given, path, name):
    assert model.reward_parts(given) == (path, name)


def test_a_reward_function_is_known_by_what_its_file_says(tmp_path):
    (tmp_path / "r.py").write_text("def compute_score(**asked):\n    return 1\n")
    found = model.reward_identity(f"{tmp_path}/r.py")
    assert found == {"function": f"{tmp_path}/r.py:compute_score", "sha256": sha256(tmp_path / "r.py")}
    assert model.reward_identity("pkg://frpo_verl.rewards.math")["sha256"] is not None
    assert model.reward_identity(None)["sha256"] is None
    reward, problems = model.reward_function(f"{tmp_path}/r.py")
    assert problems == [] and reward() == 1


def test_without_one_verls_own_grades():
    reward, problems = model.reward_function(None)
    assert problems == [] and reward("openai/gsm8k", "#### 3", "3") == 1.0


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("import nothing_like_it", "compute_score", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1", "compute_score", "AttributeError"),
    ],
)
def test_a_function_that_cannot_be_loaded(tmp_path, text, name, said):
    (tmp_path / "r.py").write_text(text)
    _, (problem,) = model.reward_function(f"{tmp_path}/r.py:{name}")
    assert f"--reward {tmp_path}/r.py:{name}: it cannot be loaded ({said}" in problem
    assert "it cannot be loaded" in model.reward_function("pkg://nothing.like.it")[1][0]
    assert model.reward_identity("pkg://nothing.like.it")["sha256"] is None


def test_a_folder_without_a_model(tmp_path):
    assert "there is no such folder with a config.json" in model.tokenizer(str(tmp_path / "none"))[1][0]
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    # of which transformers makes a tokenizer without a word
    assert model.tokenizer(str(tmp_path)) == (
        None,
        [f"--model {tmp_path}: its folder has no files of a tokenizer; put them there"],
    )
    (tmp_path / "tokenizer.json").write_text("no")
    found, (problem,) = model.tokenizer(str(tmp_path))
    assert found is None and f"--model {tmp_path}: its tokenizer cannot be loaded (" in problem


def test_a_template_that_takes_no_such_prompt():
    class Picky:
        def __call__(self, text):
            return {"input_ids": [len(text)]}

        def apply_chat_template(self, *_, **more):
            raise ValueError("no system\nmessages")

    asked = Prompts(pa.table({"prompt": ["a", "bc"]}), [0, 3], 0)
    assert model.encoded(Picky(), asked, {}, "x") == ([[1], [2]], [])
    chats = Prompts(pa.table({"prompt": [[{"role": "user", "content": "a"}]]}), [3], 0)
    said = "x, row 3: the model's chat template cannot be applied (no system messages); correct the prompt"
    assert model.encoded(Picky(), chats, {}, "x") == ([], [said])


def test_more_tokens_than_positions(tmp_path):
    def said(**config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return list(model.too_short(str(tmp_path), 9))

    (problem,) = said(max_position_embeddings=8)
    assert problem == f"--max-tokens: with the longest prompt 9 tokens, and {tmp_path} has 8 positions; lower it"
    assert said(max_position_embeddings=8, rope_parameters={"rope_type": "default"}) == [problem]
    assert said(max_position_embeddings=9) == said() == []
    # vLLM knows what these models are stretched to
    assert said(max_position_embeddings=8, rope_scaling={"type": "yarn"}) == []
    assert said(max_position_embeddings=8, rope_parameters={"rope_type": "yarn"}) == []


def test_weights_are_known_by_their_names_and_content(tmp_path):
    assert model.weights("owner/name") is None
    (tmp_path / "a.safetensors").write_text("1")
    first = model.weights(str(tmp_path))
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    second = model.weights(str(tmp_path))
    (tmp_path / "b.safetensors").write_text("2")
    assert len({first, second, model.weights(str(tmp_path))}) == 3
