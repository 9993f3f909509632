"""Route a request to the graphql function: GraphQL, the console, health or metrics."""

from asyncio import to_thread
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Literal

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from shared.api import console
from shared.api.consistency import ConsistentQueries, decode_token
from shared.api.context import RequestContext
from shared.api.edge import revalidated, served, tag
from shared.api.http import accepted_media_type, execute_request, refuse
from shared.api.limits import in_thread, working_for
from shared.api.loaders import Loaders
from shared.api.rates import rates
from shared.api.refusals import HttpRefusal, RetryLater
from shared.auth.identity import identify, in_the_cloud, without_sign_in
from shared.auth.permissions import Actor, Permission, require
from shared.config.settings import Settings
from shared.domain.errors import Invalid, ShopError, TimedOut, Unavailable
from shared.monitoring.health import Report
from shared.monitoring.metrics import observe
from shared.observability.context import Context, SpanKind, annotate, flush, fresh, handling, must_flush, sampled
from shared.observability.error_codes import status_and_code
from shared.observability.logs import access_line
from shared.read_models.protocol import Queries
from shared.resilience import clock
from shared.resilience.calls import deadline
from shared.runtime.current import engines
from shared.runtime.engines import Engines
from shared.runtime.http import METHOD_NOT_ALLOWED, examination, health_reply, metrics_reply

_SSE = "POST the subscription with the header Accept: text/event-stream, for example with the npm package graphql-sse"

_log = structlog.get_logger()


_FOR_MACHINES = ("/health/live", "/health/ready", "/metrics")


def application(path: str) -> ASGIApp:
    """Return the application that answers requests for the path. Health and metrics are not for web
    pages."""
    return served(respond, () if path in _FOR_MACHINES else engines().settings.allowed_origins)


async def respond(request: Request) -> Response:
    """Answer one request to the graphql function. Health and metrics requests are not logged."""
    match request.scope["path"], request.method:
        case "/health/live", "GET" | "HEAD":
            return Response(*health_reply(Report()))
        case "/health/ready", "GET" | "HEAD":
            checkup, checks = examination("graphql")
            return Response(*health_reply(Report(await checkup.run_async(checks))))
        case "/metrics", "GET" | "HEAD":
            return await _metrics(request)
        case "/health/live" | "/health/ready" | "/metrics", _:
            return Response(*METHOD_NOT_ALLOWED)
        case _:
            return await _logged(request)


async def _logged(request: Request) -> Response:
    path: str = request.scope["path"]
    with access_line("graphql", request.method, path):
        try:
            response = revalidated(await _graphql_or_console(request, path), request)
        except Exception as error:
            response = _failed(request, error)
        annotate(status=response.status_code)
        return response


