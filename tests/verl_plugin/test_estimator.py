"""The estimator through verl's own `compute_advantage` and its V1 grouping."""

import math
from copy import deepcopy

import mode_oracles
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from oracles import frpo as frpo_oracle

from frpo_verl.advantage import return_to_go, sums
from frpo_verl.advantage.variant import divergence_to_go
from frpo_verl.divergences import by_name
from frpo_verl.preflight import contract
from frpo_verl.preflight.errors import BatchError, HostError, SettingsError
from frpo_verl.verl_plugin import note, worker
from frpo_verl.verl_plugin import run as runs

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import (  # noqa: E402
    ADV_ESTIMATOR_REGISTRY,
    AdvantageEstimator,
    compute_grpo_outcome_advantage,
    get_adv_estimator_fn,
)
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

GRPO_EPSILON = 1e-6


def v1_utils():
    """verl 0.8 has no V1 trainer."""
    return pytest.importorskip("verl.trainer.ppo.v1.utils")


def algorithm(beta: float, **changes):
    base = {"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": beta}}
    return OmegaConf.create({**base, "norm_adv_by_std_in_grpo": True, **changes})


def batch(rows: int = 6, length: int = 5, group_size: int = 3, dtype: torch.dtype = torch.float64) -> DataProto:
    mask = torch.rand(rows, length) > 0.3
    mask[:, 0] = True
    rewards = torch.zeros(rows, length, dtype=dtype)
    rewards[:, 0] = torch.randn(rows, dtype=dtype)
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask.long(),
        "old_log_probs": -torch.rand(rows, length, dtype=dtype),
        "ref_log_prob": -torch.rand(rows, length, dtype=dtype),
    }
    uid = np.array([f"prompt-{row // group_size}" for row in range(rows)], dtype=object)
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": uid})


def run(data: DataProto, beta: float, estimator: str = "frpo", **changes) -> DataProto:
    config = algorithm(beta, adv_estimator=estimator, **changes)
    norm = config.norm_adv_by_std_in_grpo
    return compute_advantage(data, adv_estimator=estimator, norm_adv_by_std_in_grpo=norm, config=config)


def collect() -> dict[str, float]:
    return runs.outbox.take_figures()


def oracle(data: DataProto, beta: float) -> torch.Tensor:
    tensors = data.batch
    rows = frpo_oracle(
        scores=tensors["token_level_rewards"].sum(-1).tolist(),
        groups=list(data.non_tensor_batch["uid"]),
        delta=(tensors["old_log_probs"] - tensors["ref_log_prob"]).tolist(),
        mask=tensors["response_mask"].bool().tolist(),
        beta=beta,
        epsilon=GRPO_EPSILON,
    )
    return torch.tensor(rows, dtype=torch.float64)


