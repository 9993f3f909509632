"""Every sentence for operators has a text and its parts, and the console has words for each of its
phrases in every language."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

from shared.config.manifest import ROOT
from shared.domain.personal import PERSONAL
from shared.observability.phrases import ENGLISH
from shared.observability.sentences import joined, said

CATALOGUES = ROOT / "functions" / "graphql" / "console" / "src" / "i18n"


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def sentences() -> Iterator[tuple[str, set[str]]]:
    """Yield the code and the parts of every phrase that the shop says."""
    for file in sorted((ROOT / "shared").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("said", "joined"):
                choice = node.args[0]
                codes = [choice.body, choice.orelse] if isinstance(choice, ast.IfExp) else [choice]
                for code in codes:
                    if isinstance(code, ast.Constant):
                        yield str(code.value), {keyword.arg or "" for keyword in node.keywords}


def test_every_phrase_that_is_said_has_a_text_with_its_parts_and_every_text_is_said() -> None:
    found = list(sentences())
    assert {code for code, _ in found} == set(ENGLISH)
    for code, parts in found:
        assert parts == places(ENGLISH[code]), code


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_console_has_words_for_every_phrase_and_no_others(language: str) -> None:
    words = words_of(CATALOGUES / f"phrases.{language}.ts")
    assert set(words) == set(ENGLISH)
    for code, text in words.items():
        assert set(re.findall(r"\{(\w+)\}", text)) <= places(ENGLISH[code]), code
        assert "mutation" not in text, f"{code}: the console has buttons and links for what an API client would send"


def errors() -> Iterator[str]:
    """Yield the text of everything that our code reports as not answering, with x for each part."""
    for file in sorted((ROOT / "shared").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            name, given = node.func.id, [text_of(one) for one in node.args]
            if name in ("Unavailable", "TimedOut", "OutOfTime") and given and given[0]:
                yield given[0]
            elif name in ("NotCalled", "BreakerOpen", "Stopped") and len(given) == 3 and given[1]:
                yield f"x {given[1]}; try again in 5 seconds"


def text_of(node: ast.expr) -> str:
    """Return a text as it is written, with x for each part; empty for what is no text."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(one) or "x" for one in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_console_knows_every_text_with_which_our_code_says_that_something_does_not_answer() -> None:
    known = [re.split(r"\{\w+\}", text) for text in words_of(CATALOGUES / "errors.en.ts").values()]
    forms = [re.compile(".+".join(map(re.escape, pieces))) for pieces in known]
    found = [*errors()]
    assert len(found) > 20
    assert [text for text in found if not any(form.fullmatch(text) for form in forms)] == []


def test_the_console_puts_words_for_what_is_erased_into_the_fields_that_are_personal() -> None:
    text = (CATALOGUES.parent / "ui" / "erased.ts").read_text()
    names = set(re.findall(r'"(\w+)"', text.partition("new Set(")[2].partition(");")[0]))
    people = {name for name in names if f"{name}_id" in PERSONAL}
    assert {f"{name}_id" for name in people} | (names & PERSONAL) == PERSONAL


def words_of(file: Path) -> dict[str, str]:
    return dict(re.findall(r'^  ([A-Z_]+):\s+"(.*)",$', file.read_text(), re.MULTILINE))


def test_a_moment_is_a_part_called_at() -> None:
    sentence = said("UNTIL", projection="project_orders", at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert str(sentence) == "project_orders until 03:04:05 UTC"
    assert sentence.shown == [
        {"code": "UNTIL", "parts": {"projection": "project_orders", "at": "2026-01-02T03:04:05Z"}}
    ]


def test_sentences_are_joined() -> None:
    assert str(joined("AND", [said("READY"), said("VALID")])) == "ready; valid"
    assert str(joined("AND", [])) == ""
