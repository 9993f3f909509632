"""Call the graphql function, whose code is asynchronous: each request has an event loop that runs in virtual time."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

import httpx
from starlette.requests import Request

from shared.api.app import respond
from tests.simulation.world import SimulatedWorld

T = TypeVar("T")


class Loop(asyncio.AbstractEventLoop):
    """As much of an event loop as tasks, futures and time-outs need. It belongs to one task of the simulation."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._ready: deque[tuple[asyncio.Handle, Callable[..., object], tuple[Any, ...], Context]] = deque()
        self._timers: list[tuple[float, int, asyncio.Handle, Callable[..., object], tuple[Any, ...], Context]] = []
        self._numbers = count()
        self._wake: Callable[[], object] | None = None

    def run_until_complete(self, future: Any) -> Any:
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(future)
            while not task.done():
                self._turn()
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def _turn(self) -> None:
        """Run what is ready; without that, let other tasks run until the next timer or a call from one of them."""
        while self._timers and (self._timers[0][0] <= self.time() or self._timers[0][2].cancelled()):
            _, _, *due = heappop(self._timers)
            self._ready.append(tuple(due))  # type: ignore[arg-type]
        if not self._ready:
            self._wake = self._world.waker()
            if self._timers:
                self._world.at(self._timers[0][0] - self.time(), self._wake)
            self._world.wait()
            self._wake = None
        while self._ready:
            handle, callback, arguments, context = self._ready.popleft()
            if not handle.cancelled():
                context.run(callback, *arguments)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        context = copy_context() if context is None else context  # an empty one is false
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((handle, callback, args, context))
        if self._wake:
            self._world.at(0, self._wake)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context  # an empty one is false
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), handle, callback, args, context))
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def time(self) -> float:
        return self._world.time

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run at once: what the shop leaves to the default executor does not wait."""
        done: Future[T] = Future()
        done.set_result(func(*args))
        return asyncio.wrap_future(done, loop=self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None: ...

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...


class ToCommands(httpx.AsyncBaseTransport):
    """Brings the graphql function's requests to command functions. `call`: sends one, and returns its answer."""

    def __init__(self, call: Callable[[str, bytes, Mapping[str, str]], Future[Any]]) -> None:
        self._call = call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        function = request.url.path.strip("/")
        answer = await asyncio.wrap_future(self._call(function, request.content, dict(request.headers)))
        if not answer.status:
            raise httpx.ReadError("the function was killed", request=request)
        return httpx.Response(answer.status, text=answer.text, headers={"Content-Type": "application/json"})


def ask(world: SimulatedWorld, query: str, variables: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """Send a GraphQL request to the function in the present task's process, and return the decoded answer."""
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

    work: Coroutine[Any, Any, bytes] = answer()
    return json.loads(Loop(world).run_until_complete(work))
