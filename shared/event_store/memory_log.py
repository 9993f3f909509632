"""The log in memory, for tests and `scripts/dev --memory`, with indexes like those of PostgreSQL:
an answer takes no longer as the log grows."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from threading import RLock
from uuid import UUID

from shared.event_store import protocol as p
from shared.event_store.memory import MemoryEventStore
from shared.messaging.outbox import Traffic, added_up
from shared.postgres.slices import Key, Slice
from shared.resilience import clock

Index = dict[str, list[p.LogEntry]]


class MemoryEventLog:
    """Adds to its indexes, before it answers, what was appended since its last answer."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store, self._lock = store, RLock()
        self._entries: list[p.LogEntry] = []
        self._streams: Index = {}
        self._types: Index = {}
        self._requests: Index = {}
        self._traces: Index = {}
        self._causes: Index = {}
        self._times: Index = {}  # by type, in the order of recording time
        self._ids: dict[UUID, p.LogEntry] = {}
        self._counts = Counter[tuple[str, str]]()  # by type and aggregate

    def of_streams(
        self, streams: Sequence[str], types: Sequence[str], after: int, limit: int
    ) -> list[p.PositionedEvent]:
        with self._indexed():
            found = _merged(_of(self._streams, streams), _place, Slice(limit, after=(1, after, after)))
            return _positioned(islice((one for one in found if not types or one.event.type in types), limit))

    def of_ids(self, ids: Sequence[UUID]) -> list[p.PositionedEvent]:
        with self._indexed():
            return _positioned(sorted((self._ids[one] for one in {*ids} & self._ids.keys()), key=_place))

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[p.PositionedEvent]:
        with self._indexed():
            streams = [(self._streams.get(stream, []), version) for stream, version in {*places}]
            found = [entries[version - 1] for entries, version in streams if 0 < version <= len(entries)]
            return _positioned(sorted(found, key=_place))

    def last_of(self, streams: Sequence[str], until: p.Checkpoint) -> list[p.PositionedEvent]:
        with self._indexed():
            seen = [(one, bisect_right(one, until, key=_place)) for one in _of(self._streams, streams)]
            return _positioned(sorted((entries[end - 1] for entries, end in seen if end), key=_place))

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[p.PositionedEvent]:
        return self._in_order(p.Events(types=types), Slice(limit, after=(1, after, after)))

    def everything(self, after: int, limit: int) -> list[p.PositionedEvent]:
        return self._in_order(p.Events(), Slice(limit, after=(1, after, after)))

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[p.PositionedEvent]:
        return self._in_order(p.Events(types=types or None), Slice(limit, descending=True))

    def by_time(self, types: Sequence[str], after: p.Moment | None, limit: int) -> list[p.PositionedEvent]:
        part = Slice(limit, descending=after is None, after=after)
        with self._indexed():
            return _positioned(islice(_merged(_of(self._times, types), _moment, part), limit))

    def page(self, which: p.Events, part: Slice) -> list[p.LogEntry]:
        with self._indexed():
            return list(islice(self._matching(which, part), part.limit))

    def of_key(self, key: UUID, limit: int) -> list[str]:
        with self._indexed():
            begun = [one.event for one in self._types.get("OrderCreated", ())]
            of_key = [one.stream for one in begun if one.data.get("sealed", {}).get("key") == str(key)]
            return [one for one in of_key if not self._has(one, "OrderErased")][:limit]

    def _has(self, stream: str, kind: str) -> bool:
        return any(one.event.type == kind for one in self._streams[stream])

    def has_unsealed(self, user_id: str) -> bool:
        with self._indexed():
            return any(one.event.data.get("user_id") == user_id for one in self._types.get("OrderCreated", ()))

    def count(self, which: p.Events) -> int:
        with self._indexed():
            return sum(1 for _ in self._matching(which, Slice(0)))

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        counts = self.counts().events
        with self._indexed():
            lately = {kind: _between(self._times[kind], since, until) for kind, _ in counts}
            last = {kind: self._times[kind][-1].event.recorded_at for kind, _ in counts}
            return added_up(
                (name, Traffic(number, lately[kind], last[kind])) for (kind, name), number in counts.items()
            )

    def counts(self) -> p.EventCounts:
        with self._indexed():
            if not self._entries:
                return p.EventCounts({}, 0, None)
            last, now = self._entries[-1], clock.now()
            last_minute = sum(_between(entries, now - timedelta(minutes=1), now) for entries in self._times.values())
            position, counts = last.checkpoint.position, dict(self._counts)
            return p.EventCounts(counts, position, last.event.recorded_at, position, last_minute)

    def held_back(self) -> p.HeldBack:
        return p.HeldBack(0.0, 0)  # an append is visible to readers at once

    def _in_order(self, which: p.Events, part: Slice) -> list[p.PositionedEvent]:
        return _positioned(self.page(which, part))

    def _matching(self, which: p.Events, part: Slice) -> Iterator[p.LogEntry]:
        """Yield the events in the order of the slice, beyond its limit, too."""
        return (one for one in _merged(self._lists(which), which.key, part) if _matches(which, one))

    def _lists(self, which: p.Events) -> list[list[p.LogEntry]]:
        """Return the shortest lists that hold all the events, each sorted by `which.key`."""
        if which.stream is not None:
            return _of(self._streams, [which.stream])
        if which.correlation_id is not None:
            return _of(self._requests, [which.correlation_id])
        if which.trace_id is not None:
            return _of(self._traces, [which.trace_id])
        if which.causation_id is not None:
            return _of(self._causes, [which.causation_id])
        if which.types is None:
            return [self._entries]
        if which.order == "time":
            return [_of_period(entries, which) for entries in _of(self._times, which.types)]
        return _of(self._types, which.types)

    @contextmanager
    def _indexed(self) -> Iterator[None]:
        """Hold the indexes still inside the block, with all events in them."""
        with self._lock:
            last = self._entries[-1].checkpoint if self._entries else p.Checkpoint()
            for entry in self._store.read_all(last, 10**9):
                event = entry.event
                self._entries.append(entry)
                self._streams.setdefault(event.stream, []).append(entry)
                self._types.setdefault(event.type, []).append(entry)
                self._requests.setdefault(event.metadata.correlation_id, []).append(entry)
                self._traces.setdefault(event.metadata.trace_id or "", []).append(entry)
                self._causes.setdefault(event.metadata.causation_id, []).append(entry)
                insort(self._times.setdefault(event.type, []), entry, key=_moment)
                self._ids[event.id] = entry
                self._counts[event.type, event.stream.partition("-")[0]] += 1
            yield


