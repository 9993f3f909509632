"""Everything that a function may use: stores, broker, providers. Each is made at its first use.

PROFILE chooses: `memory` keeps all data in this process, `postgres` all but events and sagas,
`engines` none. A module is imported where its engine is made: no function waits for the others'.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from shared.config.manifest import SQL_FOLDERS, Database, Subscription, manifest
from shared.config.settings import Settings, settings
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.dead_letters.protocol import DeadLetters
from shared.domain.order import ORDER
from shared.erasure.protocol import PersonKeys
from shared.erasure.sealed import SealedEventLog, SealedEventStore
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import EVENT_OUTBOX, PostgresEventStore
from shared.event_store.protocol import EventLog, EventStore, LogEntry
from shared.event_store.tail import SubscriptionQuota, Tail
from shared.gateways.protocol import Gateway, NotificationGateway, PaymentGateway, ShippingGateway
from shared.gateways.sandbox import Sandbox
from shared.messaging.outbox import LEASE_SECONDS, Outbox, PostgresOutbox, Publisher, publish_after_commit
from shared.monitoring.counts import Counts, PostgresCounts
from shared.monitoring.executions import Executions, PostgresExecutions
from shared.monitoring.health import Checkup
from shared.monitoring.metrics import counting_breakers
from shared.monitoring.recorder import Recorder
from shared.observability import logs
from shared.observability.context import configure, exporter_of_the_environment
from shared.postgres.migrations import missing
from shared.postgres.pool import Pool, connect, login_token
from shared.read_models.generations import EveryGeneration, LiveGeneration, Pace
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import ReadModels
from shared.read_models.stops import Stops
from shared.resilience.calls import SingleFlightCache, once
from shared.sagas.coordinate import Coordinator
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.outbox import SAGA_OUTBOX
from shared.sagas.postgres import PostgresSagaLog, PostgresSagaStore
from shared.sagas.store import SagaEntry, SagaLog, SagaStore

if TYPE_CHECKING:
    import httpx

    from shared.messaging.memory import Deliver, MemoryBroker


class Engines:
    """`deliver`: how the broker in memory calls a function; None: over HTTP."""

    def __init__(
        self, settings: Settings, deliver: "Deliver | None" = None, subscriptions: Sequence[Subscription] | None = None
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

        vars(self).update(vars(stores := stores_in_memory(self.publisher, lease_seconds)))
        self.in_memory[1:] = [*self.outboxes, stores.encrypted_events, self.sagas, self.dead_letters, self.executions]

    def close(self) -> None:
        """Close what was made, the last first. Asynchronous clients end with their loop."""
        self._made.close()

    @once
    def event_store(self) -> EventStore:
        published = publish_after_commit(self.outboxes[0], self.publisher)
        return SealedEventStore(PostgresEventStore(self._event_store_pool, published), lambda: self.person_keys)

    @once
    def event_log(self) -> EventLog:
        return SealedEventLog(PostgresEventLog(self._event_store_pool), lambda: self.person_keys)

    @once
    def person_keys(self) -> PersonKeys:
        from shared.erasure.postgres import person_keys

        return person_keys(self._command_pool, self.settings.wrapping_key, lambda: self.http)

    @once
    def sagas(self) -> SagaStore:
        return PostgresSagaStore(self._command_pool, publish_after_commit(self.outboxes[1], self.publisher))

    @once
    def outboxes(self) -> list[Outbox]:
        return [PostgresOutbox(self._event_store_pool, EVENT_OUTBOX), PostgresOutbox(self._command_pool, SAGA_OUTBOX)]

    saga_log = once[SagaLog](lambda engines: PostgresSagaLog(engines._command_pool))
    dead_letters = once[DeadLetters](lambda engines: PostgresDeadLetters(engines._command_pool))
    executions = once[Executions](lambda engines: PostgresExecutions(engines._command_pool))
    counts = once[Counts](lambda engines: PostgresCounts(engines._command_pool))

    def missing_migrations(self, database: Database) -> list[str]:
        """Return the migration files that the database has not applied. Raises Unavailable."""
        if self.settings.profile == "memory":
            return []
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
    def read_models(self) -> ReadModels:
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
    def broker(self) -> "MemoryBroker":
        from shared.messaging.memory import MemoryBroker, push_over_http

        subscriptions = manifest().all_subscriptions if self._subscriptions is None else self._subscriptions
        broker = MemoryBroker(subscriptions, self._deliver or push_over_http(self.settings, self.http))
        broker.start()
        return self._made.enter_context(closing(broker))

    def _provider(self, kind: str) -> Gateway:
        from shared.gateways import providers

        return providers.provider(kind, self.settings, self.http, self.breakers)

    payments = once[PaymentGateway](lambda engines: engines._provider("payment"))
    shipping = once[ShippingGateway](lambda engines: engines._provider("shipping"))
    notifications = once[NotificationGateway](lambda engines: engines._provider("notification"))

    stops = once[Stops](lambda engines: Stops(engines.pace.known_seconds))

    @once
    def sandbox(self) -> Sandbox:
        return self._made.enter_context(closing(Sandbox(self.settings.sandbox_database)))

    @once
    def order_saga(self) -> Coordinator:
        return Coordinator(ORDER_FULFILMENT.at_pace(self.settings.saga_pace), ORDER, self.event_store, self.sagas)

    @once
    def tail(self) -> Tail[LogEntry]:
        return Tail(self.event_store, self.settings.subscriber_buffer)

    @once
    def saga_tail(self) -> Tail[SagaEntry]:
        return Tail(self.saga_log, self.settings.subscriber_buffer)

    @once
    def subscription_quota(self) -> SubscriptionQuota:
        return SubscriptionQuota(self.settings.max_subscribers, self.settings.max_subscriptions_per_client)

    @once
    def recorder(self) -> Recorder:
        sample = self.settings.history_sample_ratio
        return self._made.enter_context(closing(Recorder(self.executions, self.counts, sample)))

    @once
    def http(self) -> "httpx.Client":
        from shared.runtime.http_clients import client

        return self._made.enter_context(client())

    @once
    def command_http(self) -> "httpx.AsyncClient":
        from shared.runtime.http_clients import async_client

        return async_client(self.settings.command_timeout_seconds, connections=100)

    @once
    def health_http(self) -> "httpx.Client":
        """The client that asks functions for health: rarely, so it keeps no connection open."""
        from shared.runtime.http_clients import RARE, client

        return self._made.enter_context(client(RARE))

    @once
    def _event_store_pool(self) -> Pool:
        return self._pool(self.settings.event_store_url)

    @once
    def _command_pool(self) -> Pool:
        return self._pool(self.settings.command_database_url)

    def _pool(self, url: str) -> Pool:
        password = login_token if self.settings.database_iam else None
        return self._made.enter_context(connect(url, self.settings.pool_size, password, self.settings.database_ca))


def _of_the_settings() -> Engines:
    logs.configure(settings().project_id)
    return Engines(settings())


_engines: Engines | Callable[[], Engines] = _of_the_settings
_lock = Lock()


def engines() -> Engines:
    """Return this process's engines, which the first request makes from the settings."""
    with _lock:  # the first requests may arrive together
        return _engines if isinstance(_engines, Engines) else use(_engines())


def use(chosen: Engines) -> Engines:
    global _engines
    _engines = chosen
    return chosen


@contextmanager
def using(chosen: Engines | Callable[[], Engines]) -> Iterator[None]:
    """Replace the process's engines inside the block. A function makes them at the first use."""
    global _engines
    before, _engines = _engines, chosen
    try:
        yield
    finally:
        _engines = before
