"""Every estimator with every policy loss and every token weight: one update each in a real worker, on both engines."""

import math
from itertools import combinations, product

import pytest

pytest.importorskip("verl")
pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

BETA = 0.3
ESTIMATORS = {
    "grpo": ["algorithm.adv_estimator=grpo"],
    "frpo": ["algorithm.adv_estimator=frpo"],
    "rloo": ["algorithm.adv_estimator=rloo", "algorithm.kl_mode=future"],
}
# The lower and upper threshold, such that some tokens are on either side: of a ratio, or of a probability near 1/384.
LOSSES = {
    "vanilla": (0.2, 0.3),
    "drpo": (0.001, 0.002),
    "dppo_tv": (0.0004, 0.0008),
    "gspo": (0.1, 0.15),
    "cispo": (0.25, 0.35),
}
WEIGHTS = {"off": [], "lambda": ["algorithm.token_weight=lambda_grpo"]}
DUAL_CLIP = 3.0
"""verl's default of `clip_ratio_c`."""
ACTOR = "actor_rollout_ref.actor."
KL_IN_LOSS = [f"{ACTOR}use_kl_loss=True", f"{ACTOR}kl_loss_coef=0.5", f"{ACTOR}kl_loss_type=low_var_kl"]
FURTHER = {
    "grpo vanilla off kl_loss": ["grpo", "vanilla", "off", KL_IN_LOSS],
    "grpo vanilla lambda kl_loss": ["grpo", "vanilla", "lambda", KL_IN_LOSS],
    "frpo drpo lambda current": ["frpo", "drpo", "lambda", ["algorithm.frpo.kl=current"]],
}
"""What else travels to the workers with a weight: the loss's own KL, the current policy's term."""
CELLS = {f"{e} {loss} {weight}": [e, loss, weight, []] for e, loss, weight in product(ESTIMATORS, LOSSES, WEIGHTS)}
# The averaged advantage of a response has no place for a weight of its tokens.
GEO_MEAN = ["algorithm.adv_estimator=grpo", f"{ACTOR}policy_loss.loss_mode=geo_mean"]
REFUSED = {"grpo geo_mean lambda": [*GEO_MEAN, *WEIGHTS["lambda"]]}
# Adam without memory, so far from its root of the second moment that a step is the gradient itself: what the weights of
# the worker lose is compared to its last digits, and nothing of one cell is left in the next.
FAR = "1e6"
STEP_OF_THE_GRADIENT = {
    "fsdp2": [f"{ACTOR}optim.betas=[0.0,0.999]", f"+{ACTOR}optim.override_optimizer_config.eps={FAR}"],
    "megatron": [
        f"+{ACTOR}optim.override_optimizer_config.adam_beta1=0.0",
        f"+{ACTOR}optim.override_optimizer_config.adam_eps={FAR}",
    ],
}
# float32; sums are taken in another order
ROUNDING = 1e-5


def overrides(estimator: str, loss: str, weight: str, further: list[str]) -> list[str]:
    low, high = LOSSES[loss]
    anchored = ["algorithm.rollout_correction.bypass_mode=True"] if loss in ("drpo", "dppo_tv") else []
    return [
        *ESTIMATORS[estimator],
        *WEIGHTS[weight],
        f"{ACTOR}policy_loss.loss_mode={loss}",
        f"{ACTOR}clip_ratio_low={low}",
        f"{ACTOR}clip_ratio_high={high}",
        *anchored,
        *further,
    ]


@pytest.fixture(scope="module")
def found(models, ranks_of, tmp_path_factory) -> dict[str, dict]:
    """Returns what every cell did on each engine, which one process runs one after the other."""
    import torch

    folder = tmp_path_factory.mktemp("matrix")
    cells = {name: overrides(*cell) for name, cell in (CELLS | FURTHER).items()} | REFUSED
    cases = {
        engine: {
            "model": str(models["qwen2"]),
            "engine": engine,
            "overrides": [
                *optimizer,
                f"{ACTOR}optim.lr={FAR}",
                f"{ACTOR}optim.clip_grad=1e9",
                f"{ACTOR}ppo_micro_batch_size_per_gpu=4",
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.rollout.n=4",
                "actor_rollout_ref.rollout.calculate_log_probs=True",
                "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
                f"algorithm.kl_ctrl.kl_coef={BETA}",
            ],
            "cells": cells,
            "gradients": str(folder / f"{engine}.pt"),
        }
        for engine, optimizer in STEP_OF_THE_GRADIENT.items()
    }
    results = ranks_of(1, cases, folder)
    return {engine: result | {"gradients": torch.load(folder / f"{engine}.pt")} for engine, result in results.items()}


