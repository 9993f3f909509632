"""What the resolvers of a request share: stores, and loaders that read each thing once."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import GraphQLResolveInfo

from shared.api.loaders import Loaders
from shared.auth.permissions import Actor
from shared.event_store.protocol import Checkpoint
from shared.observability.context import Context
from shared.read_models.protocol import Queries
from shared.runtime.engines import Engines


@dataclass(frozen=True)
class RequestContext:
    """`idempotency_key`: the client's, for all mutations of the request. `last_event_id`: where a
    subscription continues. `client`: the user or address that quotas count. `written`: the versions
    of the streams that mutations wrote."""

    engines: Engines
    queries: Queries
    loaders: Loaders
    context: Context
    actor: Actor
    idempotency_key: str | None = None
    last_event_id: str | None = None
    client: str = ""
    written: dict[str, int] = field(default_factory=dict)


Info = GraphQLResolveInfo[RequestContext]
Text = str | None
Number = int | None
"""Optional arguments."""
Resolver = Callable[..., Any]
"""Returns a field's value, or an awaitable, from the parent's value, Info and the arguments."""

ResumePoint = tuple[Checkpoint, ...]
"""How far a subscriber has come, in each of the logs that its subscription follows."""


class SourceEvent(NamedTuple):
    """`resume_point`: where a client that has seen this event continues; None without a history.
    `value`: the parent's value for the resolver; None to send only the resume point."""

    resume_point: ResumePoint | None
    value: Any


@dataclass(frozen=True)
class LiveField:
    """`subscribe`: checks the arguments, returns the events. `resolve`: makes an event's value."""

    subscribe: Callable[..., Coroutine[Any, Any, AsyncGenerator[SourceEvent]]]
    resolve: Resolver = lambda value, _info, **_arguments: value


Resolvers = Mapping[str, Mapping[str, Resolver | LiveField]]
"""Resolvers by type and field of schema.graphql; those of type Subscription are a `LiveField`.
A field without one is read from the parent's dict or dataclass under its name in snake_case."""
