"""Checkpoints of a run with other settings are not gone on with."""

import pytest

OmegaConf = pytest.importorskip("omegaconf").OmegaConf

from frpo_verl.trainers import resumed  # noqa: E402


@pytest.fixture
def run(tmp_path):
    def of(**changes):
        config = {
            "fpa": {"loss": "dpo", "lam": 0.0},
            "model": {"path": "policy"},
            "data": {"train_files": ["a", "b"], "train_batch_size": 2, "pairs_per_prompt": 1, "seed": 1},
            "trainer": {"default_local_dir": str(tmp_path / "made"), "resume_mode": "auto"},
        }
        return OmegaConf.merge(config, OmegaConf.from_dotlist([f"{key}={value}" for key, value in changes.items()]))

    return of


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fpa.lam": 1.0}, "fpa.lam=1.0 (was 0.0)"),
        ({"fpa.loss": "rpo", "model.path": "other"}, "fpa.loss=rpo (was dpo), model.path=other (was policy)"),
        ({"data.train_files": "[a]"}, "data.train_files=['a'] (was ['a', 'b'])"),
        ({"data.seed": 2}, "data.seed=2 (was 1)"),
    ],
)
def test_another_runs_checkpoints_are_refused(run, tmp_path, changes, said):
    resumed.remember(run())
    assert list(resumed.problems(run(**changes))) == []
    (tmp_path / "made" / "global_step_3").mkdir()
    assert list(resumed.problems(run())) == []
    assert list(resumed.problems(run(**changes))) == [
        f"trainer.default_local_dir={tmp_path / 'made'}: it has checkpoints of a run with other settings, and this one "
        f"would go on with them: {said}; set another trainer.experiment_name"
    ]
    assert list(resumed.problems(run(**changes, **{"trainer.resume_mode": "disable"}))) == []


def test_a_setting_that_an_earlier_release_did_not_have_is_no_other(run, tmp_path):
    resumed.remember(run())
    (tmp_path / "made" / "global_step_3").mkdir()
    assert list(resumed.problems(run(**{"fpa.added": 1}))) == []


@pytest.mark.parametrize("kept", [None, "", "{"])
def test_checkpoints_of_nobody_knows_which_run_are_verls_matter(run, tmp_path, kept):
    (tmp_path / "made" / "global_step_3").mkdir(parents=True)
    if kept is not None:
        (tmp_path / "made" / resumed.KEPT).write_text(kept)
    assert list(resumed.problems(run())) == []
