"""Why something happens: the ids that tie a request, its events and everything that follows from them together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from uuid_utils.compat import uuid7


@dataclass(frozen=True)
class Context:
    """`correlation_id`: the same for all that one client request leads to. `causation_id`: the command or message that
    directly caused this. `actor`: who asked, as a user id; "nobody" without sign-in, "system" for the shop itself.
    `traceparent`: W3C Trace Context."""

    correlation_id: str
    causation_id: str
    actor: str = "nobody"
    traceparent: str | None = None


_current: ContextVar[Context] = ContextVar("context")


def current() -> Context:
    """The context of the request being handled; outside of one, a new context of the shop itself."""
    return _current.get(None) or fresh()


def current_or_none() -> Context | None:
    return _current.get(None)


def fresh(actor: str = "system") -> Context:
    new_id = str(uuid7())
    return Context(correlation_id=new_id, causation_id=new_id, actor=actor)


def caused_by(context: Context, causation_id: str) -> Context:
    return replace(context, causation_id=causation_id)


@contextmanager
def within(context: Context) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def stored_context(metadata: Mapping[str, Any]) -> Context:
    """As it was stored, perhaps by a newer version of this code that knew more."""
    known = {field.name for field in fields(Context)}
    return Context(**{name: value for name, value in metadata.items() if name in known})
