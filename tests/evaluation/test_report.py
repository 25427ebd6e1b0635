"""The report of a run: its figures by hand, its table to the letter, its figure's size, its command line."""

import json
import math
import struct
import subprocess
import sys

import pytest

from frpo_verl.evaluation.figure import figure
from frpo_verl.evaluation.learned import Point, learned, parse_command, read_run
from frpo_verl.evaluation.report import main, table
from frpo_verl.evaluation.run_log import RunLogError, Step

COMMAND = (
    "python -m verl.trainer.main_ppo algorithm.adv_estimator=frpo data.seed=7 "
    "data.train_files=~/data/gsm8k/train.parquet data.val_files=~/data/gsm8k/test.parquet "
    "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct"
)
STEPS = [
    Step(0, {"val-core/acc": 0.2}),
    Step(1, {"critic/score/mean": 0.125, "actor/entropy": 1.5, "frpo/divergence_to_ref/token_mean": 0.0}),
    Step(2, {"critic/score/mean": 0.5, "actor/entropy": 1.25, "frpo/divergence_to_ref/token_mean": 0.004}),
]
# Two problems of 8 samples. Step 0: 0 and 4 correct. Step 2: 2 and 8 correct.
DUMPS = {
    0: {"p": [0.0] * 8, "q": [1.0] * 4 + [0.0] * 4},
    2: {"p": [1.0] * 2 + [0.0] * 6, "q": [1.0] * 8},
}
# pass@1: (0 + 4/8)/2 = 0.25, then (2/8 + 1)/2 = 0.625; pass@8 asks for any correct sample: (0 + 1)/2, then 1.
# The standard error of two values a and b is |a - b|/2: 0.25 and 0.375, then 0.5 and 0.
TABLE = """\
Qwen2.5-0.5B-Instruct on gsm8k, estimator frpo

                                before  step          after  step     change  unit         source
reward (training)                0.125     1          0.500     2     +0.375  score        critic/score/mean
held-out pass@1          0.250 ± 0.250     0  0.625 ± 0.375     2     +0.375  probability  2 problems x 8 samples
held-out pass@8          0.500 ± 0.500     0  1.000 ± 0.000     2     +0.500  probability  2 problems x 8 samples
divergence to reference          0.000     1       4.00e-03     2  +4.00e-03  nats/token   \
frpo/divergence_to_ref/token_mean
entropy                          1.500     1          1.250     2     -0.250  nats/token   actor/entropy

pass@k: unbiased estimator; ± is one standard error over problems; correct from score 1 on
seed: data.seed=7; one run
command: """


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "validation").mkdir()
    (tmp_path / "command.txt").write_text(COMMAND + "\n")
    lines = [json.dumps({"step": step.step, "data": step.metrics}) + "\n" for step in STEPS]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    for step, problems in DUMPS.items():
        rows = [{"input": text, "score": score} for text, scores in problems.items() for score in scores]
        path = tmp_path / "validation" / f"{step}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run_of(steps=STEPS, dumps=DUMPS, command=COMMAND, correct_at=1.0):
    return learned(steps, dumps, parse_command(command), correct_at)


def size_of_png(path):
    # The PNG signature, then the header chunk: length 13, its name, width and height (ISO/IEC 15948, 5.2 and 11.2.2).
    content = path.read_bytes()
    assert content[:16] == b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


def test_the_table_has_every_figure_before_and_after():
    assert table(run_of()) == TABLE + COMMAND


def test_the_first_and_last_points_are_before_and_after():
    run = run_of()
    assert (run.reward.before, run.reward.after) == (Point(1, 0.125), Point(2, 0.5))
    assert run.pass_at_1.before == pytest.approx((0, 0.25, 0.25), abs=1e-14)
    assert run.pass_at_8.after == Point(2, 1.0, 0.0)


def test_metrics_that_were_not_logged_are_shown_as_a_dash():
    lines = table(run_of(steps=[Step(1, {"other": 1.0})], dumps={})).splitlines()[3:8]
    assert len(lines) == 5
    for line in lines:
        assert line.count(" - ") == 5


def test_a_single_measurement_has_no_after_and_no_change():
    run = run_of(steps=STEPS[:2], dumps={0: DUMPS[0]})
    assert [quantity.after for quantity in run.quantities] == [None] * 5
    assert "0.125     1      -     -       -  score" in table(run)


def test_rounding_is_not_shown_as_a_change():
    run = run_of(steps=[Step(1, {"actor/entropy": 0.3}), Step(2, {"actor/entropy": 0.1 + 0.2})])
    assert run.entropy.before.value != run.entropy.after.value
    assert table(run).splitlines()[7].split()[1:6] == ["0.300", "1", "0.300", "2", "+0.000"]


def test_a_value_that_is_not_finite_is_shown_and_not_dropped():
    run = run_of(steps=[Step(1, {"critic/score/mean": 0.5}), Step(2, {"critic/score/mean": math.nan})])
    assert math.isnan(run.reward.after.value)
    assert "  nan  " in table(run)


def test_a_run_without_frpo_falls_back_to_the_kl_loss_and_says_so():
    run = run_of(steps=[Step(1, {"actor/kl_loss": 0.0}), Step(2, {"actor/kl_loss": 0.02})])
    assert run.divergence.source == "actor/kl_loss"
    assert run.divergence.points == (Point(1, 0.0), Point(2, 0.02))


def test_the_divergence_to_the_reference_goes_before_the_kl_loss():
    run = run_of(steps=[Step(1, {"actor/kl_loss": 0.5, "frpo/divergence_to_ref/token_mean": 0.1})])
    assert run.divergence.points == (Point(1, 0.1),)


