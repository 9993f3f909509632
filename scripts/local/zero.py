"""Scale functions to zero on this machine, as Cloud Run does: each runs in a process of its own,
which its first request starts and which ends when no request has come for a while."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from scripts.local.forward import client, forward
from scripts.local.ports import free_port
from scripts.local.processes import CannotStart, Processes
from shared.config.manifest import ROOT, Function

T = TypeVar("T")

_AT_ONCE = 100  # starts and stops
_SECONDS = 120
"""For a process to listen."""


@dataclass(frozen=True)
class ColdStart:
    """`began`, `ready`: the monotonic clock's seconds when the process was started and when it
    listened."""

    function: str
    began: float
    ready: float


@dataclass
class Instances:
    """The processes of all functions. `idle_seconds`: how long one stays without a request.
    `cold_starts`: all so far, in the order of their ends."""

    logs: Path
    idle_seconds: float
    cold_starts: list[ColdStart] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._processes, self._threads = Processes(self.logs), ThreadPoolExecutor(_AT_ONCE)

    async def in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run a start or a stop, all at the same time. The event loop's own threads are few on a
        machine with few processors, so that the seventh start of a service waited for the first."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def app(self, function: Function) -> "ScaledToZero":
        return ScaledToZero(function, self)

    @property
    def running(self) -> list[str]:
        return [name for name, process in self._processes.running.copy().items() if process.poll() is None]

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time so far of each function that runs."""
        return {name: self._processes.processor_seconds(name) for name in self.running}

    def pid(self, name: str) -> int:
        return self._processes.running[name].pid

    def start(self, function: Function) -> int:
        """Start the function as the cloud does and return its port. Raise CannotStart."""
        began, port = time.monotonic(), free_port()
        served = {
            "FUNCTION_SOURCE": str(function.source),
            "FUNCTION_TARGET": function.name,
            "PORT": str(port),
            "PYTHONPATH": str(ROOT),
            "THREADS": str(function.concurrency),
        }
        command = [Path(sys.executable).with_name("functions-framework")]
        self._processes.start(function.name, command, os.environ | served)
        self._processes.wait_until_listening(function.name, port, _SECONDS)
        self.cold_starts.append(ColdStart(function.name, began, time.monotonic()))
        return port

    def is_running(self, name: str) -> bool:
        return name in self.running

    def stop(self, name: str) -> None:
        self._processes.stop_one(name)

    def stop_all(self) -> None:
        self._processes.stop()


class ScaledToZero:
    """An ASGI application that passes each request on to the function's process, and starts it when
    it does not run."""

    def __init__(self, function: Function, instances: Instances) -> None:
        self._function, self._instances = function, instances
        self._starting, self._port = asyncio.Lock(), 0
        self._under_way, self._last_used = 0, 0.0
        self._http = client(function.timeout_seconds)
        self._watching: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connections to the process, and look after it no longer."""
        if self._watching:
            self._watching.cancel()
        await self._http.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._under_way += 1
        try:
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)
        finally:
            self._under_way -= 1
            self._last_used = time.monotonic()

    async def _answer(self, request: Request) -> Response:
        try:
            port = await self._running()
            body = await request.body()
        except CannotStart as error:
            return PlainTextResponse(f"{error}\n", 503)
        except ClientDisconnect:
            return PlainTextResponse("the client left\n", 499)
        try:
            return await forward(self._http, request, body, port)
        except httpx.TransportError as error:
            return PlainTextResponse(f"{self._function.name} does not answer: {error!r}\n", 503)

    async def _running(self) -> int:
        async with self._starting:
            if not self._port or not self._instances.is_running(self._function.name):
                self._port = await self._instances.in_thread(self._instances.start, self._function)
                if self._watching is None:
                    self._watching = asyncio.create_task(self._stop_when_idle())
            return self._port

    async def _stop_when_idle(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._instances.idle_seconds / 4))
            async with self._starting:  # no request comes in between
                idle = not self._under_way and time.monotonic() - self._last_used > self._instances.idle_seconds
                if idle and self._port:
                    self._port = 0
                    await self._instances.in_thread(self._instances.stop, self._function.name)
