"""The program that measures the gradient's variance: its sums against autograd, definitions, and verl's own worker."""

import os
import subprocess
import sys

import pytest
import torch
from benchmarks import baseline_gradients as program
from benchmarks.baseline_gradients import GROUP, LENGTH, Response, Rollouts
from oracles import frpo

PROMPTS = 10
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def letters(source: torch.Generator, least: int, most: int) -> list[int]:
    return torch.randint(
        5, 40, (int(torch.randint(least, most + 1, (1,), generator=source)),), generator=source
    ).tolist()


@pytest.fixture(scope="module")
def models():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="sdpa",
    )
    policy, reference = (LlamaForCausalLM(config).double().eval() for _ in range(2))
    reference.load_state_dict({name: 1.5 * value for name, value in policy.state_dict().items()})
    return policy, reference


@pytest.fixture(scope="module")
def responses():
    source = torch.Generator().manual_seed(3)
    prompts = [letters(source, 2, 5) for _ in range(PROMPTS)]
    rewards = torch.randint(2, (PROMPTS, GROUP), generator=source).double()
    return [
        Response(prompts[p], letters(source, 1, LENGTH), rewards[p, i].item())
        for p in range(PROMPTS)
        for i in range(GROUP)
    ]


@pytest.fixture(scope="module")
def rollouts(models, responses):
    return program.measured(*models, responses, 1)


@pytest.fixture(scope="module")
def vectors():
    """Rollouts whose tokens have gradients that are known: the rollouts and (tokens, 7)."""
    source = torch.Generator().manual_seed(4)
    mask = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (PROMPTS * GROUP, 1), generator=source)
    of_token = torch.randn(int(mask.sum()), 7, dtype=torch.float64, generator=source)
    log_ratio = torch.where(mask, torch.randn(mask.shape, dtype=torch.float64, generator=source), 0.0)
    reward = torch.randint(2, (len(mask),), generator=source).double()
    return Rollouts(reward, log_ratio, mask, of_token @ of_token.T), of_token


def test_log_probs_are_those_of_each_token_after_all_before_it(models, responses):
    for response in responses[:3]:
        for place, found in enumerate(program.log_probs(models[0], response)):
            before = torch.tensor([response.prompt + response.tokens[:place]])
            logits = models[0](input_ids=before).logits[0, -1]
            assert found.item() == pytest.approx(logits.log_softmax(0)[response.tokens[place]].item(), rel=1e-10)


def test_the_rollouts_hold_the_log_ratio_of_the_two_models(models, responses, rollouts):
    policy, reference = models
    for response, ratio, mask in zip(responses, rollouts.log_ratio, rollouts.mask, strict=True):
        assert mask.sum() == len(response.tokens) and not ratio[~mask].any()
        expected = program.log_probs(policy, response) - program.log_probs(reference, response)
        assert torch.allclose(ratio[mask], expected, **EXACT)
    assert rollouts.log_ratio.abs().max() > 0.1


def test_a_sum_over_tokens_is_the_gradient_of_the_loss(models, responses, rollouts):
    """Autograd of verl's loss at the policy that sampled, through the whole model, in one backward pass."""
    policy, _ = models
    batches = program.drawn(PROMPTS, 3, 1)
    for name, found in program.gradients(rollouts, batches, 0.3).items():
        for factors, groups in zip(found.factors, batches, strict=True):
            parameters = program.only(policy, 1)
            weights = torch.zeros(rollouts.mask.shape, dtype=torch.float64)
            weights[rollouts.mask] = factors
            loss = sum(
                (program.log_probs(policy, responses[row]) * weights[row][rollouts.mask[row]]).sum()
                for row in program.rows_of(groups)
            )
            direct = torch.autograd.grad(loss, parameters)
            square = sum(part.square().sum() for part in direct).item()
            # transformers' norms are in float32
            assert (factors @ rollouts.products @ factors).item() == pytest.approx(square, rel=1e-6), name


