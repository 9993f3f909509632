"""What the graphql function answers at which path."""

import re
from asyncio import to_thread
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from shared.api.commands import CommandClient
from shared.api.context import Loaders, RequestContext
from shared.api.http import answer
from shared.api.limits import Limits
from shared.auth.identity import identify
from shared.auth.permissions import Actor
from shared.auth.service_identity import without_sign_in
from shared.observability.context import fresh
from shared.resilience.calls import deadline
from shared.runtime.engines import Engines
from shared.runtime.settings import Settings

_CONSOLE = "/graphql/console/"
_FILE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)

_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # The editor writes style attributes and carries its fonts and icons as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " font-src 'self' data:; img-src 'self' data:; connect-src 'self'; worker-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


async def enter(request: Request, engines: Engines) -> Response:
    """GraphQL at / and /graphql; there a browser gets the console."""
    path, settings = request.url.path, engines.settings
    if path.startswith(_CONSOLE):
        return _console(settings, path.removeprefix(_CONSOLE))
    if path.rstrip("/") not in ("", "/graphql"):
        return PlainTextResponse("GraphQL is at /graphql\n", 404)
    if _is_browser(request):
        return _console(settings, "index.html")
    header = request.headers.get("authorization")
    if header:
        actor = await to_thread(identify, header, settings.project_id, settings.admin_email)
    else:
        actor = without_sign_in(settings.sign_in_required)
    limits = Limits(settings.max_query_depth, settings.max_query_aliases, settings.max_query_cost)
    with deadline(settings.request_timeout_seconds):
        return await answer(request, _context(request, engines, actor), settings.max_body_bytes, limits)


def _context(request: Request, engines: Engines, actor: Actor) -> RequestContext:
    queries, key = engines.queries, request.headers.get("idempotency-key")
    return RequestContext(queries, Loaders(queries), _commands(engines), fresh(actor.name), actor, engines, key)


@lru_cache
def _commands(engines: Engines) -> CommandClient:
    settings = engines.settings
    return CommandClient(settings.command_url, settings.command_timeout_seconds, engines.breakers)


def _is_browser(request: Request) -> bool:
    wants_page = "text/html" in request.headers.get("accept", "")
    return request.method == "GET" and wants_page and "query" not in request.query_params


def _console(settings: Settings, name: str) -> Response:
    folder = Path(settings.console_directory).resolve()
    file = (folder / name).resolve() if settings.console_directory and _FILE_NAME.fullmatch(name) else folder
    if file.parent == folder and file.is_file():
        return FileResponse(file, headers=_HEADERS)
    return PlainTextResponse("The console is not installed here; POST GraphQL to this address.\n", 404)
