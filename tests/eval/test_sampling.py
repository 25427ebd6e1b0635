"""The command on models: sampled and graded as offline-data does, with a sampler that writes lines of the real one."""

import json

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("verl")

from offline.letters import Letters, Sampler  # noqa: E402

from frpo_verl import cli  # noqa: E402
from frpo_verl.eval import checkpoint, divergence  # noqa: E402
from frpo_verl.offline import model  # noqa: E402
from frpo_verl.trainers import sampler  # noqa: E402
from frpo_verl.trainers.graded import said_of  # noqa: E402

REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return float(solution_str == ground_truth)

def says_pred(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str == ground_truth), "pred": solution_str if solution_str != "b" else None}

def raises(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "e":
        raise ValueError("no e")
    return 0.0
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
    """A folder with a model and three prompts; runs the command, and returns its status and results."""
    asked = [("ab", "a"), ("cd", "x"), ("ee", "e")]
    rows = [{"prompt": p, "data_source": "letters", "reward_model": {"ground_truth": gold}} for p, gold in asked]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    (tmp_path / "reward.py").write_text(REWARD)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")

    def run(*words, sources=("m",), reward="reward.py", n=3):
        given = {"--prompts": tmp_path / "p.parquet", "--n": n, "--reward": f"{tmp_path}/{reward}"}
        given |= {"--samples": tmp_path / "samples", "--json": tmp_path / "o.json"}
        words = [*(str(word) for pair in given.items() for word in pair), *map(str, words)]
        status = cli.main(["eval", *(str(tmp_path / source) for source in sources), *words])
        said = json.loads((tmp_path / "o.json").read_text()) if (tmp_path / "o.json").exists() else {"results": []}
        return status, said, {(each["quantity"], each["k"]): each["value"] for each in said["results"]}

    run.folder, run.file = tmp_path, lambda: next((tmp_path / "samples").glob("*.parquet"))
    return run


def test_a_model_is_sampled_graded_and_evaluated(case, sampled):
    status, said, found = case("--k", "1,3")
    assert status == 0 and sorted(sampled.rows) == [0, 1, 2]
    # a b a of "ab", of which a is right; c d c, of which nothing is; e e e
    assert found["pass@k", 1] == pytest.approx((2 / 3 + 0 + 1) / 3) and found["pass@k", 3] == pytest.approx(2 / 3)
    assert found["mean@k", None] == pytest.approx(5 / 9)
    # every response has two tokens, of −1 and −2 nats
    assert found["entropy, nats/token", None] == pytest.approx(1.5) and found["tokens/response", None] == 2
    assert said["results"][0]["data_source"] == "letters"
    (remark,) = said["remarks"]
    assert "no maj@k" in remark


def test_repeated_responses_count(case):
    case()
    rows = parquet.read_table(case.file()).to_pylist()
    assert [row["responses"] for row in rows] == [["a", "b", "a"], ["c", "d", "c"], ["e", "e", "e"]]
    assert said_of(case.file())["duplicates"] == "keep"


def test_what_is_there_is_not_sampled_again(case, sampled):
    first = case("--k", "1")
    assert case("--k", "3")[2]["pass@k", 3] == pytest.approx(2 / 3)
    assert len(sampled.rows) == 3 and first[0] == 0


def test_the_answer_that_a_reward_says_votes(case):
    status, _, found = case("--k", "3", reward="reward.py:says_pred")
    assert parquet.read_table(case.file())["preds"].to_pylist() == [["a", "", "a"], ["c", "d", "c"], ["e", "e", "e"]]
    # a twice, c twice, e three times
    assert status == 0 and found["maj@k", 3] == pytest.approx(2 / 3)


def test_two_models_are_two_seeds(case, sampled):
    (case.folder / "n").mkdir()
    (case.folder / "n" / "config.json").write_text("{}")
    status, said, _ = case(sources=("m", "n"))
    assert status == 0 and len(sampled.rows) == 6 and len(said["results"][0]["by_seed"]) == 2
    assert len(list((case.folder / "samples").glob("*.parquet"))) == 2


def test_the_file_itself_is_a_source(case, capsys):
    _, said, _ = case("--k", "1,3")
    assert cli.main(["eval", str(case.file()), "--k", "1,3", "--json", str(case.folder / "again.json")]) == 0
    again = json.loads((case.folder / "again.json").read_text())
    assert [each["value"] for each in again["results"]] == [each["value"] for each in said["results"]]


def test_at_another_temperature_there_is_no_entropy_which_is_said(case):
    _, said, found = case("--temperature", "0.7")
    assert ("entropy, nats/token", None) not in found
    assert any(
        "no entropy, since it has no log-probs of samples at --temperature 1" in each for each in said["remarks"]
    )


def test_a_stopped_sampling_goes_on(case, sampled, capsys):
    sampled.stop_after = 2
    assert case()[0] == 1 and "killed" in capsys.readouterr().err
    sampled.stop_after = None
    assert case()[0] == 0 and sampled.rows == [0, 1, 2]


def test_a_model_that_fails_is_named_and_the_other_is_evaluated(case, capsys):
    case()
    other = case.folder / "g.parquet"
    case.file().rename(other)
    status, said, found = case(sources=("m", "g.parquet"), reward="reward.py:raises", n=3)
    assert status == 1 and found["mean@k", None] == pytest.approx(5 / 9)
    assert "it raised ValueError: no e" in said["problems"][0]


def test_a_k_above_n_is_said_before_anything_is_sampled(case, sampled, capsys):
    assert case("--k", "3,4,16")[0] == 1 and sampled.rows == []
    said = capsys.readouterr().err
    assert "--k 4: --n is 3; draw more, or lower k" in said and "--k 16: --n is 3" in said and "--k 3" not in said


def test_all_that_is_wrong_with_sampling_is_said_at_once(case, capsys):
    status, *_ = case("--temperature", "-1", "--template", "x", "--top-p", "0")
    said = capsys.readouterr().err
    assert status == 1 and all(each in said for each in ("--temperature -1", "--template x", "--top-p 0"))


def test_the_divergence_is_the_difference_of_both_models_log_probs(case, monkeypatch):
    # the policy's file has three rows of two tokens × 3
    sums = {"policy": [-6.0, -7.0, -8.0], "reference": [-9.0, -9.0, -9.0]}
    asked = []

    def measure(file, of, kept, told):
        asked.append((of, kept.name.split(".")[-2]))
        return sums[kept.name.split(".")[-2]]

    monkeypatch.setattr(divergence, "measure", measure)
    status, _, found = case("--reference", "ref/model")
    assert status == 0 and found["divergence to the reference, nats/token", None] == pytest.approx(6 / 18)
    assert asked == [(str(case.folder / "m"), "policy"), ("ref/model", "reference")]


def test_the_divergence_needs_the_policys_own_samples(case):
    status, said, found = case("--reference", "ref/model", "--top-p", "0.9")
    assert status == 1 and ("pass@k", 3) in found and not any("divergence" in quantity for quantity, _ in found)
    (problem,) = said["problems"]
    assert "no divergence, since it takes samples of a known model, at --temperature 1" in problem


def test_the_divergence_needs_one_vocabulary_and_the_weights_of_the_samples(case, monkeypatch):
    class Others(Letters):
        def get_vocab(self):
            return {}

    monkeypatch.setattr(model, "tokenizer", lambda name: (Others() if name == "ref/model" else Letters(), []))
    _, said, _ = case("--reference", "ref/model")
    assert "the vocabulary of --reference ref/model is not the samples'" in said["problems"][0]
    monkeypatch.setattr(model, "tokenizer", lambda name: (Letters(), []))
    monkeypatch.setattr(model, "weights", lambda name: "others")
    arguments = [str(case.file()), "--reference", "ref/model", "--json", str(case.folder / "o.json")]
    assert cli.main(["eval", *arguments]) == 1
    (problem,) = json.loads((case.folder / "o.json").read_text())["problems"]
    assert "has other weights now than when it was sampled; sample it again" in problem
    monkeypatch.setattr(model, "tokenizer", lambda name: (None, [f"--model {name}: none"]))
    cli.main(["eval", *arguments])
    problems = json.loads((case.folder / "o.json").read_text())["problems"]
    assert f"{case.file()}: no divergence (--reference): ref/model: none" in problems


def test_a_merger_that_fails_is_a_sentence(case, monkeypatch, capsys):
    (case.folder / "ckpt" / "actor").mkdir(parents=True)
    (case.folder / "ckpt" / "actor" / "fsdp_config.json").write_text("{}")

    def fails(source, target):
        raise checkpoint.EvalError(f"{source.word}: no")

    monkeypatch.setattr(checkpoint, "_merge", fails)
    status, said, _ = case(sources=("ckpt",))
    assert status == 1 and said["problems"] == [f"{case.folder / 'ckpt'}: no"] and said["results"] == []
