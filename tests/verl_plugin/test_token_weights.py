"""Weights per token through V0's and V1's functions, with and without the term, and from and to V1's queue."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import tree_oracles
from omegaconf import OmegaConf

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS, lambda_grpo
from frpo_verl.advantage.variant import divergence_to_go
from frpo_verl.preflight import contract, native
from frpo_verl.preflight.errors import BatchError, HostError, SettingsError
from frpo_verl.verl_plugin import kl_loss, note, run, token_weights, worker

pytest.importorskip("verl")

from tensordict import TensorDict  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

# V1 names rows {prompt}_{session}_{output}; a session of prompt b has two outputs, each with a prompt of its own.
KEYS = ["a_0_0", "b_0_0", "a_1_0", "b_0_1", "b_1_0", "a_2_0"]
PROMPTS = [[5, 6], [7], [5, 6], [7, 1, 2], [7], [5, 6]]
LENGTHS = [5, 3, 5, 4, 5, 2]
BETA = 0.3
TOLERANCE = 1e-7
"""Weights are float32."""


def batch() -> DataProto:
    """Prompts padded on the left, responses on the right, one observation inside of a response."""
    rows = len(KEYS)
    rewards, present = torch.zeros(rows, 5, dtype=torch.float64), torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    rewards[:, 0], mask = torch.randn(rows, dtype=torch.float64), present.long()
    mask[0, 2] = 0
    prompts = torch.zeros(rows, 4, dtype=torch.long)
    attended = torch.zeros(rows, 4, dtype=torch.long)
    for row, ids in enumerate(PROMPTS):
        prompts[row, 4 - len(ids) :], attended[row, 4 - len(ids) :] = torch.tensor(ids), 1
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask,
        "prompts": prompts,
        "responses": torch.randint(2, (rows, 5)),
        "attention_mask": torch.cat([attended, present.long()], -1),
        "old_log_probs": -torch.rand(rows, 5, dtype=torch.float64),
        "ref_log_prob": -torch.rand(rows, 5, dtype=torch.float64),
    }
    return DataProto.from_dict(tensors, {"uid": np.array([key[0] for key in KEYS], dtype=object)})


def algorithm(estimator: str = "grpo", **changes):
    kl_ctrl = {"type": "fixed", "kl_coef": BETA}
    return OmegaConf.create({"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": kl_ctrl, **changes})


def v0(data: DataProto, estimator: str = "grpo", **changes) -> DataProto:
    return compute_advantage(data, adv_estimator=estimator, config=algorithm(estimator, **changes))


def v1(data: DataProto, estimator: str = "grpo", **changes) -> DataProto:
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    config = algorithm(estimator, **changes)
    return utils.compute_advantage_for_multi_trajectories(data, batch_keys=KEYS, adv_estimator=estimator, config=config)


def weights_by_hand(data: DataProto) -> torch.Tensor:
    """1/|λ| from the definition, a group being the responses to one prompt; 1 where there is no token."""
    ids = data.batch["responses"].tolist()
    responses = [tuple(row[:length]) for row, length in zip(ids, LENGTHS, strict=True)]
    sizes = tree_oracles.set_sizes(responses, [tuple(prompt) for prompt in PROMPTS])
    rows = [[1 / size for size in row] + [1.0] * (5 - len(row)) for row in sizes]
    return torch.tensor(rows, dtype=torch.float64)


def term(data: DataProto) -> torch.Tensor:
    """β·Σ_{j≥t} m δ, by a loop from the end."""
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]) * data.batch["response_mask"]
    result, later = torch.zeros_like(delta), torch.zeros(len(delta), dtype=torch.float64)
    for t in reversed(range(delta.shape[1])):
        later = later + delta[:, t]
        result[:, t] = later
    return BETA * result * data.batch["response_mask"]


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "reinforce_plus_plus_baseline"])
@pytest.mark.parametrize("trainer", [v0, v1])
def test_the_advantages_are_multiplied_once(trainer, estimator):
    data = batch()
    plain = trainer(deepcopy(data), estimator)
    found = trainer(deepcopy(data), estimator, token_weight="lambda_grpo")
    expected = plain.batch["advantages"] * weights_by_hand(data)
    assert torch.allclose(found.batch["advantages"], expected, rtol=0, atol=TOLERANCE)
    assert (expected - plain.batch["advantages"]).abs().max() > 0.1
    # verl hands out one tensor for both
    assert torch.equal(found.batch["returns"], plain.batch["returns"])


@pytest.mark.parametrize("estimator", ["frpo", "grpo", "rloo"])
@pytest.mark.parametrize("trainer", [v0, v1])
def test_the_term_is_subtracted_after_the_weights_and_is_not_multiplied(trainer, estimator):
    data, valid = batch(), batch().batch["response_mask"].bool()
    plain = trainer(deepcopy(data), "grpo" if estimator == "frpo" else estimator)
    found = trainer(deepcopy(data), estimator, token_weight="lambda_grpo", kl_mode="future")
    expected = plain.batch["advantages"] * weights_by_hand(data) - term(data)
    assert torch.allclose(found.batch["advantages"], expected, rtol=0, atol=TOLERANCE)
    assert torch.equal(found.batch["returns"][valid], plain.batch["returns"][valid])


@pytest.mark.parametrize("frpo", [{}, {"std": "population"}])
@pytest.mark.parametrize("trainer", [v0, v1])
def test_beta_zero_leaves_the_weighed_advantages(trainer, frpo):
    data = batch()
    off = {"kl_ctrl": {"type": "fixed", "kl_coef": 0.0}, "frpo": frpo}
    plain = trainer(deepcopy(data), "frpo", **off).batch["advantages"]
    found = trainer(deepcopy(data), "frpo", token_weight="lambda_grpo", **off).batch["advantages"]
    assert torch.allclose(found, plain * weights_by_hand(data), rtol=0, atol=TOLERANCE)
    assert not torch.equal(found, plain)


@pytest.mark.parametrize("estimator", ["frpo", "rloo"])
def test_workers_subtract_the_current_policys_term_from_weighed_advantages(estimator):
    data = batch()
    changes = {"kl_mode": "future", "token_weight": "lambda_grpo"}
    fixed = v0(deepcopy(data), estimator, **changes).batch["advantages"]
    found = v0(deepcopy(data), estimator, frpo={"kl": "current"}, **changes).batch["advantages"]
    plain = v0(deepcopy(data), "grpo" if estimator == "frpo" else estimator).batch["advantages"]
    assert torch.allclose(found, plain * weights_by_hand(data), rtol=0, atol=TOLERANCE)
    told = note.read(run.outbox.take_note())
    log_ratio = data.batch["old_log_probs"] - data.batch["ref_log_prob"]
    mask = data.batch["response_mask"]
    reg = divergence_to_go(log_ratio, mask, told.generator, told.variant, None)
    there = worker.current_advantages(found, reg, mask, told.beta)
    assert torch.allclose(there, fixed, rtol=0, atol=TOLERANCE)


def test_figures_of_the_term_are_those_of_the_weighed_outcome():
    data = batch()
    v0(data, "frpo", token_weight="lambda_grpo")
    share = run.outbox.take_figures()["frpo/future_term/variance_share"]
    valid = data.batch["response_mask"].bool()
    reg, after = term(data)[valid], data.batch["advantages"][valid]
    of_term, of_outcome = reg.var(correction=0), (after + reg).var(correction=0)
    assert share == pytest.approx((of_term / (of_term + of_outcome)).item(), abs=TOLERANCE)


def test_the_controls_are_chosen_by_the_same_key():
    data = batch()
    plain, valid = v0(deepcopy(data)).batch["advantages"], data.batch["response_mask"].bool()
    weights = weights_by_hand(data)
    mean = weights[valid].mean()
    for name, expected in (("lambda_grpo_mean_one", weights / mean), ("uniform_mean", mean)):
        found = v0(deepcopy(data), token_weight=name).batch["advantages"]
        assert torch.allclose(found, plain * expected, rtol=0, atol=TOLERANCE)


def test_masked_slots_keep_what_stands_there(monkeypatch):
    data = batch()
    masked = data.batch["response_mask"] == 0
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", lambda sets, valid: torch.where(valid, 2.0, 3.0))
    made = torch.where(masked, 7.0, torch.ones(6, 5, dtype=torch.float64))
    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "mine", lambda **given: (made, made))
    found = v0(data, "mine", token_weight="toy").batch["advantages"]
    assert torch.equal(found, torch.where(masked, 7.0, torch.tensor(2.0, dtype=torch.float64)))


def sizes_of(data: DataProto, monkeypatch) -> torch.Tensor:
    """|λ| of every token, 0 where there is none."""
    seen, present = [], data.batch["attention_mask"][:, 4:]

    def weigh(sets, valid):
        seen.append((present / lambda_grpo(sets, torch.ones_like(valid))).round().int())
        return torch.ones(valid.shape)

    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", weigh)
    v0(data, token_weight="toy")
    return seen[0]


def test_a_group_is_one_prompt_of_one_uid(monkeypatch):
    data = batch()
    data.batch["responses"].zero_()
    # row 2 of prompt a has two tokens; those of b are told apart by their prompts
    expected = [[3, 3, 2, 2, 2], [2, 2, 2, 0, 0], [3, 3, 2, 2, 2], [1, 1, 1, 1, 0], [2, 2, 2, 1, 1], [3, 3, 0, 0, 0]]
    assert sizes_of(data, monkeypatch).tolist() == expected
    # what stands in a prompt's padding is no part of it
    data.batch["prompts"][1, 0] = 9
    assert sizes_of(data, monkeypatch).tolist() == expected
    # one text that verl counts as two prompts, as its grpo does
    data.non_tensor_batch["uid"][2] = "c"
    assert sizes_of(data, monkeypatch)[[0, 2, 5]].tolist() == [[2, 2, 1, 1, 1], [1, 1, 1, 1, 1], [2, 2, 0, 0, 0]]


def test_responses_without_a_valid_token_are_no_visitors(monkeypatch):
    # verl pads a batch with them, and rejection sampling empties others
    data = batch()
    data.batch["responses"].zero_()
    data.batch["response_mask"][5] = 0
    assert sizes_of(data, monkeypatch)[[0, 2, 5]].tolist() == [[2, 2, 2, 2, 2], [2, 2, 2, 2, 2], [1, 1, 0, 0, 0]]


@pytest.mark.parametrize("changes", [{}, {"kl_mode": "future"}])
def test_every_figure_is_what_its_formula_says(changes):
    data = batch()
    rows = [[0, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 1], [0, 1, 0, 0, 0]]
    data.batch["responses"] = torch.tensor(rows)
    v0(data, token_weight="lambda_grpo", **changes)
    figures = run.outbox.take_figures()
    of_weights = {name: figures[name] for name in figures if name.startswith("frpo/token_weight/")}
    # prompt a: 0 thrice, 0·0·1·1·0 twice, of whose tokens one is an observation; prompt b: nothing shared
    third, half, whole = 3, 7, 1 + 3 + 4 + 5
    assert of_weights == pytest.approx(
        {
            "frpo/token_weight/mean": (third / 3 + half / 2 + whole) / 23,
            "frpo/token_weight/shared_token_share": (third + half) / 23,
            "frpo/token_weight/flat_group_share": 1 / 2,
            "frpo/token_weight/duplicate_response_share": 2 / 6,
        },
        abs=1e-6,
    )
    assert (set(figures) == set(of_weights)) == (changes == {})


def test_v1_reduces_every_figure_by_the_weighted_mean():
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    v0(batch(), token_weight="lambda_grpo")
    names = (*run.outbox.take_figures(), f"actor/{kl_loss.WEIGHED}")
    assert {utils.MetricsAggregator()._get_aggregation_type(name) for name in names} == {"weighted_avg"}


class Queue:
    """Stands for verl's TransferQueue: fields in rows of their own length, and what was written."""

    def __init__(self, data: DataProto, lengths: list[int] = LENGTHS) -> None:
        self.data, self.lengths, self.asked, self.written = data, lengths, [], {}

    def kv_batch_get(self, keys, partition_id, select_fields):
        self.asked.append((keys, partition_id, select_fields))
        rows = [row[:length] for row, length in zip(self.data.batch["responses"], self.lengths, strict=True)]
        fields = {"responses": rows, "prompts": [torch.tensor(ids) for ids in PROMPTS]}
        nested = {name: torch.nested.as_nested_tensor(fields[name], layout=torch.jagged) for name in select_fields}
        return TensorDict(nested, batch_size=len(KEYS))

    def kv_batch_put(self, keys, partition_id, fields):
        self.written[partition_id] = (keys, fields)


