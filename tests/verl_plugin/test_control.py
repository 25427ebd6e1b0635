"""β over a run: the controller, its file, and verl's own checkpoint functions around it."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import mode_oracles
import pytest
from omegaconf import OmegaConf

from frpo_verl.preflight.errors import CheckpointError, SettingsError
from frpo_verl.preflight.resumed import FILE
from frpo_verl.verl_plugin import checkpoint, run

pytest.importorskip("verl")

CONTROL = {"type": "adaptive", "kl_coef": 0.05, "target_kl": 0.1, "horizon": 500}


@pytest.fixture(autouse=True)
def _fresh():
    run.end()
    yield
    run.end()


def algorithm(**changes):
    return OmegaConf.create({"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {**CONTROL, **changes}})


def trainer(folder: Path, step: int = 0, **changes) -> SimpleNamespace:
    of_trainer = OmegaConf.create(
        {"default_local_dir": str(folder), "resume_mode": "auto", "resume_from_path": None, **changes}
    )
    config = SimpleNamespace(algorithm=algorithm(), trainer=of_trainer)
    return SimpleNamespace(config=config, global_steps=step)


def follow(divergences: list[float], responses: list[int]) -> list[float]:
    beta, used = run.of(algorithm()).beta, []
    for divergence, number in zip(divergences, responses, strict=True):
        used.append(beta.value)
        beta.observe(divergence, number)
    return [*used, beta.value]


def test_the_trajectory_is_that_of_the_definition():
    divergences, responses = [0.3, 0.11, 0.1, 0.0, -0.5, 0.09], [32, 64, 10, 32, 32, 1]
    expected = mode_oracles.adaptive_beta(0.05, 0.1, 500, divergences, responses)
    assert follow(divergences, responses) == pytest.approx(expected, rel=1e-12)


def test_a_fixed_coefficient_has_no_state(tmp_path):
    fixed = algorithm(type="fixed")
    this = run.of(fixed)
    assert this.beta.value == 0.05
    this.beta.observe(10.0, 1000)
    assert this.beta.value == 0.05
    this.save(tmp_path / "global_step_1")
    assert not (tmp_path / "global_step_1").exists()
    this.restore(tmp_path / "nowhere")


@pytest.mark.parametrize("later", [{"kl_ctrl": {"type": "fixed", "kl_coef": 0.05}}, {"adv_estimator": "grpo"}])
def test_a_run_with_a_fixed_coefficient_or_none_leaves_no_other_runs_state(tmp_path, later):
    # another run, later, in the same folder: resumed with an adaptive β it must not take this one
    follow([0.3], [32])
    checkpoint.save_before(lambda trainer: None, trainer(tmp_path, 7))
    assert (tmp_path / "global_step_7" / FILE).exists()
    other = trainer(tmp_path, 7)
    other.config.algorithm = OmegaConf.create({**algorithm(), **later})
    checkpoint.save_before(lambda trainer: None, other)
    assert not (tmp_path / "global_step_7" / FILE).exists()
    # and where there is no folder yet
    other.global_steps = 8
    checkpoint.save_before(lambda trainer: None, other)


def test_a_coefficient_that_would_not_stay_positive_ends_the_run():
    # 0.2 of 2500 responses is the whole horizon
    with pytest.raises(
        SettingsError, match=r"horizon=500: a step of 2500 responses has taken β to 0; set it far above"
    ):
        follow([0.0], [2500])


def test_what_was_saved_goes_on_to_the_bit(tmp_path):
    divergences, responses = [0.3, 0.02, 0.5, 0.01], [32, 32, 32, 32]
    whole = follow(divergences, responses)
    run.end()
    follow(divergences[:2], responses[:2])
    run.current().save(tmp_path)
    run.end()
    run.of(algorithm()).restore(tmp_path)
    assert follow(divergences[2:], responses[2:]) == whole[2:]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"frpo_verl\.json is missing: .*resume from an earlier checkpoint that has it or with .*type=fixed"),
        ("", r"frpo_verl\.json is damaged .*; resume from an earlier checkpoint"),
        ('{"bet', r"frpo_verl\.json is damaged"),
        ("[]", r"frpo_verl\.json is damaged"),
        ('{"beta": NaN}', r"frpo_verl\.json holds beta=nan; resume from an earlier checkpoint"),
        ('{"beta": -1}', r"frpo_verl\.json holds beta=-1"),
        ('{"beta": "0.1"}', r"frpo_verl\.json holds beta=0\.1"),
    ],
    ids=str,
)
def test_a_state_that_cannot_be_read_ends_the_run_in_one_sentence(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    with pytest.raises(CheckpointError, match=sentence) as error:
        run.of(algorithm()).restore(tmp_path)
    assert "\n" not in str(error.value)


def test_the_fix_that_the_missing_file_names_works(tmp_path):
    # what the log has of each step is β before it moves, the file's is after it
    used = follow([0.3, 0.02], [32, 32])
    (tmp_path / "first").mkdir()
    run.end()
    follow([0.3], [32])
    run.current().save(tmp_path / "first")
    assert json.loads((tmp_path / "first" / FILE).read_text()) == {"beta": used[1]}
    run.end()
    with pytest.raises(CheckpointError, match=r'write \{"beta": frpo/beta of the step after it in the log\} into that'):
        run.of(algorithm()).restore(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"beta": used[1]}))
    run.of(algorithm()).restore(tmp_path)
    assert run.current().beta.value == used[1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    follow([0.3], [32])
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CheckpointError, match=r"the state of the run \(beta\) cannot be written to .*file/global_step_3"
    ):
        run.current().save(tmp_path / "file" / "global_step_3")


def test_a_full_disk_leaves_the_last_state_as_it_was(tmp_path, monkeypatch):
    follow([0.3], [32])
    run.current().save(tmp_path)
    last = (tmp_path / FILE).read_text()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device; make room, and resume from the last"):
        run.current().save(tmp_path)
    assert (tmp_path / FILE).read_text() == last


def test_the_state_is_there_before_verl_says_that_the_checkpoint_counts(tmp_path):
    follow([0.3], [32])
    seen = []

    def host(trainer):
        seen.append(json.loads((tmp_path / "global_step_7" / FILE).read_text()))

    checkpoint.save_before(host, trainer(tmp_path, 7))
    assert seen == [{"beta": run.of(algorithm()).beta.value}]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied"),
        RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/0"),
    ],
    ids=repr,
)
def test_a_file_that_cannot_be_written_is_said_to_be_one(tmp_path, error):
    def host(trainer):
        raise error

    with pytest.raises(CheckpointError, match=r"step 7 could not be written .*: make room or choose another") as said:
        checkpoint.save_before(host, trainer(tmp_path, 7))
    assert said.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), RuntimeError("the actor died"), ConnectionResetError(104, "reset")], ids=repr
)
def test_any_other_error_of_verls_save_is_raised_as_it_is_with_a_note(tmp_path, error):
    def host(trainer):
        raise error

    with pytest.raises(type(error)) as raised:
        checkpoint.save_before(host, trainer(tmp_path, 7))
    assert raised.value is error
    (note,) = error.__notes__
    assert note.startswith(f"frpo-verl: the checkpoint of step 7 could not be written to {tmp_path} (")
    assert "the last one that counts, none yet, is untouched" in note
    assert "make room" not in note


@pytest.mark.parametrize("last", [None, "6"])
def test_what_keeps_a_checkpoint_from_being_written_is_said_with_the_last_that_counts(tmp_path, last):
    folder = tmp_path / "not" / "yet"
    if last is not None:
        folder = tmp_path
        (folder / "latest_checkpointed_iteration.txt").write_text(last)

    def host(trainer):
        raise RuntimeError("ray::worker\nTraceback\nRuntimeError: basic_ios::clear: iostream error\n")

    with pytest.raises(CheckpointError) as error:
        checkpoint.save_before(host, trainer(folder, 7))
    said = str(error.value)
    assert f"step 7 could not be written to {folder} (RuntimeError: basic_ios::clear: iostream error)" in said
    assert f"the last one that counts, {'global_step_6' if last else 'none yet'}, is untouched" in said
    assert "\n" not in said
    assert isinstance(error.value.__cause__, RuntimeError)


def resume(tmp_path: Path, of: SimpleNamespace, step: int) -> float:
    def host(trainer):
        trainer.global_steps = step

    checkpoint.restore_after(host, of)
    return run.of(algorithm()).beta.value


def test_resuming_takes_the_state_of_the_step_that_verl_resumed(tmp_path):
    for step, beta in ((4, 0.5), (5, 0.25)):
        (tmp_path / f"global_step_{step}").mkdir()
        (tmp_path / f"global_step_{step}" / FILE).write_text(json.dumps({"beta": beta}))
    assert resume(tmp_path, trainer(tmp_path), 5) == 0.25
    named = trainer(tmp_path / "elsewhere", resume_mode="resume_path", resume_from_path=str(tmp_path / "global_step_4"))
    assert resume(tmp_path, named, 4) == 0.5


def test_a_new_run_in_the_same_process_starts_at_the_coefficient(tmp_path):
    follow([0.3], [32])
    assert resume(tmp_path, trainer(tmp_path), 0) == 0.05


def test_fully_asyncs_coroutine_is_awaited_and_named_by_its_version(tmp_path):
    (tmp_path / "global_step_3").mkdir()
    (tmp_path / "global_step_3" / FILE).write_text('{"beta": 0.125}')
    of = trainer(tmp_path, 12)

    async def host(trainer):
        trainer.current_param_version = 3
        return 3

    assert asyncio.run(checkpoint.restore_after(host, of)) == 3
    assert run.of(algorithm()).beta.value == 0.125


def test_runs_without_the_mode_are_left_alone(tmp_path):
    of = trainer(tmp_path, 5)
    of.config.algorithm.adv_estimator = "grpo"
    follow([0.3], [32])
    checkpoint.save_before(lambda trainer: None, of)
    checkpoint.restore_after(lambda trainer: None, of)
    assert not list(tmp_path.iterdir())


def test_every_trainers_functions_are_wrapped():
    from verl.experimental.fully_async_policy.fully_async_trainer import FullyAsyncTrainer
    from verl.experimental.one_step_off_policy.ray_trainer import OneStepOffRayTrainer
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer

    v1 = pytest.importorskip("verl.trainer.ppo.v1.trainer_base", reason="verl 0.8 has no V1 trainer")
    fully_async = FullyAsyncTrainer.__ray_metadata__.modified_class
    for of, load in (
        (RayPPOTrainer, "_load_checkpoint"),
        (OneStepOffRayTrainer, "_load_checkpoint"),
        (v1.PPOTrainer, "_load_checkpoint"),
        (fully_async, "load_checkpoint"),
    ):
        assert of._save_checkpoint._frpo_verl_wrapper is checkpoint.save_before
        assert getattr(of, load)._frpo_verl_wrapper is checkpoint.restore_after
