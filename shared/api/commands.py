"""Calling the command functions."""

import asyncio
import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from uuid_utils.compat import uuid7

from shared.auth.permissions import Actor
from shared.auth.service_identity import authorization
from shared.domain.errors import ANSWERS, ShopError, TimedOut, Unavailable
from shared.observability.context import Context

_ERRORS: dict[str, type[ShopError]] = {code: kind for kind, (_, code) in ANSWERS.items() if issubclass(kind, ShopError)}


class CommandClient:
    """`url`: of a command function, with `{function}` for its name. `timeout`: seconds for one call."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=100))

    async def send(self, function: str, command: dict[str, Any], context: Context, actor: Actor) -> dict[str, Any]:
        """The command's answer, `{stream, version, entity}`.

        Raises the error the function answered with, TimedOut or Unavailable. A call without an answer is repeated once
        under the same key, so it never happens twice.
        """
        headers = {
            "Idempotency-Key": str(uuid7()),
            "X-Correlation-Id": context.correlation_id,
            "X-Actor": quote(actor.name),
            "X-Role": actor.role.value,
            "Content-Type": "application/json",
            **await authorization(self._url.format(function=function)),
        }
        body = json.dumps(command, default=_plain).encode()
        try:
            response = await self._post(function, body, headers)
        except httpx.TransportError:
            response = None
        if response is None or response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            response = await self._again(function, body, headers)
        return _answer(function, response)

    async def _again(self, function: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """The first attempt may have been carried out, so what fails again is never said to have had no effect."""
        await asyncio.sleep(0.1)
        try:
            return await self._post(function, body, headers)
        except httpx.ConnectError as error:
            raise Unavailable(f"{function} does not answer; look whether it happened before you try again") from error
        except httpx.TransportError as error:
            raise TimedOut(f"{function} did not answer in time; it may have happened") from error

    async def _post(self, function: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return await self._client.post(self._url.format(function=function), content=body, headers=headers)


def _answer(function: str, response: httpx.Response) -> dict[str, Any]:
    try:
        answer: Any = response.json()
    except ValueError as error:  # not ours: a proxy or the platform answered
        raise Unavailable(f"{function} answered {response.status_code}; try again in a moment") from error
    if response.status_code == httpx.codes.OK:
        done: dict[str, Any] = answer
        return done
    kind = _ERRORS.get(answer.get("code", "")) if isinstance(answer, dict) else None
    if kind and isinstance(answer.get("message"), str):
        raise kind(answer["message"], answer.get("field") or ())
    raise RuntimeError(f"{function} answered {response.status_code}")


def _plain(value: Any) -> str:
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be sent")
