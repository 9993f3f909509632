"""Cut the streams of a read model into partitions, and send each to its projection."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.config.manifest import manifest, subscription_of
from shared.domain.aggregate import topic_of
from shared.domain.errors import Unavailable
from shared.event_store.protocol import EventLog, EventRecord
from shared.messaging.envelope import ForSubscription, Message
from shared.messaging.outbox import Publisher
from shared.observability.context import current
from shared.read_models.documents import sources_of
from shared.read_models.generations import Generations, Pace
from shared.read_models.partitions import EVENTS, STREAMS, Partition, Partitions
from shared.read_models.protocol import Queries, ReadModels

POLL_SECONDS = 0.5
"""The pause between two looks at busy workers."""


def slots(read_model: str) -> int:
    """Return how many messages the projection handles at once, in all its instances."""
    function = manifest().functions[f"project_{read_model}"]
    return function.max_instances * function.concurrency


@dataclass(frozen=True)
class Sender:
    read_model: str
    log: EventLog
    models: ReadModels
    queries: Queries
    publisher: Publisher
    pace: Pace

    def partitions(self, now: Generations) -> Partitions:
        assert now.other is not None
        return Partitions(self.models, self.read_model, now.other)

    def under_way(self, now: Generations) -> int:
        """Return how many partitions the workers have, given-up ones left out."""
        return self.partitions(now).open(self.queries, self.pace)

    def next_streams(self, places: Mapping[str, int], limit: int) -> tuple[Sequence[str], Mapping[str, int]]:
        """Return the next streams after these places, none after the last one, and their places."""
        for source in sources_of(self.read_model):
            kind = source.aggregate.name
            if page := self.log.of_types([source.first_event], places.get(kind, 0), limit):
                return [first.event.stream for first in page], {**places, kind: page[-1].position}
        return (), places

    def cut(self, run: int, before: int, last: Sequence[EventRecord]) -> list[Partition]:
        """Return the partitions of these streams, given by their last events, numbered after those
        `before`."""
        return [
            Partition(run, number, tuple(event.stream for event in page))
            for number, page in enumerate(_pages(last), before + 1)
        ]

    def send(self, now: Generations, kind: str, partitions: Sequence[Partition]) -> None:
        """Store new partitions and publish a message for each. Repeating it is harmless. Raise
        Unavailable."""
        if partitions:
            self.partitions(now).save(partitions)
            self.publish([self._message(now, kind, one) for one in partitions])

    def send_again(self, now: Generations, kind: str, partitions: Sequence[Partition]) -> None:
        """Publish partitions again, as if nothing had been done for them."""
        for one in partitions:
            self.partitions(now).replace(Partition(one.run, one.number, one.streams, one.rate))
        self.publish([self._message(now, kind, one) for one in partitions])

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish for this read model's projection alone. Raise Unavailable unless all are
        accepted."""
        wrapped = [self._to_projection(message) for message in messages]
        if wrapped and len(self.publisher.publish(wrapped)) < len(wrapped):
            raise Unavailable("some announcements were not accepted; the page is repeated at the next run")

    def _message(self, now: Generations, kind: str, partition: Partition) -> Message:
        data = {"generation": now.other, "partition": partition.id, "streams": partition.streams}
        return Message(topic_of(partition.streams[0]), kind, self.read_model, data, current())

    def _to_projection(self, message: Message) -> ForSubscription:
        subscription = subscription_of(f"project_{self.read_model}", message.topic)
        return ForSubscription(subscription, message.id, message.topic, message.body(), message.attributes())


def _pages(last: Sequence[EventRecord]) -> Iterator[Sequence[EventRecord]]:
    """Divide streams, given by their last events, into partitions for one topic each, of bounded
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
