"""The state of a run: settings read once, figures and a note that are taken once, and verl's calls that take them."""

import pytest
from omegaconf import OmegaConf

from frpo_verl.preflight import settings
from frpo_verl.preflight.errors import SettingsError
from frpo_verl.verl_plugin import note, run

pytest.importorskip("verl")


def algorithm(**changes):
    section = {"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": 0.25}, **changes}
    return OmegaConf.create(section)


@pytest.fixture(autouse=True)
def _fresh():
    run.end()
    yield
    run.end()


def test_settings_are_read_once_for_all_steps_of_a_run(monkeypatch):
    section, read, times = algorithm(), settings.read, []
    monkeypatch.setattr(settings, "read", lambda of: times.append(of) or read(of))
    first = run.of(section)
    # the section itself, and one that says the same
    assert run.of(section) is first and run.of(algorithm()) is first and run.current() is first
    assert (len(times), first.settings.beta) == (1, 0.25)


def test_other_settings_are_another_run():
    first = run.of(algorithm())
    assert run.of(algorithm(kl_penalty="k3")) is not first
    assert run.current().settings.divergence == "k3"


def test_a_run_that_starts_anew_has_a_new_coefficient():
    of = algorithm(kl_ctrl={"type": "adaptive", "kl_coef": 0.1, "target_kl": 0.1, "horizon": 100})
    run.of(of).beta.observe(1.0, 32)
    assert run.of(of).beta.value > 0.1
    assert run.start(of).beta.value == 0.1


def test_settings_that_cannot_run_leave_the_last_run():
    first = run.of(algorithm())
    with pytest.raises(SettingsError, match="kl_mode=past"):
        run.of(algorithm(kl_mode="past"))
    assert run.current() is first


def test_each_batch_replaces_what_was_not_taken_and_is_taken_once():
    outbox = run.Outbox()
    outbox.put({"a": 1.0}, "first")
    outbox.put({"b": 2.0}, "second")
    assert (outbox.take_figures(), outbox.take_note()) == ({"b": 2.0}, "second")
    assert (outbox.take_figures(), outbox.take_note()) == ({}, None)
    # a step whose β is 0 tells the workers nothing, whatever was told before
    outbox.put({"b": 2.0}, "second")
    outbox.put({"frpo/beta": 0.0})
    assert outbox.take_note() is None


def test_v1s_step_and_v0s_data_metrics_carry_the_figures_once():
    from verl.trainer.ppo import metric_utils

    from frpo_verl.verl_plugin import hooks

    v1 = pytest.importorskip("verl.trainer.ppo.v1.trainer_base", reason="verl 0.8 has no V1 trainer")

    assert v1.PPOTrainer._compute_advantage._frpo_verl_wrapper is hooks._logged_v1
    assert metric_utils.compute_data_metrics._frpo_verl_wrapper is hooks._logged_v0

    class Sent:
        def __init__(self):
            self.extra_info = {}

    def host(trainer, batch, of_step):
        run.outbox.put({"frpo/beta": 0.25}, "a note")
        of_step["host"] = 1.0
        return batch

    step: dict[str, float] = {}
    # by keyword, as verl's trainer calls it
    sent = hooks._logged_v1(host, None, Sent(), metrics=step)
    assert step == {"host": 1.0, "frpo/beta": 0.25}
    assert sent.extra_info == {note.KEY: "a note"}
    # a step without the term sends none
    assert hooks._logged_v1(lambda trainer, batch, of_step: batch, None, Sent(), step).extra_info == {}
    run.outbox.put({"frpo/beta": 0.5})
    assert hooks._logged_v0(lambda batch: {"host": 2.0}, None) == {"host": 2.0, "frpo/beta": 0.5}
    assert hooks._logged_v0(lambda batch: {"host": 2.0}, None) == {"host": 2.0}


def test_a_process_without_a_run_logs_what_verl_logs():
    from frpo_verl.verl_plugin import hooks

    assert hooks._logged_v0(lambda batch: {"host": 2.0}, None) == {"host": 2.0}
    assert hooks._logged_v1(lambda trainer, batch, of_step: batch, None, "the batch", {}) == "the batch"
