"""What verl's trainers themselves dump is read, with a tokenizer and a chat template of special tokens."""

import itertools
import math
import types

import numpy as np
import pytest
import torch

pa = pytest.importorskip("pyarrow")
pytest.importorskip("verl")

from frpo_verl.offline import rollouts  # noqa: E402
from frpo_verl.offline.prompts import Prompts  # noqa: E402
from frpo_verl.trainers import sampling  # noqa: E402

TEMPLATE = (
    "{% for message in messages %}<s>{{ message.role }} {{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
# In the text that verl dumps the last two differ by nothing.
ASKED = [
    ([{"role": "user", "content": "1 2"}], "3"),
    ([{"role": "system", "content": "sum"}, {"role": "user", "content": "4"}], "4"),
    ([{"role": "user", "content": "4 user 4"}], "8"),
    ([{"role": "user", "content": "4 "}, {"role": "user", "content": "4"}], "9"),
]
SAID = [["3", "1"], ["4 4", ""], ["8", "9"], ["8", "9"]]


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=TEMPLATE, **special)


@pytest.fixture(scope="module")
def batch(tokenizer):
    """Token ids of prompts, and of two responses to each; the score of each; the answers."""
    prompts = [sampling.prompt_ids(tokenizer, prompt) for prompt, _ in ASKED for _ in range(2)]
    responses = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for texts in SAID for text in texts]
    scores = [float(text == gold) for texts, (_, gold) in zip(SAID, ASKED, strict=True) for text in texts]
    return prompts, responses, scores, [gold for _, gold in ASKED for _ in range(2)]


def padded(rows, left):
    width = max(map(len, rows))
    return torch.tensor([[0] * (width - len(row)) * left + row + [0] * (width - len(row)) * (not left) for row in rows])


def dumper(trainer, tokenizer):
    """Returns what verl's trainer needs of itself to dump, without its thread."""

    def write(**dumped):
        trainer._write_generations(**dumped, global_steps=7)

    return types.SimpleNamespace(tokenizer=tokenizer, _dump_generations=write)


def dump_of_v0(folder, tokenizer, batch):
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer

    prompts, responses, scores, golds = batch
    answers = padded(responses, left=False)
    rewards = torch.zeros(answers.shape)
    rewards[:, 0] = torch.tensor(scores)
    data = DataProto.from_dict(
        {"prompts": padded(prompts, left=True), "responses": answers, "token_level_scores": rewards},
        {"reward_model": np.array([{"ground_truth": gold} for gold in golds], object)},
    )
    RayPPOTrainer._log_rollout_data(dumper(RayPPOTrainer, tokenizer), data, {}, {}, str(folder))


def dump_of_v1(folder, tokenizer, batch, monkeypatch):
    v1 = pytest.importorskip("verl.trainer.ppo.v1.trainer_base", reason="verl 0.8 has no V1 trainer")
    prompts, responses, scores, golds = batch
    nested = [
        torch.nested.nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)
        for rows in (prompts, responses)
    ]
    keys = [f"{row // 2}_{row % 2}_0" for row in range(len(prompts))]
    fields = {
        "uid": np.array(keys),
        "prompts": nested[0],
        "responses": nested[1],
        "rm_scores": torch.tensor(scores)[:, None],
        "reward_model": np.array([{"ground_truth": gold} for gold in golds], object),
    }
    monkeypatch.setattr(v1, "tq", types.SimpleNamespace(kv_batch_get=lambda **_: fields))
    asked = types.SimpleNamespace(keys=keys, partition_id="train")
    v1.PPOTrainer._log_rollout_data(dumper(v1.PPOTrainer, tokenizer), asked, {}, str(folder))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_prompts_responses_and_scores_are_found_again(version, tokenizer, batch, tmp_path, monkeypatch):
    if version == "v0":
        dump_of_v0(tmp_path, tokenizer, batch)
    else:
        dump_of_v1(tmp_path, tokenizer, batch, monkeypatch)
    lines, _, problems = rollouts.read(tmp_path, (-math.inf, math.inf))
    assert problems == [] and len(lines) == 8
    table = pa.Table.from_pylist([{"prompt": p, "reward_model": {"ground_truth": gold}} for p, gold in ASKED])
    asked = Prompts(table, list(range(len(ASKED))), 0)
    encoded = batch[0][::2]
    found = rollouts.match(lines, asked, encoded, tokenizer)
    assert found.problems == found.remarks == []
    assert [group.prompt_ids for group in found.groups] == encoded
    assert [[each.text for each in group.responses] for group in found.groups] == SAID
    scores = [each.score for group in found.groups for each in group.responses]
    assert scores == batch[2] and {each.step for group in found.groups for each in group.responses} == {7}
    again = rollouts.tokenized(found.groups, tokenizer, None)
    assert [ids for group in again for ids in map(list, (each.ids for each in group.responses))] == batch[1]


def test_two_prompts_of_one_text_are_a_case_of_this_test(tokenizer, batch):
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in batch[0][::2]]
    assert [a == b for a, b in itertools.pairwise(texts)] == [False, False, True]
