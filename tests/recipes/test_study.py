"""The study on a CPU: what each of its runs is, how it goes on, its task, and how runs become tables."""

import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import command_lines
import pytest
from composed import RECIPES, caught
from study import results, shuffled, tables, task
from study.results import BASE, Run
from study.task import Problem

from frpo_verl.doctor import configuration
from frpo_verl.preflight import inputs

RECIPE = "study_cpu.sh"
METHODS = {
    "no_kl": ("grpo", 0, 0, False),
    "kl_loss": ("grpo", 0, 0.03, False),
    "kl_reward": ("grpo", 0.03, 0, True),
    "frpo": ("frpo", 0.03, 0, False),
    "frpo_k3": ("frpo", 0.03, 0, False),
    "rloo_future": ("rloo", 0.03, 0, False),
    "lambda_grpo": ("grpo", 0, 0, False),
    "drpo": ("grpo", 0, 0, False),
    "shuffled": ("frpo", 0.03, 0, False),
    "frpo_fitted": ("frpo", 0.03, 0, False),
    "frpo_current": ("frpo", 0.03, 0, False),
}
"""Estimator, β of the advantages or rewards, coefficient in the loss, KL in the reward."""


def planned(folder: Path, *words: str, **knobs: str) -> tuple[list[Path], list[str]]:
    """The runs that the recipe would do, in order, and what it would call."""
    run = caught(RECIPE, folder, *words, **knobs)
    assert run.status == 0, run.said
    called = (folder / "command-before").read_text().splitlines()
    (folder / "command-before").unlink()
    named = called[called.index("study.runs") + 1 : called.index("study.tables") - 2] if "study.runs" in called else []
    return [Path(name) for name in named], called


@pytest.mark.verl
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_what_it_says(tmp_path, monkeypatch, method):
    monkeypatch.setattr(inputs, "problems", lambda config: iter(()))
    runs, _ = planned(tmp_path, METHODS=method, BETAS="0.03", CONTROL_BETAS="0.03", DELTAS="0.15", SEEDS="4")
    assert [run.name for run in runs] == [
        f"{method}-{ {'drpo': '0.15', 'no_kl': '0', 'lambda_grpo': '0'}.get(method, '0.03') }-seed-4"
    ]
    config = command_lines.composed((runs[0] / "overrides.txt").read_text().splitlines())
    assert configuration.examine(config).problems == []
    algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
    estimator, beta, penalty, in_reward = METHODS[method]
    assert (algorithm.adv_estimator, algorithm.kl_ctrl.kl_coef, algorithm.use_kl_in_reward) == (
        estimator,
        beta,
        in_reward,
    )
    # measured for all alike
    assert (actor.use_kl_loss, actor.kl_loss_type, actor.kl_loss_coef) == (True, "low_var_kl", penalty)
    assert algorithm.kl_penalty == ("low_var_kl" if method == "frpo_k3" else "kl")
    assert algorithm.get("kl_mode") == ("future" if method == "rloo_future" else None)
    assert algorithm.get("token_weight") == ("lambda_grpo" if method == "lambda_grpo" else None)
    assert actor.policy_loss.loss_mode == ("drpo" if method == "drpo" else "vanilla")
    variant = {"frpo_fitted": {"baseline": "fitted"}, "frpo_current": {"kl": "current"}}
    assert (algorithm.get("frpo") or {}) == variant.get(method, {})
    assert "study" in config if method == "shuffled" else "study" not in config
    assert method != "drpo" or (actor.loss_scale_factor, actor.calculate_entropy) == (results.LOSS_SCALE, True)
    assert {config.data.seed, actor.data_loader_seed, config.actor_rollout_ref.rollout.seed} == {4}
    assert config.trainer.val_before_train == (method == "no_kl")


def test_all_runs_of_a_seed_come_before_the_next_and_what_is_done_is_left_alone(tmp_path):
    knobs = {"METHODS": "no_kl frpo", "BETAS": "0.1 0.3", "SEEDS": "1 2"}
    runs, called = planned(tmp_path, **knobs)
    assert [run.name for run in runs] == [
        f"{name}-seed-{seed}" for seed in (1, 2) for name in ("no_kl-0", "frpo-0.1", "frpo-0.3")
    ]
    assert called[:4] == ["-P", "-m", "study.model", str(tmp_path / "runs" / "study")]
    for run in runs[:2]:
        (run / "finished").touch()
    assert planned(tmp_path, **knobs)[0] == runs[2:]
    assert planned(tmp_path, AT_MOST="1", **knobs)[0] == runs[2:3]
    for run in runs:
        (run / "finished").touch()
    assert planned(tmp_path, **knobs)[0] == []


