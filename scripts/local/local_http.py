"""Call servers on this machine."""

import time
from collections.abc import Callable
from functools import cache

import httpx


@cache
def local_http() -> httpx.Client:
    """Return this process's client. httpx.get makes one for each call and loads certificates for
    it, which takes 60 ms of processor time. Connections are not kept, because servers restart."""
    return httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


def answers(url: str, seconds: float, runs: Callable[[], bool], pause: float = 0.1) -> bool:
    """Wait until the URL answers and return True; False after `seconds`, or when its server does
    not run any more. `pause`: seconds between two tries."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and runs():
        try:
            local_http().get(url, timeout=2)
            return True
        except httpx.TransportError:
            time.sleep(pause)
    return False
