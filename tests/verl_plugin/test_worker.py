"""The term of the current policy on one micro-batch, through verl's own `ppo_loss`, in both layouts that verl sends."""

import math

import mode_oracles
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.advantage.variant import divergence_to_go
from frpo_verl.preflight import settings
from frpo_verl.preflight.errors import BatchError, HostError
from frpo_verl.verl_plugin import note, sampled, worker

pytest.importorskip("verl")

from micro_batches import actor_config, micro_batch, model_output  # noqa: E402
from verl.utils import tensordict_utils as tu  # noqa: E402
from verl.workers.utils import losses  # noqa: E402

BETA = 0.3


def chosen(**frpo) -> settings.Settings:
    section = {"kl": "current", **frpo}
    return settings.read(
        OmegaConf.create({"kl_penalty": "k3", "kl_ctrl": {"type": "fixed", "kl_coef": BETA}, "frpo": section})
    )


@pytest.mark.parametrize("nested", [False, True], ids=["padded", "jagged"])
def test_loss_and_gradient_are_those_of_the_definition(nested):
    now, data, padded = micro_batch(nested, note.write(chosen(), BETA))
    output, leaf = model_output(now)
    loss, figures = losses.ppo_loss(actor_config(), output, data)
    loss.backward()
    rows = {name: padded[name].tolist() for name in ("old_log_probs", "ref_log_prob", "advantages", "response_mask")}
    advantages = mode_oracles.current_kl_epoch(
        rows["advantages"], now.tolist(), rows["ref_log_prob"], rows["response_mask"], BETA, *mode_oracles.REVERSE_KL_K3
    )
    expected, gradient = mode_oracles.ppo_surrogate(
        now.tolist(), rows["old_log_probs"], advantages, rows["response_mask"], 0.2, 0.2
    )
    # float32
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    # the advantage is held constant in the oracle's gradient: a term that is not detached would show here
    assert torch.allclose(leaf.grad, torch.tensor(gradient), rtol=0, atol=1e-5)
    delta = now - padded["ref_log_prob"]
    k3 = [mode_oracles.k3(d) for d in delta[padded["response_mask"].bool()].tolist()]
    drift = (padded["old_log_probs"] - now)[padded["response_mask"].bool()]
    kept = [
        before - after
        for row, line, keep in zip(rows["advantages"], advantages, rows["response_mask"], strict=True)
        for before, after, k in zip(row, line, keep, strict=True)
        if k
    ]
    assert figures[note.SUBTRACTED].aggregate() == pytest.approx(sum(kept) / len(kept), abs=1e-5)
    assert figures["frpo/divergence_to_ref/token_mean"].aggregate() == pytest.approx(sum(k3) / len(k3), abs=1e-5)
    assert figures["frpo/drift_from_old/token_mean"].aggregate() == pytest.approx(drift.mean().item(), abs=1e-6)


@pytest.mark.parametrize("nested", [False, True], ids=["padded", "jagged"])
def test_what_lies_ahead_is_weighted_by_the_ratios_to_the_policy_that_sampled(nested):
    now, data, padded = micro_batch(nested, note.write(chosen(stale="vtrace"), BETA))
    output, leaf = model_output(now)
    losses.ppo_loss(actor_config(), output, data)[0].backward()
    mask, advantages = padded["response_mask"].bool(), padded["advantages"].tolist()
    for row in range(len(now)):
        valid = mask[row].nonzero()[:, 0].tolist()
        delta = (now - padded["ref_log_prob"])[row].tolist()
        ratio = (now - padded["old_log_probs"])[row].exp().tolist()
        for first, t in enumerate(valid):
            reg, product = delta[t], 1.0
            for j in valid[first + 1 :]:
                product *= min(1.0, ratio[j])
                reg += product * mode_oracles.k3(delta[j])
            advantages[row][t] -= BETA * reg
    _, gradient = mode_oracles.ppo_surrogate(
        now.tolist(), padded["old_log_probs"].tolist(), advantages, padded["response_mask"].tolist(), 0.2, 0.2
    )
    # float32; no gradient flows through the weights
    assert torch.allclose(leaf.grad, torch.tensor(gradient), rtol=0, atol=1e-5)


