"""The baseline of the whole weight through verl's own `compute_advantage`: groups, memory, workers, figures."""

import json
from copy import deepcopy
from types import SimpleNamespace

import baseline_oracles as oracle
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from oracles import group_normalised, return_to_go

from frpo_verl.advantage import Fit, no_moments
from frpo_verl.preflight import resumed, variants
from frpo_verl.preflight.errors import BatchError, CheckpointError, SettingsError
from frpo_verl.verl_plugin import checkpoint, memory, note, worker
from frpo_verl.verl_plugin import run as runs

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import AdvantageEstimator  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

BETA = 0.3


@pytest.fixture(autouse=True)
def _fresh():
    runs.end()
    yield
    runs.end()


def algorithm(estimator: str = "frpo", baseline: str = "fitted", **changes):
    return OmegaConf.create(
        {
            "adv_estimator": estimator,
            "kl_mode": "future",
            "kl_penalty": "kl",
            "kl_ctrl": {"type": "fixed", "kl_coef": BETA},
            "norm_adv_by_std_in_grpo": True,
            "gamma": 1.0,
            "lam": 1.0,
            "gdpo_reward_keys": ["first", "second"],
            "frpo": {"baseline": baseline, **changes.pop("frpo", {})},
            **changes,
        }
    )


def batch(rows: int = 9, length: int = 5) -> DataProto:
    """All that any of the estimators reads; responses of a prompt are not next to each other."""
    mask = torch.rand(rows, length) > 0.3
    mask[:, 0] = True
    rewards = torch.zeros(rows, length, dtype=torch.float64)
    rewards[:, 0] = torch.rand(rows).round()
    tensors = {
        "token_level_rewards": rewards,
        "token_level_scores": rewards,
        "response_mask": mask.long(),
        "prompts": torch.ones(rows, 2, dtype=torch.long),
        "attention_mask": torch.cat([torch.ones(rows, 2, dtype=torch.long), mask.long()], -1),
        "old_log_probs": -torch.rand(rows, length, dtype=torch.float64),
        "ref_log_prob": -torch.rand(rows, length, dtype=torch.float64),
        "values": torch.randn(rows, length, dtype=torch.float64),
        "reward_baselines": torch.rand(rows, dtype=torch.float64),
        "sum_pi_squared": torch.rand(rows, length, dtype=torch.float64),
    }
    non_tensors = {
        "uid": np.array([f"prompt-{row % 3}" for row in range(rows)], dtype=object),
        "first": np.array(torch.randn(rows).tolist(), dtype=object),
        "second": np.array(torch.randn(rows).tolist(), dtype=object),
    }
    return DataProto.from_dict(tensors=tensors, non_tensors=non_tensors)


def run(data: DataProto, config) -> torch.Tensor:
    if config.adv_estimator != "remax" and "reward_baselines" in data.batch:
        data.batch.pop("reward_baselines")
    return compute_advantage(data, adv_estimator=config.adv_estimator, config=config).batch["advantages"]


def by_loops(data: DataProto, **changed):
    tensors, groups = data.batch, data.non_tensor_batch["uid"].tolist()
    mask = tensors["response_mask"].bool().tolist()
    delta = (tensors["old_log_probs"] - tensors["ref_log_prob"]).tolist()
    outcome = group_normalised(tensors["token_level_rewards"].sum(-1).tolist(), groups, 1e-6)
    reg = return_to_go(delta, mask, lambda d: d, lambda d: d)
    outcome = [[value] * len(row) for value, row in zip(outcome, reg, strict=True)]
    rows, r2, later = oracle.baselined(outcome, reg, delta, mask, groups, BETA, **changed)
    return torch.tensor(rows, dtype=torch.float64), r2, later


@pytest.mark.parametrize("kind", ["fitted", "loo_position"])
def test_equals_the_definition_written_as_a_loop_step_after_step(kind):
    earlier = None
    for _ in range(3):
        data = batch()
        expected, r2, earlier = by_loops(data, kind=kind, earlier=earlier)
        assert torch.allclose(run(data, algorithm(baseline=kind)), expected, rtol=0, atol=1e-10)
        figures = runs.outbox.take_figures()
        assert figures["frpo/baseline_r2"] == pytest.approx(r2, abs=1e-9)
        names = {name for name in figures if name.startswith("frpo/baseline/")}
        assert len(names) == (5 if kind == "fitted" else 0)


