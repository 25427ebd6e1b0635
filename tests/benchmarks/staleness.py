"""Measures what several updates per rollout do to the divergence's gradient: placements, V-trace, and the truncation.

`python tests/benchmarks/staleness.py` prints the tables of `frpo_verl/advantage/staleness.md`, `--figure FILE` draws
its curve and prints its numbers. Two small policies, both exact in the mean:

- a tree: three tokens, one of them the end, six tokens at most, 127 responses. Logits are linear in random features
  that all prefixes share, so that an update at one place moves the policy at others. Every expectation is a sum over
  all responses, every variance too.
- a chain: eight states in two modes and three tokens, one of which changes the mode at one state, seldom. Responses of
  any length, whose expectations are sums over states; the variance is of samples.

Figures are medians of 12 draws of policy, reference and reward.
"""

import argparse
import functools
import itertools
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from frpo_verl.advantage import return_to_go, traced_return_to_go
from frpo_verl.divergences import REVERSE_KL

TOKENS, END, LENGTH, FEATURES = 3, 2, 6, 6
BETA, GROUP, GROUPS, CLIP, DUAL_CLIP = 0.2, 5, 8, 0.2, 3.0
WORLDS = 12

PREFIXES = [prefix for n in range(LENGTH) for prefix in itertools.product(range(TOKENS - 1), repeat=n)]
RESPONSES = [(*p, a) for p in PREFIXES for a in range(TOKENS) if a == END or len(p) + 1 == LENGTH]
_ROW = {prefix: row for row, prefix in enumerate(PREFIXES)}
MASK = torch.tensor([[t < len(r) for t in range(LENGTH)] for r in RESPONSES])
TOKEN = torch.tensor([[r[t] if t < len(r) else 0 for t in range(LENGTH)] for r in RESPONSES])
PLACE = torch.tensor([[_ROW[r[:t]] if t < len(r) else 0 for t in range(LENGTH)] for r in RESPONSES])


def normal(source: random.Random, *shape: int) -> Tensor:
    """Python's numbers, which are the same with every torch."""
    return torch.tensor([source.gauss(0, 1) for _ in range(math.prod(shape))], dtype=torch.float64).view(shape)


class World:
    """One draw of features, policy μ, reference, rewards, and of how the server's logits differ from the trainer's."""

    def __init__(self, seed: int, distance: float = 0.5) -> None:
        self.random = random.Random(seed)
        self.features = normal(self.random, len(PREFIXES), FEATURES) / math.sqrt(FEATURES)
        self.start = normal(self.random, FEATURES, TOKENS)
        self.reference = self.start + distance * normal(self.random, FEATURES, TOKENS)
        self.rounding = normal(self.random, len(PREFIXES), TOKENS)
        self.reward = torch.tensor([float(self.random.random() < 0.4) for _ in RESPONSES], dtype=torch.float64)

    def table(self, weights: Tensor, rounding: float = 0.0) -> Tensor:
        # Responses are long enough to have a future.
        ends = torch.tensor([0.0, 0.0, -1.5], dtype=torch.float64)
        return torch.log_softmax(self.features @ weights + ends + rounding * self.rounding, -1)

    def log_probs(self, weights: Tensor, rounding: float = 0.0) -> Tensor:
        """Of every token of every response, 0 after its end."""
        return torch.where(MASK, self.table(weights, rounding)[PLACE, TOKEN], 0.0)

    def scores(self, weights: Tensor) -> Tensor:
        """∇log π of every token of every response."""
        of_logits = torch.nn.functional.one_hot(TOKEN, TOKENS) - self.table(weights).exp()[PLACE]
        return (self.features[PLACE][..., :, None] * of_logits[..., None, :]).flatten(2) * MASK[..., None]

    def gradient(self, weights: Tensor, rewarded: bool) -> Tensor:
        """Autograd of E_π r − β·KL(π‖π_ref), or of −KL alone."""
        leaf = weights.clone().requires_grad_()
        log_prob = self.log_probs(leaf)
        divergence = (log_prob - self.log_probs(self.reference)).sum(-1)
        value = self.reward - BETA * divergence if rewarded else -divergence
        return torch.autograd.grad((log_prob.sum(-1).exp() * value).sum(), leaf)[0].flatten()