def test_equals_the_papers_formula_written_as_a_loop():
    data = batch()
    expected = oracle(data, 0.3)
    assert torch.allclose(run(data, 0.3).batch["advantages"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [True, False])
def test_beta_zero_is_verls_grpo_bit_for_bit(norm):
    data = batch(dtype=torch.float32)
    expected = run(deepcopy(data), 0.0, "grpo", norm_adv_by_std_in_grpo=norm)
    result = run(data, 0.0, norm_adv_by_std_in_grpo=norm)
    assert torch.equal(result.batch["advantages"], expected.batch["advantages"])
    assert torch.equal(result.batch["returns"], expected.batch["returns"])


def test_beta_zero_needs_no_reference():
    data = batch()
    data.batch.pop("ref_log_prob")
    run(data, 0.0)


def test_beta_zero_logs_beta_and_no_divergence():
    run(batch(), 0.0)
    assert collect() == {"frpo/beta": 0.0}


def test_the_difference_to_grpo_is_minus_beta_times_the_return_to_go():
    data = batch()
    grpo = run(deepcopy(data), 0.0, "grpo").batch["advantages"]
    once = run(deepcopy(data), 0.1).batch["advantages"] - grpo
    twice = run(data, 0.2).batch["advantages"] - grpo
    assert once.abs().max() > 0.01
    assert torch.allclose(2 * once, twice, rtol=0, atol=1e-12)


def test_returns_keep_the_outcome_without_the_divergence():
    data = batch()
    grpo = run(deepcopy(data), 0.0, "grpo").batch["returns"]
    found = run(data, 0.5).batch["returns"]
    valid = data.batch["response_mask"].bool()
    assert torch.equal(found[valid], grpo[valid]) and found.shape == grpo.shape
    # one number per response, and no second tensor of the batch's size
    assert found.untyped_storage().nbytes() == len(found) * found.itemsize


def test_verls_readers_of_returns_look_at_valid_slots_alone():
    from verl.trainer.ppo.metric_utils import compute_data_metrics

    data = batch()
    data.batch["response_mask"][:, -1] = 0
    shape = data.batch["response_mask"].shape
    data.batch["responses"], data.batch["prompts"] = torch.ones(shape), torch.ones(len(data), 2)
    data.batch["attention_mask"] = torch.cat([torch.ones(len(data), 2), data.batch["response_mask"]], -1)
    data.batch["token_level_scores"] = data.batch["token_level_rewards"]
    done = run(data, 0.5)
    figures = compute_data_metrics(done, use_critic=False)
    done.batch["returns"] = done.batch["returns"] * done.batch["response_mask"]
    expected = compute_data_metrics(done, use_critic=False)
    assert "critic/returns/mean" in figures
    for name in ("mean", "max", "min"):
        assert figures[f"critic/returns/{name}"] == expected[f"critic/returns/{name}"]


def test_other_estimators_are_left_alone():
    data = batch()
    expected, _ = compute_grpo_outcome_advantage(
        data.batch["token_level_rewards"].clone(), data.batch["response_mask"], data.non_tensor_batch["uid"]
    )
    assert torch.equal(run(data, 0.5, "grpo").batch["advantages"], expected)


def test_masked_nan_and_inf_do_no_harm():
    data = batch()
    expected = run(deepcopy(data), 0.3).batch["advantages"]
    masked = ~data.batch["response_mask"].bool()
    assert masked.any()
    for key, poison in (("old_log_probs", math.nan), ("ref_log_prob", -math.inf)):
        data.batch[key][masked] = poison
    assert torch.equal(run(data, 0.3).batch["advantages"], expected)


def test_padding_rows_change_nothing_and_get_zero():
    data = batch()
    expected = run(deepcopy(data), 0.3).batch["advantages"]
    figures = collect()
    padding = batch(rows=2)
    padding.batch["response_mask"].zero_()
    padding.batch["old_log_probs"].fill_(math.nan)
    padding.non_tensor_batch["uid"] = np.array(["padding-0", "padding-1"], dtype=object)
    padded = run(DataProto.concat([data, padding]), 0.3).batch["advantages"]
    assert torch.equal(padded[:-2], expected)
    assert torch.equal(padded[-2:], torch.zeros_like(padded[-2:]))
    assert collect() == pytest.approx(figures, abs=1e-6)


def test_v1s_padding_rows_share_one_group_and_change_nothing():
    data = batch()
    keys = [f"{uid}_{row % 3}_0" for row, uid in enumerate(data.non_tensor_batch["uid"])]
    padding = batch(rows=2)
    padding.batch["response_mask"].zero_()
    padding.batch["token_level_rewards"].zero_()
    padding.non_tensor_batch["uid"] = np.array(["pad0", "pad0"], dtype=object)

    def v1(rows: DataProto, names: list[str]) -> torch.Tensor:
        return (
            v1_utils()
            .compute_advantage_for_multi_trajectories(
                rows, batch_keys=names, adv_estimator="frpo", norm_adv_by_std_in_grpo=True, config=algorithm(0.3)
            )
            .batch["advantages"]
        )

    expected = v1(deepcopy(data), keys)
    padded = v1(DataProto.concat([data, padding]), [*keys, "pad0_0_0", "pad0_1_0"])
    assert torch.equal(padded[:-2], expected)
    assert not padded[-2:].any()


def test_the_order_of_the_batch_does_not_matter():
    data = batch()
    expected = run(deepcopy(data), 0.3).batch["advantages"]
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = run(data.select_idxs(order), 0.3).batch["advantages"]
    assert torch.allclose(shuffled, expected[order], rtol=0, atol=1e-12)


def test_a_divergence_in_the_reward_too_is_refused_even_where_nobody_validated():
    with pytest.raises(SettingsError, match="Proposition 3.2"):
        run(batch(), 0.3, use_kl_in_reward=True)


@pytest.mark.parametrize("key", ["old_log_probs", "ref_log_prob"])
def test_missing_log_probs_are_named(key):
    data = batch()
    data.batch.pop(key)
    with pytest.raises(BatchError, match=f"frpo needs '{key}' in the batch"):
        run(data, 0.3)


def test_a_valid_token_that_is_not_finite_is_named_by_row_and_token():
    data = batch()
    data.batch["response_mask"][4, 2] = 1
    data.batch["ref_log_prob"][4, 2] = -math.inf
    with pytest.raises(BatchError, match=r"1 of \d+ response tokens .* the first in row 4 at token 2 "):
        run(data, 0.3)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_named_by_row(poison):
    data = batch()
    data.batch["token_level_rewards"][2, 0] = poison
    with pytest.raises(BatchError, match=f"the reward of row 2 is {poison:g}: look at the reward function"):
        run(data, 0.3)


def test_figures_of_the_step_are_published():
    data = batch()
    run(data, 0.3)
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]).tolist()
    mask = data.batch["response_mask"].bool().tolist()
    valid = [d for row, keep in zip(delta, mask, strict=True) for d, k in zip(row, keep, strict=True) if k]
    future = [
        sum(d for d, k in zip(row[t:], keep[t:], strict=True) if k)
        for row, keep in zip(delta, mask, strict=True)
        for t in range(len(row))
        if keep[t]
    ]
    figures = collect()
    assert figures["frpo/beta"] == 0.3
    # single precision: metrics are figures for people
    assert figures["frpo/divergence_to_ref/token_mean"] == pytest.approx(np.mean(valid), abs=1e-6)
    assert figures["frpo/divergence_to_ref/sequence_mean"] == pytest.approx(sum(valid) / len(delta), abs=1e-6)
    assert figures["frpo/future_term/mean"] == pytest.approx(np.mean(future), abs=1e-6)
    assert figures["frpo/future_term/std"] == pytest.approx(np.std(future), abs=1e-6)
    assert collect() == {}


