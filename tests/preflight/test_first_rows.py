"""Files that verl's own dataset, chat template and reward manager read, and files that they do not."""

import functools
import json

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("verl")
import pyarrow as pa
from command_lines import FRPO, changed, composed
from pyarrow import parquet

from frpo_verl.preflight import first_rows, input_files
from frpo_verl.quickstart import tiny

ASKED = [{"role": "user", "content": "1 + 1 ="}]
GOLD = {"style": "rule", "ground_truth": "2"}
ROW = {"data_source": "sums", "prompt": ASKED, "reward_model": GOLD}


@functools.cache
def command_line():
    return composed(FRPO)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny.make_model(tokenizer).config.save_pretrained(folder)
    return folder


@pytest.fixture
def said(model, tmp_path):
    def of_rows(rows, *overrides, name="rows.parquet", schema=None):
        file = tmp_path / name
        if name.endswith(".parquet"):
            parquet.write_table(pa.Table.from_pylist(rows, schema), file)
        else:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = f"actor_rollout_ref.model.path={model}", f"data.train_files={file}", "data.val_files=[]"
        problems = list(input_files.problems(changed(command_line(), *words, "data.train_batch_size=1", *overrides)))
        assert all(problem.startswith(f"data.train_files={file}: ") and "\n" not in problem for problem in problems)
        return [problem.removeprefix(f"data.train_files={file}: ") for problem in problems]

    return of_rows


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {**ROW, "extra_info": {"index": 3}},
        {**ROW, "prompt": [{"role": "system", "content": "Be brief."}, *ASKED]},
        {**ROW, "prompt": [{"role": "user", "content": "1 " * 5000}]},
    ],
)
def test_what_verl_reads_is_not_refused(said, row, name, capfd):
    assert said([row] * 20, name=name) == []
    assert said([row] * 20, "data.filter_overlong_prompts=True", name=name) == []
    assert capfd.readouterr() == ("", "")


def test_one_odd_row_is_not_every_row(said):
    assert said([ROW, {**ROW, "prompt": []}]) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": "1 + 1 ="}, "its column prompt is text and verl wants a list of messages; make it by "),
        ({"prompt": json.dumps(ASKED)}, "its column prompt is text and verl wants a list of messages; make it by "),
        ({"reward_model": json.dumps(GOLD)}, "its column reward_model is text and verl wants a struct with ground_tru"),
        ({"prompt": ["1 + 1 ="]}, "verl cannot use its rows (its chat template takes none of the first rows: "),
        ({"prompt": [{"text": "1 + 1 ="}]}, "verl cannot use its rows (its chat template takes none of the first rows"),
        ({"extra_info": json.dumps({"index": 3})}, "verl cannot use its rows (AttributeError: 'str' object has no att"),
        ({"reward_model": ["2"]}, "verl cannot use its rows (TypeError: "),
        ({"images": ["/nowhere.png"]}, "verl cannot use its rows (AssertionError: processor is needed"),
    ],
)
def test_what_verl_cannot_read_is_one_sentence(said, change, says):
    (problem,) = said([{**ROW, **change}] * 3)
    assert problem.startswith(says)
    assert problem.endswith("; make it by `frpo-verl data NAME --output DIR`")


def test_json_lines_are_read_too(said):
    (problem,) = said([{**ROW, "prompt": "1 + 1 ="}] * 3, name="rows.jsonl")
    assert problem.startswith("verl cannot use its rows (its chat template takes none of the first rows: ")


def test_a_file_without_rows_is_named(said):
    schema = pa.Table.from_pylist([ROW]).schema
    assert said([], schema=schema) == [
        "it has no rows; make it anew, for instance by `frpo-verl data NAME --output DIR`"
    ]


def test_rows_that_no_reward_manager_reads_need_no_gold(said):
    row = {**ROW, "reward_model": json.dumps(GOLD)}
    assert said([row], "reward.reward_manager.source=importlib") == []


def test_an_agent_loop_of_the_users_may_read_anything(said):
    row = {**ROW, "prompt": "1 + 1 =", "reward_model": json.dumps(GOLD)}
    loop = "actor_rollout_ref.rollout.agent.agent_loop_config_path=mine.yaml"
    assert said([row], loop) == []
    (problem,) = said([row], loop, "data.filter_overlong_prompts=True")
    assert problem.startswith("verl cannot use its rows (its chat template takes none")


def test_without_a_tokenizer_nothing_is_said(tmp_path):
    config = changed(command_line(), f"actor_rollout_ref.model.path={tmp_path}")
    assert first_rows.objection(config, tmp_path / "none.parquet", is_rewarded=True) is None


def test_nothing_is_left_in_the_cache_of_datasets(said, monkeypatch, tmp_path):
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    assert said([ROW]) == []
    assert datasets.config.HF_DATASETS_CACHE == cache and not cache.exists()
