"""Checks that runs of several kinds share."""

import json
import math
import re

# Largest difference of a token's probability between trainer and server, float32, in eight tokens of a tiny model.
SAME_WEIGHTS = 1e-4

# Smallest spread of the future term, in nats, once a tiny model has left its reference; an update makes it about 1.
LEFT_THE_REFERENCE = 0.1

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


def assert_trained_with_the_term(run, steps: int = 3) -> list[dict[str, float]]:
    """Checks the same of the records that carry the term's figures; returns these."""
    # line by line: fully-async logs its last two steps under one number
    log = run.directory / "metrics.jsonl"
    records = [json.loads(line)["data"] for line in log.read_text().splitlines()] if log.exists() else []
    with_term = [record for record in records if "frpo/beta" in record]
    assert run.status == 0, run.log[-3000:]
    assert_updates_with_the_term(run, with_term, steps)
    assert run.left_behind == []
    return with_term


def assert_updates_with_the_term(run, records: list[dict[str, float]], steps: int = 3) -> None:
    """Checks that each step was an update away from the reference."""
    assert_updates(run, records, steps)
    for step in records:
        assert math.isfinite(step["frpo/divergence_to_ref/token_mean"])
    assert_leaves_the_reference(records)


def assert_leaves_the_reference(steps: list[dict[str, float]]) -> None:
    """Checks that the policy starts at the reference and is elsewhere after every update."""
    assert abs(steps[0]["frpo/divergence_to_ref/token_mean"]) < 1e-6
    # k1's mean over a batch has both signs and is now and then close to 0; a spread is not
    spreads = [step["frpo/future_term/std"] for step in steps]
    assert spreads[0] < 1e-5
    assert min(spreads[1:]) > LEFT_THE_REFERENCE


def assert_server_follows(steps: list[dict[str, float]]) -> None:
    """Checks that the mismatch stays at rounding while the policy leaves the weights that the server began with."""
    for step in steps:
        assert abs(step["rollout_corr/kl"]) < 1e-4
        assert step["training/rollout_probs_diff_max"] < SAME_WEIGHTS
    assert_leaves_the_reference(steps)


def assert_fault_ended_it(run, *messages: str) -> None:
    """Checks that the fault was reached and ended the run soon, with one of the messages in its log."""
    assert run.status != 0
    assert run.fault_seconds is not None, "the fault was not reached"
    assert run.fault_seconds < WITHIN_SECONDS
    assert any(message in run.log for message in messages), run.log[-3000:]