def test_pass_at_8_needs_eight_samples_of_each_problem():
    run = run_of(dumps={0: {"p": [1.0] * 8, "q": [0.0] * 7}})
    assert run.pass_at_8.points == ()
    assert run.pass_at_8.source == "needs 8 samples of each problem"
    assert run.pass_at_1.source == "2 problems x 7 to 8 samples"
    # (1 + 0)/2, with the standard error |1 - 0|/2.
    assert run.pass_at_1.before == Point(0, 0.5, 0.5)


def test_held_out_sets_of_different_sizes_are_both_named():
    run = run_of(dumps={0: {"p": [1.0], "q": [0.0]}, 1: {"p": [1.0]}})
    assert run.pass_at_1.source == "2 problems x 1 samples -> 1 problems x 1 samples"
    assert run.pass_at_1.after == Point(1, 1.0, None)


def test_a_sample_is_correct_from_the_given_score_on():
    dumps = {0: {"p": [1.0, 0.5, 0.1, math.nan]}}
    assert run_of(dumps=dumps, correct_at=0.5).pass_at_1.before.value == 0.5
    assert run_of(dumps=dumps).pass_at_1.before.value == 0.25


@pytest.mark.parametrize(
    ("words", "model", "task", "estimator", "seed"),
    [
        ("", "verl's default", "verl's default", "gae", "verl's default (the command sets none)"),
        (
            "--config-name frpo_trainer",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "frpo_trainer's default (the command sets none)",
        ),
        (
            "--config-name=frpo_trainer algorithm.adv_estimator=rloo +algorithm.kl_mode=future data.seed=1",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "rloo + future KL",
            "data.seed=1",
        ),
        (
            "actor_rollout_ref.model.path=models/tiny \\\n "
            "data.val_files=\"['a/math500.parquet','gsm8k/test.parquet']\" "
            "++actor_rollout_ref.actor.data_loader_seed=3 data.seed=1",
            "tiny",
            "math500, gsm8k",
            "gae",
            "actor_rollout_ref.actor.data_loader_seed=3, data.seed=1",
        ),
        ("data.train_files=test.parquet", "verl's default", "test", "gae", "verl's default (the command sets none)"),
    ],
)
def test_the_command_says_model_task_estimator_and_seed(words, model, task, estimator, seed):
    command = parse_command(f"python -m verl.trainer.main_ppo {words}")
    assert command[1:] == (model, task, estimator, seed)


def test_a_continued_command_is_shown_on_one_line():
    assert parse_command("python \\\n  -m verl \\\n  a=1\n").text == "python -m verl a=1"


def test_a_command_with_open_quotes_is_refused():
    with pytest.raises(RunLogError, match="no shell command line"):
        parse_command("python 'open")


@pytest.mark.parametrize(
    ("command", "height"),
    [
        # Small print: pass@k, seed and one line of command; 880 + 3 * 14.
        ("python -m verl", 922),
        # A word of 175 fills the line of 184 with "command: " (9); the second word starts another.
        ("x" * 175 + " y", 936),
    ],
)
def test_the_figure_is_a_png_of_the_stated_size(tmp_path, command, height):
    pytest.importorskip("matplotlib")
    figure(run_of(command=command), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png") == (1200, height)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("steps", "dumps"),
    [
        (STEPS, {}),
        (STEPS[:1], {}),
        (STEPS[:2], {0: {"p": [1.0]}}),
        ([Step(1, {"critic/score/mean": math.nan, "actor/entropy": -1.0})], DUMPS),
    ],
)
def test_a_figure_is_drawn_whatever_is_missing(tmp_path, steps, dumps):
    pytest.importorskip("matplotlib")
    figure(run_of(steps, dumps), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png")[0] == 1200


def test_a_first_validation_with_too_few_samples_leaves_before_empty_and_keeps_after():
    dumps = {0: {"p": [1.0] * 7}, 2: {"p": [1.0] * 8}}
    run = run_of(dumps=dumps)
    assert (run.pass_at_8.before, run.pass_at_8.after) == (None, Point(2, 1.0))
    assert run.pass_at_1.before == Point(0, 1.0)


def test_dollars_in_a_command_are_no_mathematics(tmp_path):
    pytest.importorskip("matplotlib")
    figure(run_of(command=r"python a=$x_$ actor_rollout_ref.model.path=$\frac$"), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png")[0] == 1200


def test_the_program_prints_the_table_and_writes_the_figure(run_dir, capsys):
    pytest.importorskip("matplotlib")
    main([str(run_dir)])
    assert capsys.readouterr().out == TABLE + COMMAND + "\n"
    assert size_of_png(run_dir / "learned.png")[0] == 1200


def test_a_run_without_validation_is_still_a_run(run_dir):
    for path in (run_dir / "validation").iterdir():
        path.unlink()
    (run_dir / "validation").rmdir()
    run = read_run(run_dir)
    assert run.pass_at_1.before is None
    assert run.reward.after == Point(2, 0.5)


def test_a_directory_that_is_no_run_ends_the_program_with_one_sentence(tmp_path):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path)])
    assert stop.value.code == f"{tmp_path} is no run: it has no metrics.jsonl and no command.txt."


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, frpo_verl.evaluation.report, frpo_verl.evaluation.run_log, frpo_verl.evaluation.pass_at_k;"
        "print(sorted({'matplotlib', 'pandas', 'torch', 'verl', 'ray'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
