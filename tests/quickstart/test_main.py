"""The command line of the quickstart."""

from pathlib import Path

import pytest

from frpo_verl.quickstart import __main__ as quickstart
from frpo_verl.quickstart.run import RunError


def test_the_default_is_the_pretrained_model_and_overrides_follow_two_dashes():
    options = quickstart.parse(["--", "trainer.seed=3"])
    assert (options.model, options.overrides) == ("smollm2", ["trainer.seed=3"])


def test_an_unknown_model_names_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        quickstart.parse(["--model", "gpt"])
    assert "smollm2" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["abc", "0", "-1", "2.5", ""])
def test_a_number_of_steps_that_is_none_is_refused_before_anything_starts(value):
    with pytest.raises(RunError, match=f"STEPS={value}: not a positive whole number"):
        quickstart._whole_number("STEPS", value)


def test_every_model_sets_knobs_that_the_recipe_has():
    recipe = (Path(__file__).parents[2] / "recipes" / "run_cpu.sh").read_text()
    for model in quickstart.MODELS.values():
        assert [knob for knob in model.settings if f"{knob}=${{{knob}" not in recipe] == []
