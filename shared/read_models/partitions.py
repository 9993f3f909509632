"""Partitions: rebuilds and comparisons cut the streams into parts, each of which is one message.

A document for each partition holds how far its worker is, so a redelivered message goes on there,
and a finished partition is not done again. `open_since` is the time of the last sign of life of an
unfinished one, for pace only: when it is old, the passes over all streams complete what is missing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from typing import Any

from shared.domain.errors import Unavailable
from shared.domain.values import adapter
from shared.read_models.generations import PARTITIONS, Generations, Pace, stored_in
from shared.read_models.protocol import Change, Fields, Find, Queries, ReadModels, Where
from shared.resilience import clock
from shared.resilience.calls import awaited

FILLING = 0
"""The run that fills a generation; its comparisons are the runs 1, 2, ..."""

STREAMS, EVENTS = 100, 2_000
"""The most streams and events of one partition: a worker has them in memory, and writes them at
once."""

_WORKER_RATE, _MAX_WORKERS = 25, 16  # documents per second of one worker, while these share a limit
_PARTITION_SECONDS = 20  # the longest that a limited worker takes: less than a delivery may
_ALIVE_SECONDS = 5.0  # a partition that a worker has touched so lately is that worker's
_PAGE = 200

QUERY_SECONDS = 10.0
"""The time limit of a query of a rebuild or a comparison."""


def workers(limit: int) -> int:
    """Return how many partitions may be under way at once, so that together they keep the limit."""
    return min(_MAX_WORKERS, ceil(limit / _WORKER_RATE))


def streams_at_once(limit: int | None) -> int:
    """Return the most streams of a partition."""
    return STREAMS if limit is None else max(1, min(STREAMS, _PARTITION_SECONDS * limit // workers(limit)))


OPEN = Where("open_since", ">=", 1.0)
"""The condition of partitions that are not finished."""


@dataclass(frozen=True)
class Partition:
    """A part of a run. `streams`: of one aggregate. `done`: how many of them the worker has done.

    `rate`: the most documents per second, None for no limit. `began`, `ended`: when a worker began
    and finished it, UTC. `result`: what a comparison found.
    """

    run: int
    number: int
    streams: tuple[str, ...]
    rate: float | None = None
    done: int = 0
    began: datetime | None = None
    ended: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.run:04}-{self.number:07}"

    def finished(self, result: Mapping[str, Any]) -> "Partition":
        return replace(self, done=len(self.streams), ended=clock.now(), result=result)

    def stored(self) -> Fields:
        """Return the partition's document. Streams and result are one text, which Firestore does
        not index part by part."""
        differing = sum(side.get("different", 0) for side in self.result.values() if isinstance(side, dict))
        return {
            "id": self.id,
            "open_since": 0.0 if self.ended else clock.now().timestamp(),
            "done": self.done,
            "streams": len(self.streams),
            "began": self.began,
            "ended": self.ended,
            "differing": self.id if differing else "",
            "detail": json.dumps(
                {"rate": self.rate, "streams": self.streams, "result": self.result}, ensure_ascii=False
            ),
        }


def partition_of(stored: Fields) -> Partition:
    run, number = stored["id"].split("-")
    detail = adapter(dict[str, Any]).validate_json(stored["detail"])
    progress = stored["done"], stored["began"], stored["ended"]
    return Partition(int(run), int(number), tuple(detail["streams"]), detail["rate"], *progress, detail["result"])


def state_of(partition: Partition) -> str:
    return "DONE" if partition.ended else "RUNNING" if partition.began else "WAITING"


def within(run: int, name: str = "id") -> list[Where]:
    """Return the conditions for the partitions of a run; with `name` "differing", for those with
    differences."""
    return [Where(name, ">=", f"{run:04}-"), Where(name, "<", f"{run + 1:04}-")]


@dataclass(frozen=True)
class Partitions:
    """The partitions of one generation."""

    models: ReadModels
    read_model: str
    generation: int

    @property
    def collection(self) -> str:
        return stored_in(self.read_model + PARTITIONS, self.generation)

    def save(self, partitions: Sequence[Partition]) -> None:
        """Store new partitions. Those that exist stay as they are."""
        self.models.create(self.collection, {one.id: Change(one.stored()) for one in partitions})

    def replace(self, partition: Partition) -> None:
        self.models.update(self.collection, partition.id, lambda _: Change(partition.stored()))

    def begin(self, key: str) -> Partition | None:
        """Return the partition for this worker, None when it is done or gone. Raise Unavailable
        while another worker is at it."""
        found: Partition | None = None

        def change(stored: Fields | None) -> Change | None:
            nonlocal found
            found = partition_of(stored) if stored else None
            if found is None or stored is None or found.ended:
                found = None
                return None
            if found.began and found.rate and 0 <= clock.now().timestamp() - stored["open_since"] < _ALIVE_SECONDS:
                raise Unavailable(f"another delivery is doing partition {key}; this one comes again")
            found = replace(found, began=found.began or clock.now())
            return Change(found.stored())

        self.models.update(self.collection, key, change)
        return found

    def open(self, queries: Queries, pace: Pace) -> int:
        """Return how many partitions are under way, without those that were given up."""
        now, alive = clock.now().timestamp(), pace.known_seconds + pace.settled_seconds
        since = [Where("open_since", ">=", now - alive), Where("open_since", "<", now + alive)]
        return awaited(queries.count(self.collection, since), QUERY_SECONDS)

    def of(self, queries: Queries, run: int) -> Iterator[Partition]:
        """Yield the partitions of a run, page by page."""
        last: Fields | None = None
        while True:
            find = Find(self.collection, "id", within(run), limit=_PAGE, after=last)
            page = awaited(queries.find(find), QUERY_SECONDS)
            yield from map(partition_of, page)
            if len(page) < _PAGE:
                return
            last = page[-1]


def is_filled(now: Generations, generation: int) -> bool:
    """Return whether the generation is still being filled."""
    return (now.other, now.state) == (generation, "BUILDING")