def test_a_rollout_with_several_outputs_leaves_all_of_them_out():
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    data = batch()
    # two outputs of the first rollout of each prompt, and one of the second; one reward for both
    rollouts = [f"prompt-{row % 3}_{0 if row < 6 else 1}" for row in range(9)]
    keys = [f"{name}_{int(3 <= row < 6)}" for row, name in enumerate(rollouts)]
    data.batch["token_level_rewards"][:3] = data.batch["token_level_rewards"][3:6]
    done = utils.compute_advantage_for_multi_trajectories(
        deepcopy(data), batch_keys=keys, adv_estimator="rloo", norm_adv_by_std_in_grpo=True, config=algorithm("rloo")
    )
    plain = utils.compute_advantage_for_multi_trajectories(
        deepcopy(data),
        batch_keys=keys,
        adv_estimator="rloo",
        norm_adv_by_std_in_grpo=True,
        config=algorithm("rloo", "none"),
    )
    mask = data.batch["response_mask"].bool().tolist()
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]).tolist()
    reg = return_to_go(delta, mask, lambda d: d, lambda d: d)
    outcome = (plain.batch["advantages"] + BETA * torch.tensor(reg, dtype=torch.float64)).tolist()
    groups = data.non_tensor_batch["uid"].tolist()
    expected, *_ = oracle.baselined(outcome, reg, delta, mask, groups, BETA, rollouts=rollouts)
    each, *_ = oracle.baselined(outcome, reg, delta, mask, groups, BETA)
    found = done.batch["advantages"]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)
    assert not torch.allclose(found, torch.tensor(each, dtype=torch.float64), rtol=0, atol=1e-3)


@pytest.mark.parametrize("estimator", [member.value for member in AdvantageEstimator])
def test_only_estimators_that_look_at_one_prompt_go_with_the_fit(estimator):
    # what the first prompt's responses earned, and how likely they were, is changed; do the others notice?
    plain = algorithm(estimator, "none")
    data = batch()
    other = deepcopy(data)
    rows = torch.arange(9) % 3 == 0
    for name in ("token_level_rewards", "old_log_probs", "values", "sum_pi_squared", "reward_baselines"):
        other.batch[name][rows] = other.batch[name][rows] - 0.25
    for name in ("first", "second"):
        other.non_tensor_batch[name][rows.numpy()] = [0.5, 3.0, -1.0]
    before, after = (run(each, plain)[~rows] for each in (data, other))
    if torch.equal(before, after):
        assert variants.read({"baseline": "fitted"}, estimator).baseline == "fitted"
    else:
        with pytest.raises(SettingsError, match=f"baseline=fitted with adv_estimator={estimator}: .*, and it "):
            variants.read({"baseline": "fitted"}, estimator)
    assert variants.read({"baseline": "loo_position"}, estimator).baseline == "loo_position"


@pytest.mark.parametrize("stale", ["none", "vtrace"])
def test_with_the_current_policy_the_worker_subtracts_the_term_and_the_trainer_the_baseline(stale):
    data = batch()
    expected, *_ = by_loops(data)
    sent = run(deepcopy(data), algorithm(frpo={"kl": "current", "stale": stale}))
    told = note.read(runs.outbox.take_note())
    assert (told.beta, told.variant.baseline, told.variant.stale) == (BETA, "fitted", stale)
    mask = data.batch["response_mask"]
    delta = data.batch["old_log_probs"] - data.batch["ref_log_prob"]
    # at the first update, whose weight is the one that was fitted to
    same = torch.zeros_like(delta)
    reg = worker.divergence_to_go(delta, mask, told.generator, told.variant, None, log_importance=same)
    found = worker.current_advantages(sent, reg, mask, told.beta)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_a_batch_without_prompts_is_refused():
    data = batch()
    config = algorithm("remax")
    run(deepcopy(data), config)
    data.non_tensor_batch.pop("uid")
    with pytest.raises(BatchError, match=r"baseline=fitted needs 'uid', each response's prompt, in the batch, which"):
        run(data, config)


def test_of_rejected_tokens_the_past_counts_and_the_advantage_does_not():
    data = batch()
    whole = run(deepcopy(data), algorithm())
    data.batch["frpo_sampled_mask"] = data.batch["response_mask"].clone()
    data.batch["response_mask"][4] = 0
    runs.end()
    # the outcome is that of verl's grpo, which does not look at the mask of tokens
    found = run(data, algorithm())
    assert not found[4].any()
    assert torch.allclose(found[[1, 7]], whole[[1, 7]], rtol=0, atol=1e-10)


