"""Responses token by token: which are chosen, what is written of them, and the way from the estimator to the file."""

import json
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl_plugin.test_estimator import algorithm, batch

pytest.importorskip("verl")

from frpo_verl.evaluation import tokens as evaluation  # noqa: E402
from frpo_verl.verl_plugin import hooks, token_file  # noqa: E402
from frpo_verl.verl_plugin import run as runs  # noqa: E402

BETA = 0.5
KEYS = [f"prompt_{row}" for row in range(6)]


class Tokenizer:
    def decode(self, ids, skip_special_tokens=False):
        return "".join(chr(97 + token) for token in ids)


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """V1's trainer in its fourth step, with the ids of 6 responses of 3 to 5 tokens in its queue."""
    queue = pytest.importorskip("transfer_queue", reason="verl 0.8 has no V1 trainer")

    def kv_batch_get(keys, partition_id, select_fields):
        rows = [KEYS.index(key) for key in keys]
        ids = {
            "responses": [torch.arange(row, row + 3 + row % 3) for row in rows],
            "prompts": [torch.tensor([row, row]) for row in rows],
        }
        nested = {name: torch.nested.as_nested_tensor(ids[name], layout=torch.jagged) for name in select_fields}
        return TensorDict(nested, batch_size=len(rows))

    monkeypatch.setattr(queue, "kv_batch_get", kv_batch_get)
    config = OmegaConf.create({"trainer": {"rollout_data_dir": str(tmp_path / "rollouts")}})
    return SimpleNamespace(config=config, global_steps=4, tokenizer=Tokenizer())


def chosen(outcome, groups, valid=None):
    rows = len(outcome)
    valid = torch.ones(rows, 2, dtype=torch.bool) if valid is None else torch.tensor(valid)
    data = SimpleNamespace(
        non_tensor_batch={"uid": groups}, batch={"token_level_rewards": torch.arange(2.0 * rows).reshape(rows, 2)}
    )
    outcome = torch.tensor(outcome)
    return token_file.traced(data, outcome, torch.zeros(rows, 2), valid, BETA)


def test_of_the_group_that_is_furthest_apart_the_best_and_the_worst_are_chosen():
    found = chosen([8.0, 9.0, 3.0, 5.0, 2.0, 8.5], ["a", "a", "b", "b", "b", "a"])
    # b spans 3 (2 to 5), a 1 (8 to 9)
    assert found.rows == [3, 4]
    # rewards of a response add up: 6 + 7 and 8 + 9
    assert found.scores == [13.0, 17.0]


def test_an_advantage_per_token_counts_by_its_mean_over_the_tokens_that_count():
    valid = [[True, False], [True, True], [True, True], [False, False]]
    found = chosen([[1.0, 99.0], [1.0, 2.0], [0.5, 0.5], [50.0, 50.0]], ["a"] * 4, valid)
    # means 1, 1.5, 0.5; the last response has no token
    assert found.rows == [1, 2]
    assert found.outcome.tolist() == [[1.0, 2.0], [0.5, 0.5]]


def test_of_a_batch_without_a_token_that_counts_there_is_none():
    assert chosen([1.0, 2.0], ["a", "a"], [[False, False]] * 2) is None


def test_a_group_whose_responses_are_alike_gives_one():
    assert chosen([1.0, 1.0], ["a", "a"]).rows == [0]


def test_what_the_estimator_did_is_what_the_file_says(trainer, tmp_path):
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils")
    torch.manual_seed(0)
    data = batch(rows=6, length=5)
    lengths = torch.tensor([3 + row % 3 for row in range(6)])
    data.batch["response_mask"] = ((torch.arange(5) < lengths[:, None]) & (torch.arange(5) != 1)).long()
    runs.remember(trainer.config)
    whole = {}

    def host(trainer, sent, metrics):
        done = utils.compute_advantage_for_multi_trajectories(
            data, batch_keys=[f"{key}_0_0" for key in KEYS], adv_estimator="frpo", config=algorithm(BETA)
        )
        whole.update(done.batch.items())
        return sent

    sent = SimpleNamespace(keys=KEYS, partition_id="train", extra_info={})
    hooks._logged_v1(host, trainer, sent, {})
    path = tmp_path / "rollouts" / "tokens" / "4.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 2 and runs.outbox.take_tokens() is None
    outcomes = whole["returns"][:, 0]
    assert rows[0]["outcome"][0] > rows[1]["outcome"][0]
    for row in rows:
        number = ord(row["prompt"][0]) - 97
        length = 3 + number % 3
        assert row["prompt"] == chr(97 + number) * 2
        assert row["tokens"] == [chr(97 + number + n) for n in range(length)]
        assert (row["step"], row["beta"], row["length"]) == (4, BETA, length)
        assert row["score"] == pytest.approx(data.batch["token_level_rewards"][number].sum().item(), rel=1e-5)
        # the second token of each response is one that nobody sampled
        assert row["advantage"].pop(1) is None and row["outcome"].pop(1) is None
        seen = [n for n in range(length) if n != 1]
        assert row["advantage"] == pytest.approx(whole["advantages"][number, seen].tolist(), rel=1e-5)
        assert row["outcome"] == pytest.approx([outcomes[number].item()] * len(seen), rel=1e-5)
    # the room that shows them reads them
    notes = []
    assert [found.step for found in evaluation.read_tokens(tmp_path, notes)] == [4, 4] and notes == []


def test_a_run_that_dumps_nothing_writes_nothing(trainer, tmp_path):
    from verl_plugin.test_estimator import run

    runs.remember(OmegaConf.create({"trainer": {"rollout_data_dir": None}}))
    run(batch(), BETA)
    assert runs.outbox.take_tokens() is None
    runs.remember(trainer.config)
    run(batch(), BETA)
    assert runs.outbox.take_tokens() is not None
    # the plain estimator has no future part to show
    run(batch(), 0.0)
    assert runs.outbox.take_tokens() is None


def test_of_a_long_response_the_first_tokens_are_written(trainer, monkeypatch):
    monkeypatch.setattr(token_file, "MOST", 2)
    found = chosen([0.0, 1.0], ["a", "a"])
    sent = SimpleNamespace(keys=KEYS, partition_id="train")
    lines = token_file.write(found, trainer, sent).read_text().splitlines()
    assert [(row["length"], len(row["tokens"]), len(row["advantage"])) for row in map(json.loads, lines)] == [
        (4, 2, 2),
        (3, 2, 2),
    ]
