"""Pass a request on to a function that runs in another process."""

import ssl
from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import StreamingResponse

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
"""Headers that concern one connection, and are not passed on: RFC 9110, section 7.6.1."""


def client(timeout: float | None) -> httpx.AsyncClient:
    """Return a client for `forward`. `timeout`: seconds, None for no limit."""
    without_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to load them for each function takes 50 ms
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=timeout, limits=limits, verify=without_certificates)


async def forward(http: httpx.AsyncClient, request: Request, body: bytes, port: int) -> StreamingResponse:
    """Return the answer of the process on `port`, which may be a stream. Raise httpx's
    TransportError."""
    query = f"?{request.url.query}" if request.url.query else ""
    headers = [(name, value) for name, value in request.headers.raw if name.decode() not in _HOP_BY_HOP]
    passed_on = http.build_request(
        request.method,
        f"http://127.0.0.1:{port}{request.scope['path']}{query}",
        headers=[*headers, (b"host", request.headers.get("host", "localhost").encode())],
        content=body,
    )
    answer = await http.send(passed_on, stream=True)
    response = StreamingResponse(_body(answer), answer.status_code)
    response.raw_headers = [pair for pair in answer.headers.raw if pair[0].decode().lower() not in _HOP_BY_HOP]
    return response


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()
