"""Call servers on this machine."""

from functools import cache

import httpx


@cache
def local_http() -> httpx.Client:
    """Return this process's client. httpx.get makes one for each call and loads certificates for
    it, which takes 60 ms of processor time. Connections are not kept, because servers restart."""
    return httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
