"""Everything that a function may use: stores, broker, providers. Each is made at its first use.

PROFILE chooses: `memory` keeps all data in this process, `postgres` all but events and sagas,
`engines` none. A module is imported where its engine is made: no function waits for the others'.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from shared.config.manifest import SQL_FOLDERS, manifest
from shared.messaging.outbox import LEASE_SECONDS, publish_after_commit
from shared.monitoring.health import Checkup
from shared.monitoring.metrics import counting_breakers
from shared.observability.context import configure, exporter_of_the_environment
from shared.read_models.by_generation import EveryGeneration, LiveGeneration
from shared.read_models.generations import Pace
from shared.read_models.memory import MemoryReadModels
from shared.resilience.calls import SingleFlightCache, once

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from shared.config.manifest import Database, Subscription
    from shared.config.settings import Settings
    from shared.dead_letters.protocol import DeadLetters
    from shared.erasure.protocol import PersonKeys
    from shared.event_store.protocol import EventLog, EventStore, LogEntry
    from shared.event_store.tail import SubscriptionQuota, Tail
    from shared.gateways.protocol import Gateway, NotificationGateway, PaymentGateway, ShippingGateway
    from shared.gateways.sandbox import Sandbox
    from shared.messaging.memory import Deliver, MemoryBroker
    from shared.messaging.outbox import Outbox, Publisher
    from shared.monitoring.counts import Counts
    from shared.monitoring.executions import Executions
    from shared.monitoring.gauges import GaugeHistory
    from shared.monitoring.recorder import Recorder
    from shared.postgres.pool import Pool
    from shared.sagas.coordinate import Coordinator
    from shared.sagas.store import SagaEntry, SagaLog, SagaStore


class Engines:
    """`deliver`: how the broker in memory calls a function; None: over HTTP."""

    def __init__(
        self, settings: Settings, deliver: Deliver | None = None, subscriptions: Sequence[Subscription] | None = None
    ) -> None:
        configure(exporter_of_the_environment(settings.project_id), settings.trace_sample_ratio)
        self.settings, self._deliver, self._subscriptions, self._made = settings, deliver, subscriptions, ExitStack()
        self.breakers, self.pace = counting_breakers(settings), Pace()
        self.checkup, self.cache, self.memory_models = Checkup(), SingleFlightCache(), MemoryReadModels()
        self.in_memory: list[object] = [] if settings.profile == "engines" else [self.memory_models]  # to be measured
        if settings.profile == "memory":
            self.keep_in_memory()

    def keep_in_memory(self, lease_seconds: float = LEASE_SECONDS) -> None:
        """Replace the databases of events and sagas by stores in memory, which know each other."""
        from shared.runtime.memory import stores_in_memory

        vars(self).update(vars(stores := stores_in_memory(lambda: self.publisher, lease_seconds)))
        self.in_memory[1:] = [*self.outboxes, stores.encrypted_events, self.sagas, self.dead_letters, self.executions]

    def close(self) -> None:
        """Close what was made, the last first. Asynchronous clients end with their loop."""
        if "recorder" in vars(self):
            self.recorder.close()  # first: it writes once more
        self._made.close()

    @once
    def event_store(self) -> EventStore:
        from shared.erasure.sealed import SealedEventStore
        from shared.event_store.postgres import PostgresEventStore

        published = publish_after_commit(self.outboxes[0], lambda: self.publisher)
        return SealedEventStore(PostgresEventStore(self._event_store_pool, published), lambda: self.person_keys)

    @once
    def event_log(self) -> EventLog:
        from shared.erasure.sealed import SealedEventLog
        from shared.event_store.log import PostgresEventLog

        return SealedEventLog(PostgresEventLog(self._event_store_pool), lambda: self.person_keys)

    @once
    def person_keys(self) -> PersonKeys:
        from shared.erasure.postgres import person_keys

        return person_keys(self._command_pool, self.settings.wrapping_key, lambda: self.http)

    @once
    def sagas(self) -> SagaStore:
        from shared.sagas.postgres import PostgresSagaStore

        return PostgresSagaStore(self._command_pool, publish_after_commit(self.outboxes[1], lambda: self.publisher))

    @once
    def outboxes(self) -> list[Outbox]:
        from shared.event_store.postgres import EVENT_OUTBOX
        from shared.messaging.postgres import PostgresOutbox
        from shared.sagas.outbox import SAGA_OUTBOX

        return [PostgresOutbox(self._event_store_pool, EVENT_OUTBOX), PostgresOutbox(self._command_pool, SAGA_OUTBOX)]

    @once
    def saga_log(self) -> SagaLog:
        from shared.sagas.postgres import PostgresSagaLog

        return PostgresSagaLog(self._command_pool)

    @once
    def dead_letters(self) -> DeadLetters:
        from shared.dead_letters.postgres import PostgresDeadLetters

        return PostgresDeadLetters(self._command_pool)

    @once
    def _histories(self) -> tuple[Executions, Counts, GaugeHistory]:
        from shared.monitoring.postgres import histories

        return histories(self._command_pool)

    executions: once[Executions] = once(lambda engines: engines._histories[0])
    counts: once[Counts] = once(lambda engines: engines._histories[1])
    gauges: once[GaugeHistory] = once(lambda engines: engines._histories[2])

    def missing_migrations(self, database: Database) -> list[str]:
        """Return the migration files that the database has not applied. Raises Unavailable."""
        if self.settings.profile == "memory":
            return []
        from shared.postgres.migrations import missing

        pool = self._event_store_pool if database == "event_store" else self._command_pool
        with pool.use("the database") as connection:
            return missing(connection, SQL_FOLDERS[database])

    @once
    def publisher(self) -> Publisher:
        if self.settings.profile != "engines":
            return self.broker
        from shared.messaging.pubsub import PubSubPublisher, batching_client

        client = batching_client()
        self._made.callback(client.stop)
        return PubSubPublisher(self.settings.project_id, client, self.breakers["Pub/Sub"])

    @once
    def read_models(self) -> EveryGeneration:
        if self.settings.profile != "engines":
            return EveryGeneration(self.memory_models, self.pace.known_seconds)
        from shared.read_models.firestore import FirestoreReadModels, client

        opened = self._made.enter_context(closing(client(self.settings.project_id)))
        return EveryGeneration(FirestoreReadModels(opened, self.breakers["Firestore"]), self.pace.known_seconds)

    @once
    def queries(self) -> LiveGeneration:
        if self.settings.profile != "engines":
            return LiveGeneration(self.memory_models, self.pace.known_seconds)
        from shared.read_models.firestore import FirestoreQueries, async_client

        queries = FirestoreQueries(async_client(self.settings.project_id), self.breakers["Firestore"])
        return LiveGeneration(queries, self.pace.known_seconds)

    @once
    def broker(self) -> MemoryBroker:
        from shared.messaging.memory import MemoryBroker, push_over_http

        subscriptions = manifest().all_subscriptions if self._subscriptions is None else self._subscriptions
        broker = MemoryBroker(subscriptions, self._deliver or push_over_http(self.settings, self.http))
        broker.start()
        return self._made.enter_context(closing(broker))

    def _provider(self, kind: str) -> Gateway:
        from shared.gateways import providers

        return providers.provider(kind, self.settings, self.http, self.breakers)

    payments: once[PaymentGateway] = once(lambda engines: engines._provider("payment"))
    shipping: once[ShippingGateway] = once(lambda engines: engines._provider("shipping"))
    notifications: once[NotificationGateway] = once(lambda engines: engines._provider("notification"))

    @once
    def sandbox(self) -> Sandbox:
        from shared.gateways.sandbox import Sandbox

        return self._made.enter_context(closing(Sandbox(self.settings.sandbox_database)))

    @once
    def order_saga(self) -> Coordinator:
        from shared.domain.order import ORDER
        from shared.sagas.coordinate import Coordinator
        from shared.sagas.order_fulfilment import ORDER_FULFILMENT

        return Coordinator(ORDER_FULFILMENT.at_pace(self.settings.saga_pace), ORDER, self.event_store, self.sagas)

    @once
    def tail(self) -> Tail[LogEntry]:
        from shared.event_store.tail import Tail

        return Tail(self.event_store, self.settings.subscriber_buffer)

    @once
    def saga_tail(self) -> Tail[SagaEntry]:
        from shared.event_store.tail import Tail

        return Tail(self.saga_log, self.settings.subscriber_buffer)

    @once
    def subscription_quota(self) -> SubscriptionQuota:
        from shared.event_store.tail import SubscriptionQuota

        return SubscriptionQuota(self.settings.max_subscribers, self.settings.max_subscriptions_per_client)

    @once
    def recorder(self) -> Recorder:
        from shared.monitoring.recorder import Recorder

        return Recorder(lambda: (self.executions, self.counts), self.settings.history_sample_ratio)

    @once
    def http(self) -> httpx.Client:
        from shared.runtime.http_clients import client

        return self._made.enter_context(client())

    @once
    def command_http(self) -> httpx.AsyncClient:
        from shared.runtime.http_clients import async_client

        return async_client(self.settings.command_timeout_seconds, connections=100)

    @once
    def health_http(self) -> httpx.Client:
        """The client that asks functions for health: rarely, so it keeps no connection open."""
        from shared.runtime.http_clients import RARE, client

        return self._made.enter_context(client(RARE))

    _event_store_pool: once[Pool] = once(lambda engines: engines._pool(engines.settings.event_store_url))
    _command_pool: once[Pool] = once(lambda engines: engines._pool(engines.settings.command_database_url))

    def _pool(self, url: str) -> Pool:
        from shared.postgres.pool import connect, login_token

        password = login_token if self.settings.database_iam else None
        return self._made.enter_context(connect(url, self.settings.pool_size, password, self.settings.database_ca))
