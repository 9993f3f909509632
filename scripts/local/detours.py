"""Send a function's requests to a process of its own while one runs: `scripts/dev --only` and
`--debug`. The process holds the lock of the function's file in the folder DETOURS, which has its
port."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scripts.local.forward import client, forward
from scripts.local.running import DETOURS, content, locked
from shared.config.manifest import Function


@contextmanager
def detour(folder: Path, function: str, port: int) -> Iterator[None]:
    """Send the function's requests to `port` inside the block."""
    with locked(folder / function) as descriptor:
        os.pwrite(descriptor, str(port).encode(), 0)
        yield


def detour_port(folder: Path, function: str) -> int | None:
    """Return the port of the function's own process; None while it has none."""
    found = content(folder / function)
    return int(found) if found else None


def detoured(function: Function, app: ASGIApp) -> ASGIApp:
    """Return `app`, which leaves its requests to the function's own process while that runs."""
    if not (named := os.environ.get(DETOURS)):
        return app
    folder, http = Path(named), client(timeout=None)  # a debugger may hold the answer as long as it likes

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not detour_port(folder, function.name):
            await app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        while port := detour_port(folder, function.name):
            try:
                response = await forward(http, request, body, port)
            except httpx.ConnectError:  # it waits for its debugger, or is about to end
                await asyncio.sleep(0.1)
                continue
            except httpx.TransportError as error:
                await PlainTextResponse(f"{function.name} ended: {error!r}\n", 503)(scope, receive, send)
                return
            await response(scope, receive, send)
            return
        await PlainTextResponse(f"{function.name} ended before it answered\n", 503)(scope, receive, send)

    return either
