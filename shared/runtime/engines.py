"""What a function may use, made when first asked for: the engines of this process, real ones or those in memory."""

from collections.abc import Mapping
from functools import cached_property
from threading import Lock

from shared.auth.identity import refuse_emulator_in_the_cloud
from shared.config.manifest import SQL_FOLDERS, Database
from shared.config.settings import Settings, settings
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.dead_letters.protocol import DeadLetters
from shared.domain.order import ORDER
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import EVENT_OUTBOX, PostgresEventStore
from shared.event_store.protocol import EventLog, EventStore, LogEntry
from shared.event_store.tail import SubscriptionQuota, Tail
from shared.gateways.providers import HttpPayments, HttpShipping, PaymentGateway, ShippingGateway
from shared.gateways.sandbox import Sandbox
from shared.messaging.outbox import Outbox, PostgresOutbox, Publisher, publish_after_commit
from shared.monitoring.counts import Counts, PostgresCounts
from shared.monitoring.executions import Executions, PostgresExecutions
from shared.monitoring.health import Checkup
from shared.monitoring.recorder import Recorder
from shared.observability import logs
from shared.observability.context import configure, exporter_of_the_environment
from shared.postgres.migrations import missing
from shared.postgres.pool import Pool, connect, login_token
from shared.read_models.generations import EveryGeneration, LiveGeneration
from shared.read_models.protocol import ReadModels
from shared.resilience.calls import Breakers, SingleFlightCache
from shared.sagas.coordinate import Coordinator
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.postgres import SAGA_OUTBOX, PostgresSagaLog, PostgresSagaStore
from shared.sagas.store import SagaEntry, SagaLog, SagaStore


class Engines:
    """PostgreSQL, Pub/Sub and Firestore. Google's libraries take a second to import, so only who needs one loads it."""

    def __init__(self, settings: Settings) -> None:
        refuse_emulator_in_the_cloud()
        configure(exporter_of_the_environment(settings.project_id), settings.trace_sample_ratio)
        self.settings = settings
        self.breakers = Breakers(settings.breaker_fail_max, settings.breaker_reset_seconds)
        self.in_memory: list[object] = []
        """What would be in a database elsewhere, for those who measure memory."""

    @cached_property
    def event_store(self) -> EventStore:
        return PostgresEventStore(self._event_store_pool, publish_after_commit(self.outboxes[0], self.publisher))

    @cached_property
    def event_log(self) -> EventLog:
        return PostgresEventLog(self._event_store_pool)

    @cached_property
    def executions(self) -> Executions:
        return PostgresExecutions(self._command_pool)

    @cached_property
    def recorder(self) -> Recorder:
        return Recorder(self.executions, self.counts, self.settings.history_sample_ratio)

    @cached_property
    def counts(self) -> Counts:
        return PostgresCounts(self._command_pool)

    @cached_property
    def subscription_quota(self) -> SubscriptionQuota:
        return SubscriptionQuota(self.settings.max_subscribers, self.settings.max_subscriptions_per_client)

    @cached_property
    def tail(self) -> Tail[LogEntry]:
        return Tail(self.event_store, self.settings.subscriber_buffer)

    @cached_property
    def saga_tail(self) -> Tail[SagaEntry]:
        return Tail(self.saga_log, self.settings.subscriber_buffer)

    @cached_property
    def sagas(self) -> SagaStore:
        return PostgresSagaStore(self._command_pool, publish_after_commit(self.outboxes[1], self.publisher))

    @cached_property
    def saga_log(self) -> SagaLog:
        return PostgresSagaLog(self._command_pool)

    @cached_property
    def outboxes(self) -> list[Outbox]:
        """Of the event store and of the saga store."""
        return [
            PostgresOutbox(self._event_store_pool, EVENT_OUTBOX),
            PostgresOutbox(self._command_pool, SAGA_OUTBOX),
        ]

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return PostgresDeadLetters(self._command_pool)

    def missing_migrations(self, database: Database) -> list[str]:
        """Files that have not been applied to it. Raises Unavailable."""
        pool = self._event_store_pool if database == "event_store" else self._command_pool
        with pool.use("the database") as connection:
            return missing(connection, SQL_FOLDERS[database])

    @cached_property
    def checkup(self) -> Checkup:
        """What the health checks of this process have found."""
        return Checkup()

    @cached_property
    def cache(self) -> SingleFlightCache:
        """What this process has found out lately for those who watch the shop."""
        return SingleFlightCache()

    def undelivered(self) -> Mapping[str, int] | None:
        """Messages that wait for each subscription, by its name; None where the broker does not say."""
        return None

    @cached_property
    def publisher(self) -> Publisher:
        from shared.messaging.pubsub import PubSubPublisher

        return PubSubPublisher(self.settings.project_id, self.breakers["Pub/Sub"])

    @cached_property
    def read_models(self) -> ReadModels:
        from shared.read_models.firestore import FirestoreReadModels

        return EveryGeneration(FirestoreReadModels(self.settings.project_id, self.breakers["Firestore"]))

    @cached_property
    def queries(self) -> LiveGeneration:
        from shared.read_models.firestore import FirestoreQueries

        return LiveGeneration(FirestoreQueries(self.settings.project_id, self.breakers["Firestore"]))

    @cached_property
    def payments(self) -> PaymentGateway:
        authorization = self.settings.payment_authorization
        return HttpPayments(self.settings.payment_url, self.breakers["the payment provider"], authorization)

    @cached_property
    def shipping(self) -> ShippingGateway:
        authorization = self.settings.shipping_authorization
        return HttpShipping(self.settings.shipping_url, self.breakers["the shipping provider"], authorization)

    @cached_property
    def sandbox(self) -> Sandbox:
        return Sandbox(self.settings.sandbox_database)

    @cached_property
    def order_saga(self) -> Coordinator:
        saga = ORDER_FULFILMENT.at_pace(self.settings.saga_pace)
        return Coordinator(saga, ORDER, self.event_store, self.sagas)

    @cached_property
    def _event_store_pool(self) -> Pool:
        return self._pool(self.settings.event_store_url)

    @cached_property
    def _command_pool(self) -> Pool:
        return self._pool(self.settings.command_database_url)

    def _pool(self, url: str) -> Pool:
        return connect(url, self.settings.pool_size, login_token if self.settings.database_iam else None)


_engines: Engines | None = None
_lock = Lock()


def engines() -> Engines:
    """This process's engines, chosen by the setting PROFILE."""
    with _lock:  # the first requests may come together
        return _engines or use(_chosen())


def use(chosen: Engines) -> Engines:
    """Make these the process's engines."""
    global _engines
    _engines = chosen
    return chosen


def _chosen() -> Engines:
    logs.configure(settings().project_id)
    if settings().profile == "engines":
        return Engines(settings())
    from shared.runtime.memory_engines import MemoryEngines, PostgresEngines

    return MemoryEngines(settings()) if settings().profile == "memory" else PostgresEngines(settings())
