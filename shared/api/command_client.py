"""Calling the command functions."""

import asyncio
import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from google.auth.exceptions import GoogleAuthError

from shared.auth.identity import authorization
from shared.auth.permissions import Actor
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.domain.errors import ShopError, TimedOut, Unavailable
from shared.observability.context import ANSWERS, Context, SpanKind, current, span, traceparent
from shared.resilience.breakers import BreakerOpen, Breakers
from shared.resilience.calls import OutOfTime, time_left

_ERRORS: dict[str, type[ShopError]] = {code: kind for kind, (_, code) in ANSWERS.items() if issubclass(kind, ShopError)}

_MARGIN = 0.5
"""Seconds that the answer of a command that ran out of time needs to reach us in time."""


class CommandClient:
    def __init__(self, settings: Settings, breakers: Breakers, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._timeout = settings.command_timeout_seconds
        self._breakers = breakers
        self._http = http

    async def send(self, function: str, command: dict[str, Any], context: Context, actor: Actor) -> dict[str, Any]:
        """The command's answer, `{stream, version, entity}`. `context.causation_id` is the idempotency key.

        Raises the error the function answered with, TimedOut or Unavailable. A call without a clear answer is repeated
        once under the same key, so it never happens twice.
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
            told = first if isinstance(first, TimedOut) else error  # what hangs has no room for the next either
            told.message += "; it may have happened: ask again under the same Idempotency-Key, or look"
            raise told from None

    async def _once(self, function: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """A fault of the function is no reason to stop calling it: it may lie in what this one client asked."""
        with self._breakers[function].guard():
            with span(f"POST {function}", SpanKind.CLIENT, {"http.request.method": "POST"}):
                answer = await self._call(function, body, headers)
            if isinstance(answer, Unavailable | TimedOut):
                raise answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _call(self, function: str, body: bytes, headers: dict[str, str]) -> dict[str, Any] | Exception:
        url, left = manifest().functions[function].url(self._settings), time_left(self._timeout)
        bounded = headers | {"X-Timeout": f"{max(_MARGIN, left - _MARGIN):.3f}"}
        if trace := traceparent() or current().traceparent:
            bounded["traceparent"] = trace
        try:
            async with asyncio.timeout(left):
                signed = bounded | await authorization(url)
                return _answer(function, await self._http.post(url, content=body, headers=signed))
        except (httpx.TimeoutException, TimeoutError):
            return TimedOut(f"{function} did not answer in time")
        except (httpx.TransportError, httpx.DecodingError, GoogleAuthError) as error:
            return Unavailable(f"{function} does not answer: {type(error).__name__}")


def _answer(function: str, response: httpx.Response) -> dict[str, Any] | Exception:
    try:
        answer: Any = response.json()
    except ValueError:  # not ours: a proxy or the platform answered
        return Unavailable(f"{function} answered {response.status_code}; try again in a moment")
    if response.status_code == httpx.codes.OK:
        done: dict[str, Any] = answer
        return done
    kind = _ERRORS.get(answer.get("code", "")) if isinstance(answer, dict) else None
    if kind and isinstance(answer.get("message"), str):
        return kind(answer["message"], answer.get("field") or ())
    return RuntimeError(f"{function} answered {response.status_code}")


def _plain(value: Any) -> str:
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be sent")
