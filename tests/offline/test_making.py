"""The whole way of each source, with a sampler that writes the lines of the real one, and a tokenizer of letters."""

import json
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("verl")

from offline.letters import Letters, Sampler  # noqa: E402

from frpo_verl import cli  # noqa: E402
from frpo_verl.offline import making, model  # noqa: E402
from frpo_verl.trainers import graded, sampler, sampling  # noqa: E402
from frpo_verl.trainers.graded import said_of  # noqa: E402

REWARD = """
import pathlib

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return float(solution_str == ground_truth)

async def later(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": len(solution_str), "acc": True}

def says(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": 0.0, "pred": None if solution_str == "b" else len(solution_str)}

def raises(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str:
        raise ValueError("no " + solution_str)
    return 0.0

def flaky(data_source, solution_str, ground_truth, extra_info=None):
    here = pathlib.Path(__file__)
    if solution_str == "c" and not here.with_name("repaired").exists():
        raise OSError("no answer")
    with here.with_name("asked").open("a") as asked:
        asked.write(solution_str)
    return 0.5

def strict(data_source, solution_str, ground_truth, extra_info=None):
    return 1 / len(solution_str)
"""


@pytest.fixture
def sampled(monkeypatch):
    fake = Sampler()
    monkeypatch.setattr(sampler, "run_all", fake)
    monkeypatch.setattr(sampler, "gpus", lambda: 0)
    monkeypatch.setattr(model, "tokenizer", lambda name: (Letters(), []))
    return fake


@pytest.fixture
def case(tmp_path, sampled):
    """A folder with three prompts, of which one is there twice; runs the command, and returns its status."""
    asked = [("ab", "a"), ("cd", "x"), ("ab", "a"), ("ee", "e")]
    rows = [{"prompt": p, "data_source": "letters", "reward_model": {"ground_truth": gold}} for p, gold in asked]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    (tmp_path / "reward.py").write_text(REWARD)

    def run(*words, reward="reward.py", n=3):
        given = {"--model": "m", "--prompts": tmp_path / "p.parquet", "--n": n, "--reward": f"{tmp_path}/{reward}"}
        words = [*(str(word) for pair in given.items() for word in pair), *map(str, words)]
        return cli.main(["offline-data", str(tmp_path / "o.parquet"), *words])

    run.folder, run.out = tmp_path, tmp_path / "o.parquet"
    return run


def test_a_model_is_sampled_and_graded_into_what_the_trainer_reads(case, capsys):
    assert case() == 0
    rows = parquet.read_table(case.out).to_pylist()
    assert [(row["prompt"], row["responses"], row["scores"]) for row in rows] == [
        ("ab", ["a", "b"], [1.0, 0.0]),
        ("cd", ["c", "d"], [0.0, 0.0]),
        ("ee", ["e"], [1.0]),
    ]
    assert rows[0]["log_probs"] == [[-1.0, -2.0]] * 2 and rows[0]["data_source"] == "letters"
    found = graded.read([str(case.out)], Letters(), 10)
    assert found.problems == [] and found.graded.scores.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert found.graded.responses.row(1).tolist() == [2, 0]
    said = capsys.readouterr().out
    assert (
        "5 responses to 3 prompts" in said and "of 9 responses, 4 repeat an earlier one, 0 with another score" in said
    )
    assert "1 all right, 1 all wrong; 2 with one score" in said and "1 rows repeated an earlier prompt" in said
    about = said_of(case.out)
    assert about["tokenizer"] == graded.fingerprint(Letters()) and about["eos_token_id"] == 0
    assert about["sampling"]["n"] == 3 and about["versions"]["frpo-verl"]
    assert about["reward"]["function"] == f"{case.folder / 'reward.py'}:compute_score"
    assert not (case.folder / "o.parquet.work").exists()


