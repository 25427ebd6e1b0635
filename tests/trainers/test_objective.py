"""The loss function as verl's engines call it, against the formulas written out row by row."""

import itertools
import math

import pytest
import torch

pytest.importorskip("verl")

from frpo_verl.losses.vocabulary import WHOLE  # noqa: E402
from frpo_verl.trainers import figures  # noqa: E402
from frpo_verl.trainers.objective import Objective  # noqa: E402
from frpo_verl.trainers.settings import Settings  # noqa: E402

VOCABULARY = 11
LENGTHS = ((3, 4), (1, 1), (2, 6), (4, 2), (1, 3), (2, 2))
"""Tokens of prompt and response of each row."""


def settings(**changed):
    values = {"loss": "outcome", "lam": 1.0, "weighted": "both", "future": "exact", "beta": 0.3, "alpha": 0.7}
    return Settings(
        **{
            **values,
            "advantage": "signed",
            "threshold": 0.5,
            "reference_path": None,
            "reference_cache": None,
            **changed,
        }
    )


class Given:
    """A reference whose logits are known; it finds those of a micro-batch by the rows' numbers."""

    part = WHOLE

    def __init__(self, logits):
        self.logits = logits

    def logits_and_labels(self, micro_batch, data_format):
        assert data_format is None
        labels = torch.roll(micro_batch["input_ids"].values(), -1, 0)
        return torch.cat([self.logits[i] for i in micro_batch["numbers"].tolist()])[None], labels


@pytest.fixture
def batch():
    torch.manual_seed(3)
    rows = [sum(lengths) for lengths in LENGTHS]
    return {
        "ids": [torch.randint(VOCABULARY, (n,)) for n in rows],
        "logits": [torch.randn(n, VOCABULARY, dtype=torch.float64) for n in rows],
        "reference": [torch.randn(n, VOCABULARY, dtype=torch.float64) for n in rows],
        "advantages": torch.tensor([1.0, -1.0] * 3, dtype=torch.float64),
    }


