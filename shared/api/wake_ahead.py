"""Wake the functions that a command will need, so that their cold starts overlap.

An order passes through seven functions in a row. When all have scaled to zero, the client waits for
seven starts. The graphql function knows at once which functions will follow: the manifest names the
subscribers of the command's topic, and the saga's table names the steps.
"""

import asyncio
from functools import lru_cache
from typing import Any, cast

import httpx
import structlog
from google.auth.exceptions import GoogleAuthError

from shared.auth.identity import authorization
from shared.config.manifest import Function, manifest
from shared.config.settings import Settings
from shared.messaging.envelope import topic
from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.sagas.order_fulfilment import ORDER_FULFILMENT

_SECONDS = 60
"""For a function to start and answer."""

_log = structlog.get_logger()


@lru_cache
def needed_after(command: str) -> tuple[Function, ...]:
    """Return the functions that a command's events will reach when all goes well.

    These are the subscribers of its topic, and for a command that begins the saga its steps.
    """
    functions = manifest().functions
    topics = {*functions[command].publishes}
    if functions[command].begins_saga:
        steps = {topic(cast(type[Any], step.send)) for step in ORDER_FULFILMENT.steps}
        topics |= steps | {each for one in functions.values() if steps & {*one.topics} for each in one.publishes}
    return tuple(one for one in functions.values() if topics & {*one.topics})


class WakeAhead:
    """Asks each function for a sign of life, at most once in `wake_ahead_seconds`.

    A function that the platform keeps warm is not asked. No command waits for these calls, and none
    fails when they fail.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._kept_warm = settings, {*settings.kept_warm.split()}
        self._woken: dict[str, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def before(self, command: str, http: httpx.AsyncClient) -> None:
        """Begin to wake what the command will need, in the running event loop."""
        period, now = self._settings.wake_ahead_seconds, clock.monotonic()
        if not period:
            return
        for function in needed_after(command):
            asleep = now - self._woken.get(function.name, -period) >= period
            if asleep and function.name not in self._kept_warm:
                self._woken[function.name] = now
                task = asyncio.create_task(self._wake(function, http))
                self._under_way.add(task)  # the loop itself holds a task only weakly
                task.add_done_callback(self._under_way.discard)

    async def _wake(self, function: Function, http: httpx.AsyncClient) -> None:
        url = function.url(self._settings)
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await http.get(f"{url}/health/live", headers=await authorization(url), timeout=_SECONDS)
                answer.raise_for_status()
        except (httpx.HTTPError, TimeoutError, GoogleAuthError) as error:
            _log.warning("could not wake a function ahead of its work", called=function.name, reason=repr(error))


@lru_cache(maxsize=1)
def wake_ahead(engines: Engines) -> WakeAhead:
    """Return the one of this process."""
    return WakeAhead(engines.settings)