def test_a_host_that_passes_the_batch_gets_the_same_numbers_from_the_registered_function():
    data = batch()
    expected = run(deepcopy(data), 0.3)
    advantages, returns = get_adv_estimator_fn("frpo")(
        token_level_rewards=data.batch["token_level_rewards"],
        response_mask=data.batch["response_mask"],
        index=data.non_tensor_batch["uid"],
        config=algorithm(0.3),
        batch=data.batch,
        non_tensor_batch=data.non_tensor_batch,
    )
    assert torch.equal(advantages, expected.batch["advantages"])
    assert torch.equal(returns, expected.batch["returns"])


# V1 names rows {prompt}_{session}_{output}; two sessions of prompt b have two outputs each.
MULTI_OUTPUT_KEYS = ["a_0_0", "a_1_0", "b_0_0", "b_0_1", "b_1_1", "b_1_0"]


def multi(data: DataProto, beta: float, estimator: str = "frpo") -> DataProto:
    return v1_utils().compute_advantage_for_multi_trajectories(
        data,
        batch_keys=MULTI_OUTPUT_KEYS,
        adv_estimator=estimator,
        norm_adv_by_std_in_grpo=True,
        config=algorithm(beta, adv_estimator=estimator),
    )


def multi_output_batch() -> DataProto:
    data = batch()
    data.non_tensor_batch["uid"] = np.array([key.split("_")[0] for key in MULTI_OUTPUT_KEYS], dtype=object)
    return data


