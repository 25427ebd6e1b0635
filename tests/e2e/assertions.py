"""Checks that runs of several kinds share."""

import json
import math
import re
from collections.abc import Callable

# Largest difference of a token's probability between trainer and server, float32, in eight tokens of a tiny model.
SAME_WEIGHTS = 1e-4

# Smallest spread of the future term, in nats, once a tiny model has left its reference; an update makes it about 1.
LEFT_THE_REFERENCE = 0.1

# Largest spread of it at the reference: what rounding leaves of the differences of two log-probs.
AT_THE_REFERENCE = 1e-5

# Responses to a prompt in the paper's recipes.
RESPONSES = 5

# What does not depend on the order of a batch's rows.
EXACT = ("critic/advantages/max", "critic/advantages/min", "critic/score/", "critic/rewards/", "response_length/")

# How soon a run ends after something in it broke.
WITHIN_SECONDS = 60


def assert_trained(run, steps: int = 3) -> None:
    """Checks that a run ended well and that every step was an update."""
    assert run.status == 0, run.log[-3000:]
    assert_updates(run, run.steps, steps)


def assert_updates(run, records: list[dict[str, float]], steps: int) -> None:
    """Checks that so many steps were logged and that each was an update."""
    # verl carries on with the rollouts that are left; a failed one shows here only. A fault may make them fail, and so
    # does the end, when an asynchronous trainer has begun those of a step that will not be.
    *_, last = re.finditer(r"step:\d+ - ", run.log)
    assert run.fault_seconds is not None or "Error in _run_prompt" not in run.log[: last.start()]
    assert len(records) == steps
    for record in records:
        assert math.isfinite(record["actor/pg_loss"])
        assert record["actor/grad_norm"] > 0


def assert_leaves_the_reference(steps: list[dict[str, float]]) -> None:
    """Checks that the policy starts at the reference and is elsewhere after every update."""
    assert abs(steps[0]["frpo/divergence_to_ref/token_mean"]) < 1e-6
    # k1's mean over a batch has both signs and is now and then close to 0; a spread is not
    spreads = [step["frpo/future_term/std"] for step in steps]
    assert spreads[0] < AT_THE_REFERENCE
    assert min(spreads[1:]) > LEFT_THE_REFERENCE


def assert_the_sampler_leaves_it(steps: list[dict[str, float]]) -> None:
    """Checks the same of the policy that sampled, which may be some updates old."""
    moved = [step["training/off_policy/trajectory_staleness/min"] < before for before, step in enumerate(steps)]
    assert not moved[0] and moved[-1]
    for step, has in zip(steps, moved, strict=True):
        spread = step["frpo/future_term/std"]
        assert spread > LEFT_THE_REFERENCE if has else spread < AT_THE_REFERENCE


def assert_trained_with_the_term(
    run, steps: int = 3, reference: Callable[[list[dict[str, float]]], None] = assert_leaves_the_reference
) -> list[dict[str, float]]:
    """Checks the same of the records that carry the term's figures, and where they are; returns these."""
    # line by line: fully-async logs its last two steps under one number
    log = run.directory / "metrics.jsonl"
    records = [json.loads(line)["data"] for line in log.read_text().splitlines()] if log.exists() else []
    with_term = [record for record in records if "frpo/beta" in record]
    assert run.status == 0, run.log[-3000:]
    assert_updates_with_the_term(run, with_term, steps, reference)
    assert run.left_behind == []
    return with_term


def assert_updates_with_the_term(
    run,
    records: list[dict[str, float]],
    steps: int = 3,
    reference: Callable[[list[dict[str, float]]], None] = assert_leaves_the_reference,
) -> None:
    """Checks that each step was an update, and where the policy was."""
    assert_updates(run, records, steps)
    for step in records:
        assert math.isfinite(step["frpo/divergence_to_ref/token_mean"])
    reference(records)


def assert_weighed(steps: list[dict[str, float]]) -> None:
    """Checks that every step was weighed by shared prefixes, of which there were some."""
    for step in steps:
        shared = step["frpo/token_weight/shared_token_share"]
        assert 0 < shared < 1
        # a shared token is one of two or more, at most of all responses of its group
        assert 1 - shared * (1 - 1 / RESPONSES) <= step["frpo/token_weight/mean"] + 1e-6
        assert step["frpo/token_weight/mean"] <= 1 - shared / 2 + 1e-6
        assert 0 <= step["frpo/token_weight/flat_group_share"] < 1
        assert 0 <= step["frpo/token_weight/duplicate_response_share"] <= 1


def assert_server_follows(steps: list[dict[str, float]]) -> None:
    """Checks that the mismatch stays at rounding while the policy leaves the weights that the server began with."""
    for step in steps:
        assert abs(step["rollout_corr/kl"]) < 1e-4
        assert step["training/rollout_probs_diff_max"] < SAME_WEIGHTS
    assert_leaves_the_reference(steps)


def assert_anchored(steps: list[dict[str, float]]) -> None:
    """Checks that the policy is at a distance |π − μ| from its sampler's, and DRPO's weights changed by that over δ.

    δ is 0.2 or, where A > 0, may be more.
    """
    for step in steps:
        distance = step["actor/drpo/distance/token_mean"]
        assert 0 < distance < step["actor/drpo/distance/max"] < 1
        assert 0 < step["actor/drpo/weight_change/token_mean"] <= distance / 0.2 * (1 + 1e-6)
        assert 0 <= step["actor/drpo/reversed_share"] <= step["actor/drpo/outside_share"] < 1
        assert step["actor/drpo/ratio/max"] > 1


def assert_fault_ended_it(run, *messages: str) -> None:
    """Checks that the fault was reached and ended the run soon, with one of the messages in its log."""
    assert run.status != 0
    assert run.fault_seconds is not None, "the fault was not reached"
    assert run.fault_seconds < WITHIN_SECONDS
    assert any(message in run.log for message in messages), run.log[-3000:]