def test_other_settings_and_an_unknown_method_are_refused(tmp_path):
    planned(tmp_path, METHODS="no_kl", SEEDS="1")
    other = caught(RECIPE, tmp_path, METHODS="no_kl", SEEDS="1", STEPS="7")
    assert other.status == 2 and "holds runs with other settings" in other.said
    said = caught(RECIPE, tmp_path, METHODS="ppo").said
    assert "METHODS has ppo: choose from no_kl, kl_loss," in said


def test_the_page_lists_every_knob_with_its_default():
    script, page = (RECIPES / RECIPE).read_text(), (RECIPES / "study" / "README.md").read_text()
    actual = dict(re.findall(r"^([A-Z_]+)=\$\{\1:-(.*)\}$", script, re.M))
    actual["RUNS"] = re.search(r"\$\{RUNS:-(\w+)\}", script)[1]
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| `?(.*?)`? \|", page, re.M))
    methods = re.findall(r"^\| `([a-z_0-9]+)` \|", page, re.M)
    assert methods == [*actual.pop("METHODS").split(), "frpo_fitted", "frpo_current"] == list(METHODS)
    assert listed.pop("METHODS") == "all but `frpo_fitted` and `frpo_current"
    assert listed == actual


def test_the_tiny_study_has_the_shuffled_control(tmp_path):
    runs, _ = planned(tmp_path, TINY="1")
    assert [run.name for run in runs] == ["no_kl-0-seed-1", "shuffled-0.1-seed-1"]
    assert runs[0].parent.name == "study-tiny"


@pytest.mark.parametrize("seed", range(3))
def test_walks_are_right_answers(seed):
    source = random.Random(seed)
    for _ in range(200):
        problem, answer = task.draw(source)
        assert task.is_right(problem, answer)
        assert task.FEWEST <= len(answer.split()) / 2 <= task.MOST
        # Python's arithmetic: 7 *3 21 +5 26
        words = [str(problem.start), *answer.split()]
        assert all(eval(words[at] + words[at + 1]) == int(words[at + 2]) for at in range(0, len(words) - 2, 2))


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("*3 21 +5 26 +5 31", True),
        ("+1 8 *3 24 +3 27 +4 31", True),
        ("*3 21 +5 26 +5 31 +5 36 -5 31 +5 36 -5 31", True),  # seven steps
        ("*3 21 +5 26 +5 31 +5 36 -5 31 +5 36 -5 31 +1 32 -1 31", False),
        ("+5 12 +5 17 +5 22 +4 26 +5 31", False),  # without *3
        ("*3 21 +5 26 +5 32", False),
        ("*3 22 +5 27 +4 31", False),
        ("*3 21 +5 26", False),
        ("*3 21 *2 42 -5 37 -5 32 -1 31", False),  # over 40
        ("*3 21 +10 31", False),
        ("*3 21 +5 26 +5", False),
        (" *3 21 +5 26 +5 31", False),
        ("*3 21 +5 26 +5 31 ", False),
        ("*3  21 +5 26 +5 31", False),
        ("*3 021 +5 26 +5 31", False),
        ("", False),
    ],
)
def test_an_answer_has_the_form_the_step_and_the_end(answer, right):
    assert task.is_right(Problem(7, 31, "*3"), answer) == right
    assert task.compute_score(task.SOURCE, answer, "7,31,*3", {"part": "train"}) == float(right)


def test_one_step_is_too_few():
    assert not task.is_right(Problem(7, 21, "*3"), "*3 21")


def test_the_parts_are_disjoint_and_the_same_everywhere():
    parts = task.split()
    assert {part: len(problems) for part, problems in parts.items()} == {**task.HELD_OUT, "train": task.TRAIN}
    assert len(set(itertools.chain(*parts.values()))) == sum(map(len, parts.values()))
    assert parts == task.split()


