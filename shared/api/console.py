"""Serve the console for browsers: its page at every address that is not GraphQL's, GraphiQL at
/graphql, their files."""

import json
import re
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from shared.api.resolvers.faults import has_lab
from shared.auth.identity import in_the_cloud
from shared.config.settings import Settings

FILES = "/console/"
_FILE_NAME = re.compile(r"assets/(\w[\w.-]{0,99})", re.ASCII)
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
}
_ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the first that the browser accepts
_QUALITY, _REFUSED = re.compile(r"\s*;.*"), re.compile(r";\s*q=0(\.0*)?$")
_FOREVER = "public, max-age=31536000, immutable"  # a file's name has a hash of its content


def is_browser(request: Request) -> bool:
    """Return whether the request is for a page, not for an answer of GraphQL."""
    if request.method not in ("GET", "HEAD"):
        return False
    return "text/html" in request.headers.get("accept", "") and "query" not in request.query_params


def page(settings: Settings, request: Request) -> Response:
    """Return GraphiQL at /graphql, and the console at any other address: it has a page for each
    itself."""
    at_graphql = request.url.path.rstrip("/") == "/graphql"
    file = _built(settings, "graphiql.html" if at_graphql else "index.html")
    if file is None:
        return PlainTextResponse("The console is not installed here; POST GraphQL to this address.\n", 404)
    content = file.read_bytes()
    tag = f'W/"{sha256(content).hexdigest()[:20]}"'
    headers = _headers(settings, at_graphql) | {"Cache-Control": "no-cache", "ETag": tag}
    return Response(content, headers=headers, media_type="text/html; charset=utf-8")


def file(settings: Settings, request: Request) -> Response:
    """Return a file of the console, as the build compressed it."""
    name = request.url.path.removeprefix(FILES)
    if name == "config.json":
        return Response(
            json.dumps(config(settings)), headers={"Cache-Control": "no-cache"}, media_type="application/json"
        )
    found = _built(settings, name) if _FILE_NAME.fullmatch(name) else None
    kind = _TYPES.get(found.suffix) if found else None
    if found is None or kind is None:
        return PlainTextResponse("The console has no such file.\n", 404)
    headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    accepted = {one.strip().lower() for one in request.headers.get("accept-encoding", "").split(",")}
    accepted = {_QUALITY.sub("", one) for one in accepted if not _REFUSED.search(one)}
    for encoding, suffix in _ENCODINGS.items():
        if encoding in accepted and (compressed := found.with_name(found.name + suffix)).is_file():
            return Response(compressed.read_bytes(), headers={**headers, "Content-Encoding": encoding}, media_type=kind)
    return Response(found.read_bytes(), headers=headers, media_type=kind)


def config(settings: Settings) -> dict[str, object]:
    """Return what the console must know before it starts. All of it is public."""
    return {
        "environment": settings.environment,
        "signIn": _sign_in(settings),
        "traces": settings.traces_url,
        "signInRequired": settings.sign_in_required or in_the_cloud(),
        "cloudProject": settings.project_id if in_the_cloud() else None,
        "logFolder": settings.log_folder or None,
        "faultLab": has_lab(settings),
    }


def _sign_in(settings: Settings) -> dict[str, object] | None:
    """Return how to sign in: with Firebase, or on a developer's machine as a person of the user's
    choice."""
    if settings.firebase_api_key:
        domain = f"{settings.project_id}.firebaseapp.com"
        google = settings.google_sign_in
        return {"kind": "firebase", "apiKey": settings.firebase_api_key, "authDomain": domain, "google": google}
    return None if in_the_cloud() else {"kind": "local", "project": settings.project_id}


def _built(settings: Settings, name: str) -> Path | None:
    """Return the file of the build, never one outside of its folder."""
    folder = Path(settings.console_directory).resolve()
    found = (folder / name).resolve()
    return found if settings.console_directory and folder in found.parents and found.is_file() else None


def _headers(settings: Settings, graphiql: bool) -> dict[str, str]:
    """Return a page's headers: it loads nothing from elsewhere, except Firebase's sign-in where
    that is configured."""
    firebase = bool(settings.firebase_api_key) and not graphiql
    popup = firebase and settings.google_sign_in
    script, connect, frame = ("'self'", "'self'", "'none'")
    if firebase:
        connect += " https://identitytoolkit.googleapis.com https://securetoken.googleapis.com"
    if popup:
        script += " https://apis.google.com"
        frame = f"https://{settings.project_id}.firebaseapp.com"
    # GraphiQL's editor writes style attributes and carries its fonts and icons as data.
    style, data = ("'self' 'unsafe-inline'", " data:") if graphiql else ("'self'", "")
    return {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin-allow-popups" if popup else "same-origin",
        "Content-Security-Policy": f"default-src 'none'; script-src {script}; style-src {style}; font-src 'self'{data};"
        f" img-src 'self'{data}; connect-src {connect}; frame-src {frame}; worker-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'",
    }