@pytest.mark.parametrize("nested", [False, True], ids=["padded", "jagged"])
def test_the_batch_is_left_as_it_was(nested):
    # verl goes through the same tensors once more in the next epoch
    now, data, padded = micro_batch(nested, note.write(chosen(), BETA))
    before = data["advantages"]
    losses.ppo_loss(actor_config(), model_output(now)[0], data)
    assert data["advantages"] is before
    dense = before.to_padded_tensor(0.0) if nested else before
    assert torch.equal(dense, padded["advantages"])


@pytest.mark.parametrize("nested", [False, True], ids=["padded", "jagged"])
def test_without_beta_only_the_figures_are_added(nested):
    now, data, _ = micro_batch(nested, note.write(chosen(), None))
    plain, theirs = losses.ppo_loss.__wrapped__(actor_config(), model_output(now)[0], micro_batch(nested, None)[1])
    loss, figures = losses.ppo_loss(actor_config(), model_output(now)[0], data)
    assert torch.equal(loss, plain)
    assert set(figures) - set(theirs) == {"frpo/divergence_to_ref/token_mean", "frpo/drift_from_old/token_mean"}


def test_without_a_note_it_is_verls_function():
    now, data, _ = micro_batch(True, None)
    loss, figures = losses.ppo_loss(actor_config(), model_output(now)[0], data)
    plain, theirs = losses.ppo_loss.__wrapped__(actor_config(), model_output(now)[0], data)
    assert torch.equal(loss, plain)
    assert set(figures) == set(theirs)


@pytest.mark.parametrize(
    ("beta", "figures", "refused"),
    [
        (BETA, {}, True),
        (BETA, {f"actor/{note.SUBTRACTED}": 0.0}, False),
        (BETA, {note.SUBTRACTED: 0.0}, False),
        (0.0, {}, True),
        (None, {}, False),
        ("no note", {}, False),
    ],
)
def test_workers_that_do_not_subtract_end_the_run(beta, figures, refused):
    text = None if beta == "no note" else note.write(chosen(), beta)
    if not refused:
        note.require_acknowledgement(text, figures)
        return
    with pytest.raises(
        HostError, match=r"kl=current: the actor's workers did not subtract .*; install it on every node"
    ):
        note.require_acknowledgement(text, figures)


def test_a_note_of_token_weights_alone_asks_workers_for_nothing():
    now, data, _ = micro_batch(True, note.write(None, token_weight="lambda_grpo"))
    del data["ref_log_prob"]
    loss, figures = losses.ppo_loss(actor_config(), model_output(now)[0], data)
    plain, theirs = losses.ppo_loss.__wrapped__(actor_config(), model_output(now)[0], micro_batch(True, None)[1])
    assert torch.equal(loss, plain) and set(figures) == set(theirs)


def test_a_batch_without_the_reference_is_refused():
    now, data, _ = micro_batch(True, note.write(chosen(), BETA))
    del data["ref_log_prob"]
    with pytest.raises(BatchError, match="the actor's batch has no 'ref_log_prob'"):
        losses.ppo_loss(actor_config(), model_output(now)[0], data)


def test_splitting_a_mini_batch_changes_nothing_of_the_term():
    now, _, padded = micro_batch(False, None)
    told = note.read(note.write(chosen(), BETA))
    mask, ratio = padded["response_mask"], now - padded["ref_log_prob"]

    def of(rows: slice) -> torch.Tensor:
        reg = divergence_to_go(ratio[rows], mask[rows], told.generator, told.variant, None)
        return worker.current_advantages(padded["advantages"][rows], reg, mask[rows], told.beta)

    assert torch.equal(torch.cat([of(slice(0, 1)), of(slice(1, 4))]), of(slice(0, 4)))