def test_demonstrations_are_not_of_held_out_problems_and_as_often_right_as_said():
    held_out = {problem.text for part in task.HELD_OUT for problem in task.split()[part]}
    drawn = list(itertools.islice(task.demonstrations(random.Random(0), 0.6), 2000))
    assert not held_out & {text for text, _ in drawn}
    problems = [
        Problem(int(start), int(end), step) for start, _, end, _, step, _ in (text.split() for text, _ in drawn)
    ]
    right = sum(task.is_right(problem, answer) for problem, (_, answer) in zip(problems, drawn, strict=True)) / 2000
    # By chance another problem's answer is right for about one in a hundred.
    assert right == pytest.approx(0.6, abs=0.04)


def test_the_tokenizer_has_a_token_for_each_word():
    from study import model

    tokenizer = model.make_tokenizer()
    text = "7 > 31 with *3 ="
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) == 6 and tokenizer.unk_token_id not in ids and len(tokenizer) == len(model.WORDS)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
    )
    assert chat == text
    answer = tokenizer.encode("*3 21 +5 26 +5 31", add_special_tokens=False)
    # verl reads what was sampled without its end token.
    assert tokenizer.decode([*answer, tokenizer.eos_token_id], skip_special_tokens=True) == "*3 21 +5 26 +5 31"


