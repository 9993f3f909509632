"""Filling a new generation, while the shop goes on.

From SETTLED after its beginning every process writes into both generations, so only what was recorded before is missing. A
pass looks at every stream, page by page, and where the new generation's document has not come as far as the stream had
SETTLED ago, announces the stream's last event once more, to this projection only: the version rule reads all that is
missing. What is complete stays so, since everything is written into both; so once only a few are missing, the next pass
looks at these alone. When a pass has found nothing missing, the generations are switched. A pass that dies goes on where it
was; a page done twice does no harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from shared.domain.errors import Unavailable
from shared.domain.order import AGGREGATES
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import EventLog, EventRecord, PositionedEvent
from shared.messaging.envelope import ONLY_FOR, Message
from shared.messaging.outbox import Publisher
from shared.read_models.generations import (
    SETTLED,
    Generations,
    OneGeneration,
    change_generations,
    generations_of,
    place,
    switched,
)
from shared.read_models.project import FED_BY, not_yet_in
from shared.read_models.protocol import Queries, ReadModels
from shared.resilience import clock
from shared.resilience.calls import awaited

PAGE = 500
"""Streams; and documents to delete, of which Firestore takes so many at once."""
_SECONDS = 10.0

CREATED: Mapping[str, str] = {name: one.event_types[0].__name__ for name, one in AGGREGATES.items()}
"""The event that begins each kind of stream."""


@dataclass(frozen=True)
class Again:
    """A stream's last event, announced once more to one subscription."""

    message: Message
    only_for: str

    @property
    def id(self) -> UUID:
        return self.message.id

    @property
    def topic(self) -> str:
        return self.message.topic

    def body(self) -> bytes:
        return self.message.body()

    def attributes(self) -> dict[str, str]:
        return self.message.attributes() | {ONLY_FOR: self.only_for}


@dataclass(frozen=True)
class Rebuild:
    """Of one read model. `subscription`: the projection's, by topic."""

    read_model: str
    log: EventLog
    models: ReadModels
    queries: Queries
    publisher: Publisher
    subscription: Callable[[str], str]

    @property
    def is_due(self) -> bool:
        return generations_of(self.models, self.read_model).is_due

    def go_on(self, seconds: float) -> int:
        """For so long, or until there is nothing to do for now; how many streams were announced or documents deleted."""
        until, done = clock.monotonic() + seconds, 0
        while clock.monotonic() < until:
            now = generations_of(self.models, self.read_model)
            if not now.is_due:
                break
            done += self._delete(now) if now.state == "DROPPED" else self._page(now)
        return done

    def _page(self, now: Generations) -> int:
        """Look at the next streams."""
        for kind, _ in FED_BY[self.read_model] if not now.wanted else ():
            if begun := self.log.of_types([CREATED[kind]], now.places.get(kind, 0), PAGE):
                missing = self._missing(now, [seen.event.stream for seen in begun])
                self._announce(missing)
                self._save(now, _with(_after(now, kind, begun), missing))
                return len(missing)
        return self._end(now)

    def _end(self, now: Generations) -> int:
        """Begin another pass, or switch. Before that the newest streams are looked at by themselves: a transaction that has
        been running for long hides them from whoever reads the log in order."""
        assert now.other is not None
        missing = [] if now.behind else self._missing(now, now.wanted or self._newest())
        self._announce(missing)
        found = _with(now, missing)
        self._save(now, _next_pass(found) if found.behind else switched(replace(now, state="KEPT"), now.other))
        return len(missing)

    def _newest(self) -> list[str]:
        kinds = [CREATED[kind] for kind, _ in FED_BY[self.read_model]]
        return [seen.event.stream for seen in self.log.recent(PAGE, kinds)]

    def _missing(self, now: Generations, streams: Sequence[str]) -> list[EventRecord]:
        """The last events of those streams whose documents have not come so far."""
        assert now.other is not None
        last = [seen.event for seen in self.log.last_of(streams, clock.now() - SETTLED)]
        there, missing = OneGeneration(self.queries, now.other), list[EventRecord]()
        for kind, collection in FED_BY[self.read_model]:
            of_kind = [event for event in last if event.stream.startswith(f"{kind}-")]
            missing += awaited(not_yet_in(there, collection, of_kind), _SECONDS)
        return missing

    def _announce(self, events: Sequence[EventRecord]) -> None:
        """Raises Unavailable when not all are accepted: then the page is done again."""
        messages = [announcement(event) for event in events]
        again = [Again(message, self.subscription(message.topic)) for message in messages]
        if again and len(self.publisher.publish(again)) < len(again):
            raise Unavailable("not everything could be announced; the page will be done again")

    def _save(self, before: Generations, after: Generations) -> None:
        """Unless somebody else has gone on meanwhile, or dropped it."""
        change_generations(self.models, self.read_model, lambda now: after if now == before else None)

    def _delete(self, now: Generations) -> int:
        assert now.other is not None
        for _, collection in FED_BY[self.read_model]:
            if deleted := self.models.delete(place(collection, now.other), PAGE):
                return deleted
        self._save(now, Generations(now.live, newest=now.newest))
        return 0


def _after(now: Generations, kind: str, begun: Sequence[PositionedEvent]) -> Generations:
    return replace(now, places={**now.places, kind: begun[-1].position}, checked=now.checked + len(begun))


def _with(now: Generations, missing: Sequence[EventRecord]) -> Generations:
    behind = now.behind + len(missing)
    few = behind <= PAGE and len(now.late) == now.behind
    late = (*now.late, *(event.stream for event in missing)) if few else ()
    return replace(now, behind=behind, late=late)


def _next_pass(now: Generations) -> Generations:
    begun = replace(now, since=clock.now(), wanted=now.late, passes=now.passes + 1)
    return replace(begun, places={}, checked=0, behind=0, late=())
