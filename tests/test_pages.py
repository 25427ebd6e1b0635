"""Checks the pages: links lead somewhere, named paths exist, the first page is short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in ("build", "runs") for part in page.relative_to(ROOT).parts)
)


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


def _anchors(page: Path) -> set[str]:
    """Makes anchors as the forges do: punctuation goes, spaces become hyphens."""
    titles = re.findall(r"^#+ (.*)$", _without_code(page.read_text()), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_pages():
    assert ROOT / "README.md" in PAGES and len(PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_code_of_a_page_is_there(page):
    """`tests/x.py`, `recipes/x.sh` and `frpo_verl/x.py` are paths from the root."""
    if page.name == "CHANGELOG.md" or page.parent.name == "patches":
        return  # the one names files that are gone, the other verl's own
    named = re.findall(r"`((?:tests|recipes|frpo_verl|patches)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_no_placeholder_is_left():
    assert [page for page in PAGES if re.search(r"@[A-Z_]+@", page.read_text())] == []


def test_a_newcomer_reads_the_first_page_in_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
