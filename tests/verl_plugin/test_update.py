"""Updates of the actor through verl's own method of a worker group, with batches of every trainer and without Ray."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.preflight import native, settings
from frpo_verl.preflight.errors import BatchError, HostError
from frpo_verl.verl_plugin import kl_loss, note, run

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.single_controller.ray import base as ray_base  # noqa: E402
from verl.trainer.ppo.core_algos import get_adv_estimator_fn  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.trainer.ppo.utils import need_reference_policy  # noqa: E402
from verl.utils import tensordict_utils as tu  # noqa: E402

BETA = 0.5
TERM = {"kl_mode": "future"}
WEIGHT = {"token_weight": "lambda_grpo"}
NOT_SUBTRACTED = r"adv_estimator=rloo, kl_mode=future, kl_coef=0\.5: no divergence was subtracted .*config=config\.algo"
NOT_WEIGHED = r"algorithm\.token_weight=lambda_grpo: the advantages of this update were not multiplied, since the train"


@pytest.fixture(autouse=True)
def _fresh():
    run.end()
    yield
    run.end()


def asking(use_kl_loss: bool = False, **changes):
    """verl's configuration, after verl has asked what models it needs, as each trainer does when it is made."""
    section = {"kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}, "use_kl_in_reward": False}
    section = {"adv_estimator": "rloo", **section, **changes}
    config = OmegaConf.create({"algorithm": section, "actor_rollout_ref": {"actor": {"use_kl_loss": use_kl_loss}}})
    need_reference_policy(config)
    return config.algorithm


def noted(**of_note) -> str:
    return note.write(**{"chosen": settings.read(OmegaConf.create({**asked_section(), **TERM})), **of_note})


def asked_section() -> dict:
    return {"adv_estimator": "rloo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}}


def old_batch(text: str | None, *fields: str) -> DataProto:
    columns = {name: torch.ones(2, 3) for name in ("advantages", *fields)}
    return DataProto.from_dict(columns, meta_info={} if text is None else {note.KEY: text})


def v0_batch(text: str | None, *fields: str):
    # As `_update_actor` makes it of its own.
    return old_batch(text, *fields).to_tensordict()


def v1_batch(text: str | None, *fields: str):
    queue = pytest.importorskip("transfer_queue", reason="verl 0.8 has no V1 trainer")
    meta, named = {} if text is None else {note.KEY: text}, ["advantages", *fields]
    return queue.KVBatchMeta(keys=["a"], tags=[{}], partition_id="train", fields=named, extra_info=meta)


LAYOUTS = pytest.mark.parametrize("batch", [old_batch, v0_batch, v1_batch])


def update(batch, figures: dict | None = None, name: str = "update_actor"):
    """Calls what verl binds to a worker group; returns the batch that reached the workers."""
    sent = []

    def collected(group, output):
        return tu.get_tensordict({}, {"metrics": figures or {}})

    method = ray_base.func_generator(
        None,
        name,
        dispatch_fn=lambda group, *args, **kwargs: (args, kwargs),
        collect_fn=collected,
        execute_fn=lambda name, batch: sent.append(batch),
        blocking=False,
    )
    method(batch)
    return sent[0]


@LAYOUTS
@pytest.mark.parametrize(("asked", "sentence"), [(TERM, NOT_SUBTRACTED), (WEIGHT, NOT_WEIGHED)])
def test_a_run_that_asks_and_does_not_get_it_ends(batch, asked, sentence):
    asking(**asked)
    for name in ("update_actor", "actor_rollout_ref_update_actor"):
        with pytest.raises(HostError, match=sentence):
            update(batch(None), name=name)
    # the critic learns before the advantages are used, and during a warm-up alone
    update(batch(None), name="update_critic")


@LAYOUTS
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {**TERM, "kl_ctrl": {"type": "fixed", "kl_coef": 0}},
        {"adv_estimator": "frpo", "kl_ctrl": {"type": "fixed", "kl_coef": 0.0}},
    ],
)
def test_a_run_that_asks_for_nothing_is_verls(batch, asked):
    asking(**asked)
    update(batch(None))


@LAYOUTS
def test_a_trainer_that_never_asked_verl_for_its_models_is_left_alone(batch):
    update(batch(None))


def test_a_verl_that_subtracts_by_itself_is_left_alone(monkeypatch):
    monkeypatch.setattr(native, "is_left_to_host", lambda name: name == "rloo")
    asking(**TERM)
    update(v0_batch(None))


@LAYOUTS
def test_one_of_two_things_asked_for_is_not_enough(batch):
    asking(**TERM, **WEIGHT)
    with pytest.raises(HostError, match=NOT_WEIGHED):
        update(batch(noted()))
    with pytest.raises(HostError, match=NOT_SUBTRACTED):
        update(batch(note.write(None, token_weight="lambda_grpo")))
    update(batch(noted(token_weight="lambda_grpo")))