@pytest.mark.slow
def test_the_model_is_the_same_on_processors_with_other_instructions(tmp_path):
    path = os.pathsep.join([str(RECIPES), *filter(None, sys.path)])
    for instructions in ("SSE4_2", "AVX2"):
        environment = {**os.environ, "PYTHONPATH": path, "MKL_ENABLE_INSTRUCTIONS": instructions}
        command = [sys.executable, "-P", "-m", "study.model", str(tmp_path / instructions), "--steps", "2"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    first, second = ((folder / "model" / "model.safetensors").read_bytes() for folder in tmp_path.iterdir())
    assert first == second


@pytest.mark.verl
def test_seeds_tell_responses_apart():
    pytest.importorskip("vllm")
    from study.sampling import seed_of

    facts = list(itertools.product((1, 2), range(4), ("train", "test"), range(4), range(4)))
    assert len({seed_of(*fact) for fact in facts}) == len(facts)
    assert seed_of(1, 2, "test", 3, 4) == seed_of(1, 2, "test", 3, 4) < 2**63


@pytest.mark.verl
def test_the_control_keeps_sums_and_moves_divergences():
    import numpy as np
    import torch
    from tensordict import TensorDict

    from frpo_verl.advantage import no_moments
    from frpo_verl.preflight import settings
    from frpo_verl.verl_plugin import term

    class Data:
        batch = TensorDict(
            {
                "old_log_probs": torch.zeros(2, 6, dtype=torch.float64),
                "ref_log_prob": -torch.arange(12.0, dtype=torch.float64).reshape(2, 6),
                "response_mask": torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]),
            },
            2,
        )
        non_tensor_batch = {"uid": np.array(["a", "a"], dtype=object)}

    chosen = settings.read({"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"kl_coef": 1.0}})
    before = torch.zeros(2, dtype=torch.float64)
    plain = term.regularised(Data, before, chosen, 1.0, no_moments())
    with shuffled.shuffling(1):
        control = term.regularised(Data, before, chosen, 1.0, no_moments())
    assert torch.equal(term.regularised(Data, before, chosen, 1.0, no_moments()).advantages, plain.advantages)
    # All that a first token has before it is its response's total.
    assert torch.allclose(control.advantages[:, 0], plain.advantages[:, 0], rtol=0, atol=1e-12)
    assert not torch.allclose(control.advantages[:, 1:], plain.advantages[:, 1:])
    assert torch.equal(Data.batch["ref_log_prob"], -torch.arange(12.0, dtype=torch.float64).reshape(2, 6))


def a_run(folder: Path, name: str, right: dict[str, int], *, before: bool = False) -> None:
    """Writes what verl and the driver leave behind of a run with two samples of each held-out problem."""
    parts = task.split()
    run = folder / name
    (run / "validation").mkdir(parents=True)
    for step in (0, 7) if before else (7,):
        lines = [
            json.dumps({"input": problem.text, "output": "", "score": float(sample < right[part] * (step > 0))})
            for part in task.HELD_OUT
            for problem in parts[part]
            for sample in range(2)
        ]
        (run / "validation" / f"{step}.jsonl").write_text("\n".join(lines) + "\n")
    metrics = [{"step": step, "data": dict.fromkeys(results.CURVES.values(), float(step))} for step in range(8)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (run / "finished").write_text("1.0\n")


def test_runs_survive_the_two_files(tmp_path):
    a_run(tmp_path, "no_kl-0-seed-3", {"validation": 0, "test": 1}, before=True)
    a_run(tmp_path, "rloo_future-0.03-seed-3", {"validation": 2, "test": 1})
    (tmp_path / "frpo-0.03-seed-3").mkdir()  # not finished
    runs = results.collect(tmp_path)
    results.write(runs, tmp_path)
    assert results.read(tmp_path) == runs
    assert [run[:4] for run in runs] == [("no_kl", 0, 3, 2), (BASE, 0, 3, 2), ("rloo_future", 0.03, 3, 2)]
    plain, base, future = runs
    assert (plain.passed("test", 1), plain.passed("test", 2), plain.passed("validation", 1)) == (0.5, 1, 0)
    assert (base.passed("test", 1), base.curve, future.passed("validation", 1)) == (0, {}, 1)
    # means of steps 1 to 5 and of 6 and 7
    assert {step: values["reward"] for step, values in plain.curve.items()} == {5: 3, 7: 6.5}
    assert (tmp_path / "runs.csv").stat().st_size < 3 * 400


def test_drpos_figures_by_the_response_become_figures_by_the_token(tmp_path):
    a_run(tmp_path, "drpo-0.15-seed-1", {"validation": 0, "test": 1})
    a_run(tmp_path, "frpo-0.1-seed-1", {"validation": 0, "test": 1})
    file = tmp_path / "drpo-0.15-seed-1" / "metrics.jsonl"
    steps = [json.loads(line) for line in file.read_text().splitlines()]
    for step in steps:
        del step["data"]["actor/entropy"]
        step["data"] |= {"response_length/mean": 12.0, "actor/entropy_loss": 0.6, "actor/kl_loss": 0.03}
    file.write_text("".join(json.dumps(step) + "\n" for step in steps))
    drpo, frpo = results.collect(tmp_path)
    # 12 tokens' sum over 16: times 16 / 12
    assert (drpo.curve[5]["entropy"], drpo.curve[5]["drift"]) == (pytest.approx(0.8), pytest.approx(0.04))
    assert (frpo.curve[5]["entropy"], frpo.curve[5]["drift"]) == (3, 3)


def run_of(method: str, strength: float, seed: int, validation: int, test: int, *rewards: float) -> Run:
    curve = {step: dict.fromkeys(results.CURVES, reward) for step, reward in enumerate(rewards or (0.5,))}
    return Run(method, strength, seed, 10, [validation], [test], curve)


def test_the_strength_is_chosen_on_validation_alone():
    runs = [run_of("frpo", 0.1, 1, 5, 0), run_of("frpo", 0.3, 1, 4, 10), run_of("frpo", 0.1, 2, 5, 0)]
    runs += [run_of("frpo", 0.3, 2, 4, 10), run_of("frpo", 1, 1, 9, 10), run_of("no_kl", 0, 1, 1, 1)]
    best = tables.chosen(runs, 1)
    # at 1 there is one seed less
    assert {method: (of[0].strength, len(of)) for method, of in best.items()} == {"frpo": (0.1, 2), "no_kl": (0, 1)}


def test_a_control_is_compared_at_the_strength_that_both_have():
    runs = [run_of("frpo", 0.1, seed, 9, 9) for seed in (1, 2)] + [run_of("frpo", 0.3, seed, 1, 2) for seed in (1, 2)]
    runs += [run_of("frpo_fitted", 0.3, seed, 1, 5) for seed in (1, 2)]
    runs += [run_of("kl_loss", 1, seed, 1, 5) for seed in (1, 2)]
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in tables.claim_table(runs).splitlines()[2:]}
    assert rows["| The fitted baseline raises FRPO's pass@1"][:3] == ["0.3 / 0.3", "0.300 ± 0.000", "2"]
    assert rows["| FRPO has a higher pass@1 than GRPO with a KL loss"][:3] == ["0.1 / 1", "0.400 ± 0.000", "2"]


def test_frpo_is_compared_at_each_strength_that_a_method_shares():
    runs = [run_of("frpo", strength, seed, 0, 4) for strength in (0.1, 1) for seed in (1, 2)]
    runs += [run_of("kl_loss", 1, seed, 0, 0, 0.25) for seed in (2, 1)] + [run_of("kl_loss", 0.3, 1, 0, 4)]
    runs += [run_of("rloo_future", 0.1, 1, 0, 8), run_of("lambda_grpo", 0, 1, 0, 4), run_of("no_kl", 0, 2, 0, 4, 0.75)]
    # with 16 samples; less is not enough for pass@16
    assert tables.matched_table([run._replace(samples=16) for run in runs]).splitlines()[2:] == [
        "| no_kl | 0.1 | 0.000 ± inf | 0.000 ± inf | -0.250 ± inf | -0.250 ± inf |",
        "| no_kl | 1 | 0.000 ± inf | 0.000 ± inf | -0.250 ± inf | -0.250 ± inf |",
        "| kl_loss | 1 | 0.250 ± 0.000 | 1.000 ± 0.000 | 0.250 ± 0.000 | 0.250 ± 0.000 |",
        "| rloo_future | 0.1 | -0.250 ± inf | 0.000 ± inf | 0.000 ± inf | 0.000 ± inf |",
    ]
    assert len(tables.matched_table(runs).splitlines()) == 2


def test_at_equal_drift_frpo_is_what_lies_between_its_runs():
    runs = [run_of("frpo", 1, 1, 0, 2, 0.01), run_of("frpo", 0.1, 1, 0, 4, 0.04), run_of("no_kl", 0, 1, 0, 8, 0.16)]
    runs = [run._replace(samples=16) for run in runs]
    # half of the way from .01 to .04 and from .04 to .16, in logarithms
    assert tables.at_drift(runs, 0.02, 1) == [pytest.approx(3 / 16)]
    assert tables.at_drift(runs, 0.08, 1) == [pytest.approx(6 / 16)]
    assert tables.at_drift(runs, 0.04, 1) == [pytest.approx(4 / 16)]
    assert tables.at_drift(runs, 0.17, 1) is None and tables.at_drift(runs[:1], 0.01, 1) is None
    others = [run_of("kl_loss", 1, 1, 0, 0, 0.02), run_of("kl_loss", 0.1, 2, 0, 0, 0.04)]
    others += [run_of("drpo", delta, 1, 0, right, drift) for delta, right, drift in ((0.15, 1, 0.02), (12.5, 3, 0.08))]
    # alone: between it and no_kl, whose reward is another, nothing is known
    others += [run_of("rloo_future", 0.1, 1, 0, 0, 0.03)]
    others += [run_of("lambda_grpo", 0, 1, 0, 0, 0.02), run_of(BASE, 0, 1, 0, 0)]
    assert tables.drift_table(runs + [run._replace(samples=16) for run in others]).splitlines()[2:] == [
        # a third of the way from .02 to .16, where no_kl has 8; at .01 it has no run
        "| kl_loss | 0.1 | 0.083 ± inf | 0.667 ± inf | 1 |",
        # half of the way; no_kl is not its β = 0
        "| drpo | 0.1 | 0.125 ± inf | 0.000 ± inf | 1 |",
    ]


def test_differences_are_paired_by_seed():
    ours = [run_of("a", 0, seed, 0, test) for seed, test in ((1, 3), (2, 7), (4, 9))]
    theirs = [run_of("b", 0, seed, 0, test) for seed, test in ((2, 5), (1, 2), (3, 1))]
    found = tables.difference(ours, theirs, lambda run: run.passed_each("test", 1))
    # 0.1 and 0.2: mean 0.15, standard deviation 0.0707, of which 12.706 / √2
    assert found.mean == pytest.approx(0.15) and found.half == pytest.approx(12.706 * 0.05, rel=1e-4)
    assert found.seeds == 2
    assert tables.difference(ours[2:], theirs, lambda run: [0.0]) is None
    assert math.isinf(tables.estimate([[1.0]]).half)


def test_an_interval_is_for_other_seeds_and_other_problems():
    found = tables.estimate([[0.1, 0.3, 0.2], [0.3, 0.5, 0.7]])
    # seeds .2 and .5, deviation .2121; problems .2, .4, .45, deviation .1323
    seeds, problems = 12.7062 * 0.21213 / math.sqrt(2), 4.30265 * 0.13229 / math.sqrt(3)
    assert found.mean == pytest.approx(0.35) and found.half == pytest.approx(math.hypot(seeds, problems), rel=1e-4)


@pytest.mark.parametrize(
    ("mean", "deviation", "says"),
    [
        (-0.2, 0.1, "the opposite"),
        (0.2, 0.1, "seen"),
        # 2.776 · 0.1 / √5 = 0.124, and 0.0124
        (0.12, 0.1, "open"),
        (-0.01, 0.01, "no difference of 0.05"),
        (0.04, 0.04, "open"),
    ],
)
def test_a_verdict_tells_no_difference_from_no_evidence(mean, deviation, says):
    assert tables.verdict(tables.Estimate(mean, deviation, 5)) == says


def test_the_seeds_that_a_difference_needs():
    # (2.8 · 0.05 / 0.07)² + 2 = 4 + 2
    assert tables.seeds_needed(0.05, 0.07) == 6
    runs = [run_of("frpo", 0.1, seed, 0, test) for seed, test in ((1, 3), (2, 7))]
    runs += [run_of("kl_loss", 0.1, seed, 0, 2) for seed in (1, 2)]
    row = next(line for line in tables.claim_table(runs).splitlines() if "pass@1 than GRPO" in line)
    # 0.1 and 0.5: the deviation is 0.283; (2.8 · 0.283 / 0.05)² + 2 = 252.9
    assert row.split(" | ")[1:5] == ["0.1 / 0.1", "0.300 ± 2.541", "2", "253"]


@pytest.mark.parametrize(
    ("rewards", "collapsed"), [((0.2, 0.6, 0.4), False), ((0.2, 0.6, 0.2), True), ((0.5, math.nan), True)]
)
def test_collapse_is_a_reward_that_ends_below_half_of_its_best(rewards, collapsed):
    assert tables.has_collapsed(run_of("a", 0, 1, 0, 0, *rewards)) == collapsed


@pytest.mark.verl
def test_a_batch_is_in_the_order_of_its_prompts():
    pytest.importorskip("vllm")
    from study.sampling import OrderedBuffer

    buffer = OrderedBuffer.__new__(OrderedBuffer)
    buffer.prompt_global_steps = {"train": {"z": 1, "a": 1}}
    done = {
        f"{uid}_{session}_0": {"of": uid, "is": session} for uid, session in (("a", 1), ("z", 10), ("a", 0), ("z", 2))
    }
    ordered = buffer.in_order("train", list(done), list(done.values()))
    assert ordered == (["z_2_0", "z_10_0", "a_0_0", "a_1_0"], [done[key] for key in ordered[0]])


def test_a_methods_time_leaves_out_a_pass_that_it_does_not_need_and_the_machines_load():
    runs = [run_of(method, 0, 1, 0, 0) for method in ("no_kl", "frpo")]
    for run in runs:
        # twice under the same load, once under three times as much, and a slow first step
        times = {0: (50.0, 0.5), 5: (5.0, 0.5), 10: (15.0, 1.5), 15: (5.0, 0.5)}
        for step, (seconds, reference) in times.items():
            run.curve[step] = run.curve[0] | {"seconds": seconds, "reference_seconds": reference}
    assert [run.passes() for run in runs] == [9, 10]
    assert [line.split(" | ")[9] for line in tables.outcome_table(runs).splitlines()[2:]] == ["9.0", "10.0"]


@pytest.mark.parametrize("of", [".", "pilot"])
def test_the_tables_are_those_of_the_runs(of):
    folder = RECIPES / "study" / "results" / of
    assert (folder / "tables.md").read_text() == tables.report(results.read(folder))


def test_the_figure_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from study import figures

    figures.draw([run_of("frpo", 0.1, seed, 1, 5, 0.1, 0.5) for seed in (1, 2)], tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_a_row_has_all_columns_where_pass_at_16_is_not_known():
    lines = tables.outcome_table([run_of("frpo", 0.1, 1, 2, 5), run_of("frpo", 0.1, 2, 2, 7), run_of(BASE, 0, 1, 1, 1)])
    assert {line.count("|") for line in lines.splitlines()} == {12}
    assert "| frpo | 0.1 | 2 | 0.600 (0.141) |  | 0.500 | 0.500 | 0.5 | 0.500 | 1.0 | 0 |" in lines