def test_rollouts_with_several_outputs_are_grouped_as_grpo_groups_them():
    data = multi_output_batch()
    grpo = multi(deepcopy(data), 0.0, "grpo").batch["advantages"]
    plain = run(deepcopy(data), 0.0).batch["advantages"]
    assert torch.equal(multi(data, 0.0).batch["advantages"], grpo)
    assert not torch.equal(grpo, plain)


def test_a_rollout_whose_last_output_has_no_valid_token_is_treated_as_grpo_treats_it():
    data = multi_output_batch()
    data.batch["response_mask"][MULTI_OUTPUT_KEYS.index("b_0_1")] = 0
    grpo = multi(deepcopy(data), 0.0, "grpo").batch["advantages"]
    # a coefficient that moves nothing, and still takes our way
    assert torch.allclose(multi(data, 1e-300).batch["advantages"], grpo, rtol=0, atol=1e-298)


@pytest.mark.parametrize("name", ["k3", "forward_kl", "js", "tv", "alpha:0.5"])
def test_every_divergence_can_be_chosen_by_verls_key(name):
    data = batch()
    grpo = run(deepcopy(data), 0.0, "grpo").batch["advantages"]
    log_ratio = data.batch["old_log_probs"] - data.batch["ref_log_prob"]
    term = return_to_go(log_ratio, data.batch["response_mask"], by_name(name))
    result = run(data, 0.3, kl_penalty=name).batch["advantages"]
    assert torch.allclose(result, grpo - 0.3 * term, rtol=0, atol=1e-12)


def test_the_name_of_an_order_survives_hydras_command_line():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides(["algorithm.kl_penalty=alpha:0.5"])
    assert override.value() == "alpha:0.5"


def test_half_precision_log_probs_are_subtracted_in_single_precision():
    data = batch(dtype=torch.float32)
    for key in ("old_log_probs", "ref_log_prob"):
        data.batch[key] = data.batch[key].bfloat16()
    exact = deepcopy(data)
    for key in ("old_log_probs", "ref_log_prob"):
        exact.batch[key] = exact.batch[key].float()
    assert torch.equal(run(data, 0.3).batch["advantages"], run(exact, 0.3).batch["advantages"])