def test_the_answer_that_a_reward_function_says_is_kept(case):
    assert case("--duplicates", "keep", reward="reward.py:says") == 0
    assert parquet.read_table(case.out)["preds"].to_pylist() == [["1", "", "1"], ["1", "1", "1"], ["1", "1", "1"]]


def test_ids_of_another_tokenizer_are_refused_by_the_trainer(case):
    assert case() == 0
    other = Letters()
    other.get_vocab = lambda: {"z": 0}
    (problem,) = graded.read([str(case.out)], other, 10).problems
    assert "its token ids are those of m, whose vocabulary is not the policy's" in problem


def test_without_signal_nothing_is_left_of_two_prompts(case, capsys):
    assert case("--no-signal", "drop", "--duplicates", "keep") == 0
    (row,) = parquet.read_table(case.out).to_pylist()
    assert row["responses"] == ["a", "b", "a"]
    assert "2 with one score, 2 of them dropped" in capsys.readouterr().out


def test_nothing_left_is_no_file_and_the_samples_are_kept(case, capsys, sampled):
    assert case("--no-signal", "drop", n=1) == 1
    assert "not one of the 3 prompts has two different scores" in capsys.readouterr().err
    assert not case.out.exists()
    sampled.rows.clear()
    assert case("--no-signal", "keep", n=1) == 0 and sampled.rows == []


def test_what_was_stopped_goes_on(case, sampled, capsys):
    sampled.stop_after = 1
    assert case() == 1
    assert "sampling ended with -9: killed" in capsys.readouterr().err and not case.out.exists()
    with (case.folder / "o.parquet.work" / "part-0.jsonl").open("a") as part:
        part.write('{"row": 1, "resp')
    sampled.stop_after = None
    assert case() == 0
    assert sampled.rows == [0, 1, 2]
    assert parquet.read_table(case.out).num_rows == 3


def test_a_reward_function_that_raises_costs_no_sample(case, sampled, capsys):
    assert case(reward="reward.py:raises") == 1
    said = capsys.readouterr().err
    assert "row 0 of the prompts, response 'a': it raised ValueError: no a; correct it and run" in said
    assert case(reward="reward.py:later") == 0
    assert sampled.rows == [0, 1, 2]
    assert parquet.read_table(case.out)["scores"].to_pylist() == [[1.0, 1.0], [1.0, 1.0], [1.0]]


def test_grading_goes_on_where_it_was_stopped(case, capsys):
    assert case(reward="reward.py:flaky") == 1 and "OSError: no answer" in capsys.readouterr().err
    with (case.folder / "o.parquet.work" / "scores.jsonl").open("a") as scores:
        scores.write('{"row": 1, "sc')
    (case.folder / "repaired").touch()
    assert case(reward="reward.py:flaky") == 0
    assert (case.folder / "asked").read_text() == "aba" + "cdc" + "eee"
    assert parquet.read_table(case.out)["scores"].to_pylist() == [[0.5, 0.5], [0.5, 0.5], [0.5]]


def test_scores_are_kept_and_those_of_another_function_are_not(case, sampled, monkeypatch):
    monkeypatch.setattr(making, "_written", lambda *_: 1 / 0)
    for name in ("compute_score", "later"):
        with pytest.raises(ZeroDivisionError):
            case(reward=f"reward.py:{name}")
        scores = sampling.read(case.folder / "o.parquet.work" / "scores.jsonl")
    assert [line["scores"] for line in scores] == [[1.0] * 3] * 3


def test_other_settings_are_not_mixed_and_not_overwritten(case, sampled, capsys):
    sampled.stop_after = 1
    assert case() == 1
    assert case(n=4) == 1
    assert "o.parquet.work: it holds samples of other settings (n=3, now 4)" in capsys.readouterr().err
    sampled.stop_after = None
    assert case() == 0
    capsys.readouterr()
    assert case() == 0 and ", was there already" in capsys.readouterr().out
    assert case(n=4) == 1
    assert "o.parquet: it is there, of other settings (n=3, now 4)" in capsys.readouterr().err
    assert case("--no-signal", "drop") == 1
    case.out.write_text("mine")
    assert case() == 1 and case.out.read_text() == "mine"


