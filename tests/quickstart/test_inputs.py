"""What another recipe starts from: a model of the quickstart, and its task."""

import pytest
from pyarrow import parquet

from frpo_verl.quickstart import command, inputs, task


def test_the_chosen_model_and_the_task_are_where_the_quickstart_has_them(tmp_path, monkeypatch):
    built = []
    monkeypatch.setitem(command.MODELS, "tiny", command.MODELS["tiny"]._replace(build=built.append))
    inputs.main(["tiny", str(tmp_path)])
    assert built == [tmp_path / "models" / "tiny"]
    held_out = parquet.read_table(tmp_path / "data" / "one_digit_sums_held_out.parquet")
    assert held_out.num_rows == task.HELD_OUT
    train = parquet.read_table(tmp_path / "data" / "one_digit_sums_train.parquet", columns=["prompt"]).to_pylist()
    assert len({str(row) for row in train}) == len(task.split().train) == 160


def test_a_model_that_there_is_not_is_bad_usage(tmp_path, capsys):
    with pytest.raises(SystemExit):
        inputs.main(["huge", str(tmp_path)])
    assert "invalid choice: 'huge'" in capsys.readouterr().err