def vanilla(weight: Tensor, ratio: Tensor) -> Tensor:
    """Returns what verl's `vanilla` loss multiplies ∇log π by: w·ρ, 0 where it clips (ε; the dual clip where w < 0)."""
    above, below = (weight > 0) & (ratio > 1 + CLIP), (weight < 0) & ((ratio < 1 - CLIP) | (ratio > DUAL_CLIP))
    return torch.where(above | below, 0.0, weight * ratio)


class Term(NamedTuple):
    """A regulariser on stale samples: reg, the ratio of the token itself, and what multiplies both for the prefix."""

    reg: Tensor
    own: Tensor
    before: Tensor | float = 1.0


def terms(old: Tensor, now: Tensor, reference: Tensor) -> dict[str, Term]:
    """Every placement and correction, by the name that the page gives it; of the log-probs of every response."""
    stale, current, log_ratio = old - reference, now - reference, now - old
    ratio, one = log_ratio.exp(), torch.ones_like(now)

    def plain(delta: Tensor) -> Tensor:
        return return_to_go(delta, MASK, REVERSE_KL)

    def traced(truncation: float) -> Tensor:
        return traced_return_to_go(current, log_ratio, MASK, REVERSE_KL, truncation)

    return {
        "`rollout`, without ρ": Term(plain(stale), one),
        "`kl=rollout`": Term(plain(stale), ratio),
        "`kl=current`": Term(plain(current), ratio),
        "`kl=current`, `stale=vtrace`": Term(traced(1.0), ratio),
        "whole products of ρ after t": Term(traced(math.inf), ratio),
        "whole products after and before t": Term(traced(math.inf), ratio, before(ratio)),
        "no future": Term(traced(0.0), ratio),
    }


def before(ratio: Tensor) -> Tensor:
    """Π_{i<t} ρ_i."""
    return torch.cat([torch.ones(len(ratio), 1, dtype=ratio.dtype), ratio.cumprod(-1)[:, :-1]], -1)


class Measured(NamedTuple):
    """An estimator against autograd: ‖E g − ∇‖/‖∇‖, cosine, and the trace of the covariance of one response's g."""

    bias: float
    cosine: float
    variance: float


def measured(sampled: Tensor, cases: list[tuple[float, Tensor]], scores: Tensor, exact: Tensor) -> Measured:
    """Sums over all responses, weighted by how likely they are sampled, and over cases of the advantage."""
    mean, square = torch.zeros_like(exact), 0.0
    for chance, coefficient in cases:
        each = torch.einsum("nt,ntd->nd", coefficient * MASK, scores)
        mean = mean + chance * (sampled @ each)
        square += chance * (sampled @ each.square().sum(-1)).item()
    cosine = torch.nn.functional.cosine_similarity(mean, exact, dim=0).item()
    return Measured(((mean - exact).norm() / exact.norm()).item(), cosine, square - mean.square().sum().item())


def outcomes(world: World, sampled: Tensor) -> list[tuple[float, Tensor]]:
    """Every number of successes among the group's others: its chance, and r less their mean for every response."""
    p = (sampled @ world.reward).item()
    others = range(GROUP)
    chance = [math.comb(GROUP - 1, k) * p**k * (1 - p) ** (GROUP - 1 - k) for k in others]
    return [(chance[k], world.reward - k / (GROUP - 1)) for k in others]


def updated(world: World, sampled: Tensor, old: Tensor, updates: int, step: float) -> Tensor:
    """The weights after so many mini-batches of 8 groups from μ, `kl=current`, each a step of one length uphill."""
    weights, reference = world.start.clone(), world.log_probs(world.reference)
    for _ in range(updates):
        now = world.log_probs(weights)
        drawn = torch.tensor(world.random.choices(range(len(RESPONSES)), sampled.tolist(), k=GROUPS * GROUP))
        reward = world.reward[drawn].view(GROUPS, GROUP)
        advantage = ((reward - reward.mean(1, keepdim=True)) * GROUP / (GROUP - 1)).flatten()
        term = terms(old, now, reference)["`kl=current`"]
        coefficient = vanilla(advantage[:, None] - BETA * term.reg[drawn], term.own[drawn]) * MASK[drawn]
        gradient = torch.einsum("nt,ntd->d", coefficient, world.scores(weights)[drawn])
        weights = weights + step * (gradient / gradient.norm()).view_as(weights)
    return weights


