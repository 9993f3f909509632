"""The engines of a machine that lacks some: what is missing is kept in memory, shared by all functions of a process."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import httpx

from shared.config.manifest import Database, Subscription, manifest
from shared.config.settings import Settings, url_of
from shared.dead_letters.memory import MemoryDeadLetters
from shared.dead_letters.protocol import DeadLetters
from shared.event_store.memory import MemoryEventLog, MemoryEventStore
from shared.event_store.protocol import EventLog, EventStore
from shared.messaging.memory import Deliver, MemoryBroker, MemoryOutbox
from shared.messaging.outbox import Outbox, Publisher, publish_after_commit
from shared.monitoring.counts import Counts, MemoryCounts
from shared.monitoring.executions import Executions, MemoryExecutions
from shared.read_models.generations import EveryGeneration, LiveGeneration
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import ReadModels
from shared.runtime.engines import Engines
from shared.sagas.memory import MemorySagaLog, MemorySagaStore
from shared.sagas.store import SagaLog, SagaStore


class PostgresEngines(Engines):
    """Real stores for the write side; broker and read models in this process.

    `deliver`: how the broker calls a function; over HTTP unless told otherwise. `subscriptions`: the manifest's, likewise.
    """

    def __init__(
        self,
        settings: Settings,
        deliver: Deliver | None = None,
        subscriptions: Sequence[Subscription] | None = None,
    ) -> None:
        super().__init__(settings)
        self._models = MemoryReadModels()
        self.in_memory = [self._models]
        chosen = manifest().all_subscriptions if subscriptions is None else subscriptions
        self.broker = MemoryBroker(chosen, deliver or push_over_http(settings))
        self.broker.start()

    def undelivered(self) -> Mapping[str, int] | None:
        return self.broker.undelivered()

    @cached_property
    def publisher(self) -> Publisher:
        return self.broker

    @cached_property
    def read_models(self) -> ReadModels:
        return EveryGeneration(self._models, self.pace.known_seconds)

    @cached_property
    def queries(self) -> LiveGeneration:
        return LiveGeneration(self._models, self.pace.known_seconds)


class MemoryEngines(PostgresEngines):
    """Nothing outside this process."""

    def __init__(
        self,
        settings: Settings,
        deliver: Deliver | None = None,
        subscriptions: Sequence[Subscription] | None = None,
    ) -> None:
        super().__init__(settings, deliver, subscriptions)
        self._event_outbox, self._saga_outbox = MemoryOutbox(), MemoryOutbox()
        self._events = MemoryEventStore(self._event_outbox, publish_after_commit(self._event_outbox, self.broker))
        self._sagas = MemorySagaStore(self._saga_outbox, publish_after_commit(self._saga_outbox, self.broker))
        self._dead_letters, self._executions = MemoryDeadLetters(), MemoryExecutions()
        self.in_memory += [self._event_outbox, self._saga_outbox, self._events, self._sagas, self._dead_letters]

    def missing_migrations(self, database: Database) -> list[str]:
        return []

    @cached_property
    def event_store(self) -> EventStore:
        return self._events

    @cached_property
    def event_log(self) -> EventLog:
        return MemoryEventLog(self._events)

    @cached_property
    def executions(self) -> Executions:
        return self._executions

    @cached_property
    def counts(self) -> Counts:
        return MemoryCounts(self._sagas, self._dead_letters, self._executions)

    @cached_property
    def sagas(self) -> SagaStore:
        return self._sagas

    @cached_property
    def saga_log(self) -> SagaLog:
        return MemorySagaLog(self._sagas)

    @cached_property
    def outboxes(self) -> list[Outbox]:
        return [self._event_outbox, self._saga_outbox]

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return self._dead_letters


def push_over_http(settings: Settings) -> Deliver:
    """Push as Pub/Sub does: a POST with a time limit, where anything but success means another attempt."""
    urls = {"command": settings.command_url, "query": settings.query_url}

    def deliver(subscription: Subscription, body: dict[str, object]) -> int:
        url = url_of(urls[subscription.service], subscription.endpoint)
        try:
            return client.post(url, json=body, timeout=subscription.ack_deadline).status_code
        except httpx.HTTPError:
            return 0

    client = httpx.Client()
    return deliver