def nested(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def run(chosen, batch, numbers=range(6), items=6, ranks=1, logits=None):
    """Calls the objective twice, as an engine does, on some rows; returns the loss and verl's metrics."""
    numbers = list(numbers)
    logits = batch["logits"] if logits is None else logits
    objective = Objective(chosen, Given(batch["reference"]) if chosen.needs_reference else None)
    data = {
        "input_ids": nested(batch["ids"][i] for i in numbers),
        "loss_mask": nested(torch.tensor([0] * LENGTHS[i][0] + [1] * LENGTHS[i][1]) for i in numbers),
        "advantages": batch["advantages"][numbers],
        "numbers": torch.tensor(numbers),
        "global_batch_size": items,
        "dp_size": ranks,
    }
    offsets = data["input_ids"].offsets()
    flat = torch.cat([logits[i] for i in numbers])[None]
    labels = torch.roll(data["input_ids"].values(), -1, 0)
    if chosen.needs_reference:
        output = objective(student_logits=flat, data=data)
    else:
        output = {"log_probs": torch.log_softmax(flat, -1).gather(-1, labels[None, :, None])[..., 0]}
    output = {name: torch.nested.nested_tensor_from_jagged(v[0], offsets) for name, v in output.items()}
    return objective(model_output=output, data=data, dp_group=None)


def gradient(chosen, batch, **how):
    logits = [rows.clone().requires_grad_() for rows in batch["logits"]]
    loss, _ = run(chosen, batch, logits=logits, **how)
    return loss.item(), torch.cat(torch.autograd.grad(loss, logits, materialize_grads=True))


def log_prob(logits, batch, i):
    """log p(y) of row i and its length, from the definition."""
    prompt, response = LENGTHS[i]
    logs = torch.log_softmax(logits, -1)
    return sum(logs[t - 1, batch["ids"][i][t]] for t in range(prompt, prompt + response)), response


def extrapolated(batch, i, lam):
    return (1 + lam) * batch["logits"][i] - lam * batch["reference"][i]


def coefficient(chosen, batch, i, at):
    """The coefficient of row i with its sign, where p is given by its logits of every row."""
    value, length = log_prob(at(i), batch, i)
    sign = batch["advantages"][i].item()
    if chosen.loss in ("outcome", "simper"):
        return sign * math.exp(value / length) / length
    better, worse = i - i % 2, i - i % 2 + 1
    reward = {}
    for row in (better, worse):
        reward[row] = chosen.beta * (
            log_prob(at(row), batch, row)[0] - log_prob(batch["reference"][row], batch, row)[0]
        )
    strength = chosen.beta * torch.sigmoid(reward[worse] - reward[better]).item()
    likelihood = chosen.alpha / length if chosen.loss == "rpo" and sign > 0 else 0.0
    return sign * strength + likelihood


METHODS = ("outcome", "dpo", "rpo", "simper")


@pytest.mark.parametrize("loss", METHODS)
@pytest.mark.parametrize(("lam", "weighted"), [(0.0, "both"), (1.0, "both"), (2.5, "both"), (1.0, "negatives")])
def test_is_the_gradient_of_the_definition(batch, loss, lam, weighted):
    chosen = settings(loss=loss, lam=lam, weighted=weighted)
    items = 6 if loss == "outcome" else 3
    logits = [rows.clone().requires_grad_() for rows in batch["logits"]]
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(6):
        ahead = lam if weighted == "both" or batch["advantages"][i] < 0 else 0.0
        weight = coefficient(chosen, batch, i, lambda row, ahead=ahead: extrapolated(batch, row, ahead))
        expected = expected - weight * log_prob(logits[i], batch, i)[0] / items
    _, found = gradient(chosen, batch, items=items)
    # the loss itself is float32
    torch.testing.assert_close(found, torch.cat(torch.autograd.grad(expected, logits)), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", METHODS)
def test_micro_batches_and_ranks_add_up(batch, loss):
    chosen = settings(loss=loss)
    items = 6 if loss == "outcome" else 3
    loss_of_all, of_all = gradient(chosen, batch, items=items)
    # verl averages over two ranks
    parts = [gradient(chosen, batch, numbers=rows, items=items, ranks=2) for rows in ((0, 1), (2, 3, 4, 5))]
    assert loss_of_all == pytest.approx(sum(part for part, _ in parts) / 2, rel=1e-6)
    torch.testing.assert_close(sum(part for _, part in parts) / 2, of_all, rtol=1e-6, atol=1e-9)


def gathered(*metrics):
    """Reduces the metrics of each rank's micro-batches as verl's worker does."""
    from verl.utils.py_functional import append_to_dict

    ranks = []
    for of_rank in metrics:
        ranks.append({})
        for of_micro_batch in of_rank:
            append_to_dict(ranks[-1], of_micro_batch)
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


@pytest.mark.parametrize("loss", METHODS)
def test_figures_are_those_of_the_whole_batch_however_it_is_split(batch, loss):
    chosen = settings(loss=loss)
    whole = figures.means(gathered([run(chosen, batch)[1]]))
    micro = [[run(chosen, batch, pair)[1] for pair in ((0, 1), (2, 3), (4, 5))]]
    ranks = [[run(chosen, batch, (0, 1))[1], run(chosen, batch, (2, 3))[1]], [run(chosen, batch, (4, 5))[1]] * 2]
    assert figures.means(gathered(*micro)) == pytest.approx(whole, rel=1e-9)
    assert figures.means(gathered(*ranks)).keys() == whole.keys()


def test_figures_by_hand(batch):
    chosen = settings(loss="dpo", lam=2.0)
    found = figures.means({**gathered([run(chosen, batch)[1]]), "loss": 3.0, "lr": [1.0]})
    worse = [1, 3, 5]
    counted = [log_prob(batch["logits"][i], batch, i) for i in worse]
    reference = [log_prob(batch["reference"][i], batch, i) for i in worse]
    ahead = [log_prob(extrapolated(batch, i, 2.0), batch, i) for i in worse]
    tokens = sum(length for _, length in counted)
    mean = sum(value.item() for value, _ in counted) / tokens
    assert found["fpa/log_prob/worse"] == pytest.approx(mean)
    assert found["fpa/drift/worse"] == pytest.approx(mean - sum(v.item() for v, _ in reference) / tokens)
    assert found["fpa/ahead/worse"] == pytest.approx(sum(v.item() for v, _ in ahead) / tokens - mean)
    margins = []
    for better, other in ((0, 1), (2, 3), (4, 5)):
        score = [
            0.3 * (log_prob(batch["logits"][i], batch, i)[0] - log_prob(batch["reference"][i], batch, i)[0]).item()
            for i in (better, other)
        ]
        margins.append(score[0] - score[1])
    assert found["fpa/margin"] == pytest.approx(sum(margins) / 3)
    assert found["fpa/accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 3)
    strengths = [-coefficient(chosen, batch, i, lambda row: extrapolated(batch, row, 2.0)) for i in worse]
    assert found["fpa/coefficient/down"] == pytest.approx(sum(strengths) / 3)
    assert found["loss"] == 3.0 and found["lr"] == [1.0]


def test_the_renyi_divergence_is_that_of_the_whole_vocabulary(batch):
    lam = 1.5
    found = figures.means(gathered([run(settings(lam=lam), batch)[1]]))["fpa/renyi_divergence_to_ref"]
    values = []
    for i, (prompt, response) in enumerate(LENGTHS):
        policy = torch.softmax(batch["logits"][i], -1)
        reference = torch.softmax(batch["reference"][i], -1)
        at = slice(prompt - 1, prompt + response - 1)
        values += (torch.log((policy ** (1 + lam) * reference**-lam).sum(-1)) / lam)[at].tolist()
    assert found == pytest.approx(sum(values) / len(values), rel=1e-6)
    assert found > 0


def test_a_side_without_responses_has_no_figure(batch):
    found = figures.means(gathered([run(settings(), batch, (0, 2))[1]]))
    assert "fpa/log_prob/better" in found and "fpa/log_prob/worse" not in found
    assert not any(name.endswith((figures.SUM, figures.COUNT)) for name in found)


def test_without_normaliser_is_the_extrapolated_log_prob(batch):
    chosen = settings(future="without_normaliser", lam=2.0)
    _, found = gradient(chosen, batch)
    logits = [rows.clone().requires_grad_() for rows in batch["logits"]]
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(6):
        policy, length = log_prob(logits[i], batch, i)
        reference, _ = log_prob(batch["reference"][i], batch, i)
        weight = math.exp((3 * policy.item() - 2 * reference.item()) / length) / length
        expected = expected - batch["advantages"][i] * weight * policy / 6
    torch.testing.assert_close(found, torch.cat(torch.autograd.grad(expected, logits)), rtol=1e-6, atol=1e-8)


def test_lambda_zero_without_a_reference_never_asks_for_logits(batch):
    chosen = settings(lam=0.0)
    assert not chosen.needs_reference
    loss, metrics = run(chosen, batch)
    assert math.isfinite(loss.item())
    assert not [name for name in metrics if name.startswith(("fpa/drift", "fpa/ahead", "fpa/renyi"))]


@pytest.mark.parametrize("loss", ("dpo", "rpo"))
def test_lambda_zero_is_the_base_method_to_the_bit(batch, loss):
    found, _ = run(settings(loss=loss, lam=0.0), batch)
    tiny, _ = run(settings(loss=loss, lam=1e-9), batch)
    assert found.item() == pytest.approx(tiny.item(), rel=1e-6)
    assert "fpa/ahead/worse" + figures.SUM not in run(settings(loss=loss, lam=0.0), batch)[1]


def test_nan_after_the_last_response_token_changes_nothing(batch):
    # what stands at a row's last position predicts nothing
    for rows in batch["logits"]:
        rows[-1] = math.nan
    clean = [rows.clone() for rows in batch["logits"]]
    for rows in clean:
        rows[-1] = 0.0
    for chosen in (settings(), settings(loss="dpo"), settings(lam=0.0)):
        assert run(chosen, batch)[0].item() == run(chosen, batch, logits=clean)[0].item()


def test_every_pair_of_neighbours_is_compared(batch):
    swapped = [*itertools.chain(*((b, a) for a, b in ((0, 1), (2, 3), (4, 5))))]
    chosen = settings(loss="dpo", lam=0.0)
    found = figures.means(gathered([run(chosen, batch)[1]]))["fpa/margin"]
    assert figures.means(gathered([run(chosen, batch, swapped)[1]]))["fpa/margin"] == pytest.approx(-found)