def test_all_that_is_wrong_is_said_before_anything_is_sampled(case, sampled, capsys):
    assert case("--max-prompt-tokens", "1", reward="reward.py:strict") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "row 0 (and 2 more): up to 2 tokens, and --max-prompt-tokens=1" in said
    assert "it raises ZeroDivisionError: division by zero on an empty response to the prompt of row 0" in said
    assert case(reward="none.py") == 1 and "there is no such file" in " ".join(capsys.readouterr().err.split())
    assert case(reward="reward.py:nothing") == 1 and "it cannot be loaded" in " ".join(capsys.readouterr().err.split())
    assert sampled.rows == [] and not (case.folder / "o.parquet.work").exists()


def test_every_gpu_has_a_part(case, sampled, monkeypatch):
    monkeypatch.setattr(sampler, "gpus", lambda: 4)
    monkeypatch.setattr(sampler, "visible", lambda first, count: {"GPUS": f"{first}+{count}"})
    assert case("--vllm", "tensor_parallel_size=2") == 0
    assert [(spec.rows, Path(spec.out).name) for spec in sampled.specs] == [
        ([0, 2], "part-0.jsonl"),
        ([1], "part-1.jsonl"),
    ]
    assert sampled.devices == [{"GPUS": "0+2"}, {"GPUS": "2+2"}]
    assert [row["prompt"] for row in parquet.read_table(case.out).to_pylist()] == ["ab", "cd", "ee"]


def test_another_checkpoint_in_the_same_folder_is_another_model(case, sampled, capsys):
    (case.folder / "m").mkdir()
    for name in ("config.json", "model.safetensors"):
        (case.folder / "m" / name).write_text("{}")
    sampled.stop_after = 1
    assert case("--model", case.folder / "m") == 1
    (case.folder / "m" / "model.safetensors").write_text("[]")
    sampled.stop_after = None
    assert case("--model", case.folder / "m") == 1
    assert "o.parquet.work: it holds samples of other settings (weights)" in capsys.readouterr().err


def test_responses_of_others(tmp_path, capsys):
    lines = [{"prompt": "p", "response": text, "score": score} for text, score in (("a", 1), ("b", 0), ("a", 0))]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["offline-data", str(tmp_path / "o.parquet"), "--responses", str(tmp_path / "r.jsonl")]
    assert cli.main(words) == 0
    assert parquet.read_table(tmp_path / "o.parquet").to_pylist() == [
        {"prompt": "p", "responses": ["a", "b"], "scores": [1.0, 0.0]}
    ]
    assert "of 3 responses, 1 repeat an earlier one, 1 with another score" in capsys.readouterr().out
    assert cli.main(words) == 0 and "was there already" in capsys.readouterr().out
    assert cli.main([*words, str(tmp_path / "none.jsonl")]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_rollouts_of_verl(case, capsys):
    folder = case.folder / "rollouts"
    folder.mkdir()
    for step in (1, 2):
        lines = [
            {"input": "ab", "output": "b" * step, "gts": "a", "score": 0.0, "step": step},
            {"input": "zz", "output": "", "score": 0},
        ]
        (folder / f"{step}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--rollouts", folder, "--model", "m", "--prompts", case.folder / "p.parquet", "--max-tokens", "2"]
    assert cli.main(["offline-data", str(case.out), *map(str, words)]) == 0
    (row,) = parquet.read_table(case.out).to_pylist()
    assert (row["prompt_ids"], row["response_ids"], row["steps"]) == ([1, 2], [[2, 0], [2, 2]], [1, 2])
    assert row["reward_model"] == {"ground_truth": "a"}
    assert "2 lines are left out, whose input is that of no prompt" in capsys.readouterr().err
    assert graded.read([str(case.out)], Letters(), 10).problems == []
