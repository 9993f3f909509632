"""The decorators that make an HTTP function of a command: check who asks, decode, carry out once,
answer."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, TypeVar
from unicodedata import category
from urllib.parse import unquote

import flask
from pydantic.alias_generators import to_camel

from shared.auth.identity import without_sign_in
from shared.auth.permissions import ANONYMOUS, Actor, Permission, Role, require
from shared.domain.errors import Invalid, ShopError
from shared.domain.order import ORDER
from shared.event_store.protocol import Append, EventStore
from shared.observability.context import Context, SpanKind, annotate, fresh, handling
from shared.resilience import clock
from shared.resilience.calls import deadline
from shared.runtime import http
from shared.runtime.current import engines
from shared.runtime.decode import decode, parse_json
from shared.runtime.engines import Engines
from shared.runtime.execute import Answer, Call, earlier_answer, fingerprint

Command = TypeVar("Command")
Handler = Callable[[Command, EventStore, Call], Answer]
AdminHandler = Callable[[Command, Engines, Call], Any]

_ACTOR_LENGTH = 128  # Firebase's limit for user ids
_SECONDS = re.compile(r"\d{1,5}(\.\d{1,9})?", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def command(
    kind: type[Command], permission: Permission, new: str | None = None
) -> Callable[[Handler[Command]], http.HttpFunction]:
    """Make an HTTP function that takes the command as a JSON object in a POST.

    `new`: the field for the id of the new aggregate; a request that leaves it out gets a new id.

    Headers: `X-Actor` (the user id, percent-encoded) and `X-Role`, `Idempotency-Key` (a repeated
    one gets the first answer again, for a day), `X-Timeout` (seconds), `X-Correlation-Id`,
    `traceparent`. Answers 200 with `{stream, version, entity}`, or an error `{code, message,
    field}`.
    """

    def decode_body(body: bytes) -> Command:
        fields = parse_json(body)
        if new and isinstance(fields, dict):
            fields.setdefault(new, str(clock.new_id()))
        return decode(kind, fields)

    def decorate(handle: Handler[Command]) -> http.HttpFunction:
        def carry_out(command: Command, call: Call) -> Answer:
            with _camel_case_fields():
                return handle(command, engines().event_store, call)

        return _command_function(handle, permission, decode_body, carry_out)

    return decorate


def admin_command(kind: type[Command]) -> Callable[[AdminHandler[Command]], http.HttpFunction]:
    """Make an HTTP function like `command`, for admins, of a command that appends no events.

    Answers 200 with the handler's result as JSON. The answer is stored under the idempotency key
    only after the handler has returned, so the handler may run twice and must be harmless then.
    """

    def decorate(handle: AdminHandler[Command]) -> http.HttpFunction:
        def carry_out(command: Command, call: Call) -> Answer:
            with _camel_case_fields():
                answer = Answer(json.dumps(handle(command, engines(), call)))
            engines().event_store.append(Append((), record=call.record(answer)))
            return answer

        def decode_body(body: bytes) -> Command:
            return decode(kind, parse_json(body))

        return _command_function(handle, Permission.ADMIN, decode_body, carry_out)

    return decorate


@contextmanager
def _camel_case_fields() -> Iterator[None]:
    """Name an error's field as the body does: the domain says category_id, JSON says categoryId.

    Errors of `decode` stay outside, because they already use the body's names; an unknown
    category_id must be named so.
    """
    try:
        yield
    except ShopError as error:
        error.field = tuple(to_camel(part) if isinstance(part, str) else part for part in error.field)
        raise


def _command_function(
    handle: Callable[..., Any],
    permission: Permission,
    decode_body: Callable[[bytes], Command],
    carry_out: Callable[[Command, Call], Answer],
) -> http.HttpFunction:
    """Make the HTTP function. `carry_out` also stores the answer that it returns."""
    name = handle.__name__

    @http.http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        if request.method != "POST":
            return flask.Response(status=405, headers={"Allow": "POST"})
        if request.mimetype != "application/json":
            message = f"Content-Type must be application/json; got {request.content_type or 'none'!s:.100}"
            return http.error_response(415, "INVALID_INPUT", message, ("Content-Type",))
        with http.measured(http.COMMANDS, name), _time_limit(request):
            actor = _actor(request)
            context = context_of(request, actor)
            annotate(context=context)  # the lines about a refusal carry it, too
            require(permission, actor)
            body = http.body_of(request, engines().settings.max_body_bytes)
            command = decode_body(body)
            if order_id := getattr(command, "order_id", None):
                annotate(subject=ORDER.stream(order_id))
            with handling(context, name, SpanKind.SERVER, {}) as inner:
                call = Call(actor, inner, fingerprint(name, actor.name, body))
                return http.json_response(_answer_once(command, call, carry_out))

    return function


def _time_limit(request: flask.Request) -> AbstractContextManager[None]:
    """Return the deadline of the caller's X-Timeout, or of the settings."""
    seconds = http.header(request, "X-Timeout", str(engines().settings.handler_timeout_seconds))
    if not _SECONDS.fullmatch(seconds):
        raise Invalid(f"X-Timeout must be a number of seconds like 9.5; got {seconds}", ("X-Timeout",))
    return deadline(float(seconds))


def _answer_once(command: Command, call: Call, carry_out: Callable[[Command, Call], Answer]) -> Answer:
    """Return the first answer under the call's idempotency key: an earlier one, this one's, or a
    concurrent one's."""
    store = engines().event_store
    if (earlier := earlier_answer(store, call)) is not None:
        return earlier
    try:
        return carry_out(command, call)
    except Exception:  # the same request may have been faster, or this one failed after its append
        if (recorded := earlier_answer(store, call)) is None:
            raise
        return recorded


def _actor(request: flask.Request) -> Actor:
    """Return the actor that the graphql function names; it has verified the token, and in the cloud
    no other service account may call."""
    if "X-Actor" not in request.headers and "X-Role" not in request.headers:
        return without_sign_in(engines().settings.sign_in_required)
    name = unquote(http.header(request, "X-Actor", ANONYMOUS.name, _ACTOR_LENGTH * 12))
    if len(name) > _ACTOR_LENGTH or any(category(character) in ("Cc", "Cs") for character in name):
        allowed = f"at most {_ACTOR_LENGTH} characters, percent-encoded, without control characters"
        raise Invalid(f"X-Actor must be {allowed}", ("X-Actor",))
    role, known = http.header(request, "X-Role", Role.READER.value), [role.value for role in Role]
    if role not in known:
        raise Invalid(f"X-Role must be one of {', '.join(known)}; got {role}", ("X-Role",))
    return Actor(None if name == ANONYMOUS.name else name, Role(role))


def context_of(request: flask.Request, actor: Actor) -> Context:
    """Return the context that the headers name. Raise Invalid for an id that cannot be stored."""
    new, trace = fresh(), request.headers.get("traceparent", "")
    return Context(
        correlation_id=http.header(request, "X-Correlation-Id", new.correlation_id),
        causation_id=http.header(request, "Idempotency-Key", new.causation_id),
        actor=actor.name,
        traceparent=trace if _TRACEPARENT.fullmatch(trace) else None,  # W3C Trace Context says to ignore another one
    )