def in_v1s_trainer(data: DataProto, use_kl_loss: bool = False, **changes) -> DataProto:
    """Runs V1's function as its trainer does, on a batch without token ids."""
    names = ("prompts", "responses", "attention_mask")
    without = data.select([name for name in data.batch.keys() if name not in names])
    actor = {"actor_rollout_ref": {"actor": {"use_kl_loss": use_kl_loss}}}
    trainer = SimpleNamespace(config=OmegaConf.create(actor))
    sent = SimpleNamespace(keys=KEYS, partition_id="train")
    host = lambda trainer, batch, metrics: v1(without, token_weight="lambda_grpo", **changes)  # noqa: E731
    return token_weights.with_queue(host, trainer, sent, metrics={})


@pytest.fixture
def queue(monkeypatch):
    transfer_queue = pytest.importorskip("transfer_queue")

    def made(*arguments) -> Queue:
        there = Queue(*arguments)
        monkeypatch.setattr(transfer_queue, "kv_batch_get", there.kv_batch_get)
        monkeypatch.setattr(transfer_queue, "kv_batch_put", there.kv_batch_put)
        return there

    return made


def test_v1s_trainer_fetches_token_ids(queue):
    data = batch()
    there = queue(data)
    found = in_v1s_trainer(data)
    assert torch.equal(found.batch["advantages"], v1(data, token_weight="lambda_grpo").batch["advantages"])
    assert there.asked == [(KEYS, "train", ["responses", "prompts"])]
    # nothing is sent where the loss has no KL term
    assert there.written == {} and kl_loss.FIELD not in found.batch