# ---- Checkpoints ----


def trainer(folder, step: int, config) -> SimpleNamespace:
    of = OmegaConf.create({"default_local_dir": str(folder), "resume_mode": "auto", "resume_from_path": None})
    return SimpleNamespace(config=SimpleNamespace(algorithm=config, trainer=of), global_steps=step)


@pytest.mark.parametrize("kind", ["fixed", "adaptive"])
def test_what_was_remembered_goes_on_to_the_bit(tmp_path, kind):
    control = {"type": kind, "kl_coef": BETA, "target_kl": 0.1, "horizon": 1000}
    config, batches = algorithm(kl_ctrl=control), [batch() for _ in range(3)]
    whole = [run(deepcopy(each), config) for each in batches]
    runs.end()
    run(deepcopy(batches[0]), config)
    run(deepcopy(batches[1]), config)
    checkpoint.save_before(lambda trainer: None, trainer(tmp_path, 2, config))
    runs.end()
    checkpoint.restore_after(lambda trainer: None, trainer(tmp_path, 2, config))
    assert torch.equal(run(batches[2], config), whole[2])
    assert set(json.loads((tmp_path / "global_step_2" / resumed.FILE).read_text())) == (
        {"baseline"} if kind == "fixed" else {"baseline", "beta"}
    )


@pytest.mark.parametrize("baseline", ["none", "loo_position"])
def test_without_a_fit_there_is_nothing_to_remember(tmp_path, baseline):
    config = algorithm(baseline=baseline)
    run(batch(), config)
    checkpoint.save_before(lambda trainer: None, trainer(tmp_path, 1, config))
    assert not (tmp_path / "global_step_1" / resumed.FILE).exists()
    assert torch.equal(runs.of(config).memory.moments, no_moments())


def test_a_checkpoint_without_a_memory_begins_one(tmp_path, capsys):
    this = runs.of(algorithm())
    this.memory.restore(tmp_path)
    assert "continues with no earlier batches, of which there are none in" in capsys.readouterr().out
    assert torch.equal(this.memory.moments, no_moments())
    (tmp_path / resumed.FILE).write_text('{"beta": 0.1}')
    this.memory.restore(tmp_path)
    assert torch.equal(this.memory.moments, no_moments())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", r"frpo_verl\.json is damaged"),
        ("[]", r"frpo_verl\.json is damaged"),
        ('{"baseline": 3}', r"frpo_verl\.json is damaged"),
        ('{"baseline": [["a"]]}', r"frpo_verl\.json is damaged"),
        ('{"baseline": [[1.0]]}', r"holds no 6 × 6 finite numbers for baseline; resume from an earlier checkpoint"),
        (json.dumps({"baseline": [[float("nan")] * 6] * 6}), r"holds no 6 × 6 finite numbers"),
    ],
)
def test_a_memory_that_cannot_be_read_ends_the_run_in_one_sentence(tmp_path, content, sentence):
    (tmp_path / resumed.FILE).write_text(content)
    with pytest.raises(CheckpointError, match=sentence) as error:
        runs.of(algorithm()).memory.restore(tmp_path)
    assert "\n" not in str(error.value)


# ---- What is said of it ----


def test_a_baseline_that_keeps_doing_harm_is_said_once(capsys):
    this = runs.of(algorithm(baseline="loo_position")).memory

    def observe(*r2: float) -> str:
        for value in r2:
            this.observe(Fit(no_moments(), torch.zeros(5), value))
        return capsys.readouterr().err

    harm = [-0.1] * (memory.PATIENCE - 1)
    assert observe(*harm, 0.1, *harm) == ""
    said = observe(-0.1)
    assert "algorithm.frpo.baseline=loo_position: frpo/baseline_r2 has been negative for 10 steps in a row" in said
    assert observe(*harm) == ""


def test_every_figure_is_averaged_over_the_mini_batches_of_a_step():
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    run(batch(), algorithm())
    figures = {name: value for name, value in runs.outbox.take_figures().items() if "baseline" in name}
    aggregator = utils.MetricsAggregator()
    aggregator.add_step_metrics(figures, sample_count=3)
    aggregator.add_step_metrics({name: value + 4 for name, value in figures.items()}, sample_count=1)
    expected = {name: value + 1 for name, value in figures.items()}
    assert aggregator.get_aggregated_metrics() == pytest.approx(expected, abs=1e-9)
