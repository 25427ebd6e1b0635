"""The KL term of verl's loss, times the weights that came with a batch: through verl's own `ppo_loss`."""

import math

import mode_oracles
import pytest
import torch

from frpo_verl.verl_plugin import kl_loss

pytest.importorskip("verl")

from micro_batches import LENGTH, ROWS, actor_config, micro_batch, model_output  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.workers.utils import losses  # noqa: E402

COEFFICIENT = 0.7


def with_kl_loss():
    return actor_config(use_kl_loss=True, kl_loss_coef=COEFFICIENT, kl_loss_type="low_var_kl")


@pytest.mark.parametrize("nested", [False, True], ids=["padded", "jagged"])
def test_loss_and_gradient_are_those_of_the_papers_equation(nested):
    weights = torch.rand(ROWS, LENGTH)
    now, data, padded = micro_batch(nested, None, weights)
    output, leaf = model_output(now)
    loss, figures = losses.ppo_loss(with_kl_loss(), output, data)
    loss.backward()
    rows = {name: values.tolist() for name, values in padded.items()}
    mask = rows["response_mask"]
    surrogate, gradient = mode_oracles.ppo_surrogate(
        now.tolist(), rows["old_log_probs"], rows["advantages"], mask, 0.2, 0.2
    )
    tokens = sum(map(sum, mask))
    divergence = of_weights = 0.0
    for i in range(ROWS):
        for t in range(LENGTH):
            if mask[i][t]:
                w, d = rows[kl_loss.FIELD][i][t], now[i, t].item() - rows["ref_log_prob"][i][t]
                divergence += w * (math.exp(-d) + d - 1) / tokens
                gradient[i][t] += COEFFICIENT * w * (1 - math.exp(-d)) / tokens
                of_weights += w / tokens
    # float32
    assert loss.item() == pytest.approx(surrogate + COEFFICIENT * divergence, abs=1e-5)
    assert torch.allclose(leaf.grad, torch.tensor(gradient), rtol=0, atol=1e-5)
    assert figures["kl_loss"].aggregate() == pytest.approx(divergence, abs=1e-5)
    assert figures[kl_loss.WEIGHED].aggregate() == pytest.approx(of_weights, abs=1e-6)


def test_weights_of_one_are_verls_loss_to_the_bit():
    now, data, _ = micro_batch(True, None, torch.ones(ROWS, LENGTH))
    loss, figures = losses.ppo_loss(with_kl_loss(), model_output(now)[0], data)
    plain, theirs = losses.ppo_loss(with_kl_loss(), model_output(now)[0], micro_batch(True, None)[1])
    assert torch.equal(loss, plain)
    assert set(figures) - set(theirs) == {kl_loss.WEIGHED}


def test_a_loss_without_a_kl_term_uses_no_weights_and_says_so():
    now, data, _ = micro_batch(True, None, torch.rand(ROWS, LENGTH))
    loss, figures = losses.ppo_loss(actor_config(), model_output(now)[0], data)
    plain, theirs = losses.ppo_loss(actor_config(), model_output(now)[0], micro_batch(True, None)[1])
    assert torch.equal(loss, plain)
    assert set(figures) == set(theirs)


def test_weights_that_another_method_left_to_verl_are_left_to_it():
    # patches/README.md, 6
    _, data, _ = micro_batch(True, None)
    data["token_weights"] = data["advantages"]
    given = kl_loss.with_weights(lambda config, model_output, data, dp_group: (data, {}), None, {}, data)
    assert given[0] is data


def test_a_divergence_elsewhere_is_not_multiplied():
    # verl's KL in the reward and its distillation call the same function
    values = torch.rand(2, ROWS, LENGTH)
    before = core_algos.kl_penalty(*values, kl_penalty="k3")
    _, data, _ = micro_batch(False, None, torch.rand(ROWS, LENGTH))
    with pytest.raises(KeyError):
        losses.ppo_loss(with_kl_loss(), {}, data)
    assert torch.equal(core_algos.kl_penalty(*values, kl_penalty="k3"), before)
