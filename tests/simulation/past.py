"""Streams and sagas as a release has recorded them, which every later release must read in the same
way.

After a release: `python -m tests.simulation.past tests/simulation/past/NAME.json` records what
today's code does. Earlier files stay as they are.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.domain.order import AGGREGATES
from shared.domain.values import adapter
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventRecord
from shared.sagas.definition import DeadlinePassed, Progress, advance, begin, resume
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.restart import restart
from shared.sagas.status import SagaStatus
from tests.simulation.history import History
from tests.simulation.shop import simulated
from tests.simulation.tape import Tape
from tests.simulation.world import START, SimulatedWorld

Recorded = dict[str, Any]
_SEEDS = range(60)


def state_of(stream: str, events: Sequence[EventRecord]) -> Recorded:
    """Return the fold of a stream, as JSON."""
    aggregate = AGGREGATES[stream.partition("-")[0]]
    state = aggregate.fold(map(CODEC.decode, events))
    dumped: Recorded = adapter(type(aggregate.initial)).dump_python(state, mode="json")
    return dumped


def replayed(saga_id: UUID, entries: Sequence[Recorded], completed: bool = False) -> tuple[Recorded, list[str]]:
    """Return how a saga stands after the entries of its history, and the commands that it has sent.

    `completed`: it had ended then; a best-effort step that came later must not keep it from that.
    """
    progress, sent, happened = Progress(saga_id), list[Any](), list[Any]()
    for number, entry in enumerate(entries):
        match entry["kind"]:
            case "event":
                event = CODEC.decode(EventRecord(saga_id, "", 0, entry["name"], 1, entry["data"], None, START))  # type: ignore[arg-type]
                happened.append(event)
                move = (
                    advance(ORDER_FULFILMENT, progress, event, START)
                    if number
                    else begin(ORDER_FULFILMENT, saga_id, START)
                )
            case "timer":
                move = advance(ORDER_FULFILMENT, progress, DeadlinePassed(), START)
            case "retry" if entry["name"] == "Restarted":
                move = restart(ORDER_FULFILMENT, progress, happened, entry["data"]["from_step"], START)
            case "retry":
                move = resume(ORDER_FULFILMENT, progress, START)
            case _:
                continue
        progress, commands = move
        sent += [type(command).__name__ for command in commands]
    while completed and not progress.ended and progress.step > ORDER_FULFILMENT.last_return:
        progress, _ = advance(ORDER_FULFILMENT, progress, DeadlinePassed(), START)
    return standing(progress), sent


def standing(progress: Progress) -> Recorded:
    """Return what does not depend on the time."""
    status, undone = progress.status.value, sorted(progress.undone)
    about = {"status": status, "reason": progress.reason, "undone": undone}
    return about if progress.status is SagaStatus.COMPLETED else about | {"step": progress.step}


def record() -> Recorded:
    """Play some histories, and return one stream and one saga of each course of events."""
    streams: dict[tuple[str, ...], Recorded] = {}
    sagas: dict[tuple[str, ...], Recorded] = {}
    for seed in _SEEDS:
        world = SimulatedWorld()
        with simulated(world):
            history = History(world, Tape(seed))
            history.play()
            if history.shop.faults.marks["restore of a backup"] or history.shop.faults.marks[_OTHER]:
                continue
            for course, stream in _streams(history):
                streams.setdefault(course, stream)
            for course, saga in _sagas(history):
                sagas.setdefault(course, saga)
    return {"streams": [*streams.values()], "sagas": [*sagas.values()]}


_OTHER = "a saga under way meets a new definition"


def _streams(history: History) -> Iterator[tuple[tuple[str, ...], Recorded]]:
    for stream, events in history.streams().items():
        if len(events) < 30:
            data = [{"type": one.type, "schema_version": one.schema_version, "data": one.data} for one in events]
            about = {"stream": stream, "events": data, "state": state_of(stream, events)}
            yield tuple(one.type for one in events), about


def _sagas(history: History) -> Iterator[tuple[tuple[str, ...], Recorded]]:
    store = history.shop.databases.sagas
    for listed in store.newest(1000):
        saga_id = listed.saga.progress.saga_id
        events = {event.type: event.data for event in history.streams()[f"order-{saga_id}"]}
        entries = [
            {"kind": one.kind, "name": one.name, "data": events[one.name] if one.kind == "event" else one.data}
            for one in store.history(saga_id)
        ]
        about = {"id": str(saga_id), "entries": entries, "progress": standing(listed.saga.progress)}
        yield tuple(f"{one['kind']} {one['name']}" for one in entries), about


def records_of(stream: Recorded) -> list[EventRecord]:
    """Return the events of a recorded stream."""
    return [
        EventRecord(UUID(int=0), stream["stream"], n, one["type"], one["schema_version"], one["data"], None, START)  # type: ignore[arg-type]
        for n, one in enumerate(stream["events"], 1)
    ]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(record(), ensure_ascii=False, indent=1) + "\n")
