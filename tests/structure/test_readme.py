"""The README stays short, links work, the generated parts of all pages are up to date, and
translations are in step."""

import re
from pathlib import Path

import pytest

from scripts.local.pages import is_translation, pages, quoted, translation
from scripts.local.readme import (
    API_PAGE,
    FUNCTIONS_PAGE,
    GLOSSARY_PAGE,
    MONITORING_PAGE,
    README,
    TERRAFORM_PAGE,
    generated,
    up_to_date,
)
from shared.config.manifest import ROOT
from tests.simulation.mutants import names

PAGES = pages()
TRANSLATED = [page for page in PAGES if translation(page) in PAGES]
BOOK = ROOT / "shared" / "README.md"
CHAPTERS = [BOOK.parent / link for link in re.findall(r"^\d\. \[.+\]\((.+)\)", BOOK.read_text(), re.MULTILINE)]


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


@pytest.mark.parametrize("page", [README, translation(README)], ids=name)
def test_the_readme_leads_with_the_everyday_mode(page: Path) -> None:
    commands = re.findall(r"^    (scripts/\S.*?)(?=  )", page.read_text(), re.MULTILINE)
    assert commands[0] == "scripts/dev --memory"


def test_the_readme_links_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert {page for page in PAGES if page.name == "README.md"} - {README} <= linked
    assert {FUNCTIONS_PAGE, API_PAGE, MONITORING_PAGE, TERRAFORM_PAGE, GLOSSARY_PAGE} <= linked


def test_every_page_is_linked_from_another_page() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    assert {*PAGES} - {README} <= linked


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


@pytest.mark.parametrize("page", generated(), ids=name)
def test_the_generated_parts_are_up_to_date(page: Path) -> None:
    assert up_to_date(page) == page.read_text(), "run scripts/readme"


def test_code_that_is_quoted_must_exist() -> None:
    with pytest.raises(LookupError, match=r"shared/domain/order\.py does not define evolved"):
        quoted("shared/domain/order.py evolved")
    assert quoted("shared/runtime/execute.py Call.key").startswith("```python\n@property\ndef key(self)")


def blocks(page: Path) -> list[str]:
    """Return the page's blocks of code: diagrams, quotes, commands."""
    text = page.read_text()
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL) + re.findall(r"^    \S.*$", text, re.MULTILINE)


def outline(page: Path) -> list[int]:
    """Return the levels of the page's headings."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


def targets(page: Path) -> list[str]:
    """Return the files that the page links, as the English page would link them."""
    files = (link.partition("#")[0] for link in links(page))
    return sorted(file.replace(".ja.md", ".md") for file in files if file)


def test_the_book_has_nine_short_chapters_in_both_languages() -> None:
    assert len(CHAPTERS) == 9
    assert {*CHAPTERS, BOOK, GLOSSARY_PAGE, README} <= {*TRANSLATED}
    assert [page for page in CHAPTERS if len(page.read_text().splitlines()) > 120] == []


def test_every_experiment_of_the_book_is_a_planted_fault() -> None:
    planted = {name for page in CHAPTERS for name in re.findall(r'scripts/simulate --mutant "(.+)"', page.read_text())}
    assert planted and planted <= {*names()}


def test_every_translation_has_its_page() -> None:
    assert {translation(page) for page in TRANSLATED} == {page for page in PAGES if is_translation(page)}


@pytest.mark.parametrize("page", TRANSLATED, ids=name)
def test_a_translation_is_in_step(page: Path) -> None:
    other = translation(page)
    assert (outline(page), blocks(page), targets(page)) == (outline(other), blocks(other), targets(other))