def _place(entry: p.LogEntry) -> p.Checkpoint:
    return entry.checkpoint


def _at(entry: p.LogEntry) -> datetime:
    return entry.event.recorded_at


def _moment(entry: p.LogEntry) -> p.Moment:
    return p.Moment(entry.event.recorded_at, entry.checkpoint.position)


def _of(index: Index, names: Iterable[str]) -> list[list[p.LogEntry]]:
    return [index[name] for name in sorted({*names} & index.keys())]


def _merged(lists: Sequence[list[p.LogEntry]], key: Callable[[p.LogEntry], Key], part: Slice) -> Iterator[p.LogEntry]:
    """Yield the entries of all lists between the slice's keys, in its order. Each list is sorted by
    key."""
    chosen = (map(entries.__getitem__, part.range_of(entries, key)) for entries in lists)
    return merge(*chosen, key=key, reverse=part.descending)


def _of_period(entries: list[p.LogEntry], which: p.Events) -> list[p.LogEntry]:
    """Return those recorded in the wanted period. `entries`: by time."""
    start = bisect_left(entries, which.recorded_after, key=_at) if which.recorded_after else 0
    end = bisect_left(entries, which.recorded_before, key=_at) if which.recorded_before else len(entries)
    return entries[start:end]


def _matches(which: p.Events, entry: p.LogEntry) -> bool:
    event = entry.event
    return (
        (which.types is None or event.type in which.types)
        and which.correlation_id in (None, event.metadata.correlation_id)
        and which.trace_id in (None, event.metadata.trace_id)
        and which.causation_id in (None, event.metadata.causation_id)
        and (which.recorded_after is None or which.recorded_after <= event.recorded_at)
        and (which.recorded_before is None or event.recorded_at < which.recorded_before)
    )


def _between(entries: list[p.LogEntry], since: datetime, until: datetime) -> int:
    """Return how many were recorded after a moment and not after another. `entries`: by time."""
    return max(0, bisect_right(entries, until, key=_at) - bisect_right(entries, since, key=_at))


def _positioned(entries: Iterable[p.LogEntry]) -> list[p.PositionedEvent]:
    return [p.PositionedEvent(one.checkpoint.position, one.event) for one in entries]
