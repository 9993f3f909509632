"""Filling a new generation while the shop goes on.

The rebuild is bounded by a place in the log, taken when every process writes both generations:
later events reach the new generation by delivery. A pass checks all streams up to there, page by
page, and goes on from its last page after an interruption. In the first pass, the projection gets
partitions of the new generation to fill, no more at a time than its workers and the rebuild's limit
allow. In later passes, where a document lacks events, the stream's last event is announced again,
to this projection only; the version rule then reads all missing events. A complete document stays
complete, so once few streams are incomplete, the next pass checks only these. A pass that finds no
incomplete document, and all the events that had been counted, ends the filling; then both
generations are compared with the events. Time only sets the pace: the clocks of two processes may
differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Strict

from shared.domain.commands import wire_command
from shared.domain.errors import Invalid
from shared.domain.faults import at, between
from shared.domain.values import Token
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventLog, EventRecord, EventStore
from shared.messaging.outbox import Publisher
from shared.read_models import generations
from shared.read_models.comparing import Comparing
from shared.read_models.documents import sources_of
from shared.read_models.fill import FILL
from shared.read_models.generations import (
    FAILURES,
    MAX_RATE,
    PARTITIONS,
    Generations,
    IncompleteStream,
    Pace,
    stored_in,
)
from shared.read_models.partitions import EVENTS, FILLING, QUERY_SECONDS, streams_at_once, workers
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries, ReadModels
from shared.read_models.sender import POLL_SECONDS, Sender, slots
from shared.read_models.stop import MOST_MINUTES
from shared.read_models.transitions import comparing
from shared.resilience import clock
from shared.resilience.calls import awaited

_SHOWN = 20  # incomplete streams that an admin sees by name


@wire_command
class RebuildProjection:
    """Change the generations of the projection function `name`'s read model, or whether it is kept
    up to date.

    REBUILD begins a new one, filled with at most `documents_per_second`; `switch_when_equal` makes
    it live when the comparison finds no difference. CANCEL stops that. COMPARE compares both with
    the events. SWITCH makes generation `to` the live one (with `force` although it is incomplete,
    different or not compared), DROP deletes the other one. STOP stops the projection for `minutes`,
    START ends that.
    """

    name: Token
    action: Literal["REBUILD", "CANCEL", "COMPARE", "SWITCH", "DROP", "STOP", "START"]
    to: Annotated[int, Strict()] | None = None
    force: Annotated[bool, Strict()] = False
    minutes: Annotated[int, Strict()] | None = None
    documents_per_second: Annotated[int, Strict()] | None = None
    switch_when_equal: Annotated[bool, Strict()] | None = None

    def __post_init__(self) -> None:
        if (self.action == "SWITCH") != (self.to is not None) or (self.force and self.action != "SWITCH"):
            raise Invalid("SWITCH needs the field to and can have force; no other action takes them", ("to",))
        rate, field = self.documents_per_second, ("documentsPerSecond",)
        if self.action != "REBUILD" and (rate, self.switch_when_equal) != (None, None):
            raise Invalid("documentsPerSecond and switchWhenEqual are of REBUILD; no other action takes them", field)
        if rate is not None and not 1 <= rate <= MAX_RATE:
            raise Invalid(at(field, between(1, MAX_RATE, rate)), field)
        if (self.action == "STOP") != (self.minutes is not None):
            raise Invalid("STOP needs the field minutes; no other action takes it", ("minutes",))
        if self.minutes is not None and not 1 <= self.minutes <= MOST_MINUTES:
            raise Invalid(at(("minutes",), between(1, MOST_MINUTES, self.minutes)), ("minutes",))


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
            elif now.is_comparing:
                done += self._comparing.advance(now)
            elif now.until is None:
                self._bound(now)
            elif self.store.end() < now.until:  # a running transaction hides events from the readers of the log
                break
            elif not (room := self._room(now)):
                clock.sleep(POLL_SECONDS)
            else:
                done += self._check(now, now.until, room)
        return done

    @property
    def _sender(self) -> Sender:
        return Sender(self.read_model, self.log, self.models, self.queries, self.publisher, self.pace)

    @property
    def _comparing(self) -> Comparing:
        return Comparing(self._sender, self.store)

    def _room(self, now: Generations) -> int:
        """Return how many streams may be checked now, 0 while the workers are busy."""
        if now.passes:
            at_once = min(self.pace.page, now.limit or self.pace.page)
            return at_once if now.places or not self._sender.under_way(now) else 0
        most = workers(now.limit) if now.limit else 2 * slots(self.read_model)
        free = max(0, most - self._sender.under_way(now))
        return min(self.pace.page, streams_at_once(now.limit) * (min(1, free) if now.limit else free))

    def _bound(self, now: Generations) -> None:
        """Begin the first pass: store the place of the newest event, also if `read_all` does not
        show it yet."""
        until = Checkpoint()
        for newest in self.log.recent(1):
            (entry,) = self.store.read_stream(newest.event.stream, newest.event.version - 1, 1)
            until = entry.checkpoint
        counts = self.log.counts()
        events = sum(counts.of(source.aggregate.name) for source in sources_of(self.read_model))
        begun = replace(now, until=until, events=events, wanted=(), places={}, filling_since=clock.now())
        self._save(now, begun)

    def _check(self, now: Generations, until: Checkpoint, room: int) -> int:
        """Announce the incomplete streams of the pass's next page; after the last page, end the
        pass."""
        begun = now if now.places else replace(now, checked=0, behind=0, late=(), incomplete=())
        if now.passes and not now.filled_at:
            begun = replace(begun, filled_at=clock.now())
        streams, places = (now.wanted, {}) if now.wanted else self._sender.next_streams(now.places, room)
        last = [seen.event for seen in self.log.last_of(streams, until)]
        missing = awaited(self._missing(begun, last), QUERY_SECONDS)
        partitions = self._announce(now, [event for event, _ in missing])
        behind = begun.behind + len(missing)
        are_few = behind <= self.pace.page and len(begun.late) == begun.behind
        after = replace(
            begun,
            places=places,
            partitions=now.partitions + partitions,
            checked=begun.checked + len(streams),
            behind=behind,
            late=(*begun.late, *(event.stream for event, _ in missing)) if are_few else (),
            incomplete=(*begun.incomplete, *(IncompleteStream(event.stream, why) for event, why in missing))[:_SHOWN],
        )
        self._save(now, after if streams and not now.wanted else self._after_pass(after))
        return len(missing)

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

    def _announce(self, now: Generations, last: Sequence[EventRecord]) -> int:
        """Publish the messages that complete the documents of these last events, and return how
        many partitions they are.

        In the first pass most documents are missing: one message is for many streams. Later each
        stream has its own, so that a failure is noted with it.
        """
        short = [event for event in last if event.version <= EVENTS] if not now.passes else []
        cut = self._sender.cut(FILLING, now.partitions, short)
        if now.limit and cut:
            rate = now.limit / workers(now.limit) / len(cut)
            cut = [replace(one, rate=rate) for one in cut]
        self._sender.send(now, FILL, cut)
        alone = [announcement(event) for event in last if event not in short]
        self._sender.publish(alone)
        if now.limit:
            clock.sleep(len(alone) / now.limit)
        return len(cut)

    def _after_pass(self, now: Generations) -> Generations:
        """Return the start of the comparison if nothing is missing, otherwise of another pass."""
        assert now.other is not None
        collections = [stored_in(source.name, now.other) for source in sources_of(self.read_model)]
        applied = sum(awaited(self.queries.extent(one), QUERY_SECONDS).events for one in collections)
        missing = max(0, now.events - applied) if not now.behind else 0
        if not now.behind and not missing:
            return comparing(replace(now, missing_events=0))
        passes, since = now.passes + 1, clock.now()
        return replace(now, since=since, wanted=now.late, places={}, passes=passes, missing_events=missing)

    def _save(self, before: Generations, after: Generations) -> None:
        """Store the progress, unless another run or an admin has changed it meanwhile."""
        generations.change_generations(self.models, self.read_model, lambda now: after if now == before else None)

    def _delete(self, now: Generations) -> int:
        assert now.other is not None
        names = [source.name for source in sources_of(self.read_model)]
        for collection in dict.fromkeys(
            [*names, *(name + FAILURES for name in names), self.read_model + PARTITIONS, self.read_model]
        ):
            if deleted := self.models.delete(stored_in(collection, now.other), self.pace.page):
                return deleted
        self._save(now, now.beside())
        return 0
