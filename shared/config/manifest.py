"""Decode functions/manifest.yaml: the functions, and the topics and subscriptions they imply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, with_config

from shared.config.settings import Settings, url_of
from shared.domain.errors import NotFound
from shared.domain.faults import shown

ROOT = Path(__file__).resolve().parents[2]
Database = Literal["event_store", "command_database"]
Dependency = Literal[Database, "firestore", "pubsub"]
Group = Literal["graphql", "commands", "projections", "sagas", "operations"]
Access = Literal[
    "coordination",
    "relay",
    "recording",
    "administration",
    "expiry",
    "reporting",
    "rebuilding",
    "erasure",
    "commands",
    "ordering",
]
strict = with_config(ConfigDict(extra="forbid"))

_OF_COMMANDS = ("postgres", "sagas", "dead_letters", "monitoring", "erasure")
SQL_FOLDERS: Mapping[Database, list[Path]] = {
    "event_store": [ROOT / f"shared/{package}/sql" for package in ("postgres", "event_store")],
    "command_database": [ROOT / f"shared/{name}/sql" for name in _OF_COMMANDS],
}
"""The folders of each database's SQL files, in the order in which their always_*.sql files are
applied."""


@dataclass(frozen=True)
class Subscription:
    """One consumer of one topic, derived from the manifest.

    `endpoint`: the function that it pushes to. `min_backoff`, `max_backoff`: seconds between two
    attempts. After `max_attempts` a message moves to `dead_letter_topic`; without such a topic it
    is delivered again without end.
    """

    name: str
    topic: str
    endpoint: str
    service: str
    min_backoff: float
    max_backoff: float
    max_attempts: int
    ack_deadline: int
    dead_letter_topic: str | None


@strict
@dataclass(frozen=True)
class Schedule:
    """`cron`: when Cloud Scheduler calls. `local_seconds`: between two calls by the local
    runner."""

    cron: str
    local_seconds: float

    def seconds(self, in_the_cloud: bool) -> float:
        """Return the time between two calls. In the cloud that is a minute, or an hour for a cron
        with a minute."""
        if not in_the_cloud:
            return self.local_seconds
        return 60 if self.cron.startswith("*") else 3600


@strict
@dataclass(frozen=True)
class Function:
    name: str
    group: Group
    service: Literal["client", "command", "query"]
    uses: Sequence[Dependency]
    memory: str
    cpu: float
    timeout_seconds: int
    concurrency: int
    min_instances: int
    max_instances: int
    pool_size: int
    http: bool = False
    public: bool = False
    topics: Sequence[str] = ()
    dead_letters: bool = False
    schedule: Schedule | None = None
    access: Sequence[Access] = ()
    calls: Literal["payments", "shipping", "notifications"] | None = None
    publishes: Sequence[str] = ()
    begins_saga: bool = False

    @property
    def database_roles(self) -> list[str]:
        """The PostgreSQL roles, made by the migrations, of a function that uses such a database."""
        has_any = {"event_store", "command_database"} & set(self.uses)
        kinds: Sequence[str] = self.access or [self.group]
        return [f"shop_{kind}" for kind in kinds] if has_any else []

    @property
    def source(self) -> Path:
        """The file that the functions framework loads: functions/<group>/<name>/main.py."""
        folder = ROOT / "functions" / self.group
        return (folder if self.group == self.name else folder / self.name) / "main.py"

    def url(self, settings: Settings) -> str:
        """Return the URL at which the function is called."""
        return url_of(settings.query_url if self.service == "query" else settings.command_url, self.name)

    @property
    def read_model(self) -> str:
        """The read model that a projection keeps."""
        return self.name.removeprefix("project_")


@strict
@dataclass(frozen=True)
class Delivery:
    """What all push subscriptions have in common."""

    ack_deadline_seconds: int
    min_backoff_seconds: float
    max_backoff_seconds: float
    max_delivery_attempts: int


@strict
@dataclass(frozen=True)
class Manifest:
    functions: Mapping[str, Function]
    subscriptions: Delivery

    def of_service(self, service: str) -> list[Function]:
        return [function for function in self.functions.values() if function.service == service]

    @property
    def topics(self) -> list[str]:
        """All topics, dead-letter topics included."""
        return list(dict.fromkeys(subscription.topic for subscription in self.all_subscriptions))

    @property
    def all_subscriptions(self) -> list[Subscription]:
        """One per consumer and topic, each followed by one that brings its dead letters to the
        recorder."""
        recorders = [function for function in self.functions.values() if function.dead_letters]
        found: list[Subscription] = []
        for function in self.functions.values():
            for topic in function.topics:
                dead = f"{subscription_of(function.name, topic)}.dead"
                found.append(self._subscription(function, topic, dead))
                found += [self._subscription(recorder, dead, None) for recorder in recorders]
        return found

    def topic_of(self, subscription: str) -> str:
        """Return the topic, also of a subscription that was deleted: its name ends in the
        topic's."""
        known = {one.name: one.topic for one in self.all_subscriptions}
        return known.get(subscription, subscription.partition(".")[2])

    def _subscription(self, function: Function, topic: str, dead_letter_topic: str | None) -> Subscription:
        every, name = self.subscriptions, subscription_of(function.name, topic)
        pace = (
            every.min_backoff_seconds,
            every.max_backoff_seconds,
            every.max_delivery_attempts,
            every.ack_deadline_seconds,
        )
        return Subscription(name, topic, function.name, function.service, *pace, dead_letter_topic)


def subscription_of(function: str, topic: str) -> str:
    return f"{function.replace('_', '-')}.{topic}"


def projection(name: str) -> Function:
    """Return a projection by its name. Raise NotFound, which lists the projections."""
    known = {one.name: one for one in manifest().functions.values() if one.group == "projections"}
    if name not in known:
        raise NotFound(f"no projection is called {shown(name)}; the projections are {', '.join(known)}", ("name",))
    return known[name]


@lru_cache
def manifest() -> Manifest:
    """Read functions/manifest.yaml, once per process.

    Raise pydantic's ValidationError, which names the entry, when the file is malformed.
    """
    raw: dict[str, Any] = yaml.load((ROOT / "functions" / "manifest.yaml").read_bytes(), yaml.CSafeLoader)
    defaults = raw.pop("defaults")
    raw["functions"] = {name: {"name": name} | defaults | entry for name, entry in raw["functions"].items()}
    return TypeAdapter(Manifest).validate_python(raw)
