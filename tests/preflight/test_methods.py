"""Methods that a run chooses by name, before Ray starts; with toys."""

import pytest
from omegaconf import OmegaConf

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS, TokenWeight
from frpo_verl.losses import LOSSES
from frpo_verl.preflight import methods

pytest.importorskip("verl")


def config(loss: str = "vanilla", **algorithm):
    return OmegaConf.create(
        {"algorithm": algorithm, "actor_rollout_ref": {"actor": {"policy_loss": {"loss_mode": loss}}}}
    )


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", TokenWeight(lambda *given: None, ()))
    monkeypatch.setitem(LOSSES, "toy", lambda *given: None)
    monkeypatch.setitem(LOSSES, "gspo", lambda *given: None)


def test_a_run_without_a_method_of_ours_is_left_alone():
    assert not methods.are_chosen(config()) and list(methods.problems(config())) == []


@pytest.mark.parametrize("chosen", [config(token_weight="toy"), config("toy")])
def test_a_method_that_there_is_may_run(chosen):
    assert methods.are_chosen(chosen) and list(methods.problems(chosen)) == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (
            config(token_weight="lambda"),
            "algorithm.token_weight=lambda: there is no such method (toy); correct it, or leave it out",
        ),
        (
            config(token_weight="toy", frpo={"kl": "current"}),
            "algorithm.token_weight=toy with algorithm.frpo.kl=current: workers subtract the term after the weights "
            "were applied; set algorithm.frpo.kl=rollout",
        ),
        (
            config("gspo"),
            "verl has a policy loss 'gspo' of its own; frpo-verl's needs another name: update frpo-verl",
        ),
    ],
)
def test_what_cannot_run_is_said(chosen, expected):
    assert list(methods.problems(chosen)) == [expected]