engines = pytest.mark.parametrize("engine", STEP_OF_THE_GRADIENT)
places = pytest.mark.parametrize("place", ["at", "away"])


def distance(one, other) -> float:
    return float((one - other).norm() / other.norm())


@engines
@places
def test_every_cell_updates(found, engine, place):
    for name in CELLS | FURTHER:
        cell = found[engine]["cells"][name]
        assert "refused" not in cell, cell
        assert math.isfinite(cell[place]["figures"]["actor/pg_loss"]), name
        assert cell[place]["grad_norm"] > 0, name
        norm = float(found[engine]["gradients"][f"{name} {place}"].double().norm())
        assert cell[place]["grad_norm"] == pytest.approx(norm, rel=ROUNDING), name


@engines
def test_what_means_nothing_is_refused_at_start_up(found, engine):
    (sentence,) = found[engine]["cells"]["grpo geo_mean lambda"]["refused"]
    assert "geo_mean" in sentence and "token_weight=lambda_grpo" in sentence


def outcomes(rows: list, estimator: str) -> list[float]:
    """Returns verl's advantage of each response: its reward in its group, normalised or less the others' mean."""
    found = []
    for group, _, reward in rows:
        rewards = [other for name, _, other in rows if name == group]
        mean = sum(rewards) / len(rewards)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in rewards) / (len(rewards) - 1))
        of_others = (sum(rewards) - reward) / (len(rewards) - 1)
        found.append(reward - of_others if estimator == "rloo" else (reward - mean) / (deviation + 1e-6))
    return found


def sharers(rows: list, row: int, token: int) -> int:
    """Returns how many responses of a row's group begin as it does, up to and including a token."""
    group, ids, _ = rows[row]
    return sum(name == group and other[: token + 1] == ids[: token + 1] for name, other, _ in rows)


def definition(of: dict, estimator: str, weight: str, place: str) -> list[list[float]]:
    """Returns w·Â − β·Σ_{j≥t} (log π_old − log π_ref)(o_j) of every valid token, and 0 elsewhere."""
    rows, outcome, expected = of["rows"], outcomes(of["rows"], estimator), []
    for row, mask in enumerate(of["mask"]):
        values = []
        for token, valid in enumerate(mask):
            later = range(token, len(mask))
            to_go = sum(of[place][row][j] - of["reference"][row][j] for j in later if mask[j])
            share = 1 / sharers(rows, row, token) if valid and weight == "lambda" else 1.0
            values.append(valid * (share * outcome[row] - (BETA * to_go if estimator != "grpo" else 0.0)))
        expected.append(values)
    return expected


@engines
@places
def test_the_advantages_are_those_of_the_definition(found, engine, place):
    of = found[engine]
    for name, (estimator, _, weight, _) in CELLS.items():
        advantages = of["cells"][name][place]["advantages"]
        for row, values in enumerate(definition(of, estimator, weight, place)):
            kept = [value if valid else 0.0 for value, valid in zip(advantages[row], of["mask"][row], strict=True)]
            assert kept == pytest.approx(values, rel=1e-5, abs=1e-5), name  # float32


def valid_tokens(of: dict, name: str) -> list[list[tuple[float, float, float]]]:
    """Returns log π, log μ and the advantage of each valid token away from μ, response by response."""
    advantages = of["cells"][name]["away"]["advantages"]
    of_rows = zip(of["at"], of["away"], advantages, of["mask"], strict=True)
    return [[token[:3] for token in zip(*row, strict=True) if token[3]] for row in of_rows]


def vanilla(log_prob: float, old: float, advantage: float, low: float, high: float) -> float:
    ratio = math.exp(log_prob - old)
    clipped = max(-advantage * ratio, -advantage * min(max(ratio, 1 - low), 1 + high))
    return min(clipped, -advantage * DUAL_CLIP) if advantage < 0 else clipped


