"""The page of the quickstart says of each model what its settings are, and of the task what it holds."""

from pathlib import Path

from frpo_verl.quickstart import command, task, warm_up

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "quickstart" / "README.md").read_text()


def test_the_table_of_models_has_their_settings():
    header, _, *rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("|")
    ]
    listed = {row[0]: (row[1], dict(zip(header[2:], row[2:], strict=True))) for row in rows}
    assert listed == {name: (model.description, model.settings) for name, model in command.MODELS.items()}


def test_the_figures_of_the_task_and_of_the_warm_up_are_the_codes():
    train, held_out = task.split()
    assert f"{len(train) + len(held_out)} problems, of which {len(held_out)} are held out" in PAGE
    assert f"{warm_up.LEARNED_ACCURACY:.0%}".replace("%", " %") in PAGE
    assert f"{warm_up.START_ACCURACY:.0%}".replace("%", " %") in PAGE
