"""Resolvers that tell how the shop is doing: its health, that of each function, and this process's memory."""

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from types import FunctionType, ModuleType
from typing import Any

import httpx
import psutil

from shared.api.context import Info
from shared.auth.identity import authorization
from shared.auth.permissions import Permission
from shared.config.manifest import Function, manifest
from shared.domain.errors import NotFound, Unavailable
from shared.messaging.outbox import Outbox
from shared.monitoring.health import Check, Finding, HealthStatus, Report, dependencies
from shared.monitoring.reports import read_outbox, read_saga_backlog
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.resilience.calls import time_left
from shared.runtime.engines import Engines

_LATE, _LOST = 60, 600  # seconds
_MEGABYTE = 1_000_000
_one_at_a_time = Lock()
"""Or all who ask together would each make a client first, which takes longer than asking."""


async def health(_: Any, info: Info) -> Fields:
    return _shown(await of_the_shop(info.context.engines), info)


async def of_the_shop(engines: Engines) -> Report:
    return Report(await engines.checkup.run_async([*dependencies(engines, "graphql"), *_backlogs(engines)]))


async def service_health(_: Any, info: Info, serviceName: str) -> Fields:
    engines, functions = info.context.engines, manifest().functions
    if serviceName in functions:
        return await _of_function(functions[serviceName], info)
    members = manifest().of_service(serviceName)
    if not members:
        names = ", ".join(["client", "command", "query", *functions])
        raise NotFound(f"there is no {serviceName!r:.60}; there are {names}", ("serviceName",))
    return _shown(Report(await engines.checkup.run_async([asking(engines, one) for one in members])), info)


def _shown(report: Report, info: Info) -> Fields:
    return report.fields(everything=info.context.actor.may(Permission.ADMIN))


async def _of_function(function: Function, info: Info) -> Fields:
    """What it reports of itself; when it reports nothing, that."""
    engines = info.context.engines
    (result,) = await engines.checkup.run_async([asking(engines, function)])
    return dict(result.found.details) if "checks" in result.found.details else _shown(Report([result]), info)


def asking(engines: Engines, function: Function) -> Check:
    """It may have to start first, so it has the time that a command has."""
    look = _answering_for_itself if function.name == "graphql" else _asked
    return Check(function.name, lambda: look(engines, function), engines.settings.command_timeout_seconds)


def _answering_for_itself(engines: Engines, function: Function) -> Finding:
    return _summary(Report(engines.checkup.run(dependencies(engines, function.name))).fields(everything=False))


def _asked(engines: Engines, function: Function) -> Finding:
    url = function.url(engines.settings)
    try:
        headers = asyncio.run(authorization(url))
        with _one_at_a_time:
            client = _client()
        answer = client.get(f"{url}/health/ready", headers=headers, timeout=time_left(60))
        return _summary(answer.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Unavailable("gave no report of its health; it may not be running") from error


def _summary(report: Fields) -> Finding:
    """One check out of a function's whole report, which stays in the details."""
    ill = [check["name"] for check in report["checks"] if check["status"] != HealthStatus.HEALTHY.name]
    message = f"not well: {', '.join(ill)}" if ill else "ready"
    return Finding(HealthStatus[report["status"]], message, report)


@lru_cache
def _client() -> httpx.Client:
    """Without connections kept open: it asks every function, and seldom."""
    return httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))


def _backlogs(engines: Engines) -> list[Check]:
    """What has piled up in the whole shop."""
    looks: Mapping[str, Callable[[], Finding]] = {
        "event_outbox": lambda: _outbox(engines.outboxes[0]),
        "saga_outbox": lambda: _outbox(engines.outboxes[1]),
        "sagas": lambda: _sagas(engines),
        "dead_letters": lambda: _dead_letters(engines),
    }
    return [Check(name, look, engines.settings.health_check_seconds) for name, look in looks.items()]


def _outbox(outbox: Outbox) -> Finding:
    reading = read_outbox(outbox)
    age = reading.oldest_seconds
    details = {"waiting": reading.waiting, "oldestSeconds": round(age)}
    if age >= _LOST:
        return Finding(HealthStatus.UNHEALTHY, "messages have not been published for 10 minutes or more", details)
    if age >= _LATE:
        return Finding(HealthStatus.DEGRADED, "messages have not been published for a minute or more", details)
    return Finding(HealthStatus.HEALTHY, "messages are published in time", details)


def _sagas(engines: Engines) -> Finding:
    backlog = read_saga_backlog(engines.sagas)
    details = {"overdue": backlog.overdue, "stuck": backlog.stuck}
    if backlog.stuck:
        return Finding(HealthStatus.DEGRADED, "some sagas are stuck: a step could not be undone", details)
    if backlog.overdue:
        return Finding(
            HealthStatus.DEGRADED, "deadlines of sagas passed two minutes ago and have not been fired", details
        )
    return Finding(HealthStatus.HEALTHY, "none is stuck or overdue", details)


def _dead_letters(engines: Engines) -> Finding:
    pending = engines.dead_letters.pending()
    if pending:
        return Finding(
            HealthStatus.DEGRADED, "messages that could not be delivered wait for somebody", {"pending": pending}
        )
    return Finding(HealthStatus.HEALTHY, "none waits", {"pending": 0})


async def memory_info(_: Any, info: Info) -> Fields:
    return await asyncio.to_thread(_measured, info.context.engines, int(clock.monotonic()))


@lru_cache(maxsize=1)
def _measured(engines: Engines, _second: int) -> Fields:
    """Once a second: it takes a walk through the page tables, or through all that is kept in memory."""
    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "total_mb": memory.rss / _MEGABYTE,
        "process_mb": memory.uss / _MEGABYTE,
        "binary_mb": max(0, memory.rss - memory.uss) / _MEGABYTE,
        "ets_mb": _size(engines.in_memory) / _MEGABYTE,
        "process_count": process.num_threads(),
        "port_count": process.num_fds(),
    }


def _size(roots: Sequence[object]) -> int:
    """Bytes of everything that can be reached, code left out."""
    seen: set[int] = set()
    todo: list[Any] = list(roots)
    size = 0
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
            seen.add(id(one))
            size += sys.getsizeof(one)
            todo += gc.get_referents(one)
    return size
