"""The README stays short, its links work, and the generated tables of its pages are up to date."""

import re
from pathlib import Path

import pytest

from scripts.local.readme import API_PAGE, FUNCTIONS_PAGE, MONITORING_PAGE, README, TABLES, TERRAFORM_PAGE, up_to_date
from shared.config.manifest import ROOT

FOLDERS = ("functions", "scripts", "shared", "terraform", "tests")
FOUND = sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("README.md"))
PAGES = [README, *(page for page in FOUND if "node_modules" not in page.parts)]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """Return the targets of the page's relative links. Code blocks count too: a link there is a
    mistake."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_the_readme_links_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert {*PAGES} - {README} <= linked
    assert {FUNCTIONS_PAGE, API_PAGE, MONITORING_PAGE, TERRAFORM_PAGE} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_exists(page: Path) -> None:
    assert links(page)
    missing = [link for link in links(page) if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_heading_has_its_heading(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        if anchor:
            assert anchor in anchors((page.parent / file) if file else page), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_wraps_at_100_characters(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL).splitlines()
    assert [line for line in prose if len(line) > 100 and not line.lstrip().startswith("|") and line[:4].strip()] == []


@pytest.mark.parametrize("page", TABLES, ids=name)
def test_the_generated_tables_are_up_to_date(page: Path) -> None:
    assert up_to_date(page) == page.read_text(), "run scripts/readme"
