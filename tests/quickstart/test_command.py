"""`frpo-verl quickstart` as a user types it; the recipes here are shell one-liners."""

import json
import re
from pathlib import Path

import pytest

from frpo_verl import cli
from frpo_verl.quickstart import command

METRICS = {"critic/score/mean": 0.25, "actor/entropy": 1.5}


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    """Runs a shell text as the recipe of a quickstart whose model is an empty folder."""
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    empty = command.MODELS["tiny"]._replace(build=lambda folder: folder)
    monkeypatch.setitem(command.MODELS, "tiny", empty)

    def run(text: str, *arguments: str) -> int:
        script = tmp_path / "recipe.sh"
        script.write_text(text)
        chosen = ["--model", "tiny", "--runs", str(tmp_path / "runs"), "--recipe", str(script)]
        return cli.main(["quickstart", *chosen, *arguments])

    return run


def test_a_run_is_shown_with_the_knobs_and_overrides_that_it_had(quickstart, monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("ACTOR_LR", "7")
    line = json.dumps({"step": 1, "data": METRICS})
    script = (
        f"echo '{line}' > $RUN_DIR/metrics.jsonl; echo a=1 > $RUN_DIR/command.txt; "
        'echo "$ACTOR_LR $DTYPE $MODEL_PATH $@" > $RUN_DIR/seen; echo "Error in _run_prompt: lost"'
    )
    assert quickstart(script, "--", "trainer.seed=3") == 0
    shown = capsys.readouterr().out
    [directory] = (tmp_path / "runs").glob("*-frpo-tiny")
    assert (directory / "seen").read_text() == f"7 float32 {tmp_path / 'runs' / 'models' / 'tiny'} trainer.seed=3\n"
    assert "warning: rollouts of 1 prompts failed and are missing below; " in shown
    assert re.search(r"reward \(training\) +0.250", shown)
    assert shown.endswith(f"everything else of this run: {directory}\n")
    assert (directory / "report.html").exists()


@pytest.mark.parametrize(("text", "status"), [("echo 'ValueError: no'; exit 3", 3), ("echo 'ValueError: no'", 1)])
def test_a_run_that_fails_or_has_no_step_says_why(quickstart, capsys, text, status):
    assert quickstart(text) == status
    assert "log, " in (said := capsys.readouterr().err) and said.endswith("says:\n  ValueError: no\n")


def test_a_dry_run_is_the_recipes_own(quickstart, monkeypatch, tmp_path):
    monkeypatch.setenv("DRY_RUN", "1")
    assert quickstart("exit 5") == 5
    assert not list((tmp_path / "runs").glob("*-tiny"))


@pytest.mark.parametrize("value", ["abc", "0", "-1", "2.5", ""])
def test_steps_that_are_not_a_count_are_refused_before_anything_starts(
    quickstart, monkeypatch, capsys, tmp_path, value
):
    monkeypatch.setenv("STEPS", value)
    assert quickstart("exit 0") == 1
    assert capsys.readouterr().err == f"frpo-verl: STEPS={value}: not a positive whole number; set it to one\n"
    assert not (tmp_path / "runs").exists()


def test_an_unknown_model_names_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        cli.main(["quickstart", "--model", "gpt"])
    assert "smollm2" in capsys.readouterr().err


def test_every_model_sets_knobs_that_the_recipe_has():
    recipe = (Path(__file__).parents[2] / "recipes" / "run_cpu.sh").read_text()
    for model in command.MODELS.values():
        assert [knob for knob in model.settings if f"{knob}=${{{knob}" not in recipe] == []
