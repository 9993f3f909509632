"""Call the command functions, and resolve mutations by calling them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import httpx
import structlog
from google.auth.exceptions import GoogleAuthError

from shared.api.context import Info
from shared.api.inputs import uuid
from shared.api.wake_ahead import wake_ahead
from shared.auth.identity import authorization
from shared.auth.permissions import Actor, Permission, require
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.domain.errors import Invalid, Path, ShopError, TimedOut, Unavailable
from shared.domain.faults import at
from shared.domain.order import ORDER
from shared.monitoring.recorder import watched
from shared.observability.context import Context, SpanKind, annotate, caused_by, current, span, traceparent
from shared.observability.error_codes import ERROR_CODES
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.resilience.breakers import BreakerOpen, Breakers
from shared.resilience.calls import OutOfTime, time_left

_ERRORS: dict[str, type[ShopError]] = {
    code: kind for kind, (_, code) in ERROR_CODES.items() if issubclass(kind, ShopError)
}

_log = structlog.get_logger()

_KEYS = UUID("5f0c2f6e-52f5-4c2e-9a2e-0d9c2a5b7d11")
"""The namespace of the idempotency keys that are derived from a client's key."""

_MARGIN = 0.5
"""Seconds that a function gets less than we wait, so that its own TIMEOUT still reaches us."""


@dataclass(frozen=True)
class _NoAnswer:
    """The function itself has not answered. `error`: for the client."""

    error: ShopError