def test_every_output_of_a_rollout_gets_its_own_return_to_go():
    data = multi_output_batch()
    grpo = multi(deepcopy(data), 0.0, "grpo").batch["advantages"]
    expected = run(deepcopy(data), 0.3).batch["advantages"] - run(deepcopy(data), 0.0).batch["advantages"]
    assert torch.allclose(multi(data, 0.3).batch["advantages"] - grpo, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "frpo",
    [
        {"horizon": 1},
        {"discount": 0.5},
        {"baseline": "length"},
        {"centring": "group"},
        {"scale": "length"},
        {"step_length": 2, "step_value": "end"},
        {"form": "appendix_e"},
        {"token_clip": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("estimator", ["frpo", "rloo"])
def test_every_variant_reaches_verls_batch(frpo, estimator):
    data = batch()
    plain = run(deepcopy(data), 0.0, "grpo" if estimator == "frpo" else estimator).batch["advantages"]
    changes = {"kl_mode": "future", "kl_penalty": "k3", "frpo": frpo}
    found = run(deepcopy(data), 0.3, estimator, **changes).batch["advantages"]
    local, future = mode_oracles.REVERSE_KL_K3
    of_sum = {key: value for key, value in frpo.items() if key not in ("form", "token_clip")}
    if "form" in frpo:
        local, future = mode_oracles.appendix_e(local, future)
    if "token_clip" in frpo:
        local, future = mode_oracles.token_clip(local, future, 0.2)
    reg = mode_oracles.divergence_to_go(
        (data.batch["old_log_probs"] - data.batch["ref_log_prob"]).tolist(),
        data.batch["response_mask"].tolist(),
        local,
        future,
        **of_sum,
        group=[0, 0, 0, 1, 1, 1],
    )
    assert torch.allclose(plain - found, 0.3 * torch.tensor(reg, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("estimator", ["frpo", "grpo"])
def test_the_papers_standard_deviation(beta, estimator):
    data = batch()
    scores = data.batch["token_level_rewards"].sum(-1).view(2, 3)
    deviation = scores - scores.mean(-1, keepdim=True)
    outcome = deviation / (deviation.square().mean(-1, keepdim=True).sqrt() + GRPO_EPSILON)
    mask = data.batch["response_mask"]
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]) * mask
    expected = (outcome.view(6, 1) - beta * delta.flip(-1).cumsum(-1).flip(-1)) * mask
    found = run(data, beta, estimator, kl_mode="future", frpo={"std": "population"})
    assert torch.allclose(found.batch["advantages"], expected, rtol=0, atol=1e-10)
    assert torch.allclose(found.batch["returns"] * mask, outcome.view(6, 1) * mask, rtol=0, atol=1e-10)


def test_the_papers_standard_deviation_in_rollouts_with_several_outputs():
    data = multi_output_batch()
    sample = multi(deepcopy(data), 0.0).batch["advantages"]
    config = algorithm(0.0, frpo={"std": "population"})
    found = v1_utils().compute_advantage_for_multi_trajectories(
        data, batch_keys=MULTI_OUTPUT_KEYS, adv_estimator="frpo", config=config
    )
    # two rollouts a prompt: √(G/(G−1)) = √2, up to ε
    assert torch.allclose(found.batch["advantages"], 2**0.5 * sample, rtol=1e-5, atol=0)


def test_without_a_deviation_there_is_none_to_choose():
    with pytest.raises(SettingsError, match="std=population with norm_adv_by_std_in_grpo=False: nothing is divided"):
        run(batch(), 0.3, norm_adv_by_std_in_grpo=False, frpo={"std": "population"})


@pytest.mark.parametrize("estimator", ["frpo", "rloo"])
def test_the_current_policys_term_is_left_to_the_workers(estimator):
    data = batch()
    plain = run(deepcopy(data), 0.0, "grpo" if estimator == "frpo" else estimator)
    fixed = run(deepcopy(data), 0.3, estimator, kl_mode="future")
    figures = collect()
    assert note.read(runs.outbox.take_note()).beta is None
    found = run(deepcopy(data), 0.3, estimator, kl_mode="future", frpo={"kl": "current"})
    valid = data.batch["response_mask"].bool()
    assert torch.equal(found.batch["advantages"], plain.batch["advantages"])
    assert torch.equal(found.batch["returns"][valid], plain.batch["returns"][valid])
    # the figures are those of the rollout, whoever subtracts
    assert collect() == figures
    text = runs.outbox.take_note()
    assert found.meta_info[note.KEY] == text
    told = note.read(text)
    log_ratio = data.batch["old_log_probs"] - data.batch["ref_log_prob"]
    mask = data.batch["response_mask"]
    reg = divergence_to_go(log_ratio, mask, told.generator, told.variant, None)
    there = worker.current_advantages(found.batch["advantages"], reg, mask, told.beta)
    assert torch.allclose(there, fixed.batch["advantages"], rtol=0, atol=1e-12)


def test_an_adaptive_beta_follows_the_divergence_that_is_logged():
    runs.end()
    kl_ctrl = {"type": "adaptive", "kl_coef": 0.3, "target_kl": 0.1, "horizon": 50}
    seen = []
    for _ in range(4):
        data = batch()
        padding = batch(rows=2)
        padding.batch["response_mask"].zero_()
        run(DataProto.concat([data, padding]), 0.3, kl_ctrl=kl_ctrl)
        seen.append(collect())
    runs.end()
    divergences = [figures["frpo/divergence_to_ref/token_mean"] for figures in seen]
    # six responses each: the padding rows are none
    expected = mode_oracles.adaptive_beta(0.3, 0.1, 50, divergences, [6] * 4)
    assert [figures["frpo/beta"] for figures in seen] == pytest.approx(expected[:4], rel=1e-12)
    assert len(set(expected)) > 1


def test_the_registered_function_does_not_run_in_circles_where_verl_was_left_alone(monkeypatch):
    monkeypatch.setattr(contract, "problems", ["verl differs"])
    data = batch()
    with pytest.raises(HostError, match="verl differs"):
        get_adv_estimator_fn("frpo")(
            token_level_rewards=data.batch["token_level_rewards"],
            response_mask=data.batch["response_mask"],
            index=data.non_tensor_batch["uid"],
            config=algorithm(0.3),
            batch=data.batch,
        )


@pytest.mark.parametrize("config", [algorithm(0.3, adv_estimator="gae"), algorithm(0.3, adv_estimator=None)], ids=str)
def test_the_estimators_name_counts_whatever_the_configuration_names(config):
    # verl passes both, and they are the same only by custom
    data = batch()
    expected = run(deepcopy(data), 0.3).batch["advantages"]
    found = compute_advantage(data, adv_estimator="frpo", config=config).batch["advantages"]
    assert torch.equal(found, expected)


def test_without_a_configuration_there_is_no_coefficient():
    with pytest.raises(
        BatchError, match="frpo without verl's algorithm section, .*: pass it to compute_advantage as config"
    ):
        compute_advantage(batch(), adv_estimator="frpo", config=None)


def test_estimators_may_be_named_by_verls_enumeration():
    data, changes = batch(), {"kl_mode": "future", "frpo": {"std": "population"}}
    expected = run(deepcopy(data), 0.3, "grpo", **changes).batch["advantages"]
    config = algorithm(0.3, adv_estimator=AdvantageEstimator.GRPO, **changes)
    found = compute_advantage(data, adv_estimator=AdvantageEstimator.GRPO, config=config).batch["advantages"]
    assert torch.equal(found, expected)


@pytest.fixture
def returning(monkeypatch):
    """Registers an estimator of a user's own."""

    def register(made):
        monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "mine", lambda **given: (made, made))

    return register


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            torch.zeros(6, 1),
            r"adv_estimator=mine returned advantages of shape \(6, 1\) and torch\.float32, .* \(6, 5\)",
        ),
        (
            torch.zeros(6, 5, dtype=torch.long),
            r"of shape \(6, 5\) and torch\.int64, and a floating-point number is needed for each",
        ),
        (torch.full((6, 5), math.nan), r"adv_estimator=mine returned nan for row 0 at token 0: look at the estimator"),
        (torch.full((6, 5), -math.inf), r"adv_estimator=mine returned -inf for row 0 at token 0"),
    ],
    ids=["one column", "integers", "nan", "inf"],
)
def test_what_no_term_can_be_subtracted_from_is_named(returning, made, sentence):
    returning(made)
    with pytest.raises(BatchError, match=sentence):
        run(batch(), 0.3, "mine", kl_mode="future")


