"""The estimates: by hand, and by counting every choice of k samples of every problem."""

import itertools
import statistics

import pytest

from frpo_verl.eval import measured
from frpo_verl.eval.measured import Asked, measure
from frpo_verl.eval.problem import Problem
from frpo_verl.evaluation.best_at_k import best_at_k

ASKED = Asked(ks=[1, 2, 3], correct_at=1.0, votes=True, log_probs=False, reference=False)
SEEDS = [
    {"p": [(1.0, "a"), (0.0, "b"), (0.0, "b"), (1.0, "a")], "q": [(0.5, "a"), (0.0, None), (0.0, None)]},
    {"p": [(0.0, "c"), (0.0, "b"), (1.0, "a"), (0.0, "b")], "q": [(2.0, "d"), (0.5, "a"), (0.0, "b")]},
]


def problems(said, **sums):
    made = {}
    for key, samples in said.items():
        made[key] = Problem(f"f, {key}", "all")
        for score, answer in samples:
            made[key].add(score, answer)
    return made


def estimates(seeds, asked=ASKED):
    return {(each.quantity, each.k): each for each in measure([problems(seed) for seed in seeds], asked, lambda: None)}


def over_subsets(seed, k, of):
    """The mean over problems of the mean over every choice of k samples."""
    each = [statistics.fmean(of(drawn) for drawn in itertools.combinations(seed[key], k)) for key in seed]
    return statistics.fmean(each)


@pytest.mark.parametrize("k", ASKED.ks)
def test_pass_and_mean_equal_every_choice_of_k_samples(k):
    found = estimates(SEEDS)
    passed = [over_subsets(seed, k, lambda drawn: any(score >= 1 for score, _ in drawn)) for seed in SEEDS]
    assert found["pass@k", k].by_seed == pytest.approx(passed, abs=1e-12)
    assert found["pass@k", k].value == pytest.approx(statistics.fmean(passed), abs=1e-12)
    mean = [over_subsets(seed, k, lambda drawn: statistics.fmean(score for score, _ in drawn)) for seed in SEEDS]
    assert found["mean@k", None].by_seed == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("k", ASKED.ks)
def test_maj_equals_every_choice_of_k_samples(k):
    def majority(drawn):
        votes = {}
        for score, answer in drawn:
            votes.setdefault(answer, []).append(score)
        lead = [each for each in votes.values() if len(each) == max(map(len, votes.values()))]
        # here every sample of an answer has the same score
        return statistics.fmean(each[0] for each in lead)

    expected = [over_subsets(seed, k, majority) for seed in SEEDS]
    assert estimates(SEEDS)["maj@k", k].by_seed == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", ASKED.ks)
def test_best_is_the_mean_over_problems_of_mean_and_deviation(k):
    best = [[best_at_k([score for score, _ in seed[key]], k) for key in seed] for seed in SEEDS]
    found = estimates(SEEDS)["best@k", k]
    assert found.by_seed == pytest.approx([statistics.fmean(each.mean for each in seed) for seed in best], abs=1e-12)
    every = [each.deviation for seed in best for each in seed]
    assert found.deviation == pytest.approx(statistics.fmean(every), abs=1e-12)
    assert estimates(SEEDS)["pass@k", k].deviation is None


def test_intervals_are_over_problems_and_over_seeds_where_there_are_several():
    found = estimates(SEEDS)["mean@k", None]
    # mean over seeds of each problem: 3/8 and 1/2; a resample has one of them twice, or both
    assert found.problems == pytest.approx((3 / 8, 1 / 2))
    assert found.seeds.low < found.value < found.seeds.high
    one = estimates(SEEDS[:1])["mean@k", None]
    assert one.seeds is None and one.problems is not None
    alone = estimates([{"p": SEEDS[0]["p"]}])["mean@k", None]
    assert alone.problems is None


def test_the_bar_for_correct_is_that_of_the_command():
    found = estimates(SEEDS, ASKED._replace(correct_at=0.5))
    assert found["pass@k", 1].by_seed == pytest.approx([(2 / 4 + 1 / 3) / 2, (1 / 4 + 2 / 3) / 2])


def test_what_is_not_there_is_not_computed():
    found = estimates(SEEDS, ASKED._replace(votes=False))
    assert {quantity for quantity, _ in found} == {"mean@k", "pass@k", "best@k"}


def test_nats_per_token_weigh_problems_by_their_tokens():
    said = problems({key: [(1.0, "a")] * 2 for key in "pq"})
    said["p"].log_prob, said["p"].log_ratio, said["p"].tokens = -6.0, 1.0, 4
    said["q"].log_prob, said["q"].log_ratio, said["q"].tokens = -1.0, -0.5, 16
    asked = Asked([1], 1.0, votes=False, log_probs=True, reference=True)
    found = {each.quantity: each for each in measure([said], asked, lambda: None)}
    assert found[measured.ENTROPY].value == pytest.approx(7 / 20)
    assert found[measured.DIVERGENCE].value == pytest.approx(0.5 / 20)
    assert found[measured.LENGTH].value == pytest.approx((4 / 2 + 16 / 2) / 2)
    # resampled, p twice or q twice
    assert found[measured.ENTROPY].problems == pytest.approx((1 / 16, 6 / 4))


def test_every_problem_of_every_seed_is_told():
    told = []
    measure([problems(seed) for seed in SEEDS], ASKED, lambda: told.append(1))
    assert len(told) == 4
