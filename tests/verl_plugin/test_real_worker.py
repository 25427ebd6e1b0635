"""The term of the current policy in verl's own actor worker: FSDP2, its mini-batches, epochs and optimizer."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory, tiny_model):
    out = tmp_path_factory.mktemp("worker") / "found.json"
    program = Path(__file__).parent / "real_worker.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-W", "ignore", str(program), str(tiny_model), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(out.read_text())


def test_before_the_first_mini_batch_the_current_term_is_that_of_the_rollout(found):
    # one mini-batch: the same numbers in, so the same update to the bit
    for key in ("grad_norm", "squares"):
        assert found["current-1"][key] == found["rollout-1"][key]
    figures = dict(found["current-1"]["figures"]["reduced"])
    assert abs(figures.pop("frpo/subtracted/token_mean")) > 1e-3
    assert figures == found["rollout-1"]["figures"]["reduced"]


def test_the_term_reaches_the_update(found):
    assert found["current-1"]["squares"] != found["none-1"]["squares"]
    assert found["current-1"]["figures"]["reduced"]["actor/pg_loss"] != pytest.approx(
        found["none-1"]["figures"]["reduced"]["actor/pg_loss"], abs=1e-3
    )


def test_from_the_second_mini_batch_on_it_follows_the_policy(found):
    current, rollout = found["current-4"]["grad_norm"], found["rollout-4"]["grad_norm"]
    assert len(current) == len(rollout) == 4  # two mini-batches, two epochs
    assert current[0] == rollout[0]
    assert all(a != pytest.approx(b, rel=1e-3) for a, b in zip(current[1:], rollout[1:], strict=True))


def test_the_workers_figures_are_token_means_over_the_whole_mini_batch(found):
    of = found["rollout-1"]
    k3 = [
        math.exp(r - o) - (r - o) - 1
        for olds, references, mask in zip(of["old"], of["reference"], of["mask"], strict=True)
        for o, r, m in zip(olds, references, mask, strict=True)
        if m
    ]
    # four micro-batches of different token counts; float32
    reduced = of["figures"]["reduced"]
    assert reduced["frpo/divergence_to_ref/token_mean"] == pytest.approx(sum(k3) / len(k3), rel=1e-5)
    assert reduced["frpo/drift_from_old/token_mean"] == pytest.approx(0, abs=1e-6)


def test_the_drift_from_the_old_policy_has_a_name_of_its_own(found):
    drift = found["current-4"]["figures"]["reduced"]["frpo/drift_from_old/token_mean"]
    assert drift != 0
    assert drift != found["current-4"]["figures"]["reduced"]["frpo/divergence_to_ref/token_mean"]


def test_without_a_note_nothing_is_added(found):
    assert not [name for name in found["none-1"]["figures"]["names"] if name.startswith("frpo/")]