def test_what_an_estimator_leaves_in_masked_slots_is_its_own_business(returning):
    data = batch()
    masked = ~data.batch["response_mask"].bool()
    assert masked.any()
    returning(torch.where(masked, math.nan, torch.ones(6, 5, dtype=torch.float64)))
    found = run(data, 0.3, "mine", kl_mode="future").batch["advantages"]
    assert torch.isfinite(found[~masked]).all()


def test_quantiles_of_a_large_batch_come_from_responses_of_every_place_in_their_group(monkeypatch):
    # responses alternate: every second one has a reference far away, and groups have two
    data = batch(rows=400, length=4, group_size=2)
    data.batch["response_mask"].fill_(1)
    data.batch["old_log_probs"].fill_(-1.0)
    data.batch["ref_log_prob"].fill_(-1.0)
    data.batch["ref_log_prob"][::2] = -3.0
    run(deepcopy(data), 0.3)
    whole = collect()
    monkeypatch.setattr(sums, "SAMPLE", 400)
    run(data, 0.3)
    part = collect()
    # half the responses have 8, 6, 4 and 2 nats from their tokens on, and half have none
    assert whole.pop("frpo/future_term/q50") == pytest.approx(part.pop("frpo/future_term/q50"), abs=2.0)
    assert (part["frpo/future_term/q05"], part["frpo/future_term/q95"]) == pytest.approx((0.0, 8.0), abs=1e-5)
    assert part == pytest.approx(whole, abs=1e-5)
