"""Compare the documents of both generations with what the events make, one partition at a time.

A document is compared at its own version, so that deliveries may go on meanwhile. Only a document
that lacks an event for longer than a delivery takes counts as behind.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from shared.domain.errors import Invalid
from shared.domain.events import OrderErased
from shared.domain.personal import ERASED, is_personal, masked
from shared.domain.values import adapter
from shared.event_store.protocol import EventRecord, EventStore
from shared.messaging.envelope import Message
from shared.read_models.generations import Pace, generations_of, stored_in
from shared.read_models.partitions import QUERY_SECONDS, Partitions
from shared.read_models.project import Projection, change_of
from shared.read_models.protocol import Change, Fields, Queries, ReadModels
from shared.resilience import clock
from shared.resilience.calls import awaited

COMPARE = "CompareGenerations"
"""The type of the message."""

SHOWN, MAX_TEXT = 20, 300
"""The most differing documents that a partition names, and characters of a value that it shows."""

_MAX_SHARES = 2_000  # keys of totals in one partition; with more, totals are not compared


@dataclass(frozen=True)
class CompareGenerations:
    generation: int
    partition: str


@dataclass(frozen=True)
class Stores:
    """What a worker reads. `pace`: the shop's, for how late a delivery may be."""

    models: ReadModels
    queries: Queries
    events: EventStore
    pace: Pace


def compare(stores: Stores, projections: Mapping[str, Projection[Any]], message: Message) -> None:
    """Compare the streams of a partition and store what was found with it.

    `projections`: by aggregate. Does nothing when the partition is finished, or was dropped. Raise
    Invalid for a malformed message.
    """
    try:
        command: CompareGenerations = adapter(CompareGenerations).validate_python(message.data)
    except ValidationError as error:
        raise Invalid(f"not a {COMPARE}: {error.error_count()} wrong fields", ("message", "data")) from error
    read_model = next(iter(projections.values())).collection.read_model
    partitions = Partitions(stores.models, read_model, command.generation)
    now = generations_of(stores.models, read_model)
    partition = partitions.begin(command.partition) if now.other == command.generation else None
    if partition is None or now.other is None:
        return
    projection = projections[partition.streams[0].partition("-")[0]]
    found = _Found(projection)
    sides = {"live": now.live, "other": now.other}
    keys = {stream: stream.partition("-")[2] for stream in partition.streams}
    documents = {side: _documents(stores, projection, number, [*keys.values()]) for side, number in sides.items()}
    events = stores.events.read(partition.streams)  # after the documents, so that none is ahead of these
    late = clock.now() - timedelta(seconds=stores.pace.known_seconds + stores.pace.settled_seconds)
    for stream, key in keys.items():
        stored = {side: documents[side].get(key) for side in sides}
        history = events.get(stream, [])
        overdue = sum(one.recorded_at < late for one in history)
        found.add(key, History(history, overdue), stored)
    partitions.replace(partition.finished(found.result()))


def _documents(stores: Stores, projection: Projection[Any], number: int, keys: Sequence[str]) -> Mapping[str, Fields]:
    collection = stored_in(projection.collection.name, number)
    return awaited(stores.queries.get_many(collection, keys), QUERY_SECONDS)


@dataclass(frozen=True)
class History:
    """A stream's events. `overdue`: how many are so old that every document must have them."""

    events: Sequence[EventRecord]
    overdue: int