def drpo(log_prob: float, old: float, advantage: float, low: float, high: float) -> float:
    """arXiv 2606.09821, equation 8: the square of π − μ, weighted by the advantage."""
    ratio, delta = math.exp(log_prob - old), high if advantage > 0 else low
    return -advantage * ratio + abs(advantage) * math.exp(old) * (ratio - 1) ** 2 / (2 * delta)


def dppo_tv(log_prob: float, old: float, advantage: float, low: float, high: float) -> float:
    moved = math.exp(log_prob) - math.exp(old)
    kept = moved <= high if advantage > 0 else moved >= -low
    return -advantage * min(math.exp(log_prob - old), DUAL_CLIP) * log_prob * kept


def cispo(log_prob: float, old: float, advantage: float, low: float, high: float) -> float:
    return -advantage * min(max(math.exp(log_prob - old), 1 - low), 1 + high) * log_prob


PER_TOKEN = {"vanilla": vanilla, "drpo": drpo, "dppo_tv": dppo_tv, "cispo": cispo}


def gspo(tokens: list[tuple[float, float, float]], low: float, high: float) -> list[float]:
    ratio = math.exp(sum(log_prob - old for log_prob, old, _ in tokens) / len(tokens))
    return [max(-a * ratio, -a * min(max(ratio, 1 - low), 1 + high)) for *_, a in tokens]


@engines
def test_the_loss_away_from_the_policy_that_sampled_is_that_of_its_paper(found, engine):
    of = found[engine]
    for name, (_, loss, _, _) in CELLS.items():
        losses = []
        for tokens in valid_tokens(of, name):
            if loss == "gspo":
                losses += gspo(tokens, *LOSSES[loss])
            else:
                losses += [PER_TOKEN[loss](*token, *LOSSES[loss]) for token in tokens]
        expected = sum(losses) / len(losses)
        figure = of["cells"][name]["away"]["figures"]["actor/pg_loss"]
        # the mean of terms of both signs, in float32
        assert figure == pytest.approx(expected, rel=1e-4, abs=1e-5), name


@engines
def test_at_the_policy_that_sampled_every_loss_has_the_gradient_of_vanilla(found, engine):
    gradients = found[engine]["gradients"]
    for estimator, weight, loss in product(ESTIMATORS, WEIGHTS, LOSSES):
        one, other = (gradients[f"{estimator} {name} {weight} at"] for name in (loss, "vanilla"))
        assert distance(one, other) < ROUNDING, (estimator, loss, weight)


# What two cells must differ by, of the gradient's length.
APART = 0.05


@engines
def test_away_from_it_every_loss_has_its_own(found, engine):
    gradients = found[engine]["gradients"]
    for estimator, weight, (one, other) in product(ESTIMATORS, WEIGHTS, combinations(LOSSES, 2)):
        found_distance = distance(*(gradients[f"{estimator} {loss} {weight} away"] for loss in (one, other)))
        assert found_distance > APART, (estimator, weight, one, other)


@engines
@places
def test_a_weight_and_an_estimator_reach_the_update(found, engine, place):
    gradients = found[engine]["gradients"]
    for estimator, loss in product(ESTIMATORS, LOSSES):
        weighed, plain = (gradients[f"{estimator} {loss} {weight} {place}"] for weight in ("lambda", "off"))
        assert distance(weighed, plain) > APART, (estimator, loss)
    for loss, weight, (one, other) in product(LOSSES, WEIGHTS, combinations(ESTIMATORS, 2)):
        found_distance = distance(*(gradients[f"{estimator} {loss} {weight} {place}"] for estimator in (one, other)))
        assert found_distance > APART, (loss, weight, one, other)


@engines
def test_the_kl_of_the_loss_is_weighed_like_the_reward(found, engine):
    """arXiv 2509.21154, equation 9: (P·a − β·D) / |λ|, over the number of tokens."""
    of = found[engine]
    for weight in WEIGHTS:
        total = 0.0
        for row, mask in enumerate(of["mask"]):
            for token, valid in enumerate(mask):
                gap = of["reference"][row][token] - of["at"][row][token]
                share = 1 / sharers(of["rows"], row, token) if valid and weight == "lambda" else 1.0
                total += valid * share * (math.exp(gap) - gap - 1)
        expected = total / sum(map(sum, of["mask"]))
        figures = of["cells"][f"grpo vanilla {weight} kl_loss"]["at"]["figures"]
        assert figures["kl_loss"] == pytest.approx(expected, rel=1e-5)
    weighed, plain = (of["gradients"][f"grpo vanilla {weight} kl_loss at"] for weight in ("lambda", "off"))
    assert distance(weighed, of["gradients"]["grpo vanilla lambda at"]) > APART
    assert distance(weighed, plain) > APART


