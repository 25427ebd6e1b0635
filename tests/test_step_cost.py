"""The benchmark of a step: the order of its runs, what it reads of them, and its table."""

import json
from pathlib import Path

import command_lines
import pytest
from benchmarks import step_cost, step_runs

STEP = {"gen": 4.0, "ref": 1.0, "adv": 0.5, "step": 8.0}


def a_run(folder: Path, name: str, *steps: float, length: int = 16, finished: bool = True) -> None:
    """Writes what a run leaves behind: phases that take `steps` times as long as STEP."""
    run = folder / name
    run.mkdir()
    lines = [{"step": 0, "data": {}}]
    for number, factor in enumerate(steps, start=1):
        seconds = {f"timing_s/{phase}": factor * value for phase, value in STEP.items()}
        if "no_kl" in name:
            del seconds["timing_s/ref"]
        lengths = {"response_length/min": 16, "response_length/max": length}
        lines.append({"step": number, "data": seconds | lengths})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    requests = [{"received": 1024, "sent": 10, "peak": 2**20}, {"received": 3072, "sent": 5110, "peak": 3 * 2**20}]
    (run / "transfer_queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in requests))
    (run / "memory.json").write_text(json.dumps({"driver": 5 * 2**20, "worker": 7 * 2**20}))
    if finished:
        (run / "finished").write_text("1.0\n")


def test_every_other_round_is_backwards():
    names = ["kl_loss", "kl_reward", "no_kl", "frpo"]
    expected = [(0, name) for name in names] + [(1, name) for name in names[::-1]] + [(2, name) for name in names]
    assert step_cost.order(3) == expected


def test_the_first_steps_are_not_counted_and_rounds_that_are_not_whole_neither(tmp_path):
    for name in step_cost.METHODS:
        a_run(tmp_path, f"0-{name}", 9, 9, 1, 3, 2)
    a_run(tmp_path, "1-frpo", 1, 1, 1)
    for name in step_cost.METHODS:
        a_run(tmp_path, f"2-{name}", 1, 1, 1, finished=name != "frpo")
    runs = step_cost.read(tmp_path)
    assert {(run.turn, run.method) for run in runs} == {(0, name) for name in step_cost.METHODS}
    first = next(run for run in runs if run.method == "frpo")
    assert first.seconds == {phase: 2 * value for phase, value in STEP.items()} and first.first == 72
    # 4096 and 5120 bytes in five steps
    assert first.moved == {"received": 819.2, "sent": 1024}
    assert {name: held / 2**20 for name, held in first.held.items()} == {"driver": 5, "worker": 7, "TransferQueue": 3}


def test_responses_of_several_lengths_are_refused(tmp_path):
    for name in step_cost.METHODS:
        a_run(tmp_path, f"0-{name}", 1, 1, 1, length=17 if name == "frpo" else 16)
    with pytest.raises(ValueError, match="responses have 16 to 17 tokens, not one length"):
        step_cost.read(tmp_path)


def test_no_whole_round_is_an_error(tmp_path):
    a_run(tmp_path, "0-frpo", 1, 1, 1)
    with pytest.raises(ValueError, match="no round is finished"):
        step_cost.read(tmp_path)


def test_ratios_are_paired_by_round(tmp_path):
    # Rounds differ by 100, methods by 2 in one round and 8 in the other: √16 · exp(± 12.7062 · log 2).
    for turn, (slow, factor) in enumerate(((1, 2), (100, 8))):
        for name in step_cost.METHODS:
            a_run(tmp_path, f"{turn}-{name}", 1, 1, slow * (factor if name == "frpo" else 1))
    lines = step_cost.table(step_cost.read(tmp_path)).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert {len(of) for of in cells.values()} == {7}
    # medians of 8 and 800, and of 16 and 6400
    assert cells["step, s"][:4] == ["404.000", "404.000", "404.000", "3208.000"]
    assert cells["step, s"][4:] == ["1.00× [1.00, 1.00]", "1.00× [1.00, 1.00]", "4.00× [0.00, 26730.60]"]
    assert cells["ref, s"][2] == cells["ref, s"][5] == "–" != cells["ref, s"][0]
    assert cells["old_log_prob, s"] == ["–"] * 7
    # The first round's alone.
    assert cells["peak of driver, MiB"] == [*["5"] * 4, *["1.00×"] * 3]


def test_the_fastest_is_of_all_counted_steps(tmp_path):
    for turn in (0, 1):
        for name in step_cost.METHODS:
            a_run(tmp_path, f"{turn}-{name}", 0.1, 0.1, 9, 5 - turn, 7 if name == "frpo" else 2 + turn)
    lines = step_cost.fastest_table(step_cost.read(tmp_path)).splitlines()
    assert "| step, s | 16.000 | 16.000 | 16.000 | 32.000 | 2.00× |" in lines
    assert "| ref, s | 2.000 | 2.000 | – | 4.000 | 2.00× |" in lines
    assert "| old_log_prob, s | – | – | – | – | – |" in lines


def test_frames_are_summed_without_the_name():
    class Socket:
        def recv_multipart(self, copy):
            return [b"name", b"12", memoryview(b"34567")]

        def send_multipart(self, frames, copy):
            return len(frames)

    counted = step_runs.Counted(Socket())
    assert counted.recv_multipart(copy=False)[0] == b"name"
    assert counted.send_multipart([b"name", bytearray(11)], copy=False) == 2
    assert (counted.received, counted.sent) == (7, 11)


def test_a_peak_is_forgotten():
    held = bytearray(64 * step_cost.MIB)
    held[::4096] = b"1" * len(held[::4096])
    before = step_runs.peak()
    del held
    step_runs.forget_peak()
    assert before - step_runs.peak() > 50 * step_cost.MIB


@pytest.mark.verl
def test_every_method_is_what_it_says(tmp_path):
    from verl.trainer.ppo.utils import need_reference_policy

    knobs = {"MODEL_PATH": "model", "TRAIN_FILES": "train", "VAL_FILES": "val", "STEPS": "5"}
    (tmp_path / "recipe").mkdir()
    environment, folders = step_cost.prepare(tmp_path, knobs, 2)
    assert [folder.name for folder in folders] == [f"{turn}-{name}" for turn, name in step_cost.order(2)]
    assert environment["VERL_PLATFORM"] == "cpu" and environment["RAY_ADDRESS"] == "local"
    seen = {}
    for folder in folders[:4]:
        config = command_lines.composed((folder / "overrides.txt").read_text().splitlines())
        algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
        seen[folder.name] = (
            algorithm.adv_estimator,
            actor.use_kl_loss,
            algorithm.use_kl_in_reward,
            need_reference_policy(config),
        )
        assert config.trainer.default_local_dir == str(folder / "checkpoints")
        assert config.transfer_queue.backend.SimpleStorage.ledger == str(folder / "transfer_queue.jsonl")
        assert config.actor_rollout_ref.rollout.ignore_eos and config.trainer.test_freq == -1
    assert seen == {
        "0-kl_loss": ("grpo", True, False, True),
        "0-kl_reward": ("grpo", False, True, True),
        "0-no_kl": ("grpo", False, False, False),
        "0-frpo": ("frpo", False, False, True),
    }
