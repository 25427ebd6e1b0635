"""Shows by example what δ does: `python -m frpo_verl.losses.study [PNG]` prints a table and draws a figure.

A softmax over four tokens in each of three contexts climbs DRPO's objective on samples of the policy that it began as.
Every expectation over tokens is a sum over all of them, so that nothing is random.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from frpo_verl.losses.drpo import drpo, drpo_weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEHAVIOUR = ((0.9, 0.06, 0.03, 0.01), (0.4, 0.3, 0.2, 0.1), (0.55, 0.25, 0.15, 0.05))
"""μ: one context in which it is sure, one in which it is not, and one between."""

REWARDS = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 0, 1, 0))

DELTAS = (0.04, 0.15, 0.2, 2.5, 12.5, math.inf)
"""The last is the surrogate without a regulariser."""

SHOWN = (4, 256)
"""Updates of the table. The authors' script makes 4 of one batch; 256 show where it leads."""

LEARNING_RATE = 1.0

STYLES = {
    0.04: ("#009E73", "-"),
    0.15: ("#56B4E9", "-"),
    0.2: ("#0072B2", "-"),
    2.5: ("#E69F00", "-"),
    12.5: ("#D55E00", "--"),
    math.inf: ("#000000", ":"),
}
"""Okabe and Ito's palette."""


class State(NamedTuple):
    """Describes the policy after some updates; expectations over contexts and over μ.

    Attributes:
        distance: mean |π − μ|.
        largest: the largest |π − μ|.
        change: mean |w − 1|.
        outside: the share of tokens with |π − μ| > δ.
        reversed: the share of tokens with w < 0.
        gained: the policy's expected reward less that of μ.
    """

    distance: float
    largest: float
    change: float
    outside: float
    reversed: float
    gained: float


def trajectory(delta: float) -> list[State]:
    """Returns the states before the first update and after each."""
    mu = torch.tensor(BEHAVIOUR, dtype=torch.float64)
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    advantages = rewards - (mu * rewards).sum(-1, keepdim=True)
    logits, states = mu.log().requires_grad_(), []
    for _ in range(SHOWN[-1] + 1):
        log_pi = torch.log_softmax(logits, -1)
        states.append(_state(mu, log_pi.detach(), advantages, delta))
        loss = (mu * drpo(mu.log(), log_pi, advantages, delta, delta)).sum(-1).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - LEARNING_RATE * gradient).detach().requires_grad_()
    return states


def _state(mu: Tensor, log_pi: Tensor, advantages: Tensor, delta: float) -> State:
    weight = drpo_weight(mu.log(), log_pi, advantages, delta, delta)
    distance = (log_pi.exp() - mu).abs()

    def mean(values: Tensor) -> float:
        return (mu * values).sum(-1).mean().item()

    return State(
        mean(distance),
        distance.max().item(),
        mean((weight - 1).abs()),
        mean(distance > delta),
        mean(weight < 0),
        (log_pi.exp() * advantages).sum(-1).mean().item(),
    )


def table() -> str:
    """Returns a Markdown table of every δ after a few and after many updates."""
    head = [
        "δ",
        "updates",
        "mean \\|π − μ\\|",
        "max \\|π − μ\\|",
        "mean \\|w − 1\\|",
        "outside",
        "w < 0",
        "reward gained",
    ]
    rows = [head, ["---:"] * len(head)]
    for delta in DELTAS:
        states = trajectory(delta)
        rows.extend([_name(delta), str(updates), *(f"{x:.3f}" for x in states[updates])] for updates in SHOWN)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _name(delta: float) -> str:
    return "∞" if math.isinf(delta) else f"{delta:g}"


def figure(path: Path) -> None:
    """Writes a PNG of w against π − μ, and of mean |π − μ| and mean |w − 1| against the number of updates."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(1200 / 128, 460 / 128), dpi=128)
    panels = drawing.subplots(1, 3)
    gap = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for delta in DELTAS:
        colour, style = STYLES[delta]
        line = {"color": colour, "linestyle": style, "linewidth": 1.4, "label": f"δ = {_name(delta)}"}
        states, updates = trajectory(delta)[1:], range(1, SHOWN[-1] + 1)
        panels[0].plot(gap, 1 - gap / delta, **line)
        panels[1].plot(updates, [state.distance for state in states], **line)
        panels[2].plot(updates, [state.change for state in states], **line)
    _frame(panels[0], "w, weight of the gradient where A > 0", "π − μ")
    panels[0].set_ylim(-2, 4)
    panels[0].axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    _frame(panels[1], "mean |π − μ|", "updates on one batch")
    _frame(panels[2], "mean |w − 1|", "updates on one batch")
    for panel in panels[1:]:
        panel.set_xscale("log")
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="lower center", ncols=6, fontsize=8, frameon=False)
    drawing.subplots_adjust(left=0.045, right=0.985, top=0.92, bottom=0.23, wspace=0.2)
    drawing.savefig(path, dpi=128, format="png", metadata={"Software": None})


def _frame(axes: "Axes", title: str, variable: str) -> None:
    axes.set_title(title, fontsize=8)
    axes.set_xlabel(variable, fontsize=8)
    axes.tick_params(labelsize=7)


def main() -> None:
    """Prints the table and, where a path is given, draws the figure."""
    parser = argparse.ArgumentParser(description="Shows the role of δ on a small policy: a table, and a figure.")
    parser.add_argument("png", nargs="?", type=Path, help="also draw the figure into this file (needs matplotlib)")
    path = parser.parse_args().png
    print(table())
    if path is not None:
        try:
            figure(path)
        except ModuleNotFoundError as error:
            raise SystemExit(f"the figure needs {error.name}: pip install matplotlib") from None


if __name__ == "__main__":
    main()
