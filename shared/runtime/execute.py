"""Carry out a command: load, decide, append; again when somebody else was faster."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from shared.domain.aggregate import Ref
from shared.domain.errors import ConcurrencyError
from shared.domain.placement import placement
from shared.event_store.aggregates import Loaded, load, records, snapshot_if_due
from shared.event_store.protocol import AlreadyRecorded, Append, EventStore
from shared.observability.context import current
from shared.runtime.idempotency import idempotency_record

Command = TypeVar("Command")
Root = TypeVar("Root")
Other = TypeVar("Other")

ATTEMPTS = 12
"""How often to decide anew before giving up with ConcurrencyError: enough for dozens of writers on one stream."""


@overload
def execute(
    store: EventStore, decide: Callable[[Command, Root], Sequence[Any]], command: Command, root: Ref[Root]
) -> Loaded[Root]: ...


@overload
def execute(
    store: EventStore,
    decide: Callable[[Command, Root, Sequence[Other]], Sequence[Any]],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Other]],
) -> Loaded[Root]: ...


def execute(
    store: EventStore,
    decide: Callable[..., Sequence[Any]],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Any]] | None = None,
) -> Loaded[Root]:
    """The root's state after `decide(command, root's state[, states of the others])` was recorded.

    Events may belong to the root or to any of the others; all are appended at once or none. Deciding nothing records
    nothing. Raises what `decide` raises, and ConcurrencyError when every attempt met another writer.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _once(store, decide, command, root, others)
        except AlreadyRecorded:
            raise
        except ConcurrencyError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))
    raise AssertionError("unreachable")


def _once(
    store: EventStore,
    decide: Callable[..., Sequence[Any]],
    command: Any,
    root: Ref[Root],
    others: Sequence[Ref[Any]] | None,
) -> Loaded[Root]:
    (loaded,) = load(store, [root])
    besides = load(store, others or [])
    extra = [] if others is None else [[one.state for one in besides]]
    events = decide(command, loaded.state, *extra)
    if not events:
        if record := idempotency_record(loaded):  # the answer stays the same even if what it says changes
            store.append(Append((), record=record))
        return loaded
    written = records([loaded, *besides], events, current())
    after = [one.then([e for e in written if e.stream == one.ref.stream]) for one in (loaded, *besides)]
    store.append(
        Append(
            events=written,
            placements=[place for event in events if (place := placement(event))],
            record=idempotency_record(after[0]),
        )
    )
    for before, now in zip((loaded, *besides), after, strict=True):
        snapshot_if_due(store, before.version, now)
    return after[0]
