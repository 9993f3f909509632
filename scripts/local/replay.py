"""Publish the last event of every stream again, for the emulators and the memory broker, which lose
their data.

One message for each stream is enough: a projection that is further behind reads the rest from the
event store.
"""

from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventRecord, EventStore
from shared.messaging.outbox import Publisher

_BATCH = 1000


def replay(store: EventStore, publisher: Publisher) -> int:
    """Publish the last event of each stream; return the number of streams."""
    last: dict[str, EventRecord] = {}
    after = Checkpoint()
    while entries := store.read_all(after, _BATCH):
        last |= {entry.event.stream: entry.event for entry in entries}
        after = entries[-1].checkpoint
    messages = [announcement(event) for event in last.values()]
    for start in range(0, len(messages), _BATCH):
        publisher.publish(messages[start : start + _BATCH])
    return len(messages)
