"""Check what a function depends on: the databases, the broker and the providers of its entry in the
manifest."""

from collections.abc import Set
from contextvars import copy_context
from functools import partial
from typing import Protocol

from shared.config.manifest import Database, Dependency, Function, manifest
from shared.config.settings import Settings
from shared.messaging.outbox import Publisher
from shared.monitoring.health import Check, Finding, HealthStatus
from shared.observability.sentences import joined, said
from shared.read_models.protocol import ReadModels
from shared.resilience import clock
from shared.resilience.breakers import Breakers

_BREAKERS = {
    "firestore": "Firestore",
    "pubsub": "Pub/Sub",
    "payments": "the payment provider",
    "shipping": "the shipping provider",
    "notifications": "the notification provider",
}
"""The name of the circuit breaker around each dependency and each provider, as the manifest calls
them."""


class CheckedEngines(Protocol):
    """What the dependency checks use of a process's engines."""

    settings: Settings
    breakers: Breakers

    @property
    def read_models(self) -> ReadModels: ...
    @property
    def publisher(self) -> Publisher: ...

    def missing_migrations(self, database: Database) -> list[str]:
        """Return the names of the migrations that the database lacks. Raise Unavailable."""


def dependencies(engines: CheckedEngines, function: str) -> list[Check]:
    """Return a check for each dependency in the function's entry in the manifest, and one for its
    circuit breakers in this process, which no other process knows of.

    Locally one process runs many functions: the breaker of one function's dependency says nothing
    about the others."""
    limit, about = engines.settings.health_check_seconds, manifest().functions[function]
    checks = [Check(name, partial(_dependency, engines, name), limit) for name in about.uses]
    own = breakers_of(about)
    return [*checks, Check("breakers", partial(_breakers, engines, own), limit, key=f"breakers of {function}")]


def breakers_of(function: Function) -> frozenset[str]:
    """Return the names of the breakers around the calls that a function makes."""
    called = {_BREAKERS[name] for name in (*function.uses, function.calls) if name in _BREAKERS}
    if function.name == "graphql":  # it calls the command functions
        called |= {one.name for one in manifest().of_service("command") if one.http and one.uses}
    return frozenset(called)


def _dependency(engines: CheckedEngines, name: Dependency) -> Finding:
    match name:
        case "event_store" | "command_database":
            if missing := engines.missing_migrations(name):
                details = {"missingMigrations": len(missing)}
                return Finding(HealthStatus.UNHEALTHY, said("NOT_MIGRATED"), details)
            return Finding(HealthStatus.HEALTHY, said("ANSWERS_MIGRATED"))
        case "firestore":
            engines.read_models.update("health", "probe", lambda _: None)  # changes nothing, so it only reads
            return Finding(HealthStatus.HEALTHY, said("ANSWERS"))
        case "pubsub":
            if lacking := _missing_topics(engines.publisher):
                message = said("LACKS_TOPICS", number=len(lacking), topics=", ".join(lacking[:3]))
                return Finding(HealthStatus.UNHEALTHY, message, {"missingTopics": lacking})
            return Finding(HealthStatus.HEALTHY, said("ANSWERS"))


def _missing_topics(publisher: Publisher) -> list[str]:
    """Return the manifest's topics that do not exist. Each look-up has the time that this check has
    left."""
    first, *others = manifest().topics
    known = [publisher.has_topic(first)]  # alone: while the broker is down, only one look-up fails
    with clock.executor(8, "topics") as threads:
        lookups = [threads.submit(copy_context().run, publisher.has_topic, topic) for topic in others]
        known += [lookup.result() for lookup in lookups]
    return [topic for topic, exists in zip(manifest().topics, known, strict=True) if not exists]


def _breakers(engines: CheckedEngines, own: Set[str]) -> Finding:
    states = {name: state for name, state in engines.breakers.states().items() if name in own}
    not_closed = [
        said("BREAKER_IS_OPEN" if state == "open" else "BREAKER_IS_HALF_OPEN", dependency=name)
        for name, state in states.items()
        if state != "closed"
    ]
    status = HealthStatus.DEGRADED if not_closed else HealthStatus.HEALTHY
    message = joined("ALSO", not_closed) if not_closed else said("NO_BREAKER_OPEN")
    return Finding(status, message + said("IN_THIS_PROCESS"), {"breakers": dict(states)})