class CommandClient:
    def __init__(self, settings: Settings, breakers: Breakers, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._timeout = settings.command_timeout_seconds
        self._breakers = breakers
        self._http = http

    async def send(self, function: str, command: dict[str, Any], context: Context, actor: Actor) -> dict[str, Any]:
        """Return the command's answer, `{stream, version, entity}`.

        `context.causation_id` is the idempotency key. A call without a clear answer is repeated
        once under the same key, so the command never happens twice. Raises the error that the
        function answered with, TimedOut or Unavailable.
        """
        headers = {
            "Idempotency-Key": context.causation_id,
            "X-Correlation-Id": context.correlation_id,
            "X-Actor": quote(actor.name),
            "X-Role": actor.role.value,
            "Content-Type": "application/json",
        }
        body = json.dumps(command, default=_plain, sort_keys=True).encode()
        try:
            return await self._once(function, body, headers)
        except (BreakerOpen, OutOfTime):
            raise
        except (Unavailable, TimedOut) as error:
            first = error
            await asyncio.sleep(0.1)
        try:
            return await self._once(function, body, headers)
        except (Unavailable, TimedOut) as error:
            cause = first if isinstance(first, TimedOut) else error  # a hung function refuses more
            cause.message += "; it may have happened: repeat it with the same Idempotency-Key, or query its result"
            raise cause from None

    async def _once(self, function: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """A function that says at once that its store is unavailable works: its breaker stays
        closed, so the first command after the store's outage succeeds."""
        with self._breakers[function].guard():
            with span(f"POST {function}", SpanKind.CLIENT, {"http.request.method": "POST"}):
                answer = await self._call(function, body, headers)
            if isinstance(answer, _NoAnswer):
                raise answer.error
            if isinstance(answer, TimedOut):
                raise answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _call(
        self, function: str, body: bytes, headers: dict[str, str]
    ) -> dict[str, Any] | Exception | _NoAnswer:
        url, left = manifest().functions[function].url(self._settings), time_left(self._timeout)
        bounded = headers | {"X-Timeout": f"{max(_MARGIN, left - _MARGIN):.3f}"}
        if trace := traceparent() or current().traceparent:
            bounded["traceparent"] = trace
        try:
            async with asyncio.timeout(left):
                signed = bounded | await authorization(url)
                return _answer(function, await self._http.post(url, content=body, headers=signed))
        except (httpx.TimeoutException, TimeoutError):
            return _NoAnswer(TimedOut(f"no answer from {function} in time"))
        except (httpx.TransportError, httpx.DecodingError, GoogleAuthError) as error:
            _log.warning("a command function does not answer", called=function, reason=repr(error))
            return _NoAnswer(Unavailable(f"no answer from {function}; try again in a moment"))


def _answer(function: str, response: httpx.Response) -> dict[str, Any] | Exception | _NoAnswer:
    try:
        answer: Any = response.json()
    except ValueError:  # a proxy or the platform answered, not the function
        return _NoAnswer(Unavailable(f"{function} answered {response.status_code}; try again in a moment"))
    if response.status_code == httpx.codes.OK:
        result: dict[str, Any] = answer
        return result
    kind = _ERRORS.get(answer.get("code", "")) if isinstance(answer, dict) else None
    if kind and isinstance(answer.get("message"), str):
        return kind(answer["message"], answer.get("field") or ())
    return RuntimeError(f"{function} answered {response.status_code}")


def _plain(value: Any) -> str:
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be sent as JSON")


@dataclass(frozen=True)
class CommandMutation:
    """The resolver of a mutation that one command function carries out.

    `permission`: required here, and again by the command function. `id_field`: the command's name
    for the argument `id`; without that argument the command function makes the id, so that the same
    request stays the same command. `result`: makes the mutation's result from the written entity.
    """

    function: str
    permission: Permission
    id_field: str
    result: Callable[[Fields], Fields] = lambda entity: entity

    async def __call__(self, _: Any, info: Info, **arguments: Any) -> Fields:
        request = info.context
        require(self.permission, request.actor)
        if "id" in arguments:
            arguments["id"] = uuid(arguments["id"], "id")
        context = keyed(info)
        try:
            answer = await send(info, self.function, self._command(arguments), context)
        except ShopError as error:
            there, here = at(error.field, ""), tuple(self._argument(arguments, error.field))
            if there and error.message.startswith(there):
                error.message = at(here, error.message.removeprefix(there))
            error.field = here
            raise
        request.written[answer["stream"]] = answer["version"]
        return self.result(answer["entity"])

    def _command(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in arguments.items() if name not in ("id", "input")}
        entity_id = {self.id_field: arguments["id"]} if "id" in arguments else {}
        return {**arguments.get("input", {}), **rest, **entity_id}

    def _argument(self, arguments: Mapping[str, Any], field: Path) -> Path:
        """Return the path in the arguments that `field`, a path in the command, came from."""
        if not field:
            return ()
        if field[0] in (self.id_field, "id"):
            return ("id",)
        return ("input", *field) if "input" in arguments else field


def keyed(info: Info) -> Context:
    """Return the request's context with this field's own idempotency key as its causation id.

    A request may have several mutations, so each key is derived from the client's key and the
    field's response path. Without a client's key it is random. Raises Invalid for a malformed key.
    """
    key = info.context.idempotency_key
    if key is not None and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise Invalid("the header Idempotency-Key must be 1 to 200 printable ASCII characters", ("Idempotency-Key",))
    own = clock.new_id() if key is None else uuid5(_KEYS, "/".join([*map(str, info.path.as_list()), key]))
    return caused_by(info.context.context, str(own))


def named(function: str) -> str:
    """Return the name of a function's command: create_order is CreateOrder."""
    return function.title().replace("_", "")


async def send(
    info: Info, function: str, command: dict[str, Any], context: Context, name: str | None = None
) -> dict[str, Any]:
    """Return the command function's answer, and record the call in the history of executions.

    `name`: under which it is recorded, by default the function's."""
    request, engines = info.context, info.context.engines
    name = name or named(function)
    if "orderId" in command:
        annotate(subject=f"{ORDER.name}-{command['orderId']}")
    client = CommandClient(engines.settings, engines.breakers, engines.command_http)
    wake_ahead(engines).before(function, engines.command_http)
    with watched(engines.recorder, "command", name, context, command) as watch:
        answer = await client.send(function, command, context, request.actor)
        watch.subject, watch.version = answer.get("stream"), answer.get("version")
        annotate(subject=watch.subject)
    return answer