def _failed(request: Request, error: Exception) -> Response:
    """Return the answer to an error that no operation has: the client left while it sent its
    request, or a bug."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nginx's code
    _log.error("the request failed", exc_info=error)
    return refuse(HttpRefusal(500, "something went wrong on our side", code="INTERNAL_ERROR"), request)


async def _graphql_or_console(request: Request, path: str) -> Response:
    if request.method == "GET" and request.headers.get("upgrade", "").lower() == "websocket":
        return refuse(
            HttpRefusal(400, f"this endpoint has no WebSockets: subscriptions are server-sent events; {_SSE}")
        )
    if path.startswith(console.FILES):
        return console.file(engines().settings, request)
    if console.is_browser(request):
        return console.page(engines().settings, request)
    if path.rstrip("/") not in ("", "/graphql"):
        return PlainTextResponse("GraphQL is at /graphql\n", 404)
    with deadline(engines().settings.request_timeout_seconds):
        return await _graphql(request, engines())


async def _graphql(request: Request, engines: Engines) -> Response:
    try:
        actor = await _actor(request, engines.settings)
    except (Unavailable, TimedOut) as error:
        wait = ceil(error.retry_after) if isinstance(error, Unavailable) else 1
        return refuse(RetryLater(503, error.message, wait, status_and_code(error)[1]))
    kind, client = _client(actor, request, engines.settings)
    wait = rates(engines).seconds_until_allowed(kind, client)
    trace = fresh(actor.name, sampled(request.headers.get("traceparent")))
    attributes = {"http.request.method": request.method, "url.path": request.scope["path"]}
    began = clock.monotonic()
    with handling(trace, "graphql", SpanKind.SERVER, attributes) as context:
        try:
            media_type = accepted_media_type(request)
            _require_no_wait(wait)
            with working_for(client):
                asked = _context(request, engines, (actor, f"{kind} {client}"), context)
                response = await execute_request(request, media_type, asked)
        except HttpRefusal as refusal:
            response = refuse(refusal, request)
        except Invalid as error:
            response = refuse(HttpRefusal(400, error.message), request)
        except Exception as error:
            response = _failed(request, error)
    if challenge := _challenge(actor):
        response.headers.update(challenge)
    if request.method == "GET":
        tag(response)
    seconds = clock.monotonic() - began
    annotate(seconds=round(seconds, 4))
    observe("shop_graphql_duration_seconds", seconds)
    if must_flush():
        await to_thread(flush)
    return response


def _require_no_wait(wait: int) -> None:
    """Raise RetryLater unless `wait` is 0 seconds."""
    if wait:
        raise RetryLater(429, f"too many requests; try again in {wait} seconds", wait)


def _context(request: Request, engines: Engines, caller: tuple[Actor, str], context: Context) -> RequestContext:
    """Raises Invalid for a malformed consistency token."""
    settings, token, (actor, client) = engines.settings, request.headers.get("consistency"), caller
    queries: Queries = engines.queries
    if token is not None:
        wait = settings.consistency_wait_seconds
        queries = ConsistentQueries(queries, decode_token(token), wait, engines.event_log)
    return RequestContext(
        engines,
        queries,
        Loaders(engines, queries),
        context,
        actor,
        idempotency_key=request.headers.get("idempotency-key"),
        last_event_id=request.headers.get("last-event-id"),
        client=client,
    )


async def _metrics(request: Request) -> Response:
    """Answer admins only: unlike all other functions, this one is open to the internet."""
    challenge = {"WWW-Authenticate": "Bearer"}
    try:
        actor = await _actor(request, engines().settings)
        challenge |= _challenge(actor)
        require(Permission.ADMIN, actor)
    except ShopError as error:
        status, _ = status_and_code(error)
        return PlainTextResponse(f"{error.message}\n", status, challenge if status == 401 else None)
    return Response(*metrics_reply())


def _challenge(actor: Actor) -> dict[str, str]:
    """Return the header that says that the caller's token is not valid, if it is not; see RFC 6750,
    section 3."""
    return {"WWW-Authenticate": 'Bearer error="invalid_token"'} if actor.problem else {}


async def _actor(request: Request, settings: Settings) -> Actor:
    """Verify the request's token. Raises Unavailable or TimedOut when that is not possible now."""
    header = request.headers.get("authorization")
    if not header:
        return without_sign_in(settings.sign_in_required)
    return await in_thread("tokens", identify, header, settings.project_id, settings.admin_email)


def _client(actor: Actor, request: Request, settings: Settings) -> tuple[Literal["user", "address"], str]:
    """Return whose quota the request uses: the user's, or for anonymous requests the address's."""
    return ("user", actor.uid) if actor.uid is not None else ("address", _address(request, settings))


def _address(request: Request, settings: Settings) -> str:
    """Return the address that our outermost proxy saw, never one that the client claims.

    An IPv6 client can use any address of its /64 network, so the network counts as one address.
    """
    trusted = settings.trusted_proxies if settings.trusted_proxies is not None else int(in_the_cloud())
    peer = request.client.host if request.client else ""
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    return _network(hops[-trusted:][0] if trusted and hops else peer)


@lru_cache(256)  # few, because a client may choose a long text
def _network(claimed: str) -> str:
    """Return the address, of IPv6 its network. Reading it takes longer than to count a request."""
    try:
        address = ip_address(claimed)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
