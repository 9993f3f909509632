"""Folders, targets and manifest entries agree."""

import ast
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType

import functions_framework
import pytest
import yaml

from scripts.local.files import files_below
from scripts.local.readme import purpose
from shared.config.manifest import ROOT, Function, manifest
from shared.domain.aggregate import Aggregate
from shared.domain.order import AGGREGATES
from shared.messaging.envelope import topic
from shared.sagas.order_fulfilment import ORDER_FULFILMENT

FUNCTIONS = list(manifest().functions.values())


def test_every_folder_has_an_entry_and_every_entry_has_a_folder() -> None:
    folders = {file.relative_to(ROOT) for file in files_below(ROOT / "functions", ".py")}
    assert folders == {function.source.relative_to(ROOT) for function in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_target_is_the_folders_name(function: Function) -> None:
    assert function.source.parent.name == function.name
    spec = importlib.util.spec_from_file_location(f"checked_{function.name}", function.source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(getattr(module, function.name), FunctionType)
    assert functions_framework._function_registry.REGISTRY_MAP[function.name] == "http"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_function_has_one_kind_of_trigger(function: Function) -> None:
    kinds = [function.http, bool(function.topics), function.dead_letters, function.schedule is not None]
    assert kinds.count(True) == 1


def test_only_graphql_is_public() -> None:
    assert [function.name for function in FUNCTIONS if function.public] == ["graphql"]


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES)
def test_the_events_of_every_aggregate_have_a_consumer(aggregate: Aggregate[object]) -> None:
    assert aggregate.topic in manifest().topics


def test_every_command_of_the_saga_has_its_function() -> None:
    undoing = [step.undo for step in ORDER_FULFILMENT.steps if step.undo]
    commands = [*[step.send for step in ORDER_FULFILMENT.steps], *undoing, ORDER_FULFILMENT.gives_up_with]
    for command in commands:
        assert isinstance(command, type)
        consumers = [function.name for function in FUNCTIONS if topic(command) in function.topics]
        assert consumers == [topic(command).replace("-", "_")]


def test_every_subscription_has_a_dead_letter_topic_and_every_dead_letter_topic_a_recorder() -> None:
    subscriptions = manifest().all_subscriptions
    consumers = [one for one in subscriptions if one.dead_letter_topic]
    recorders = {one.topic: one.endpoint for one in subscriptions if not one.dead_letter_topic}
    assert recorders == {one.dead_letter_topic: "record_dead_letter" for one in consumers}
    assert len({one.dead_letter_topic for one in consumers}) == len(consumers)


def test_every_topic_and_subscription_has_a_name_that_pubsub_accepts() -> None:
    names = [*manifest().topics, *[one.name for one in manifest().all_subscriptions]]
    assert all(re.fullmatch(r"[a-z][a-z0-9.-]{2,254}", name) for name in names)
    assert len(set(names)) == len(names)


def test_a_function_times_out_before_its_push_is_delivered_again() -> None:
    deadline = manifest().subscriptions.ack_deadline_seconds
    assert all(
        function.timeout_seconds < deadline for function in FUNCTIONS if function.topics or function.dead_letters
    )


def test_every_section_of_the_manifest_is_read() -> None:
    raw = yaml.safe_load((ROOT / "functions" / "manifest.yaml").read_text())
    assert set(raw) == {"defaults", "subscriptions", "functions"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_functions_docstring_is_one_sentence(function: Function) -> None:
    assert re.fullmatch(r"[^\n|]{10,160}\.", purpose(function))


def test_the_code_stays_small_enough_to_be_read() -> None:
    functions, shared = (
        [file for file in (ROOT / folder).rglob("*.py") if "node_modules" not in file.parts]
        for folder in ("functions", "shared")
    )
    assert len(functions) == len(FUNCTIONS)
    assert all(len(file.read_text().splitlines()) <= 50 for file in functions)
    assert [file.name for file in shared if len(file.read_text().splitlines()) > 250] == []


def written_twice(files: Iterable[Path]) -> list[str]:
    """Return the first of six lines of code in a row that are in two places, with both places.
    Imports do not count.

    pylint's duplicate-code does the same, but would bring seven packages for this one check."""
    places: dict[str, str] = {}
    found = []
    for file in files:
        text = file.read_text()
        imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
        skipped = {line for node in imports for line in range(node.lineno, (node.end_lineno or 0) + 1)}
        lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if n not in skipped]
        code = [(n, line) for n, line in lines if len(line) > 5 and not line.startswith("#")]
        for start in range(len(code) - 5):
            here = f"{file.name}:{code[start][0]}"
            first = places.setdefault("\n".join(line for _, line in code[start : start + 6]), here)
            found += [f"{first} and {here}: {code[start][1]}"] if first != here else []
    return found


def test_nothing_is_written_twice() -> None:
    folders = ("functions", "scripts", "shared")
    assert written_twice(file for folder in folders for file in files_below(ROOT / folder, ".py")) == []


def test_what_is_written_twice_is_found(tmp_path: Path) -> None:
    code = "".join(f"value_{n} = compute({n})\n" for n in range(6))
    for name, text in (("one.py", code), ("two.py", f"import os\n\n{code}")):
        (tmp_path / name).write_text(text)
    assert written_twice(sorted(tmp_path.iterdir())) == ["one.py:1 and two.py:3: value_0 = compute(0)"]
