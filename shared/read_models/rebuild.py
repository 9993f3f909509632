"""Filling a new generation while the shop goes on.

The rebuild is bounded by a place in the log, taken when every process writes both generations:
later events reach the new generation by delivery. A pass checks all streams up to there, page by
page, and goes on from its last page after an interruption. In the first pass, the projection gets
messages to fill the new generation with many streams at a time. In later passes, where a document
lacks events, the stream's last event is announced again, to this projection only; the version rule
then reads all missing events. A complete document stays complete, so once few streams are
incomplete, the next pass checks only these. A pass that finds no incomplete document, and all the
events that had been counted, switches the generations. Time only sets the pace: the clocks of two
processes may differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Strict

from shared.config.manifest import subscription_of
from shared.domain.aggregate import topic_of
from shared.domain.commands import wire_command
from shared.domain.errors import Invalid, Unavailable
from shared.domain.faults import at, between
from shared.domain.values import Token
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventLog, EventRecord, EventStore
from shared.messaging.envelope import ForSubscription, Message
from shared.messaging.outbox import Publisher
from shared.observability.context import current
from shared.read_models import generations
from shared.read_models.documents import sources_of
from shared.read_models.fill import EVENTS, FILL, STREAMS
from shared.read_models.generations import FAILURES, Generations, IncompleteStream, Pace, stored_in
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries, ReadModels
from shared.read_models.stops import MOST_MINUTES
from shared.resilience import clock
from shared.resilience.calls import awaited

_QUERY_SECONDS = 10.0
_SHOWN = 20  # incomplete streams that an admin sees by name


@wire_command
class RebuildProjection:
    """Change the generations of the projection function `name`'s read model, or whether it is kept
    up to date.

    REBUILD begins a new one, SWITCH makes generation `to` the live one (with `force` even while it
    is being built), DROP deletes the other one. STOP lets the projection rest for `minutes`, START
    ends that.
    """

    name: Token
    action: Literal["REBUILD", "SWITCH", "DROP", "STOP", "START"]
    to: Annotated[int, Strict()] | None = None
    force: Annotated[bool, Strict()] = False
    minutes: Annotated[int, Strict()] | None = None

    def __post_init__(self) -> None:
        if (self.action == "SWITCH") != (self.to is not None) or (self.force and self.action != "SWITCH"):
            raise Invalid("SWITCH needs the field to and can have force; no other action takes them", ("to",))
        if (self.action == "STOP") != (self.minutes is not None):
            raise Invalid("STOP needs the field minutes; no other action takes it", ("minutes",))
        if self.minutes is not None and not 1 <= self.minutes <= MOST_MINUTES:
            raise Invalid(at(("minutes",), between(1, MOST_MINUTES, self.minutes)), ("minutes",))


def _pages(last: Sequence[EventRecord]) -> Iterator[Sequence[EventRecord]]:
    """Divide streams, given by their last events, into messages for one topic each, of bounded
    size."""
    page: list[EventRecord] = []
    for event in sorted(last, key=lambda event: topic_of(event.stream)):
        events = sum(one.version for one in page) + event.version
        if page and (len(page) == STREAMS or events > EVENTS or topic_of(page[0].stream) != topic_of(event.stream)):
            yield page
            page = []
        page.append(event)
    if page:
        yield page


@dataclass(frozen=True)
class Rebuild:
    """The rebuild of one read model."""

    read_model: str
    store: EventStore
    log: EventLog
    models: ReadModels
    queries: Queries
    publisher: Publisher
    pace: Pace

    @property
    def now(self) -> Generations:
        return generations.generations_of(self.models, self.read_model)

    def advance(self, seconds: float) -> int:
        """Work for so long, or until nothing is due; return how many streams were announced or
        documents deleted. Raise Unavailable when an announcement is not accepted."""
        until, done, first = clock.monotonic() + seconds, 0, self.now
        clock.sleep(self.pace.known_seconds)  # then every process knows these generations, whatever its clock says
        while clock.monotonic() < until:
            now = self.now
            if (now.other, now.state) != (first.other, first.state) or not now.is_due(self.pace):
                break
            if now.state == "DROPPED":
                done += self._delete(now)
            elif now.until is None:
                self._bound(now)
            elif self.store.end() < now.until:  # a running transaction hides events from the readers of the log
                break
            else:
                done += self._check(now, now.until)
        return done

    def _bound(self, now: Generations) -> None:
        """Begin the first pass: store the place of the newest event, also if `read_all` does not
        show it yet."""
        until = Checkpoint()
        for newest in self.log.recent(1):
            (entry,) = self.store.read_stream(newest.event.stream, newest.event.version - 1, 1)
            until = entry.checkpoint
        counts = self.log.counts()
        events = sum(counts.of(source.aggregate.name) for source in sources_of(self.read_model))
        self._save(now, replace(now, until=until, events=events, wanted=(), places={}))

    def _check(self, now: Generations, until: Checkpoint) -> int:
        """Announce the incomplete streams of the pass's next page; after the last page, end the
        pass."""
        begun = now if now.places else replace(now, checked=0, behind=0, late=(), incomplete=())
        streams, places = self._next_page(now)
        last = [seen.event for seen in self.log.last_of(streams, until)]
        missing = awaited(self._missing(begun, last), _QUERY_SECONDS)
        messages = self._messages(now, [event for event, _ in missing])
        if messages and len(self.publisher.publish(messages)) < len(messages):
            raise Unavailable("some announcements were not accepted; the page is repeated at the next run")
        behind = begun.behind + len(missing)
        are_few = behind <= self.pace.page and len(begun.late) == begun.behind
        after = replace(
            begun,
            places=places,
            checked=begun.checked + len(streams),
            behind=behind,
            late=(*begun.late, *(event.stream for event, _ in missing)) if are_few else (),
            incomplete=(*begun.incomplete, *(IncompleteStream(event.stream, why) for event, why in missing))[:_SHOWN],
        )
        self._save(now, after if streams and not now.wanted else self._after_pass(after))
        return len(missing)

    def _next_page(self, now: Generations) -> tuple[Sequence[str], Mapping[str, int]]:
        """Return the next streams to check, none after the last page, and the places up to which
        this goes."""
        if now.wanted:
            return now.wanted, {}
        for source in sources_of(self.read_model):
            kind = source.aggregate.name
            if page := self.log.of_types([source.first_event], now.places.get(kind, 0), self.pace.page):
                return [first.event.stream for first in page], {**now.places, kind: page[-1].position}
        return (), now.places

    async def _missing(self, now: Generations, last: Sequence[EventRecord]) -> list[tuple[EventRecord, str | None]]:
        """Return those of the streams' last events that the documents have not applied, each with
        the error that a delivery has noted since the pass before."""
        assert now.other is not None
        missing: list[tuple[EventRecord, str | None]] = []
        for source in sources_of(self.read_model):
            events = [event for event in last if event.stream.startswith(f"{source.aggregate.name}-")]
            late = await not_yet_in(self.queries, stored_in(source.name, now.other), events)
            keys = [event.stream.partition("-")[2] for event in late] if now.passes else []
            failures = await self.queries.get_many(stored_in(source.name + FAILURES, now.other), keys) if keys else {}
            missing += [(event, failures.get(event.stream.partition("-")[2], {}).get("error")) for event in late]
        return missing

    def _messages(self, now: Generations, last: Sequence[EventRecord]) -> list[ForSubscription]:
        """Return the messages that complete the documents of these last events.

        In the first pass most documents are missing: one message is for many streams. Later each
        stream has its own, so that a failure is noted with it.
        """
        short = [event for event in last if event.version <= EVENTS] if not now.passes else []
        messages = [self._filling(now, page) for page in _pages(short)]
        return messages + [self._to_projection(announcement(event)) for event in last if event not in short]

    def _filling(self, now: Generations, page: Sequence[EventRecord]) -> ForSubscription:
        data = {"generation": now.other, "streams": [event.stream for event in page]}
        return self._to_projection(Message(topic_of(page[0].stream), FILL, self.read_model, data, current()))

    def _to_projection(self, message: Message) -> ForSubscription:
        subscription = subscription_of(f"project_{self.read_model}", message.topic)
        return ForSubscription(subscription, message.id, message.topic, message.body(), message.attributes())

    def _after_pass(self, now: Generations) -> Generations:
        """Return the switched generations if nothing is missing, otherwise the start of another
        pass."""
        assert now.other is not None
        collections = [stored_in(source.name, now.other) for source in sources_of(self.read_model)]
        applied = sum(awaited(self.queries.extent(one), _QUERY_SECONDS).events for one in collections)
        missing = max(0, now.events - applied) if not now.behind else 0
        if not now.behind and not missing:
            return generations.switched(replace(now, state="KEPT", missing_events=0), now.other)
        passes, since = now.passes + 1, clock.now()
        return replace(now, since=since, wanted=now.late, places={}, passes=passes, missing_events=missing)

    def _save(self, before: Generations, after: Generations) -> None:
        """Store the progress, unless another run or an admin has changed it meanwhile."""
        generations.change_generations(self.models, self.read_model, lambda now: after if now == before else None)

    def _delete(self, now: Generations) -> int:
        assert now.other is not None
        names = [source.name for source in sources_of(self.read_model)]
        for collection in dict.fromkeys([*names, *(name + FAILURES for name in names), self.read_model]):
            if deleted := self.models.delete(stored_in(collection, now.other), self.pace.page):
                return deleted
        self._save(now, Generations(now.live, newest=now.newest))
        return 0