class Stale(NamedTuple):
    """One world at one update: KL(μ‖π) of a response, and every term's part of the gradient and the total."""

    drift: float
    part: dict[str, Measured]
    total: dict[str, Measured]


def at_update(
    seed: int,
    number: int,
    step: float,
    distance: float = 0.5,
    random_step: bool = False,
    rounding: float = 0.0,
    bypass: bool = False,
) -> Stale:
    """Measures the gradient of the mini-batch with this number; μ sampled it, the earlier ones made π.

    Args:
        seed: of the world.
        number: 1 is the first update of a rollout, where π = μ.
        step: length of an update.
        distance: of the reference.
        random_step: π is μ and a step in a random direction, instead of earlier updates.
        rounding: of the server's logits; samples are the server's.
        bypass: the server's log-probs are `old_log_probs`; else the trainer recomputes them.
    """
    world = World(seed, distance)
    server = world.log_probs(world.start, rounding)
    sampled = server.sum(-1).exp()
    old = server if bypass else world.log_probs(world.start)
    if random_step:
        weights = world.start + step * normal(world.random, FEATURES, TOKENS)
    else:
        weights = updated(world, sampled, old, number - 1, step)
    now, scores = world.log_probs(weights), world.scores(weights)
    alone, whole = world.gradient(weights, rewarded=False), world.gradient(weights, rewarded=True)
    part, total = {}, {}
    for name, (reg, own, prefix) in terms(old, now, world.log_probs(world.reference)).items():
        part[name] = measured(sampled, [(1.0, -reg * own * prefix)], scores, alone)
        cases = [(p, vanilla(a[:, None] - BETA * reg, own) * prefix) for p, a in outcomes(world, sampled)]
        total[name] = measured(sampled, cases, scores, whole)
    return Stale((sampled @ (server - now).sum(-1)).item(), part, total)


def median(rows: list[dict[str, Measured]], name: str) -> list[float]:
    """Bias, cosine, and the variance over that of `kl=current` in the same world."""
    same = [row["`kl=current`"].variance for row in rows]
    return [
        statistics.median(row[name].bias for row in rows),
        statistics.median(row[name].cosine for row in rows),
        statistics.median(row[name].variance / of for row, of in zip(rows, same, strict=True)),
    ]


@functools.cache
def table(
    number: int, step: float, distance: float = 0.5, random_step: bool = False
) -> tuple[float, dict[str, list[float]]]:
    """The median drift, and of each term bias, cosine and variance of its part, then of the total."""
    found = [at_update(seed, number, step, distance, random_step) for seed in range(WORLDS)]
    parts, totals = [row.part for row in found], [row.total for row in found]
    rows = {name: median(parts, name) + median(totals, name) for name in parts[0]}
    return statistics.median(row.drift for row in found), rows


SETTINGS = {
    "second update": (2, 0.1),
    "fourth update": (4, 0.1),
    "a random direction": (2, 0.2, 0.5, True),
    "the same, reference five times nearer": (2, 0.2, 0.1, True),
}
LONG_STEP = (2, 0.4)
"""So long that PPO's clip decides the total."""


def lines() -> list[str]:
    """The first table of the page."""
    result = ["| π | term | bias | cosine | variance | total: bias | cosine | variance |"]
    result.append("| --- | --- " + "| ---: " * 6 + "|")
    for label, setting in SETTINGS.items():
        drift, rows = table(*setting)
        for name, figures in rows.items():
            cells = [f"{figure:.3f}" if figure > 1e-10 else "exact" for figure in figures]
            result.append(f"| {label}, {drift:.4f} nats | {name} | {' | '.join(cells)} |")
    return result


