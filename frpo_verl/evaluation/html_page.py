"""Writes runs as one page: pictures, their numbers, what was left out, commands and versions; it loads nothing."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import frpo_verl
from frpo_verl.evaluation import figures, svg, tables, tokens
from frpo_verl.evaluation.compared import Comparison, Quantity
from frpo_verl.evaluation.learned import Learned, learned
from frpo_verl.evaluation.metrics import first
from frpo_verl.evaluation.tokens import Response

MOST_ROWS = 25
"""Steps in the table of a picture."""

DARK = ("#5fb4ea", "#ff9a55", "#3fcf9f", "#f191cf", "#e6be4a", "#b9bfc6")
"""The colours of `figures.PALETTE` on a dark page."""

PACKAGES = ("verl", "vllm", "torch", "ray", "matplotlib")


def write(compared: Comparison, path: Path, correct_at: float = 1.0) -> None:
    """Writes the page; raises CannotDraw where a package for it is missing."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise figures.CannotDraw(f"a page needs {error.name}: pip install jinja2") from None
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    house = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = house.get_template("report.html").render(_content(compared, correct_at))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _content(compared: Comparison, correct_at: float) -> dict[str, Any]:
    runs = [(name, run) for name, seeds in compared.runs.items() for run in seeds]
    one = learned(runs[0][1], correct_at) if len(runs) == 1 else None
    styles = [figures.style(index) for index in range(len(compared.runs))]
    return {
        "title": _title(one, compared),
        "light": {f"s{n}": light for n, light in enumerate(figures.PALETTE)},
        "dark": {f"s{n}": dark for n, dark in enumerate(DARK)},
        "methods": [
            {"name": name, "colour": f"s{n % len(DARK)}", "dash": _DASHES[dash]}
            for n, (name, (_, dash)) in enumerate(zip(figures.legend(compared), styles, strict=True))
        ],
        "summary": tables.rows_of_methods(compared) if one is None else tables.rows_of_run(one),
        "last": tables.LAST,
        "correct_at": f"{correct_at:g}",
        "one": one is not None,
        "figures": [_figure(quantity, n, one is not None) for n, quantity in enumerate(compared.quantities)],
        "responses": _responses(compared),
        "missing": ", ".join(compared.missing),
        "notes": compared.notes,
        "runs": [{"name": name, "run": run, "command": run.command} for name, run in runs],
        "versions": _versions(),
    }


_DASHES = {"-": "none", "--": "6.7 2.9", ":": "1.8 3", "-.": "11.5 2.9 1.8 2.9"}
"""matplotlib's dashes of a line of 1.8, for the legend."""


def _title(one: Learned | None, compared: Comparison) -> str:
    if one is None:
        return f"{sum(map(len, compared.runs.values()))} runs of {len(compared.runs)} methods"
    (name,) = compared.runs
    return one.title if one.command.text else name


def _figure(quantity: Quantity, index: int, is_one: bool) -> dict[str, Any]:
    panel, key = quantity.panel, f"f{index}"
    colours = {colour: f"var(--s{n})" for n, colour in enumerate(figures.PALETTE)}
    colours |= {figures.INK: "var(--muted)", figures.GRID: "var(--grid)"}
    rows = tables.rows_of_quantity(quantity, MOST_ROWS)
    ends = [f"{name} ends at {value}" for name, value in zip(rows[0][1:], rows[-1][1:], strict=True)]
    label = f"{panel.title}, {panel.unit}, over {panel.axis}: {first(ends, '; ')}"
    lacking = [] if is_one else list(quantity.lacking)
    return {
        "title": panel.title,
        "says": panel.says,
        "source": first(quantity.sources),
        "lacking": first(lacking) if lacking else "",
        "svg": svg.for_page(figures.svg(quantity, key), colours, label, key),
        "rows": rows,
        "seeds": any(len(seeds) > 1 for values in quantity.methods.values() for seeds in values.values()),
    }


def _responses(compared: Comparison) -> list[dict[str, Any]]:
    """Returns those of each method's first run that has any; of many methods, fewer tokens."""
    first = {name: next((run.tokens for run in runs if run.tokens), []) for name, runs in compared.runs.items()}
    shown = {name: found for name, found in first.items() if found}
    most = max(tokens.FEWEST, tokens.MOST // max(1, len(shown)))
    return [{"name": name, "of": [_response(each, most) for each in found]} for name, found in shown.items()]


def _response(response: Response, most: int) -> dict[str, Any]:
    parts = {
        "advantage": response.advantage,
        "outcome part": response.outcome,
        "future part, −β times the divergence still to come": response.future,
    }
    rows = [["token", *(name.split(",")[0] for name in parts)]]
    for n, text in enumerate(response.tokens[:most]):
        numbers = ("-" if values[n] is None else f"{values[n]:+.4g}" for values in parts.values())
        rows.append([f"{n + 1} {text!r}", *numbers])
    left = response.length - len(rows) + 1
    return {
        "step": response.step,
        "score": tables.number(response.score),
        "beta": f"{response.beta:g}",
        "prompt": response.prompt,
        "length": response.length,
        "left": left,
        "parts": [
            {"name": name, "tokens": found, "greatest": f"{greatest:.3g}"}
            for name, values in parts.items()
            for found, greatest in [tokens.coloured(response, values, most)]
        ],
        "rows": rows,
    }


def _versions() -> dict[str, str]:
    found = {"frpo-verl": frpo_verl.__version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
