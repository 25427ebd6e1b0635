"""The keys `fpa.*`."""

import math

import pytest

from frpo_verl.trainers import settings

DEFAULTS = {
    "loss": "outcome",
    "lam": 1.0,
    "weighted": "both",
    "future": "exact",
    "beta": 0.1,
    "alpha": 1.0,
    "advantage": "signed",
    "threshold": 0.5,
    "reference_path": None,
    "reference_cache": None,
}


def test_the_primary_configuration_has_exactly_these_keys_and_nothing_wrong():
    yaml = pytest.importorskip("yaml")
    from pathlib import Path

    file = Path(settings.__file__).parent / "config" / "fpa_trainer.yaml"
    section = yaml.safe_load(file.read_text())["fpa"]
    assert section == DEFAULTS
    assert list(settings.problems(section)) == []
    assert settings.read(section)._asdict() == DEFAULTS


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "lam",
            -0.5,
            "fpa.lam=-0.5: it must not be negative: lambda looks ahead, and 0 is the method without FPA; set",
        ),
        ("lam", math.inf, "fpa.lam=inf: it must be a finite number"),
        ("lam", "1", "fpa.lam=1: it must be a finite number"),
        ("lam", True, "fpa.lam=True: it must be a finite number"),
        ("beta", -1, "fpa.beta=-1: it must not be negative; set it to 0 or more"),
        ("alpha", math.nan, "fpa.alpha=nan: it must be a finite number"),
        ("threshold", None, "fpa.threshold=None: it must be a finite number"),
        ("loss", "kto", "fpa.loss=kto: choose outcome, dpo, rpo or simper"),
        ("weighted", "positives", "fpa.weighted=positives: choose both or negatives"),
        ("future", "approximate", "fpa.future=approximate: choose exact or without_normaliser"),
        ("advantage", "raw", "fpa.advantage=raw: choose signed or standardised"),
        ("lamda", 1.0, "fpa.lamda: there is no such key; choose one of loss, lam, "),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_sentence(key, value, sentence):
    (found,) = settings.problems({**DEFAULTS, key: value})
    assert found.startswith(sentence)


def test_what_depends_on_the_vocabulary_cannot_be_kept():
    (found,) = settings.problems({**DEFAULTS, "reference_cache": "kept"})
    assert found.startswith(
        "fpa.reference_cache=kept: the normaliser of the future policy is a sum over the vocabulary"
    )
    for changed in ({"lam": 0, "loss": "dpo"}, {"future": "without_normaliser"}):
        section = {**DEFAULTS, "reference_cache": "kept", **changed}
        assert list(settings.problems(section)) == []
        assert settings.read(section).needs_reference and not settings.read(section).runs_reference


def test_a_factor_of_zero_learns_nothing():
    (found,) = settings.problems({**DEFAULTS, "loss": "dpo", "beta": 0})
    assert found.startswith("fpa.beta=0: every coefficient of dpo has it as a factor")
    # rpo keeps the likelihood of the chosen response
    assert list(settings.problems({**DEFAULTS, "loss": "rpo", "beta": 0})) == []


def test_all_problems_come_at_once():
    assert len(list(settings.problems({**DEFAULTS, "lam": -1, "beta": -1, "loss": "x"}))) == 3


@pytest.mark.parametrize(
    ("loss", "lam", "needed"),
    [("outcome", 0, False), ("outcome", 1, True), ("simper", 0, False), ("simper", 0.5, True), ("dpo", 0, True)]
    + [("dpo", 1, True), ("rpo", 0, True)],
)
def test_the_reference_is_needed_by_dpo_rpo_and_any_lambda(loss, lam, needed):
    assert settings.read({**DEFAULTS, "loss": loss, "lam": lam}).needs_reference is needed


def test_outcome_alone_is_not_pairwise():
    pairwise = [loss for loss in settings.CHOICES["loss"] if settings.read({**DEFAULTS, "loss": loss}).is_pairwise]
    assert pairwise == ["dpo", "rpo", "simper"]
