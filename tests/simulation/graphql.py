"""Call the graphql function, whose code is asynchronous: each request has an event loop of its
own."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import httpx
from starlette.requests import Request

from shared.api.app import respond
from tests.simulation.loop import Loop
from tests.simulation.world import SimulatedWorld

PERSONAL = re.compile(r'customer \d|ref-[0-9a-f]|"ann"')
"""The names of customers and of the admin, and the references of payments and parcels."""


class ToFunctions(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Brings the graphql function's requests to other functions. `call`: sends one, and returns its
    answer."""

    def __init__(self, call: Callable[..., Future[Any]]) -> None:
        self._call = call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._response(request, await asyncio.wrap_future(self._sent(request)))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._response(request, self._sent(request).result())

    def _sent(self, request: httpx.Request) -> Future[Any]:
        function, _, path = request.url.path.strip("/").partition("/")
        return self._call(function, request.read(), dict(request.headers), request.method, f"/{path}")

    def _response(self, request: httpx.Request, answer: Any) -> httpx.Response:
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
