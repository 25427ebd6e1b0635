"""Log-probs of samples: a model of a few lines against sums written out, in blocks, padded, and resumed."""

import json
import math
import types

import pytest
import torch

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.eval import divergence  # noqa: E402

VOCABULARY = 5


class Model:
    """Its logits depend on all ids so far, so that a wrong position or a padding token shows."""

    device = torch.device("cpu")

    def __init__(self, seed=0):
        self.table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed))
        self.shapes = []

    def row(self, ids):
        return sum(self.table[each] / (place + 1) for place, each in enumerate(reversed(ids)))

    def __call__(self, input_ids, attention_mask, logits_to_keep, use_cache):
        self.shapes.append(tuple(input_ids.shape))
        rows = []
        for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
            assert mask == sorted(mask, reverse=True), "padding comes last"
            rows.append(torch.stack([self.row(ids[: end + 1]) for end in range(len(ids))]))
        return types.SimpleNamespace(logits=torch.stack(rows)[:, -logits_to_keep:])


def written_out(model, prompt, response):
    """Σ_t log π(o_t | q, o_<t), token by token, in Python's floats."""
    total = 0.0
    for place, token in enumerate(response):
        logits = model.row([*prompt, *response[:place]]).tolist()
        total += logits[token] - math.log(sum(map(math.exp, logits)))
    return total


PROMPT, RESPONSES = [1, 2], [[3], [0, 4, 1], [2, 2], [0, 4, 1]]


@pytest.mark.parametrize("tokens, positions", [(8192, 512), (1, 1), (10, 2)])
def test_equals_the_sum_written_out_whatever_the_blocks_are(monkeypatch, tokens, positions):
    monkeypatch.setattr(divergence, "TOKENS", tokens)
    monkeypatch.setattr(divergence, "POSITIONS", positions)
    model = Model()
    found = divergence.log_probs(model, PROMPT, RESPONSES)
    # float32
    assert found == pytest.approx([written_out(model, PROMPT, each) for each in RESPONSES], abs=1e-5)
    assert {rows for rows, _ in model.shapes} == {{8192: 4, 1: 1, 10: 2}[tokens]}


def test_the_mean_over_every_response_is_the_divergence():
    # two tokens: the sampled log ratio, weighted by the policy's chances of all 25 responses, is KL(π‖π_ref)
    policy, reference = Model(0), Model(1)
    every = [[one, other] for one in range(VOCABULARY) for other in range(VOCABULARY)]
    of_policy, of_reference = (divergence.log_probs(model, PROMPT, every) for model in (policy, reference))
    found = sum(math.exp(p) * (p - q) for p, q in zip(of_policy, of_reference, strict=True))

    def kl(ids):
        p, q = (model.row(ids).log_softmax(-1) for model in (policy, reference))
        return p, (p.exp() * (p - q)).sum().item()

    first, expected = kl(PROMPT)
    expected += sum(first[one].exp().item() * kl([*PROMPT, one])[1] for one in range(VOCABULARY))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def case(tmp_path, monkeypatch):
    rows = [{"prompt_ids": PROMPT, "response_ids": RESPONSES}, {"prompt_ids": [4], "response_ids": [[1], [0, 0]]}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "g.parquet")
    model = Model()
    monkeypatch.setattr(divergence, "_loaded", lambda name: model)

    def measure(name="m"):
        told = []
        found = divergence.measure(tmp_path / "g.parquet", name, tmp_path / "g.parquet.policy.jsonl", told.append)
        assert sum(told) == 2
        return found

    measure.model, measure.kept = model, tmp_path / "g.parquet.policy.jsonl"
    measure.expected = [
        math.fsum(written_out(model, row["prompt_ids"], each) for each in row["response_ids"]) for row in rows
    ]
    return measure


def test_a_sum_for_each_row(case):
    assert case() == pytest.approx(case.expected, abs=1e-5)


def test_what_is_kept_is_not_measured_again_and_half_a_line_is(case):
    first = case()
    passes = len(case.model.shapes)
    assert case() == first and len(case.model.shapes) == passes
    lines = case.kept.read_text().splitlines(keepends=True)
    case.kept.write_text("".join(lines[:2]) + lines[2][:3])
    assert case() == first and len(case.model.shapes) == passes + 1


def test_of_another_model_everything_is_measured(case):
    case()
    case.kept.write_text(case.kept.read_text().replace("-", "-9"))
    assert case("other") == pytest.approx(case.expected, abs=1e-5)
    assert json.loads(case.kept.read_text().splitlines()[0])["model"] == "other"
