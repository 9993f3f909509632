"""Fill a new generation in bulk: the documents of many streams, from all their events, in a few
round trips.

A rebuild sends the projection such messages in its first pass. A document that exists stays as it
is, because a delivery has written it; the version rule then completes it. So a message may come
twice, late, or while deliveries write the same documents.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from shared.domain.errors import Invalid
from shared.domain.values import adapter
from shared.event_store.protocol import EventStore
from shared.messaging.envelope import Message
from shared.read_models.generations import generations_of, in_generation, stored_in
from shared.read_models.project import Projection, change_of
from shared.read_models.protocol import Change, ReadModels

FILL = "FillGeneration"
"""The type of the message."""

STREAMS, EVENTS = 100, 2_000
"""The most streams and events of one message: a worker has them in memory, and writes them at
once."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class FillGeneration:
    """`streams`: of one aggregate."""

    generation: int
    streams: tuple[str, ...]


def fill(models: ReadModels, projections: Mapping[str, Projection[Any]], message: Message, store: EventStore) -> None:
    """Create the documents that do not exist yet. `projections`: by aggregate. Raise Invalid for a
    malformed message.

    Does nothing when the generation is no longer being built. A stream that cannot be read is left
    out: the next pass announces it alone, and notes the error.
    """
    try:
        command: FillGeneration = adapter(FillGeneration).validate_python(message.data)
        by_projection = [(projections[name], streams) for name, streams in _by_aggregate(command.streams).items()]
    except (ValidationError, KeyError) as error:
        raise Invalid(f"not a {FILL} for this projection: {type(error).__name__}", ("message", "data")) from error
    for projection, streams in by_projection:
        collection, generation = projection.collection, command.generation
        now = generations_of(models, collection.read_model)
        if (now.other, now.state) == (generation, "BUILDING"):
            changes = _changes(projection, streams, store)
            made = {key: in_generation(change, generation) for key, change in changes.items()}
            models.create(stored_in(collection.name, generation), made)


def _by_aggregate(streams: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stream in streams:
        found.setdefault(stream.partition("-")[0], []).append(stream)
    return found


def _changes(projection: Projection[Any], streams: Sequence[str], store: EventStore) -> dict[str, Change]:
    changes = {}
    for stream, events in store.read(streams).items():
        try:
            changes[str(projection.collection.aggregate.id_of(stream))] = change_of(projection, {}, events)
        except Exception as error:  # one unreadable stream must not hold up the others
            _log.warning("a stream could not be filled in bulk", stream=stream, reason=repr(error))
    return changes
