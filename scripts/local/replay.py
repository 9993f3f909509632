"""Say again how far every stream has come, for engines that forget: emulators and what is kept in memory.

One message per stream is enough: whoever is further behind reads what it missed from the event store.
"""

from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventRecord, EventStore
from shared.messaging.outbox import Publisher

_BATCH = 1000


def replay(store: EventStore, publisher: Publisher) -> int:
    """How many streams there are."""
    last: dict[str, EventRecord] = {}
    after = Checkpoint()
    while entries := store.read_all(after, _BATCH):
        last |= {entry.event.stream: entry.event for entry in entries}
        after = entries[-1].checkpoint
    messages = [announcement(event) for event in last.values()]
    for start in range(0, len(messages), _BATCH):
        publisher.publish(messages[start : start + _BATCH])
    return len(messages)
