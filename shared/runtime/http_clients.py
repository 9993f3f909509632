"""HTTP clients. They share the certificates that this process trusts: to load them takes 50 ms."""

from functools import cache

import httpx

_trusted = cache(httpx.create_ssl_context)
_KEPT = httpx.Limits(max_connections=100, max_keepalive_connections=20)
RARE = httpx.Limits(max_keepalive_connections=0)
"""For rare calls: no connection is kept open."""


def client(limits: httpx.Limits = _KEPT) -> httpx.Client:
    return httpx.Client(verify=_trusted(), limits=limits)


def async_client(timeout: float, connections: int) -> httpx.AsyncClient:
    """Return a client for one event loop. `timeout`: seconds of each part of a request.
    `connections`: the most at a time."""
    limits = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(verify=_trusted(), timeout=timeout, limits=limits)