def test_factors_are_the_advantages_over_the_batchs_tokens(vectors):
    of, _ = vectors
    batches = program.drawn(PROMPTS, 4, 5)
    found = program.gradients(of, batches, 0.3)
    for factors, groups in zip(found["none"].factors, batches, strict=True):
        rows = program.rows_of(groups)
        scores, delta, mask = of.reward[rows].tolist(), of.log_ratio[rows].tolist(), of.mask[rows].tolist()
        expected = frpo(scores, [int(row) // GROUP for row in rows], delta, mask, 0.3, 1e-6)
        spread = torch.zeros(of.mask.shape, dtype=torch.float64)
        spread[rows] = torch.tensor(expected, dtype=torch.float64) / of.mask[rows].sum()
        assert torch.allclose(factors, spread[of.mask], **EXACT)
    assert all(one.r2 != 0 for name, one in found.items() if name != "none")


def test_the_memory_is_of_nine_batches_of_other_prompts(vectors, monkeypatch):
    of, _ = vectors
    seen = []

    def way(of, rows, beta, others):
        seen.append((rows, others))
        return program.with_memory(of, rows, beta, others)

    monkeypatch.setattr(program, "WAYS", {"seen": way})
    given = []
    real = program.fitted_elsewhere
    monkeypatch.setattr(program, "fitted_elsewhere", lambda earlier: given.append(earlier) or real(earlier))
    batches = program.drawn(PROMPTS, 4, 3)
    program.gradients(of, batches, 0.3)
    for (rows, others), groups in zip(seen, batches, strict=True):
        left = [group for group in range(PROMPTS) if group not in groups.tolist()]
        every = program.less(of, program.rows_of(torch.tensor(left)), 0.3, real(program.no_moments()))[1].moments
        assert torch.allclose(others, every / len(left), **EXACT)
        assert any(torch.allclose(earlier, 9 * 4 * others, **EXACT) for earlier in given)
        assert len(rows) == 4 * GROUP


def test_shares_of_the_variance_add_up_to_the_trace_of_the_covariance(vectors):
    of, of_token = vectors
    factors = torch.randn(20, len(of_token), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    shares = program.variance(of, factors)
    assert shares.shape == (PROMPTS,)
    assert shares.sum().item() == pytest.approx((factors @ of_token).T.cov().trace().item(), rel=1e-10)


def test_a_ratio_has_an_interval_over_the_prompts():
    source = torch.Generator().manual_seed(6)
    below = 1 + torch.rand(96, dtype=torch.float64, generator=source)
    assert program.ratio(0.7 * below, below) == pytest.approx((0.7, 0.7, 0.7))
    middle, low, high = program.ratio(below + 0.3 * torch.randn(96, dtype=torch.float64, generator=source), below)
    # 0.3 / (1.5 √96), twice on each side
    assert low < 1 < high and low < middle < high and 0.06 < high - low < 0.1


def test_a_mean_that_moved_is_told_from_one_that_did_not(vectors):
    of, of_token = vectors
    source = torch.Generator().manual_seed(7)
    noise = torch.randn(1, len(of_token), dtype=torch.float64, generator=source).expand(3, -1)
    assert 0.4 < program.moved(of, noise) < 1.8
    along = (of_token @ torch.ones(7, dtype=torch.float64)).expand(3, -1)
    assert program.moved(of, along) == pytest.approx(PROMPTS**0.5, rel=0.1)
    assert program.moved(of, torch.zeros_like(noise)) == 0


def test_a_row_has_what_its_head_says(vectors):
    of, _ = vectors
    cells = program.line("5", of, 0.3, batches=4).strip("| ").split(" | ")
    assert len(cells) == program.HEAD[0].strip("| ").count(" | ") + 1
    # ten prompts make batches of eight alone
    assert cells[:2] == ["5", "0.3"] and not any("/" in cell for cell in cells)


def test_no_prompt_is_twice_in_a_batch():
    batches = program.drawn(PROMPTS, 8, 50)
    assert all(len(set(batch.tolist())) == 8 for batch in batches) and len(batches.unique(dim=0)) > 40


@pytest.mark.slow
def test_it_measures_and_its_sums_are_the_updates_of_verls_worker(tmp_path, tiny_model):
    pytest.importorskip("verl")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def run(*words: str) -> str:
        command = [sys.executable, "-P", "-W", "ignore", program.__file__, *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout

    out = tmp_path / "0.pt"
    run("measure", str(tiny_model), str(tiny_model), "--prompts", "3", "--out", str(out))
    found = program.read(out)
    assert found.products.shape == (found.mask.sum(), found.mask.sum()) and found.log_ratio.abs().max() < 1e-4
    length, difference = (
        float(part.split()[-1]) for part in run("worker", str(tiny_model)).splitlines()[-1].split(",")
    )
    # float32
    assert length > 1e-3 and difference < 1e-4
