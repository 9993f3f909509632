"""Streams and sagas that earlier releases recorded fold and advance to the same result."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.simulation.past import Recorded, records_of, replayed, state_of

RELEASES = sorted((Path(__file__).parent / "past").glob("*.json"))
pytestmark = pytest.mark.parametrize("release", RELEASES, ids=lambda file: str(file.stem))


def test_a_recorded_stream_folds_to_its_recorded_state(release: Path) -> None:
    """A state may have got new fields since."""
    for stream in json.loads(release.read_text())["streams"]:
        state = state_of(stream["stream"], records_of(stream))
        assert {name: state[name] for name in stream["state"]} == stream["state"], stream["stream"]


def test_a_recorded_saga_advances_to_its_recorded_end(release: Path) -> None:
    for saga in json.loads(release.read_text())["sagas"]:
        then = saga["progress"]
        progress, sent = replayed(UUID(saga["id"]), saga["entries"], completed=then["status"] == "COMPLETED")
        assert progress == {name: then[name] for name in progress}, saga["id"]
        assert in_order(commands_of(saga), iter(sent)), saga["id"]


def commands_of(saga: Recorded) -> list[str]:
    return [entry["name"] for entry in saga["entries"] if entry["kind"] == "command"]


def in_order(some: list[str], among: Iterator[Any]) -> bool:
    """Return whether these commands were sent, in this order; one pass over several events sends
    only the last."""
    return all(one in among for one in some)
