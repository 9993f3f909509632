"""What responses pass on their way to the client: pages of other origins, compression, the client's
cache."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette_compress import CompressMiddleware, add_compress_type, remove_compress_type

from shared.api.http import RESPONSE_JSON
from shared.api.sse import EVENT_STREAM

_REQUEST_HEADERS = ("Authorization", "Consistency", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent")
_NAMES_OF_CLIENTS = ("apollographql-client-name", "apollographql-client-version")  # which Apollo Client may send
_RESPONSE_HEADERS = ("Consistency", "Retry-After", "WWW-Authenticate")
_PREFLIGHT_SECONDS = 7200  # for which a browser caches what is allowed; Chromium takes no more
_PAYS_FROM = 1000  # bytes; less fits into one packet anyway


@lru_cache
def served(respond: Callable[[Request], Awaitable[Response]], origins: tuple[str, ...]) -> ASGIApp:
    """Return the application that sends `respond`'s responses compressed, and lets pages of these
    origins call it."""
    add_compress_type(RESPONSE_JSON)
    remove_compress_type(EVENT_STREAM)  # an event must not wait in a compressor or a proxy

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = await respond(Request(scope, receive, send))
        await response(scope, receive, send)

    compressed = CompressMiddleware(answer, minimum_size=_PAYS_FROM)
    if not origins:
        return compressed
    return CORSMiddleware(
        compressed,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=(*_REQUEST_HEADERS, *_NAMES_OF_CLIENTS),
        allow_credentials=True,  # for clients that always ask for them; there are no cookies
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )


def tag(answer: Response) -> None:
    """Let the client's cache keep an answer of GraphQL, but ask each time whether it is still the
    same: it depends on the caller and changes with every write."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code != 200 or kind.startswith(EVENT_STREAM):
        return
    digest = sha256(kind.encode() + b"\0" + bytes(answer.body)).hexdigest()
    answer.headers["ETag"] = f'W/"{digest[:32]}"'  # weak: the same for each Content-Encoding
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Vary"] = "Accept, Authorization"


def revalidated(response: Response, request: Request) -> Response:
    """Return 304 without a body when the client says that it has this very response already (RFC
    9110, 13.1.2)."""
    if "if-none-match" not in request.headers:
        return response
    named = {one.strip().removeprefix("W/") for one in request.headers["if-none-match"].split(",")}
    etag = response.headers.get("etag", "").removeprefix("W/")
    same = etag and response.status_code == 200 and {etag, "*"} & named
    return NotModifiedResponse(response.headers) if same else response