class _Found:
    """What a partition's comparison adds up to."""

    def __init__(self, projection: Projection[Any]) -> None:
        self._projection = projection
        self._sides = {side: Counter[str]() for side in ("fold", "live", "other")}
        self._differences = list[Fields]()
        self._shares: dict[str, dict[str, Counter[str]]] = {"live": {}, "other": {}}

    def add(self, key: str, history: History, stored: Mapping[str, Fields | None]) -> None:
        """Compare one stream's documents, by side."""
        made: dict[int, Change | str] = {}
        newest = self._made(history.events, len(history.events), made)
        folded = digest(self._plain(newest.fields)) if isinstance(newest, Change) else 0
        self._count("fold", len(history.events), folded)
        for side, document in stored.items():
            version = (document or {}).get("version", 0)
            expected = self._made(history.events, version, made)
            found = self._plain(document or {}) if version else {}
            erasing = isinstance(expected, Change) and _is_being_erased(expected, history.events[:version])
            names = self._differing(expected, found, version, history, erasing)
            behind = version < len(history.events)
            self._count(side, version, folded if (behind or erasing) and not names else digest(found))
            if names:
                self._differ(side, key, names, newest if behind or version > len(history.events) else expected, found)
            if isinstance(expected, Change):
                self._share(side, expected)

    def _made(self, events: Sequence[EventRecord], version: int, made: dict[int, Change | str]) -> Change | str:
        """Return what the first events make, or why they cannot be read."""
        if version not in made:
            try:
                made[version] = change_of(self._projection, {}, events[:version]) if version else Change({})
            except Exception as error:  # the stream is reported; the others are compared
                made[version] = f"{type(error).__name__}: {error}"[:MAX_TEXT]
        return made[version]

    def _plain(self, document: Fields) -> Fields:
        """Return the document without its counters, which other collections add to."""
        counters = self._projection.collection.counters
        return {name: value for name, value in document.items() if name not in counters}

    def _differing(
        self, expected: Change | str, found: Fields, version: int, history: History, erasing: bool
    ) -> list[str]:
        if isinstance(expected, str):
            return ["version"]
        fields = self._plain(expected.fields)
        names = sorted(name for name in {*fields, *found} if fields.get(name) != found.get(name))
        if erasing:
            names = [name for name in names if not is_personal(name)]
        wrong = version > len(history.events) or version < history.overdue
        return sorted({*names, "version"}) if wrong else names

    def _differ(self, side: str, key: str, names: Sequence[str], expected: Change | str, found: Fields) -> None:
        self._sides[side]["different"] += 1
        if len(self._differences) < SHOWN:
            fields = self._plain(expected.fields) if isinstance(expected, Change) else {}
            difference = difference_of(side, self._projection.collection.name, key, names, fields, found)
            self._differences.append(difference | ({"error": expected} if isinstance(expected, str) else {}))

    def _count(self, side: str, version: int, hashed: int) -> None:
        self._sides[side].update(documents=int(version > 0), events=version, digest=hashed if version else 0)

    def _share(self, side: str, made: Change) -> None:
        for one in made.increments:
            self._shares[side].setdefault(one.key, Counter()).update(one.amounts)

    def result(self) -> Fields:
        few = all(len(keys) <= _MAX_SHARES for keys in self._shares.values())
        sides = {side: {**counts, "digest": hexadecimal(counts["digest"])} for side, counts in self._sides.items()}
        return {**sides, "differences": self._differences, "shares": self._shares if few else None}


def _is_being_erased(expected: Change, events: Sequence[EventRecord]) -> bool:
    """Return whether the key of the order's person is destroyed, so that the events say nothing
    personal any more, but the document does, since OrderErased is not among them."""
    return expected.fields.get("user_id") == ERASED and all(one.type != OrderErased.__name__ for one in events)


def difference_of(
    side: str, collection: str, key: str, names: Sequence[str], expected: Fields, found: Fields
) -> Fields:
    """Return a difference as partitions store it: the differing fields with both values, cut and
    without personal ones, which no erasure would find there."""
    fields = [{"name": name, "expected": _shown(expected, name), "found": _shown(found, name)} for name in names]
    return {"side": side, "collection": collection, "key": key, "missing": not found, "fields": fields[:SHOWN]}


def without_personal_values(difference: Fields) -> Fields:
    """Return a stored difference, masked again: earlier releases stored personal values."""
    return difference | {"fields": [_masked(field) for field in difference["fields"]]}


def _masked(field: Fields) -> Fields:
    if (mask := masked({field["name"]: None})[field["name"]]) is None:
        return field
    return field | {side: _text(mask) for side in ("expected", "found") if field[side] is not None}


def _shown(document: Fields, name: str) -> str | None:
    return _text(masked({name: document[name]})[name])[:MAX_TEXT] if name in document else None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=lambda moment: moment.isoformat())


def digest(document: Fields) -> int:
    """Return a number of 64 bits for a document. Their sum does not depend on the order."""
    return int.from_bytes(sha256(_text(document).encode()).digest()[:8]) if document else 0


def hexadecimal(total: int) -> str:
    return f"{total % 2**64:016x}"
