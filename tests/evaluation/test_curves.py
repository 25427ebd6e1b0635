"""Runs side by side, from the files that verl writes."""

import json

import pytest

from frpo_verl.evaluation import curves
from frpo_verl.evaluation.curves import Point, curve, main, table


def run(folder, *steps: dict[str, float]):
    folder.mkdir()
    lines = [json.dumps({"step": number, "data": data}) for number, data in enumerate(steps, start=1)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def seeds(tmp_path):
    return [
        run(tmp_path / "a", {"critic/score/mean": 0.25, "actor/entropy": 2.0}, {"critic/score/mean": 0.5}),
        run(tmp_path / "b", {"critic/score/mean": 0.75}, {"critic/score/mean": 1.0}, {"critic/score/mean": 1.0}),
    ]


def test_a_point_is_the_seeds_mean_and_range_at_the_steps_that_all_have(seeds):
    assert curve(seeds, ["critic/score/mean"]) == [Point(1, 0.25, 0.5, 0.75), Point(2, 0.5, 0.75, 1.0)]


def test_what_one_seed_has_not_logged_has_no_curve(seeds):
    assert curve(seeds, ["actor/entropy"]) == []
    assert curve(seeds[:1], ["actor/entropy"]) == [Point(1, 2.0, 2.0, 2.0)]


def test_the_first_name_that_a_run_has_logged_counts(tmp_path):
    one = run(tmp_path / "one", {"actor/kl_loss": 0.1, "frpo/divergence_to_ref/token_mean": 0.2})
    other = run(tmp_path / "other", {"actor/kl_loss": 0.4})
    names = curves.PANELS["divergence to the reference, nats/token"]
    assert curve([one], names)[0].mean == 0.2
    patched = run(tmp_path / "patched", {"actor/future_kl_penalty": 0.3})
    assert curve([patched], names)[0].mean == 0.3
    assert curve([one, other], names) == [Point(1, 0.2, pytest.approx(0.3), 0.4)]


def test_the_table_says_what_was_not_logged(seeds):
    assert table({"frpo": seeds}).splitlines()[-1] == (
        "| frpo | 2 | 0.625 (0.375 to 0.875) | not logged | not logged |"
    )


def test_the_table_takes_the_last_steps_of_each_seed_together(tmp_path):
    rising = run(tmp_path / "rising", *({"critic/score/mean": float(step)} for step in range(10)))
    falling = run(tmp_path / "falling", *({"critic/score/mean": -float(step)} for step in range(10)))
    assert "| 0.000 (-7.000 to 7.000) |" in table({"frpo": [rising, falling]})


def test_the_figure_is_written_and_the_table_printed(seeds, tmp_path, capsys):
    main([str(tmp_path / "curves.png"), f"frpo={seeds[0]}", f"frpo={seeds[1]}", f"no kl={seeds[0]}"])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "| frpo | 2 |" in printed
    assert "| no kl | 1 |" in printed


@pytest.mark.parametrize("word", ["runs", "frpo=gone"])
def test_a_run_that_is_not_there_is_one_sentence(tmp_path, word, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "curves.png"), word])
    assert f"{word}: not NAME=RUN_DIR with a metrics.jsonl in RUN_DIR" in capsys.readouterr().err
