"""Call the graphql function, whose code is asynchronous: each request has an event loop that runs
in virtual time."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import Any, TypeVar

import httpx
from starlette.requests import Request

from shared.api.app import respond
from tests.simulation.world import SimulatedWorld

T = TypeVar("T")


class _Selector:
    """Stands for the selector that an event loop waits with: lets other tasks run meanwhile."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self.wake: Callable[[], object] = int

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            self.wake = self._world.waker()
            if timeout is not None:
                self._world.at(timeout, self.wake)
            self._world.wait()
            self.wake = int
        return []


class Loop(asyncio.BaseEventLoop):
    """An event loop in virtual time. It belongs to one task of the simulation."""

    def __init__(self, world: SimulatedWorld) -> None:
        super().__init__()
        self._world, self._selector = world, _Selector(world)

    def time(self) -> float:
        return self._world.time

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call at once: what the shop leaves to the default executor does not wait."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing of tasks that were left when their request was answered or their process
        killed."""

    def abandon(self) -> None:
        """End the tasks that were left, without waiting for anything."""
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.call_soon(self.stop)
            self.run_forever()

    def _process_events(self, _: list[Any]) -> None: ...

    def _write_to_self(self) -> None:
        self._world.at(0, self._selector.wake)


class ToCommands(httpx.AsyncBaseTransport):
    """Brings the graphql function's requests to command functions. `call`: sends one, and returns
    its answer."""

    def __init__(self, call: Callable[[str, bytes, Mapping[str, str]], Future[Any]]) -> None:
        self._call = call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        function = request.url.path.strip("/")
        answer = await asyncio.wrap_future(self._call(function, request.content, dict(request.headers)))
        if not answer.status:
            raise httpx.ReadError("the function was killed", request=request)
        return httpx.Response(answer.status, text=answer.text, headers={"Content-Type": "application/json"})


def ask(world: SimulatedWorld, query: str, variables: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """Send a GraphQL request to the function in the present task's process, and return the decoded
    answer."""
    body = json.dumps({"query": query, "variables": dict(variables)}).encode()
    sent = {"content-type": "application/json", **headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("192.0.2.1", 1),
    }

    async def answer() -> bytes:
        return bytes((await respond(Request(scope, receive))).body)

    with closing(Loop(world)) as loop:
        try:
            return json.loads(loop.run_until_complete(answer()))
        finally:
            loop.abandon()