def test_v1s_trainer_sends_the_weights_to_a_loss_with_a_kl_term(queue):
    data = batch()
    # one response has no valid token, and tokens nevertheless
    data.batch["response_mask"][3] = 0
    there = queue(data)
    in_v1s_trainer(data, use_kl_loss=True)
    keys, fields = there.written["train"]
    assert keys == KEYS
    assert list(fields.keys()) == [kl_loss.FIELD]
    expected = weights_by_hand(data)
    expected[0, 2] = expected[3] = 0
    for row, length in enumerate(LENGTHS):
        assert torch.equal(fields[kl_loss.FIELD][row], expected[row, :length].float())


def test_v1s_trainer_is_wrapped():
    v1_trainer = pytest.importorskip("verl.trainer.ppo.v1.trainer_base", reason="verl 0.8 has no V1 trainer")
    inner = v1_trainer.PPOTrainer._compute_advantage.__wrapped__
    assert inner._frpo_verl_wrapper is token_weights.with_queue


def test_the_queue_is_out_of_reach_after_the_call(queue):
    data = batch()
    there = queue(data)
    in_v1s_trainer(data)
    v0(data, token_weight="lambda_grpo")
    assert len(there.asked) == 1


def test_an_attention_mask_with_a_hole_is_named():
    data = batch()
    data.batch["attention_mask"][0, 6], data.batch["response_mask"][0, 2] = 0, 0
    with pytest.raises(BatchError, match=r"algorithm\.token_weight: .*"):
        v0(data, token_weight="lambda_grpo")


