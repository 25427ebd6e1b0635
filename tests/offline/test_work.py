"""The folder of an unfinished file: what is kept, and what does not fit together."""

import json

import pytest

from frpo_verl.offline.errors import OfflineError
from frpo_verl.offline.work import differences, opened


def test_lines_are_found_by_row_whatever_process_wrote_them_and_half_a_line_is_not(tmp_path):
    with opened(tmp_path / "o.parquet") as work:
        (work.folder / "part-0.jsonl").write_text('{"row": 2, "x": "ä"}\n{"row": 0, "x": "b"}\n{"row": 3, "x"')
        (work.folder / "part-1.jsonl").write_text('{"row": 1, "x": "c"}\n')
        assert sorted(work.places()) == [0, 1, 2]
        assert [line["x"] for line in work.lines([2, 0, 1, 2])] == ["ä", "b", "c", "ä"]
        folder = work.folder
        work.remove()
    assert not folder.exists()


def test_settings_are_those_of_the_first_time(tmp_path):
    with opened(tmp_path / "o.parquet") as work:
        assert work.agree("settings", {"n": 1, "vllm": {}}) == []
        assert work.agree("settings", {"n": 1, "vllm": {}}) == []
        assert work.agree("settings", {"n": 2, "vllm": {"a": 1}}) == ["n=1, now 2", "a=None, now 1"]


def test_what_other_settings_made_is_removed(tmp_path):
    with opened(tmp_path / "o.parquet") as work:
        work.agree_or_clear("reward", {"f": 1}, work.scores)
        work.scores.write_text("x")
        work.agree_or_clear("reward", {"f": 1}, work.scores)
        assert work.scores.exists()
        work.agree_or_clear("reward", {"f": 2}, work.scores)
        assert not work.scores.exists()
        assert json.loads((work.folder / "reward.json").read_text()) == {"f": 2}


def test_differences_name_keys_and_short_values():
    assert differences({"a": {"b": 1, "c": "x" * 90}, "d": 1}, {"a": {"b": 2, "c": "y"}, "d": 1, "e": (1,)}) == [
        "b=1, now 2",
        "c",
        "e=None, now [1]",
    ]


def test_one_process_at_a_time(tmp_path):
    with opened(tmp_path / "o.parquet"):
        with pytest.raises(OfflineError, match="o.parquet: another process is making it"):
            with opened(tmp_path / "o.parquet"):
                pass
    with opened(tmp_path / "o.parquet"):
        pass
