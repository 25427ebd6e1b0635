"""Checks the patched verl: its own tests and the patches' pass, and with the plugin the numbers stay the same."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from patched_verl import SERIES, apply, copy_of_verl, run

pytest.importorskip("verl")
pytest.importorskip("numba")

pytestmark = [pytest.mark.thorough, pytest.mark.verl]

HERE = Path(__file__).parent
GROUPING = 4
"""The patch by which more estimators than grpo count a rollout of several outputs once; such rows change by design."""
WEIGHING = 6
"""The patch by which verl's loss has weights; a loss with them changes by design."""
LOSS, LOSS_OF_VERL = "loss, lambda_grpo", "loss, weighed by verl"

Numbers = dict[str, dict[str, torch.Tensor]]


class Patched(NamedTuple):
    """A copy of verl with the whole series in it; the numbers of every case after each patch and without the plugin."""

    verl: Path
    after: dict[int, Numbers]
    alone: Numbers


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Patched:
    verl = tmp_path_factory.mktemp("patched")
    copy_of_verl(verl)
    after = {0: numbers(verl)}
    for count, patch in enumerate(SERIES, start=1):
        apply(patch, verl)
        # Importing verl takes long; the first two change nothing that a case could reach.
        if count >= GROUPING - 1:
            after[count] = numbers(verl)
    return Patched(verl, after, numbers(verl, with_plugin=False))


def numbers(verl: Path, with_plugin: bool = True) -> Numbers:
    done = run(verl, str(HERE / "cases.py"), "numbers.pt", with_plugin=with_plugin)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(verl / "numbers.pt")


def differing(one: Numbers, other: Numbers) -> set[str]:
    """Returns the cases whose numbers are not the same to the bit; a zero of either sign is zero."""
    assert one.keys() == other.keys()
    return {
        name
        for name in one
        for key in one[name]
        if one[name][key].dtype != other[name][key].dtype or not torch.equal(one[name][key], other[name][key])
    }


def test_verls_tests_and_those_of_the_patches_pass(patched):
    done = run(patched.verl, "-m", "pytest", "-q", "-x", "tests/trainer", with_plugin=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 200


def test_the_plugin_gives_the_same_numbers_whatever_the_patches(patched):
    several = {name for name in patched.after[0] if name.startswith("rloo") and name.endswith("several outputs")}
    for count, after in patched.after.items():
        by_design = several if count >= GROUPING else set()
        by_design |= {LOSS_OF_VERL} if count >= WEIGHING else set()
        assert differing(patched.after[0], after) == by_design, f"after patch {count}"


def test_grouped_rows_of_other_estimators_are_the_same_with_the_plugins_term_as_with_verls(patched):
    assert differing(patched.after[GROUPING], patched.after[WEIGHING - 1]) == set()


def test_patched_verl_needs_no_plugin_for_the_other_numbers(patched):
    with_weights = {name for name in patched.after[0] if "lambda_grpo" in name}
    assert differing(patched.after[len(SERIES)], patched.alone) == with_weights


def test_patched_verl_weighs_the_loss_as_the_plugin_weighs_advantages_and_kl(patched):
    plugins, verls = patched.after[0][LOSS], patched.alone[LOSS_OF_VERL]
    for key in plugins:
        torch.testing.assert_close(plugins[key], verls[key])


def test_the_cases_are_not_all_alike(patched):
    released = patched.after[0]
    for one, other in (
        ("frpo", "grpo"),
        ("frpo", "frpo, k3"),
        ("rloo, future", "rloo"),
        ("frpo", "frpo, several outputs"),
        ("rloo, future, k3", "rloo, future"),
        ("grpo, lambda_grpo", "grpo"),
        ("rloo, lambda_grpo", "rloo"),
    ):
        assert not torch.equal(released[one]["advantages"], released[other]["advantages"]), (one, other)
    for one, other in (("frpo, beta 0", "grpo"), ("rloo, future, beta 0", "rloo"), ("frpo", "grpo, future")):
        assert torch.equal(released[one]["advantages"], released[other]["advantages"]), (one, other)


PREFLIGHT = """
from pathlib import Path
import verl
from hydra import compose, initialize_config_dir
from verl.trainer.ppo.utils import need_reference_policy
from frpo_verl.preflight import methods, regulariser

with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
    for asked in ("adv_estimator=frpo", "adv_estimator=rloo kl_mode=future", "adv_estimator=frpo +frpo.horizon=64",
                  "adv_estimator=frpo kl_ctrl.kl_coef=0", "adv_estimator=frpo +token_weight=lambda_grpo",
                  "adv_estimator=grpo +token_weight=lambda_grpo"):
        keys = [key[: key.startswith("+")] + "algorithm." + key.lstrip("+") for key in asked.split()]
        config = compose("ppo_trainer", ["actor_rollout_ref.rollout.n=5",
                                         "actor_rollout_ref.actor.use_dynamic_bsz=True", *keys])
        found = [*regulariser.problems(config), *methods.token_weight_problems(config.algorithm)]
        print(asked, need_reference_policy(config), *(found or regulariser.summary(config)), sep=" | ")
"""


def test_what_the_plugin_says_where_verl_does_it(patched):
    done = run(patched.verl, "-c", PREFLIGHT)
    assert done.returncode == 0, done.stderr[-4000:]
    said = (line for line in done.stdout.splitlines() if line.startswith("adv_estimator="))
    frpo, mode, horizon, no_kl, term_and_weight, weight = said
    aside = "this verl subtracts the divergence itself: the plugin leaves it to verl and logs no frpo/ figures"
    for line in (frpo, mode):
        assert line.split(" | ")[1] == "True"
        assert line.endswith(f" | {aside}")
    assert (
        "algorithm.frpo.horizon=64: this verl subtracts the divergence itself and has no such key; leave it out"
        in horizon
    )
    assert no_kl.split(" | ")[1] == "False"
    assert "algorithm.token_weight=lambda_grpo: this verl subtracts the divergence itself" in term_and_weight
    assert "algorithm.token_weight=" not in weight
