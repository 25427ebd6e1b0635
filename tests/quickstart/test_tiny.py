import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from frpo_verl.quickstart import task, tiny, warm_up


@pytest.fixture(scope="session")
def tokenizer():
    return tiny.make_tokenizer()


@pytest.fixture(scope="session")
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def prompt_of(tokenizer, problem):
    return tokenizer.apply_chat_template(task.messages(problem), add_generation_prompt=True, tokenize=False)


def test_thousands_of_random_strings_survive_the_round_trip(tokenizer):
    draw = random.Random(0)
    alphabet = "abcXYZ 0123456789+-*/=().,!?'\n\t \r naïve中文🙂Ġ▁"
    for _ in range(3_000):
        text = "".join(draw.choices(alphabet, k=draw.randint(0, 60)))
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_newline_and_every_digit_are_one_token_each(tokenizer):
    assert len(tokenizer.encode("\n")) == 1
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("2024")) == ["2", "0", "2", "4"]


def test_the_special_tokens_are_distinct_and_read_as_one_token(tokenizer):
    special = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert len(set(special)) == 3
    assert tuple(tokenizer.encode(tiny.PAD + tiny.START + tiny.END)) == special


def test_the_vocabulary_splits_over_tensor_parallel_ranks(tokenizer):
    assert len(tokenizer) % 8 == 0


def test_the_tokenizer_is_the_same_each_time(tokenizer):
    assert tiny.make_tokenizer().backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_the_template_closes_each_turn_and_opens_the_assistants(tokenizer):
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    closed = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
    assert tokenizer.apply_chat_template(chat, tokenize=False) == closed
    opened = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert opened == closed + "<|im_start|>assistant\n"


def test_prompts_fit_in_64_tokens_and_answers_in_8(tokenizer):
    for problem in sum(task.split(), ()):
        assert len(tokenizer.encode(prompt_of(tokenizer, problem))) < 64
        assert len(tokenizer.encode(problem.answer + tiny.END)) <= 8


def test_the_initial_weights_depend_on_the_seed_alone_and_leave_the_callers_generator_alone(tokenizer):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (tiny.make_model(tokenizer, seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_warm_up_sees_train_problems_only(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(warm_up, "learn", lambda model, examples, seed: seen.append(examples))
    monkeypatch.setattr(warm_up, "blur", lambda model, examples: seen.append(examples))
    folder = tiny.build(tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    split = task.split()
    assert len(seen) == 2
    for examples in seen:
        texts = tokenizer.batch_decode(examples.input_ids)
        assert len(texts) == len(split.train)
        assert not [problem for problem in split.held_out if any(problem.question in text for text in texts)]


def test_a_warm_up_that_fails_says_so_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_up, "_MAX_STEPS", 1)
    with pytest.raises(RuntimeError, match="0.8 in 1 steps with seed 3"):
        tiny.build(tmp_path / "tiny", seed=3)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_model_has_the_vocabulary_of_its_tokenizer_and_float32_weights(tiny_model, model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.slow
def test_a_second_build_changes_nothing(tiny_model):
    before = {path.name: path.stat().st_mtime_ns for path in tiny_model.iterdir()}
    assert tiny.build(tiny_model, seed=9) == tiny_model
    assert {path.name: path.stat().st_mtime_ns for path in tiny_model.iterdir()} == before