def test_missing_token_ids_are_named():
    data = batch()
    data.batch.pop("responses")
    with pytest.raises(BatchError, match=r"token_weight needs responses in the batch, which holds .*: leave the key"):
        v0(data, token_weight="lambda_grpo")


def test_token_ids_of_another_length_than_the_log_probs_are_named(queue):
    data = batch()
    queue(data, [5, 3, 5, 3, 5, 2])
    with pytest.raises(BatchError, match=r"row 3 has 3 token ids, and a log-prob that counts at token 3: look at the"):
        in_v1s_trainer(data)
    queue(data, [4, 3, 4, 4, 4, 2])
    with pytest.raises(BatchError, match=r"ids of shape \(6, 4\), .* \(6, 4\) and a response mask of \(6, 5\) do not"):
        in_v1s_trainer(data)
    data.batch["attention_mask"] = data.batch["attention_mask"][:, 1:]
    with pytest.raises(BatchError, match=r"an attention mask of \(6, 4\) and a response mask of \(6, 5\) do not fit"):
        v0(data, token_weight="lambda_grpo")


def test_an_estimator_whose_advantages_are_no_numbers_for_tokens_is_named(monkeypatch):
    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "mine", lambda **given: (torch.zeros(6, 1), torch.zeros(6, 1)))
    with pytest.raises(BatchError, match=r"adv_estimator=mine returned advantages of shape \(6, 1\) .* \(6, 5\)"):
        v0(batch(), "mine", token_weight="lambda_grpo")


def test_a_verl_that_was_left_alone_is_not_half_changed(monkeypatch):
    monkeypatch.setattr(contract, "problems", ["verl differs"])
    with pytest.raises(HostError, match="verl differs"):
        v0(batch(), token_weight="lambda_grpo")


def test_what_cannot_run_is_refused_even_where_nobody_validated(monkeypatch):
    with pytest.raises(SettingsError, match=r"token_weight=lambda: there is no such method \(lambda_grpo, .*\)"):
        token_weights.chosen(algorithm(token_weight="lambda"))
    monkeypatch.setattr(native, "is_left_to_host", lambda name: True)
    with pytest.raises(SettingsError, match=r"token_weight=lambda_grpo: this verl subtracts the divergence itself"):
        v0(batch(), "grpo", token_weight="lambda_grpo", kl_mode="future")
    assert token_weights.chosen(None) is token_weights.chosen(algorithm()) is None
