"""The decorator that makes a function of a command: decode, answer once, map errors."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, TypeVar
from unicodedata import category
from urllib.parse import unquote

import flask
from pydantic.alias_generators import to_camel

from shared.auth.identity import require_caller, without_sign_in
from shared.auth.permissions import Actor, Permission, Role, acting, require
from shared.domain.errors import Invalid, ShopError
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import Append, EventStore, IdempotencyRecord
from shared.observability.context import Context, SpanKind, fresh, handling
from shared.resilience import clock
from shared.resilience.calls import deadline
from shared.runtime.engines import Engines, engines
from shared.runtime.execute import Request, answer, earlier_answer, fingerprint, recording
from shared.runtime.http import (
    COMMANDS,
    HttpFunction,
    answering,
    body_of,
    decode,
    header,
    http_function,
    json_response,
    measured,
    parse_json,
)

Command = TypeVar("Command")
Handler = Callable[[Command, EventStore], Loaded[Any]]
_LONGEST_ACTOR = 128  # as long as Firebase lets a user id be
_SECONDS = re.compile(r"\d{1,5}(\.\d{1,9})?", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def command(
    kind: type[Command], permission: Permission, new: str | None = None
) -> Callable[[Handler[Command]], HttpFunction]:
    """An HTTP function that takes the command as a JSON object in a POST.

    `new`: the field for the id of what the command makes, which gets one where it is left out.

    Headers: `X-Actor` (who asks, percent-encoded) and `X-Role`, `Idempotency-Key` (a repeated one gets the first answer
    again, for a day), `X-Timeout` (seconds), `X-Correlation-Id`, `traceparent`. Answers 200 with
    `{stream, version, entity}`, or an error `{code, message, field}`.
    """

    def decoded(body: bytes) -> Command:
        given = parse_json(body)
        if new and isinstance(given, dict):
            given.setdefault(new, str(clock.new_id()))
        return decode(kind, given)

    def decorate(handle: Handler[Command]) -> HttpFunction:
        def carry_out(command: Command, asked: Request) -> str:
            with recording(asked), _camel_case_fields():
                return answer(handle(command, engines().event_store))

        return _posted(handle, _Task(handle.__name__, permission, decoded, carry_out))

    return decorate


def administrative(kind: type[Command]) -> Callable[[Callable[[Command, Engines], Any]], HttpFunction]:
    """Like `command`, for admins, and for what is no event: its answer is recorded under the idempotency key only after it
    was done, so doing it twice must be harmless by itself. Answers 200 with the handler's result as JSON;
    `current().actor` says who asked."""

    def decorate(handle: Callable[[Command, Engines], Any]) -> HttpFunction:
        def carry_out(command: Command, asked: Request) -> str:
            result = json.dumps(handle(command, engines()))
            engines().event_store.append(Append((), record=IdempotencyRecord(asked.key, asked.fingerprint, result)))
            return result

        task = _Task(handle.__name__, Permission.ADMIN, lambda body: decode(kind, parse_json(body)), carry_out)
        return _posted(handle, task)

    return decorate


@contextmanager
def _camel_case_fields() -> Iterator[None]:
    """Name an error's field as the body does: the domain says category_id, JSON says categoryId.

    Errors of `decode` stay outside, because they already use the body's names; an unknown category_id must be named so.
    """
    try:
        yield
    except ShopError as error:
        error.field = tuple(to_camel(part) if isinstance(part, str) else part for part in error.field)
        raise


@dataclass(frozen=True)
class _Task(Generic[Command]):
    """What a function does once it has been let: decode a body, carry the command out, record and return its answer."""

    name: str
    permission: Permission
    decoded: Callable[[bytes], Command]
    carry_out: Callable[[Command, Request], str]


def _posted(handle: Callable[..., Any], task: _Task[Any]) -> HttpFunction:
    @http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        if request.method != "POST":
            return flask.Response(status=405, headers={"Allow": "POST"})
        return answering(lambda: _in_time(request, task.name, lambda: _once(request, task)))

    return function


def _in_time(request: flask.Request, name: str, respond: Callable[[], flask.Response]) -> flask.Response:
    """Within what the caller will wait for, and counted."""
    with measured(COMMANDS, name):
        given = header(request, "X-Timeout", str(engines().settings.handler_timeout_seconds))
        if not _SECONDS.fullmatch(given):
            raise Invalid("X-Timeout must be seconds, such as 9.5", ("X-Timeout",))
        with deadline(float(given)):
            return respond()


def _once(request: flask.Request, task: _Task[Any]) -> flask.Response:
    """The first answer under the request's idempotency key, whoever has given it."""
    actor = _admitted(request, task.permission)
    context, store = _context(request, actor), engines().event_store
    body = body_of(request, engines().settings.max_body_bytes)
    asked = Request(context.causation_id, fingerprint(task.name, actor.name, body))
    command = task.decoded(body)
    with handling(context, task.name, SpanKind.SERVER, {}), acting(actor):
        earlier = earlier_answer(store, asked)
        if earlier is not None:
            return json_response(earlier)
        try:
            return json_response(task.carry_out(command, asked))
        except Exception:  # perhaps only because the same request was faster, or after it had been recorded
            recorded = earlier_answer(store, asked)
            if recorded is None:
                raise
            return json_response(recorded)


def _admitted(request: flask.Request, permission: Permission) -> Actor:
    """Who asks, and may."""
    require_caller(request.headers.get("Authorization"), engines().settings.caller_email)
    actor = _actor(request)
    require(permission, actor)
    return actor


def _actor(request: flask.Request) -> Actor:
    """As the graphql function says, which has verified the token and is the only one that may call."""
    if "X-Actor" not in request.headers and "X-Role" not in request.headers:
        return without_sign_in(engines().settings.sign_in_required)
    name = unquote(header(request, "X-Actor", "nobody", _LONGEST_ACTOR * 12))
    if len(name) > _LONGEST_ACTOR or any(category(c) in ("Cc", "Cs") for c in name):
        raise Invalid(
            f"X-Actor must be up to {_LONGEST_ACTOR} characters, percent-encoded, none for control", ("X-Actor",)
        )
    role = header(request, "X-Role", Role.READER.value)
    if role not in {known.value for known in Role}:
        raise Invalid(f"X-Role must be one of {', '.join(known.value for known in Role)}", ("X-Role",))
    return Actor(None if name == "nobody" else name, Role(role))


def _context(request: flask.Request, actor: Actor) -> Context:
    new = fresh()
    return Context(
        correlation_id=header(request, "X-Correlation-Id", new.correlation_id),
        causation_id=header(request, "Idempotency-Key", new.causation_id),
        actor=actor.name,
        traceparent=_traceparent(request),
    )


def _traceparent(request: flask.Request) -> str | None:
    """W3C Trace Context says to ignore one that is malformed."""
    value = request.headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None