def rejecting(nested: bool, name: str, text: str):
    """A micro-batch of which a token was rejected in each response of two or more, and the masks before and after."""
    now, data, padded = micro_batch(nested, text)
    before = padded["response_mask"].bool()
    after = before.clone()
    for row in range(len(after)):
        if (there := after[row].nonzero()[1:2]).numel():
            after[row, there[0, 0]] = False
    assert before.sum() - after.sum() == 3
    lengths = data["response_mask"].offsets().diff().tolist() if nested else None
    for field, mask in ((name, before), ("response_mask", after)):
        rows = mask.long()
        if nested:
            cut = [row[:length] for row, length in zip(rows, lengths, strict=True)]
            rows = torch.nested.as_nested_tensor(cut, layout=torch.jagged)
        data[field] = rows
    return now, data, padded, before, after


# V1's batch has verl's `loss_mask` from before; of V0's, which is from after, the trainer sends the mask along
@pytest.mark.parametrize(("nested", "name"), [(True, sampled.COUNTED), (False, sampled.FIELD)])
def test_what_was_rejected_counts_in_the_sum_and_gets_no_gradient(nested, name):
    now, data, padded, before, after = rejecting(nested, name, note.write(chosen(), BETA))
    divisor = int(before.sum()) if nested else int(after.sum())
    tu.assign_non_tensor(data, batch_num_tokens=divisor)
    output, leaf = model_output(now)
    loss, figures = losses.ppo_loss(actor_config(), output, data)
    loss.backward()
    ratio = now - padded["ref_log_prob"]
    reg = mode_oracles.divergence_to_go(ratio.tolist(), before.tolist(), *mode_oracles.REVERSE_KL_K3)
    advantages = padded["advantages"] - BETA * torch.tensor(reg)
    _, gradient = mode_oracles.ppo_surrogate(
        now.tolist(), padded["old_log_probs"].tolist(), advantages.tolist(), after.tolist(), 0.2, 0.2
    )
    expected = torch.tensor(gradient) * int(after.sum()) / divisor
    # float32
    assert torch.allclose(leaf.grad, expected, rtol=0, atol=1e-5)
    assert not leaf.grad[before & ~after].any()
    of_figures = before if nested else after
    delta = ratio[of_figures]
    k3 = sum(mode_oracles.k3(d) for d in delta.tolist()) / len(delta)
    assert figures["frpo/divergence_to_ref/token_mean"].aggregate() == pytest.approx(k3, abs=1e-5)
    mean = BETA * torch.tensor(reg)[of_figures].mean().item()
    assert figures[note.SUBTRACTED].aggregate() == pytest.approx(mean, abs=1e-5)


def test_half_precision_is_subtracted_and_summed_in_full():
    # what the trainer makes of the same log-probs
    now, data, padded = micro_batch(False, note.write(chosen(), BETA))
    half = {name: padded[name].bfloat16() for name in ("old_log_probs", "ref_log_prob")}
    now = now.bfloat16()
    output = {"log_probs": model_output(now.float())[0]["log_probs"].bfloat16()}
    _, figures = losses.ppo_loss(actor_config(), output, data.replace(half))
    valid = padded["response_mask"].bool()
    old, reference = (half[name].double()[valid] for name in ("old_log_probs", "ref_log_prob"))
    delta = now.double()[valid] - reference
    k3 = torch.exp(-delta) + delta - 1
    # float32, where half precision has 4e-3
    assert figures["frpo/divergence_to_ref/token_mean"].aggregate() == pytest.approx(k3.mean().item(), rel=1e-6)
    drift = (old - now.double()[valid]).mean().item()
    assert figures["frpo/drift_from_old/token_mean"].aggregate() == pytest.approx(drift, rel=1e-6)


def test_the_note_carries_all_that_the_term_needs():
    told = note.read(note.write(chosen(form="appendix_e", horizon=2, token_clip=0.5), 0.125))
    assert told.beta == 0.125
    assert told.variant == chosen(form="appendix_e", horizon=2, token_clip=0.5).variant
    delta = torch.tensor([3.0])
    assert told.generator.local(delta).item() == pytest.approx(math.exp(-0.5) + 0.5 - 1, abs=1e-6)
