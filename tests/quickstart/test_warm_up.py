"""The warm-up: what is learned, and how much of it shows when the model is sampled."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from frpo_verl.quickstart import task, tiny, warm_up


@pytest.fixture(scope="session")
def tokenizer():
    return tiny.make_tokenizer()


@pytest.fixture(scope="session")
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def prompt_of(tokenizer, problem):
    return tokenizer.apply_chat_template(task.messages(problem), add_generation_prompt=True, tokenize=False)


def test_only_the_answer_and_its_end_are_learned(tokenizer):
    examples = warm_up.encode(tokenizer, [task.Problem("2 - 12 =", "-10"), task.Problem("1 + 1 =", "2")])
    learned = [tokenizer.decode(labels[labels >= 0]) for labels in examples.labels]
    assert learned == ["-10" + tiny.END, "2" + tiny.END]
    assert torch.equal(examples.input_ids[examples.labels >= 0], examples.labels[examples.labels >= 0])


def test_the_answer_probability_is_the_product_of_its_tokens_probabilities(tokenizer):
    model = tiny.make_model(tokenizer)
    problem = task.split().train[0]
    prefix, expected = tokenizer.encode(prompt_of(tokenizer, problem)), 1.0
    for token in tokenizer.encode(problem.answer + tiny.END):
        with torch.no_grad():
            expected *= model(torch.tensor([prefix])).logits[0, -1].softmax(-1)[token].item()
        prefix.append(token)
    examples = warm_up.encode(tokenizer, [problem, task.Problem("a much longer question than the others", "-10")])
    assert warm_up.answer_probabilities(model, examples)[0].item() == pytest.approx(expected, rel=1e-4)


def test_a_blurred_model_starts_at_the_wanted_accuracy(monkeypatch):
    # A model whose accuracy is the scale of its norm.
    norm = SimpleNamespace(weight=torch.nn.Parameter(torch.tensor([0.9, 0.9])))
    model = SimpleNamespace(model=SimpleNamespace(norm=norm))
    monkeypatch.setattr(warm_up, "answer_probabilities", lambda model, examples: model.model.norm.weight.data)
    warm_up.blur(model, warm_up.Examples(torch.empty(0), torch.empty(0)))
    assert norm.weight.mean().item() == pytest.approx(warm_up.START_ACCURACY, abs=1e-3)


@pytest.mark.slow
def test_the_model_solves_some_train_problems_and_most_groups_of_eight_hold_a_success(tokenizer, model):
    examples = warm_up.encode(tokenizer, task.split().train)
    right = warm_up.answer_probabilities(model, examples)
    assert right.mean() == pytest.approx(warm_up.START_ACCURACY, abs=0.01)
    assert 0.60 <= (1 - (1 - right) ** 8).mean() <= 0.90


@pytest.mark.slow
def test_the_model_knows_more_than_its_samples_show(tokenizer, model):
    prompts = [prompt_of(tokenizer, problem) for problem in task.split().train]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    output = model.generate(**batch, do_sample=False, max_new_tokens=8)
    completions = tokenizer.batch_decode(output[:, batch.input_ids.shape[1] :])
    pairs = zip(completions, task.split().train, strict=True)
    right = [text.startswith(problem.answer + tiny.END) for text, problem in pairs]
    assert sum(right) / len(right) > 2 * warm_up.START_ACCURACY


@pytest.mark.slow
def test_sampling_agrees_with_the_exact_accuracy(tokenizer, model):
    problems = task.split().train
    expected = warm_up.answer_probabilities(model, warm_up.encode(tokenizer, problems)).mean().item()
    prompts = [prompt_of(tokenizer, problem) for problem in problems]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    torch.manual_seed(0)
    output = model.generate(**batch, do_sample=True, top_k=0, max_new_tokens=8, num_return_sequences=8)
    completions = tokenizer.batch_decode(output[:, batch.input_ids.shape[1] :])
    right = [text.startswith(problems[row // 8].answer + tiny.END) for row, text in enumerate(completions)]
    # Four standard errors of 1,280 draws.
    assert sum(right) / len(right) == pytest.approx(expected, abs=0.05)