@LAYOUTS
def test_a_batch_may_be_learnt_from_in_parts_and_again(batch):
    asking(**TERM)
    for _ in range(3):
        update(batch(noted()))


@LAYOUTS
def test_a_batch_that_was_made_anew_gets_the_note_once(batch):
    asking(**TERM)
    run.outbox.put({}, noted(beta=BETA))
    with pytest.raises(HostError, match="kl=current: the actor's workers did not subtract"):
        update(batch(None))
    run.outbox.put({}, noted(beta=BETA))
    sent = update(batch(None), {note.SUBTRACTED: 0.1})
    meta = sent.extra_info if hasattr(sent, "extra_info") else getattr(sent, "meta_info", None)
    assert (tu.get(sent, note.KEY) if meta is None else meta[note.KEY]) == noted(beta=BETA)
    with pytest.raises(HostError, match=NOT_SUBTRACTED):
        update(batch(None))


def test_a_note_that_waits_is_not_one_of_a_later_batch():
    # V0's batch brings its own, and leaves the one in the outbox
    asking(**TERM)
    run.outbox.put({}, noted())
    update(v0_batch(noted()))
    with pytest.raises(HostError, match=NOT_SUBTRACTED):
        update(v0_batch(None))


@LAYOUTS
def test_workers_are_heard_in_every_trainer(batch):
    with pytest.raises(HostError, match="kl=current: the actor's workers did not subtract"):
        update(batch(noted(beta=BETA)))
    update(batch(noted(beta=BETA)), {note.SUBTRACTED: 0.0})
    asking(use_kl_loss=True)
    with pytest.raises(HostError, match=r"use_kl_loss=True with algorithm\.token_weight: .* did not multiply .*"):
        update(batch(None, kl_loss.FIELD))
    update(batch(None, kl_loss.FIELD), {kl_loss.WEIGHED: 1.0})


def test_v0_sends_weights_to_a_loss_with_a_kl_term_alone():
    asking(use_kl_loss=False)
    assert set(update(v0_batch(None, kl_loss.FIELD, "token_weights")).keys()) == {"advantages", "token_weights"}
    asking(use_kl_loss=True)
    assert kl_loss.FIELD in update(v0_batch(None, kl_loss.FIELD), {kl_loss.WEIGHED: 1.0})


def test_v1_without_a_list_of_fields_sends_what_there_is():
    batch = v1_batch(None)
    batch.fields = None
    update(batch)


def test_an_update_that_nobody_waits_for_is_not_heard():
    asking(**TERM)
    method = ray_base.func_generator(
        None,
        "update_actor",
        dispatch_fn=lambda group, *args, **kwargs: (args, kwargs),
        collect_fn=lambda group, output: [object()],
        execute_fn=lambda name, **kwargs: None,
        blocking=False,
    )
    method(data=v0_batch(noted(beta=BETA)))


def rollouts() -> DataProto:
    tensors = {name: -torch.rand(6, 4) for name in ("old_log_probs", "ref_log_prob", "token_level_rewards")}
    tensors["response_mask"] = torch.ones(6, 4, dtype=torch.long)
    return DataProto.from_dict(tensors, {"uid": np.array([f"{row // 3}" for row in range(6)], dtype=object)})


def test_a_trainer_that_calls_an_estimator_by_itself_ends():
    algorithm, data = asking(**TERM), rollouts()
    given = {name: data.batch[name] for name in ("token_level_rewards", "response_mask")}
    data.batch["advantages"], _ = get_adv_estimator_fn("rloo")(**given, index=data.non_tensor_batch["uid"])
    with pytest.raises(HostError, match=NOT_SUBTRACTED):
        update(data.to_tensordict())
    # and one that calls verl's function learns from its batch in as many parts as it likes
    done = compute_advantage(data, adv_estimator="rloo", config=algorithm)
    for part in done.chunk(2):
        update(part.to_tensordict())


def test_a_section_that_lost_the_mode_on_its_way_ends_the_run():
    algorithm, data = asking(**TERM), rollouts()
    lost = OmegaConf.create({key: value for key, value in algorithm.items() if key != "kl_mode"})
    done = compute_advantage(data, adv_estimator="rloo", config=lost)
    with pytest.raises(HostError, match=NOT_SUBTRACTED):
        update(done.to_tensordict())


@pytest.mark.parametrize("asked", [TERM, WEIGHT])
@pytest.mark.parametrize("estimator", ["grpo", "rloo", "frpo"])
def test_advantages_without_the_section_are_refused_where_the_run_asks(asked, estimator):
    asking(**asked)
    with pytest.raises(BatchError, match=f"adv_estimator={estimator} without verl's algorithm section, .* as config"):
        compute_advantage(rollouts(), adv_estimator=estimator)


def test_advantages_without_the_section_are_verls_where_it_does_not():
    asking()
    assert "advantages" in compute_advantage(rollouts(), adv_estimator="rloo").batch
