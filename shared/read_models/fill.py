"""Fill a new generation in bulk: the documents of many streams, from all their events, in a few
round trips.

A rebuild sends the projection such messages in its first pass. A document that exists stays as it
is, because a delivery has written it; the version rule then completes it. So a message may come
twice, late, or while deliveries write the same documents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from pydantic import ValidationError

from shared.domain.errors import Invalid, Unavailable
from shared.domain.values import adapter
from shared.event_store.protocol import EventStore
from shared.messaging.envelope import Message
from shared.read_models.by_generation import in_generation
from shared.read_models.generations import generations_of, stored_in
from shared.read_models.partitions import Partition, Partitions, is_filled
from shared.read_models.project import Projection, change_of
from shared.read_models.protocol import Change, ReadModels
from shared.resilience import clock
from shared.resilience.calls import time_left

FILL = "FillGeneration"
"""The type of the message."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class FillGeneration:
    """`streams`: of one aggregate. `partition`: the id of their partition; messages of earlier
    versions have none."""

    generation: int
    streams: tuple[str, ...]
    partition: str | None = None


def fill(models: ReadModels, projections: Mapping[str, Projection[Any]], message: Message, store: EventStore) -> None:
    """Create the documents that do not exist yet. `projections`: by aggregate. Raise Invalid for a
    malformed message.

    Goes on where an earlier delivery of the partition has stopped. Does nothing when the generation
    is no longer being built. A stream that cannot be read is left out: the next pass announces it
    alone, and notes the error. Raise Unavailable when the time of this delivery is up, or another
    one is at the same partition.
    """
    try:
        command: FillGeneration = adapter(FillGeneration).validate_python(message.data)
        by_projection = [(projections[name], streams) for name, streams in _by_aggregate(command.streams).items()]
    except (ValidationError, KeyError) as error:
        raise Invalid(f"not a {FILL} for this projection: {type(error).__name__}", ("message", "data")) from error
    read_model = next(iter(projections.values())).collection.read_model
    if not is_filled(generations_of(models, read_model), command.generation):
        return
    if command.partition is None:
        for projection, streams in by_projection:
            _create(models, projection, command.generation, streams, store)
        return
    partitions = Partitions(models, read_model, command.generation)
    if begun := partitions.begin(command.partition):
        projection = projections[begun.streams[0].partition("-")[0]]
        _fill_partition(partitions, begun, partial(_create, models, projection, command.generation, store=store))


def _fill_partition(partitions: Partitions, partition: Partition, create: Callable[[Sequence[str]], None]) -> None:
    """Create a second's worth of documents at a time, at the partition's rate, and note how far it
    is."""
    streams, rate, began = partition.streams, partition.rate, clock.monotonic()
    at_once = max(1, int(rate)) if rate else len(streams)
    for first in range(partition.done, len(streams), at_once):
        some = streams[first : first + at_once]
        if rate and first > partition.done:
            if time_left(len(some) / rate) < len(some) / rate:
                raise Unavailable(f"no time left for all of partition {partition.id}; it goes on from stream {first}")
            if not is_filled(generations_of(partitions.models, partitions.read_model), partitions.generation):
                return
        create(some)
        done = first + len(some)
        if rate:
            clock.sleep(max(0.0, began + (done - partition.done) / rate - clock.monotonic()))
        ended = clock.now() if done == len(streams) else None
        partitions.replace(replace(partition, done=done, ended=ended))


def _create(
    models: ReadModels, projection: Projection[Any], generation: int, streams: Sequence[str], store: EventStore
) -> None:
    made = {key: in_generation(change, generation) for key, change in _changes(projection, streams, store).items()}
    models.create(stored_in(projection.collection.name, generation), made)


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
