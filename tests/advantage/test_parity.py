"""The frameworks in which FRPO with k1 can be had by configuration get the same numbers.

`peer_rules` states their rules anew and names the file and commit of each; nothing of theirs is imported.
"""

import pytest
import torch
from peer_rules import areal, openrlhf, roll

from frpo_verl.advantage import drop_score, frpo_advantage, normalise_by_group
from frpo_verl.divergences import REVERSE_KL, token_clip

pytestmark = pytest.mark.filterwarnings("error")

GROUP_SIZE = 5
CLIPPED = token_clip(REVERSE_KL, 10.0)


def batch(spread: float):
    scores = torch.rand(15, dtype=torch.float64)
    log_prob, reference = -torch.rand(2, 15, 9, dtype=torch.float64).exp() * spread
    mask = torch.rand(15, 9) > 0.3
    mask[:, 0] = True
    return scores, log_prob, reference, mask


@pytest.mark.parametrize("beta", [0.0, 0.01, 0.5])
@pytest.mark.parametrize(
    ("peer", "epsilon", "clipped"),
    [(openrlhf, 1e-9, CLIPPED), (areal, 1e-5, CLIPPED), (roll, 1e-6, REVERSE_KL)],
    ids=["OpenRLHF", "AReaL", "ROLL"],
)
@pytest.mark.parametrize("spread", [1.0, 30.0], ids=["small", "beyond-the-clamp"])
def test_the_same_advantages_in_every_valid_slot(peer, epsilon, clipped, beta, spread):
    scores, log_prob, reference, mask = batch(spread)
    rows = peer(scores.tolist(), GROUP_SIZE, log_prob.tolist(), reference.tolist(), mask.tolist(), beta)
    expected = torch.tensor(rows, dtype=torch.float64)
    group = torch.arange(15) // GROUP_SIZE
    result = frpo_advantage(
        scores,
        group,
        log_prob - reference,
        mask,
        beta,
        clipped,
        outcome=lambda scores, group: normalise_by_group(scores, group, epsilon),
    )
    assert torch.allclose(result[mask], expected[mask], rtol=0, atol=1e-11)
    if spread > 1 and beta and clipped is CLIPPED:
        unclipped = frpo_advantage(scores, group, log_prob - reference, mask, beta)
        assert not torch.allclose(unclipped[mask], expected[mask], rtol=0, atol=1e-3)


def test_areals_lone_response_gets_nothing():
    scores, log_prob, reference, mask = batch(1.0)
    rows = areal(scores.tolist(), 1, log_prob.tolist(), reference.tolist(), mask.tolist(), 0.1)

    def outcome(scores, group):
        return normalise_by_group(scores, group, 1e-5, drop_score)

    result = frpo_advantage(scores, torch.arange(15), log_prob - reference, mask, 0.1, CLIPPED, outcome=outcome)
    assert torch.allclose(result[mask], torch.tensor(rows, dtype=torch.float64)[mask], rtol=0, atol=1e-11)