@engines
def test_the_current_policys_term_comes_after_the_weights(found, engine):
    of = found[engine]
    # where the policy is the one that sampled, its term is the rollout's
    current, rollout = (of["gradients"][f"frpo drpo lambda{how} at"] for how in (" current", ""))
    assert distance(current, rollout) < ROUNDING
    in_workers, before = (of["cells"][f"frpo drpo lambda{how}"]["at"]["advantages"] for how in (" current", ""))
    assert in_workers != before


def test_megatron_computes_what_fsdp2_does(found):
    ours, expected = found["megatron"], found["fsdp2"]
    for row, other, mask in zip(ours["at"], expected["at"], expected["mask"], strict=True):
        kept = [(a, b) for a, b, m in zip(row, other, mask, strict=True) if m]
        assert [a for a, _ in kept] == pytest.approx([b for _, b in kept], abs=3e-6)
    for name, place in product(CELLS | FURTHER, ("at", "away")):
        of, fsdp2 = ours["cells"][name][place], expected["cells"][name][place]
        assert of["grad_norm"] == pytest.approx(fsdp2["grad_norm"], rel=ROUNDING), name
        assert of["figures"] == pytest.approx(fsdp2["figures"], rel=1e-4, abs=1e-5), name
        assert distance(*(each["gradients"][f"{name} {place}"] for each in (ours, expected))) < ROUNDING, name


@engines
def test_a_weight_logs_what_is_shared(found, engine):
    of = found[engine]
    tokens = [(row, token) for row, mask in enumerate(of["mask"]) for token, valid in enumerate(mask) if valid]
    sizes = [sharers(of["rows"], row, token) for row, token in tokens]
    copies = sum(of["rows"].count(row) > 1 for row in of["rows"])
    expected = {
        "frpo/token_weight/mean": sum(1 / size for size in sizes) / len(sizes),
        "frpo/token_weight/shared_token_share": sum(size > 1 for size in sizes) / len(sizes),
        "frpo/token_weight/duplicate_response_share": copies / len(of["rows"]),
        "frpo/token_weight/flat_group_share": 0.0,
    }
    for name, (_, _, weight, _) in CELLS.items():
        figures = of["cells"][name]["away"]["figures"]
        logged = {figure: value for figure, value in figures.items() if figure.startswith("frpo/token_weight/")}
        assert logged == pytest.approx(expected if weight == "lambda" else {}, rel=1e-6), name


@engines
def test_drpo_logs_how_far_the_policy_is(found, engine):
    for name, (_, loss, _, _) in CELLS.items():
        figures = found[engine]["cells"][name]["away"]["figures"]
        logged = {figure: value for figure, value in figures.items() if figure.startswith("actor/drpo/")}
        moved, changes, ratios = [], [], []
        for log_prob, old, advantage in sum(valid_tokens(found[engine], name), []):
            delta = LOSSES[loss][advantage > 0]
            moved.append((math.exp(log_prob) - math.exp(old), delta))
            changes.append(moved[-1][0] / delta * (1 if advantage > 0 else -1))
            ratios.append(math.exp(log_prob - old))
        expected = {
            "actor/drpo/distance/token_mean": sum(abs(gap) for gap, _ in moved) / len(moved),
            "actor/drpo/distance/max": max(abs(gap) for gap, _ in moved),
            "actor/drpo/outside_share": sum(abs(gap) > delta for gap, delta in moved) / len(moved),
            "actor/drpo/weight_change/token_mean": sum(map(abs, changes)) / len(moved),
            "actor/drpo/reversed_share": sum(change > 1 for change in changes) / len(moved),
            "actor/drpo/ratio/max": max(ratios),
        }
        assert logged == pytest.approx(expected if loss == "drpo" else {}, rel=1e-4), name  # float32
        assert loss != "drpo" or expected["actor/drpo/reversed_share"] > 0