@functools.cache
def served(number: int, rounding: float, bypass: bool) -> dict[str, float]:
    """The median bias of each term's part where the server's logits have an error of their own."""
    found = [at_update(seed, number, 0.1, rounding=rounding, bypass=bypass).part for seed in range(WORLDS)]
    return {name: statistics.median(row[name].bias for row in found) for name in found[0]}


SERVED = ("`kl=rollout`", "`kl=current`", "`kl=current`, `stale=vtrace`")


def served_lines() -> list[str]:
    """The second table of the page."""
    result = [f"| server's error, nats | `old_log_probs` | update | {' | '.join(SERVED)} |"]
    result.append("| ---: | --- | ---: " + "| ---: " * len(SERVED) + "|")
    for rounding, bypass, number in itertools.product((0.02, 0.1), (False, True), (1, 2, 4)):
        found = served(number, rounding, bypass)
        source = "the server's (`bypass_mode`)" if bypass else "recomputed"
        result.append(
            f"| {rounding} | {source} | {number} | " + " | ".join(f"{found[name]:.3f}" for name in SERVED) + " |"
        )
    return result


# ---- The truncation ----

BOUNDS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0, math.inf)
STEPS = {"0.2": 0.2, "0.6": 0.6}
FORMS = {"after t": lambda ratio: 1.0, "after t, and whole before t": before}


@functools.cache
def truncated(step: float) -> dict[str, list[list[float]]]:
    """For each form and c̄: bias, cosine and variance, over that without the future and with ρ_t, of −KL's gradient."""
    rows: dict[str, list[list[Measured]]] = {form: [[] for _ in BOUNDS] for form in FORMS}
    base = []
    for seed in range(WORLDS):
        world = World(seed)
        weights = world.start + step * normal(world.random, FEATURES, TOKENS)
        old, now = world.log_probs(world.start), world.log_probs(weights)
        current, log_ratio, scores = now - world.log_probs(world.reference), now - old, world.scores(weights)
        sampled, exact, ratio = old.sum(-1).exp(), world.gradient(weights, rewarded=False), log_ratio.exp()
        plain = -return_to_go(current, MASK, REVERSE_KL) * ratio
        base.append(measured(sampled, [(1.0, plain)], scores, exact).variance)
        for form, prefix in FORMS.items():
            for row, bound in zip(rows[form], BOUNDS, strict=True):
                reg = traced_return_to_go(current, log_ratio, MASK, REVERSE_KL, bound)
                row.append(measured(sampled, [(1.0, -reg * ratio * prefix(ratio))], scores, exact))
    return {
        form: [
            [
                statistics.median(found.bias for found in row),
                statistics.median(found.cosine for found in row),
                statistics.median(found.variance / of for found, of in zip(row, base, strict=True)),
            ]
            for row in rows[form]
        ]
        for form in FORMS
    }


def truncated_lines() -> list[str]:
    """The table under the page's figure."""
    bounds = ["∞" if math.isinf(bound) else f"{bound:g}" for bound in BOUNDS]
    result = [f"| step | products | | {' | '.join(bounds)} |", "| ---: | --- | --- " + "| ---: " * len(BOUNDS) + "|"]
    for label, step in STEPS.items():
        for form, found in truncated(step).items():
            for what, column in (("bias", 0), ("variance", 2)):
                cells = [f"{row[column]:.3f}" if row[column] > 1e-10 else "exact" for row in found]
                result.append(f"| {label} | {form} | {what} | {' | '.join(cells)} |")
    return result


