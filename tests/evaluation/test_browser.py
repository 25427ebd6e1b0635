"""The page in a browser: nothing loaded, no error, nothing too wide, every text legible, usable by keyboard."""

import math
import shutil
from pathlib import Path

import pytest
from evaluation.one_run import DUMPS, STEPS, read_of

from frpo_verl.evaluation import html_page
from frpo_verl.evaluation.compared import compare
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import BETA, LENGTH, PROFILE, SHARE
from frpo_verl.evaluation.tokens import Response

pytestmark = pytest.mark.slow
pytest.importorskip("matplotlib")
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = (Path(__file__).parent / "page.js").read_text()
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def run_of(number: int, steps: int = 40):
    """A run with every quantity, whose numbers are of many sizes; every third method has no reference."""

    def at(step):
        named = {"critic/score/mean": math.sin(step / 9 + number) / 3 + 0.5, "actor/entropy": 2.5 / (1 + step / 9)}
        named |= {LENGTH[0]: 700 + 20 * step + number}
        of_term = {
            "frpo/divergence_to_ref/token_mean": 1e-4 * step * (number + 1),
            BETA[0]: 10.0**-number,
            SHARE[0]: 0.01,
        }
        of_term |= {name: float(n * number) for n, name in enumerate(PROFILE)}
        return named if number % 3 == 2 else named | of_term

    words = ["word ", "⟨long⟩" * 30, "\n", "", "the end"] * 60
    outcome, advantage = [0.75] * len(words), [0.75 - (n - 150) / 200 for n in range(len(words))]
    response = Response(steps, "a prompt " * 40, 1.0, 0.05, 2000, words, outcome, advantage)
    every = [STEPS[0], *(Step(step, at(step)) for step in range(1, steps))]
    return read_of(
        every,
        DUMPS,
        name=f"runs/a-rather-long-name-of-a-folder-{number}",
        notes=["log, line 9: not JSON"],
        tokens=[response] * 2,
    )


def write(folder: Path, name: str, runs) -> Path:
    html_page.write(compare(runs), folder / name)
    return folder / name


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    many = {f"method {n}, " + "with a long name " * (n % 3): [run_of(n)] for n in range(20)}
    seeds = {name: [run_of(n) for n in range(5)] for name in ("frpo", "grpo", "grpo + KL loss", "none")}
    return {
        1: write(folder, "one.html", {"frpo": [run_of(0)]}),
        20: write(folder, "twenty.html", many),
        "4 x 5": write(folder, "seeds.html", seeds),
    }


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no browser on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def show(browser):
    """Shows a page in a window of its own, and keeps what it asked for and what it complained about."""
    contexts = []

    def of(path: Path, width: int = 1440, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield of
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("runs", [1, 20, "4 x 5"])
def test_a_page_is_legible_and_fits(pages, show, runs, width, scheme):
    page = show(pages[runs], width, scheme)
    found = page.evaluate(MEASURE)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [pages[runs].as_uri()]
    assert found["overflow"] == 0 and found["wide"] == []
    assert len(found["texts"]) > 200
    assert [text for text in found["texts"] if text[0] < 4.5] == []
    assert found["overlaps"] == []
    assert (sum(found["paper"]) < 128) == (scheme == "dark")


def test_a_page_is_used_by_keyboard(pages, show):
    page = show(pages["4 x 5"])
    series = page.locator("figure .m1").first
    assert series.is_visible()
    page.locator("#show0").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.id") == "show1"
    assert not series.is_visible() and page.locator("figure .m0").first.is_visible()
    numbers = page.locator("figure details").first
    numbers.locator("summary").focus()
    page.keyboard.press("Enter")
    assert numbers.get_attribute("open") is not None
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("numbers of pass@1")


def test_a_screen_reader_finds_titles_boxes_and_tables(pages, show):
    page = show(pages["4 x 5"])
    assert page.get_by_role("heading", level=1).inner_text() == "20 runs of 4 methods"
    assert page.get_by_role("group", name="Show in all pictures").get_by_role("checkbox").count() == 4
    assert page.get_by_role("checkbox", name="frpo (5 seeds)").is_checked()
    pictures = page.get_by_role("img")
    assert pictures.count() == page.locator("figure").count() == 10
    assert page.get_by_role("img", name="entropy, nats/token, over training step: frpo ends at ").count() == 1
    assert page.get_by_role("rowheader", name="grpo + KL loss").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"
