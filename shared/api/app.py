"""The way in: what the graphql function answers at which path, to whom, and how often."""

import re
from asyncio import to_thread
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from pathlib import Path

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from shared.api.command_client import CommandClient
from shared.api.context import ConsistentQueries, Loaders, RequestContext, decode_token, in_thread
from shared.api.http import answer, unavailable
from shared.auth.identity import identify, in_the_cloud, without_sign_in
from shared.auth.permissions import Actor, Permission, require
from shared.config.settings import Settings
from shared.domain.errors import ShopError, TimedOut, Unavailable
from shared.monitoring.health import Report
from shared.monitoring.metrics import observe
from shared.observability.context import Context, SpanKind, annotate, classify, flush, fresh, handling, sampled
from shared.observability.logs import access_line
from shared.resilience import clock
from shared.resilience.calls import deadline
from shared.runtime.engines import Engines, engines
from shared.runtime.http import METHOD_NOT_ALLOWED, examination, health_reply, metrics_reply

_CONSOLE = "/graphql/console/"
_VERIFYING = clock.executor(8, "tokens")
_CLIENTS = 10_000
_FILE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)

_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # The editor writes style attributes and carries its fonts and icons as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " font-src 'self' data:; img-src 'self' data:; connect-src 'self'; worker-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


async def enter(request: Request) -> Response:
    """GraphQL at / and /graphql; there a browser gets the console. Its health, at the paths that every function has."""
    path = request.url.path
    if path in ("/health/live", "/health/ready"):
        return await _health(path, request.method)
    if path == "/metrics":
        return await _metrics(request)
    with access_line("graphql", request.method, path):
        response = await _answer(request, path)
        annotate(status=response.status_code)
        return response


async def _answer(request: Request, path: str) -> Response:
    if path.startswith(_CONSOLE):
        return _console(engines().settings, path.removeprefix(_CONSOLE))
    if path.rstrip("/") not in ("", "/graphql"):
        return PlainTextResponse("GraphQL is at /graphql\n", 404)
    if _is_browser(request):
        return _console(engines().settings, "index.html")
    with deadline(engines().settings.request_timeout_seconds):
        return await _asked(request)


async def _asked(request: Request) -> Response:
    """A GraphQL request, by whoever its token says."""
    try:
        actor = await _actor(request, engines().settings)
    except (Unavailable, TimedOut) as error:
        return unavailable(error)
    wait = _rates(engines()).wait(actor, request)
    asked = replace(fresh(actor.name), traceparent=sampled(request.headers.get("traceparent")))
    about = {"http.request.method": request.method, "url.path": request.url.path}
    began = clock.monotonic()
    with handling(asked, "graphql", SpanKind.SERVER, about) as context:
        response = await answer(request, lambda: _context(request, engines(), actor, context), wait)
    observe("shop_graphql_duration_seconds", clock.monotonic() - began)
    await to_thread(flush)
    return response


async def _health(path: str, method: str) -> Response:
    if method not in ("GET", "HEAD"):
        return Response(*METHOD_NOT_ALLOWED)
    if path == "/health/live":
        return Response(*health_reply(Report()))
    checkup, checks = examination("graphql")
    return Response(*health_reply(Report(await checkup.run_async(checks))))


async def _metrics(request: Request) -> Response:
    """For admins: unlike all other functions this one can be reached by anybody."""
    if request.method not in ("GET", "HEAD"):
        return Response(*METHOD_NOT_ALLOWED)
    try:
        require(Permission.ADMIN, await _actor(request, engines().settings))
    except ShopError as error:
        return PlainTextResponse(f"{error.message}\n", classify(error)[0])
    return Response(*metrics_reply())


async def _actor(request: Request, settings: Settings) -> Actor:
    header = request.headers.get("authorization")
    if not header:
        return without_sign_in(settings.sign_in_required)
    return await in_thread(_VERIFYING, identify, header, settings.project_id, settings.admin_email)


