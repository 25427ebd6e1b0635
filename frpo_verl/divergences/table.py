"""Prints which divergence to choose as a table, and draws a figure: `python -m frpo_verl.divergences.table [PNG]`."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.divergences import CATALOGUE, Generator, alpha

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHEN = {
    "kl": "the default, and the paper's best: the policy must not put mass where the reference has none",
    "low_var_kl": "the same with less noise near the reference; every later token costs, a pull to short answers",
    "mse": "pulls both ways alike near the reference; not an f-divergence where δ < −1",
    "forward_kl": "the policy must keep what the reference can do; gaining on it costs at most 1 a token",
    "forward_kl_k3": "the same divergence with less noise near the reference",
    "jeffreys": "both KLs at once",
    "jensen_shannon": "gentle: gaining on the reference costs at most 0.35 a token; as a divergence at most log 2",
    "squared_hellinger": "between the two KLs (α = ½), and gentler: gaining costs at most 1",
    "pearson_chi2": "as forward KL, and harder on what the policy gives up: grows as u²",
    "neyman_chi2": "against over-optimisation: harder than reverse KL where the policy gained, as 1/u",
    "total_variation": "no token ever weighs more than ½ by itself; says nothing about how far",
}
"""The first alias of each divergence (verl's name where verl has one) and what it is for."""

FAMILY = ["one side, by 1/α", "0", "1", "between: α = 0 reverse KL (k3), ½ Hellinger, 1 forward KL (k3), 2 Pearson"]
"""The α family's row after f."""

STYLES = {
    "kl": ("#0072B2", "-"),
    "low_var_kl": ("#0072B2", "--"),
    "mse": ("#0072B2", ":"),
    "forward_kl": ("#D55E00", "-"),
    "forward_kl_k3": ("#D55E00", "--"),
    "jeffreys": ("#009E73", "-"),
    "jensen_shannon": ("#CC79A7", "-"),
    "squared_hellinger": ("#E69F00", "-"),
    "pearson_chi2": ("#000000", "-"),
    "neyman_chi2": ("#000000", "--"),
    "total_variation": ("#56B4E9", "-"),
}
"""Okabe and Ito's palette; one colour for one divergence and its other forms."""


def table() -> str:
    """Returns a Markdown table of the divergences and the facts that a user chooses by."""
    rows = [
        [
            "`algorithm.kl_penalty`",
            "divergence",
            "f(u)",
            "one token's f",
            "bounds of a token's own weight",
            "df/dδ at 0",
            "f″(1)",
            "when to use it",
        ],
        ["---"] * 8,
    ]
    for generator in CATALOGUE:
        names = ", ".join(f"`{alias}`" for alias in generator.aliases)
        sign = "one-sided" if generator.one_sided else "signed"
        facts = _range(generator), _number(generator.gradient_at_zero), _number(generator.curvature)
        formula = generator.formula.replace("|", "\\|")
        rows.append([names, generator.name, formula, sign, *facts, WHEN[generator.aliases[0]]])
    rows.append(["`alpha:<order>`", "α family", alpha(0.5).formula, "one-sided", *FAMILY])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _range(generator: Generator) -> str:
    if not any(map(math.isfinite, generator.local_range)):
        return "unbounded"
    low, high = (_number(end) for end in generator.local_range)
    return f"{low} … {high}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3g}".replace("-", "−")


def figure(path: Path) -> None:
    """Writes a PNG of f against u, and of the local and the future weight of a token against δ."""
    import torch
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(1200 / 128, 560 / 128), dpi=128)
    panels = drawing.subplots(1, 3)
    u = torch.linspace(0.01, 4, 400, dtype=torch.float64)
    delta = torch.linspace(-3, 3, 601, dtype=torch.float64)
    for generator in CATALOGUE:
        colour, style = STYLES[generator.aliases[0]]
        line = {"color": colour, "linestyle": style, "linewidth": 1.2, "label": generator.aliases[0]}
        panels[0].plot(u, generator.future(-torch.log(u)), **line)
        panels[1].plot(delta, generator.local(delta), **line)
        panels[2].plot(delta, generator.future(delta), **line)
    _frame(panels[0], "f(u)", "u = π_ref / π_θ", (-1, 4))
    _frame(panels[1], "local: what a token's own divergence weighs", "δ = log π_θ − log π_ref  (nats)", (-4, 4))
    _frame(panels[2], "future: what it weighs for every token before it", "δ = log π_θ − log π_ref  (nats)", (-1, 4))
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="lower center", ncols=6, fontsize=7, frameon=False)
    drawing.subplots_adjust(left=0.045, right=0.985, top=0.92, bottom=0.235, wspace=0.16)
    drawing.savefig(path, dpi=128, format="png", metadata={"Software": None})


def _frame(axes: "Axes", title: str, variable: str, limits: tuple[float, float]) -> None:
    axes.set_title(title, fontsize=8)
    axes.set_xlabel(variable, fontsize=8)
    axes.set_ylim(limits)
    axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    axes.axvline(1 if variable.startswith("u") else 0, color="#BBBBBB", linewidth=0.6, zorder=0)
    axes.tick_params(labelsize=7)


def main() -> None:
    """Prints the table and, where a path is given, draws the figure."""
    parser = argparse.ArgumentParser(description="Which divergence to choose: a table, and a figure.")
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
