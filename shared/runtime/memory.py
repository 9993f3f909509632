"""The stores of events and sagas of one process, in memory."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.dead_letters.memory import MemoryDeadLetters
from shared.erasure.memory import MemoryPersonKeys
from shared.erasure.sealed import SealedEventLog, SealedEventStore
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Outbox, Publisher, publish_after_commit
from shared.monitoring.memory import MemoryCounts, MemoryExecutions, MemoryGaugeHistory
from shared.sagas.memory import MemorySagaLog, MemorySagaStore


@dataclass
class MemoryStores:
    """The fields have the names that they have in Engines."""

    event_store: SealedEventStore
    event_log: SealedEventLog
    encrypted_events: MemoryEventStore
    person_keys: MemoryPersonKeys
    outboxes: list[Outbox]
    sagas: MemorySagaStore
    saga_log: MemorySagaLog
    dead_letters: MemoryDeadLetters
    executions: MemoryExecutions
    counts: MemoryCounts
    gauges: MemoryGaugeHistory


def stores_in_memory(publisher: Callable[[], Publisher], lease_seconds: float) -> MemoryStores:
    """Return new stores, which publish their messages through what `publisher` returns."""
    of_events, of_sagas = MemoryOutbox(lease_seconds), MemoryOutbox(lease_seconds)
    events = MemoryEventStore(of_events, publish_after_commit(of_events, publisher))
    sagas = MemorySagaStore(of_sagas, publish_after_commit(of_sagas, publisher))
    keys = MemoryPersonKeys()
    letters, executions = MemoryDeadLetters(), MemoryExecutions()
    return MemoryStores(
        event_store=SealedEventStore(events, lambda: keys),
        event_log=SealedEventLog(MemoryEventLog(events), lambda: keys),
        encrypted_events=events,
        person_keys=keys,
        outboxes=[of_events, of_sagas],
        sagas=sagas,
        saga_log=MemorySagaLog(sagas),
        dead_letters=letters,
        executions=executions,
        counts=MemoryCounts(sagas, letters, executions),
        gauges=MemoryGaugeHistory(),
    )