def _context(request: Request, engines: Engines, actor: Actor, context: Context) -> RequestContext:
    key, token = request.headers.get("idempotency-key"), request.headers.get("consistency")
    patience = engines.settings.consistency_wait_seconds
    queries = engines.queries if token is None else ConsistentQueries(engines.queries, decode_token(token), patience)
    last_event_id = request.headers.get("last-event-id")
    client = " ".join(_client(actor, request, engines.settings))
    given = (context, actor, key, last_event_id, client)
    return RequestContext(engines, queries, Loaders(queries), _commands(engines).send, *given)


@lru_cache
def _commands(engines: Engines) -> CommandClient:
    settings = engines.settings
    return CommandClient(settings, engines.breakers)


class Rates:
    """How many requests each client has made in the last minute, as this process has seen it.

    Guaranteed is, for each instance: no more than the limit in a minute of the clock; across the edge of two, the
    minute before counts with the share of it that is less than a minute ago, so a burst at the edge gains one request
    and no sixty seconds see more than twice the limit. Instances don't know of each other: all together take at most so
    many times the limit as there are instances (`max_instances` in the manifest). Beyond _CLIENTS counters
    of addresses, all of these are forgotten, so that memory stays bounded; users are counted apart, and likewise. The
    clock is the wall clock; where it jumps, the counts of the minutes it jumps to hold, mostly none, and nobody is kept
    out for more than two minutes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._counters = {"user": MemoryStorage(), "address": MemoryStorage()}

    def wait(self, actor: Actor, request: Request) -> int:
        """Count the request; whole seconds until the next one is taken, 0 when this one is."""
        settings = self._settings
        kind, client = _client(actor, request, settings)
        limit = settings.rate_limit_signed_in if kind == "user" else settings.rate_limit_anonymous
        if len(self._counters[kind].expirations) > _CLIENTS:
            self._counters[kind] = MemoryStorage()
        counters = self._counters[kind]
        rate = RateLimitItemPerMinute(limit)
        if limit == 0 or SlidingWindowCounterRateLimiter(counters).hit(rate, client):
            return 0
        return self._until_free(counters, rate.key_for(client), limit)

    def _until_free(self, counters: MemoryStorage, key: str, limit: int) -> int:
        """The minute before counts less and less; once this minute is full, it has to become the one before."""
        before, before_left, now, now_left = counters.get_sliding_window(key, 60)
        seconds = before_left - (limit - now) * 60 / before if now < limit and before else now_left - 60
        return max(1, ceil(seconds + 0.001))


@lru_cache(maxsize=1)
def _rates(engines: Engines) -> Rates:
    return Rates(engines.settings)


def _client(actor: Actor, request: Request, settings: Settings) -> tuple[str, str]:
    """Who it is as limits count: a user, or whoever is at an address."""
    return ("user", actor.uid) if actor.uid is not None else ("address", _address(request, settings))


def _address(request: Request, settings: Settings) -> str:
    """Where the request comes from: what the outermost proxy of ours wrote, never what the client claims.

    An IPv6 client has a whole /64 to choose its addresses from, so that counts as one.
    """
    trusted = settings.trusted_proxies if settings.trusted_proxies is not None else int(in_the_cloud())
    peer = request.client.host if request.client else ""
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    claimed = hops[-trusted:][0] if trusted and hops else peer
    try:
        address = ip_address(claimed)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _is_browser(request: Request) -> bool:
    wants_page = "text/html" in request.headers.get("accept", "")
    return request.method == "GET" and wants_page and "query" not in request.query_params


def _console(settings: Settings, name: str) -> Response:
    folder = Path(settings.console_directory).resolve()
    file = (folder / name).resolve() if settings.console_directory and _FILE_NAME.fullmatch(name) else folder
    if file.parent == folder and file.is_file():
        return FileResponse(file, headers=_HEADERS)
    return PlainTextResponse("The console is not installed here; POST GraphQL to this address.\n", 404)
