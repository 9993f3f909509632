"""Filling a new generation while the shop goes on.

Once every process writes both generations, only earlier events are missing in the new one. A pass checks
all streams, page by page. Where the new generation's document lacks events that are old enough to have
settled, the stream's last event is announced again, to this projection only; the version rule then reads
all missing events. A complete document stays complete, so once few streams are incomplete, the next pass
checks only these. A pass that finds no incomplete document switches the generations.

A pass that is interrupted goes on from its last page. Repeating a page is harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.config.manifest import subscription_of
from shared.domain.errors import Unavailable
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import EventLog, EventRecord, PositionedEvent
from shared.messaging.envelope import ForSubscription
from shared.messaging.outbox import Publisher
from shared.read_models.documents import sources_of
from shared.read_models.generations import (
    Generations,
    Pace,
    change_generations,
    generations_of,
    stored_in,
    switched,
)
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries, ReadModels
from shared.resilience import clock
from shared.resilience.calls import awaited

_QUERY_SECONDS = 10.0


@dataclass(frozen=True)
class Rebuild:
    """The rebuild of one read model."""

    read_model: str
    log: EventLog
    models: ReadModels
    queries: Queries
    publisher: Publisher
    pace: Pace

    @property
    def is_due(self) -> bool:
        return generations_of(self.models, self.read_model).is_due(self.pace)

    def advance(self, seconds: float) -> int:
        """Work for so long, or until nothing is due; return how many streams were announced or
        documents deleted. Raise Unavailable when an announcement is not accepted."""
        until, done = clock.monotonic() + seconds, 0
        while clock.monotonic() < until:
            now = generations_of(self.models, self.read_model)
            if not now.is_due(self.pace):
                break
            done += self._delete(now) if now.state == "DROPPED" else self._check_page(now)
        return done

    def _check_page(self, now: Generations) -> int:
        """Announce the incomplete streams of the next page; after the last page, end the pass."""
        for source in sources_of(self.read_model) if not now.wanted else ():
            kind = source.aggregate.name
            if page := self.log.of_types([source.first_event], now.places.get(kind, 0), self.pace.page):
                missing = self._missing(now, [first.event.stream for first in page])
                self._announce(missing)
                self._save(now, self._with_missing(_after_page(now, kind, page), missing))
                return len(missing)
        return self._end_pass(now)

    def _end_pass(self, now: Generations) -> int:
        """Begin another pass, or check the newest streams once more and switch: a transaction that
        runs for long hides its streams from a reader of the log's order."""
        assert now.other is not None
        missing = [] if now.behind else self._missing(now, now.wanted or self._newest())
        self._announce(missing)
        checked = self._with_missing(now, missing)
        self._save(now, _next_pass(checked) if checked.behind else switched(replace(now, state="KEPT"), now.other))
        return len(missing)

    def _newest(self) -> list[str]:
        first_events = [source.first_event for source in sources_of(self.read_model)]
        return [first.event.stream for first in self.log.recent(self.pace.page, first_events)]

    def _missing(self, now: Generations, streams: Sequence[str]) -> list[EventRecord]:
        """Return the last settled event of each stream whose document has not applied it."""
        assert now.other is not None
        settled = timedelta(seconds=self.pace.settled_seconds)
        last = [event.event for event in self.log.last_of(streams, clock.now() - settled)]
        missing: list[EventRecord] = []
        for source in sources_of(self.read_model):
            events = [event for event in last if event.stream.startswith(f"{source.aggregate.name}-")]
            missing += awaited(not_yet_in(self.queries, stored_in(source.name, now.other), events), _QUERY_SECONDS)
        return missing

    def _announce(self, events: Sequence[EventRecord]) -> None:
        messages = [self._announcement(event) for event in events]
        if messages and len(self.publisher.publish(messages)) < len(messages):
            raise Unavailable("some announcements were not accepted; the page is repeated at the next run")

    def _announcement(self, event: EventRecord) -> ForSubscription:
        message = announcement(event)
        subscription = subscription_of(f"project_{self.read_model}", message.topic)
        return ForSubscription(subscription, message.id, message.topic, message.body(), message.attributes())

    def _with_missing(self, now: Generations, missing: Sequence[EventRecord]) -> Generations:
        behind = now.behind + len(missing)
        are_few = behind <= self.pace.page and len(now.late) == now.behind
        late = (*now.late, *(event.stream for event in missing)) if are_few else ()
        return replace(now, behind=behind, late=late)

    def _save(self, before: Generations, after: Generations) -> None:
        """Store the progress, unless another run or an admin has changed it meanwhile."""
        change_generations(self.models, self.read_model, lambda now: after if now == before else None)

    def _delete(self, now: Generations) -> int:
        assert now.other is not None
        for source in sources_of(self.read_model):
            if deleted := self.models.delete(stored_in(source.name, now.other), self.pace.page):
                return deleted
        self._save(now, Generations(now.live, newest=now.newest))
        return 0


def _after_page(now: Generations, kind: str, page: Sequence[PositionedEvent]) -> Generations:
    return replace(now, places={**now.places, kind: page[-1].position}, checked=now.checked + len(page))


def _next_pass(now: Generations) -> Generations:
    return Generations(now.live, now.other, now.state, now.newest, clock.now(), wanted=now.late, passes=now.passes + 1)