def figure(path: Path) -> None:
    """Draws bias and variance over c̄ from 0 to ∞."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    where = [1.0 if math.isinf(bound) else bound / (1 + bound) for bound in BOUNDS]
    labels = ["∞" if math.isinf(bound) else f"{bound:g}" for bound in BOUNDS]
    drawn, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    for axis, column, title in ((axes[0], 0, "bias"), (axes[1], 2, "variance / that of kl=current")):
        for (label, step), colour in zip(STEPS.items(), ("tab:blue", "tab:orange"), strict=True):
            for (form, found), style in zip(truncated(step).items(), ("-", "--"), strict=True):
                values = [row[column] for row in found]
                axis.plot(where, values, style, color=colour, marker=".", label=f"step {label}, products {form}")
        shown = [0, 2, 4, 7, 8, 9]
        axis.set_xticks([where[k] for k in shown], [labels[k] for k in shown])
        axis.axvline(0.5, color="grey", linewidth=0.6)
        axis.set_ylim(0)
        axis.set_xlabel("c̄ of min(c̄, ρ)")
        axis.set_title(title)
    axes[1].legend(fontsize=8, loc="lower right")
    drawn.savefig(path, dpi=110, metadata={"Software": None})


# ---- Responses of any length ----

MODES, STATES, RARE = 2, 8, 4.0
NEXT = torch.tensor(
    [
        [(1 - m if p == 3 and a == 2 else m) * 4 + (p + 1 + a) % 4 for a in range(3)]
        for m in range(MODES)
        for p in range(STATES // MODES)
    ]
)


class Chain(NamedTuple):
    """Log-probs of μ, π and the reference, each (states, tokens), and the logits of π."""

    old: Tensor
    now: Tensor
    reference: Tensor
    logits: Tensor


def chain(seed: int, step: float, apart: float) -> Chain:
    """Draws one; the second mode is `apart` times as far from the reference as the first, in logits."""
    source, shape = random.Random(seed), (STATES, 3)
    logits = normal(source, *shape)
    # So that a mode lasts.
    logits[3::4, 2] -= RARE
    away = 0.3 * normal(source, *shape)
    away[4:] *= apart
    moved = logits + step * normal(source, *shape)
    return Chain(*(torch.log_softmax(of, -1) for of in (logits, moved, logits + away)), moved)


def chain_gradient(of: Chain, length: int) -> Tensor:
    """Autograd of −E_π Σ δ, by the recursion over what is left."""
    leaf = of.logits.clone().requires_grad_()
    log_prob = torch.log_softmax(leaf, -1)
    value = torch.zeros(STATES, dtype=torch.float64)
    for _ in range(length):
        value = (log_prob.exp() * (log_prob - of.reference + value[NEXT])).sum(-1)
    return -torch.autograd.grad(value[0], leaf)[0]


def chain_mean(of: Chain, length: int, delta: Tensor, weight: Tensor) -> Tensor:
    """E_μ of −Σ_t ρ_t ∇log π(a_t|s_t) reg_t, where reg_t = δ_t + L_{t+1} and L = c·(δ + L of the next state)."""
    chance, ratio = of.old.exp(), (of.now - of.old).exp()
    ahead = [torch.zeros(STATES, dtype=torch.float64)]
    for _ in range(length - 1):
        ahead.append((chance * weight * (delta + ahead[-1][NEXT])).sum(-1))
    at = torch.zeros(STATES, dtype=torch.float64)
    at[0] = 1.0
    total = torch.zeros(STATES, 3, dtype=torch.float64)
    for left in reversed(ahead):
        total -= at[:, None] * chance * ratio * (delta + left[NEXT])
        at = torch.zeros_like(at).index_add_(0, NEXT.flatten(), (at[:, None] * chance).flatten())
    return total - of.now.exp() * total.sum(-1, keepdim=True)


def chain_terms(of: Chain) -> dict[str, tuple[Tensor, Tensor]]:
    """δ and c of every state and token, by term."""
    one, ratio = torch.ones(STATES, 3, dtype=torch.float64), (of.now - of.old).exp()
    current, cut = of.now - of.reference, ratio.clamp(max=1)
    step = torch.zeros(STATES, STATES, dtype=torch.float64).scatter_add_(1, NEXT, of.old.exp())
    mean = torch.linalg.matrix_power(step, 4096)[0] @ (of.old.exp() * cut).sum(-1)
    return {
        "`kl=rollout`": (of.old - of.reference, one),
        "`kl=current`": (current, one),
        "`kl=current`, `stale=vtrace`": (current, cut),
        "`kl=current`, `discount` = E min(1, ρ)": (current, mean * one),
        "no future": (current, 0 * one),
    }


def chain_variance(of: Chain, length: int, samples: int) -> dict[str, float]:
    """The trace of the covariance of one response's gradient, of samples."""
    generator = torch.Generator().manual_seed(0)
    state, states, tokens = torch.zeros(samples, dtype=torch.int64), [], []
    for _ in range(length):
        token = torch.multinomial(of.old.exp()[state], 1, generator=generator)[:, 0]
        states, tokens, state = [*states, state], [*tokens, token], NEXT[state, token]
    named, row = chain_terms(of), torch.arange(samples)
    deltas, weights = (torch.stack(part) for part in zip(*named.values(), strict=True))
    ahead = torch.zeros(len(named), samples, dtype=torch.float64)
    each = torch.zeros(len(named), samples, STATES, 3, dtype=torch.float64)
    ratio, chance = (of.now - of.old).exp(), of.now.exp()
    for state, token in zip(reversed(states), reversed(tokens), strict=True):
        to_go = deltas[:, state, token] + ahead
        coefficient = ratio[state, token] * to_go
        each[:, row, state, token] += coefficient
        each[:, row, state] -= coefficient[..., None] * chance[state]
        ahead = weights[:, state, token] * to_go
    return dict(zip(named, each.flatten(2).var(1).sum(-1).tolist(), strict=True))


@functools.cache
def chain_row(
    apart: float, step: float, length: int, samples: int = 0
) -> tuple[float, dict[str, float], dict[str, float]]:
    """The median std of log ρ, and of each term the bias and, with samples, the variance over that of `kl=current`."""
    drifts, biases, variances = [], [], []
    for seed in range(WORLDS):
        of = chain(seed, step, apart)
        exact, chance = chain_gradient(of, length), of.old.exp()
        log_ratio = of.now - of.old
        # At a state of its own each; enough for a scale.
        drifts.append(
            (chance * (log_ratio - (chance * log_ratio).sum(-1, keepdim=True)).square()).sum(-1).mean().sqrt()
        )
        found = {name: chain_mean(of, length, *term) for name, term in chain_terms(of).items()}
        biases.append({name: ((mean - exact).norm() / exact.norm()).item() for name, mean in found.items()})
        # One in three of the draws: the ratios differ little.
        if samples and seed % 3 == 0:
            variance = chain_variance(of, length, samples)
            variances.append({name: value / variance["`kl=current`"] for name, value in variance.items()})
    names = biases[0]
    middle = {name: statistics.median(row[name] for row in biases) for name in names}
    spread = {name: statistics.median(row[name] for row in variances) for name in names} if samples else {}
    return statistics.median(float(drift) for drift in drifts), middle, spread


APART, CHAIN_STEPS, LENGTHS = (1, 4), (0.03, 0.25), (16, 64, 256, 1024)


def chain_lines(samples: int) -> list[str]:
    """The third table of the page: bias / variance."""
    names = list(chain_terms(chain(0, 0.1, 1)))
    result = [f"| apart | std of log ρ | tokens | {' | '.join(names)} |", "| ---: " * (3 + len(names)) + "|"]
    for apart, step, length in itertools.product(APART, CHAIN_STEPS, LENGTHS):
        drift, bias, variance = chain_row(apart, step, length, samples)
        cells = [f"{bias[name]:.3f} / {variance[name]:.2f}" for name in names]
        result.append(f"| {apart} | {drift:.2f} | {length} | {' | '.join(cells)} |")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--figure", type=Path, help="draw the curve over the truncation into this file, and print its numbers"
    )
    parser.add_argument("--samples", type=int, default=1000, help="responses of the chain's variances")
    options = parser.parse_args()
    if options.figure:
        figure(options.figure)
        print("\n".join(truncated_lines()))
        return
    parts: list[Callable[[], list[str]]] = [lines, served_lines, functools.partial(chain_lines, options.samples)]
    for part in parts:
        print("\n".join(part()), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
