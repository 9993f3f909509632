"""Health of the shop, of each service and of each function, and the memory of this process."""

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import httpx
import psutil

from shared.api.context import Info, Resolvers
from shared.api.resolvers.common import is_admin
from shared.auth.identity import authorization
from shared.config.manifest import Function, manifest
from shared.domain.errors import NotFound, Unavailable
from shared.messaging.outbox import Outbox
from shared.monitoring.health import Check, Finding, HealthStatus, Report, dependencies
from shared.monitoring.reports import read_outbox, read_saga_backlog
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.resilience.calls import time_left
from shared.runtime.engines import Engines

_OUTBOX_LATE, _OUTBOX_LOST = 60, 600  # seconds
_MEGABYTE = 1_000_000


async def health(_: Any, info: Info) -> Fields:
    return _for_actor(await shop_report(info.context.engines), info)


async def shop_report(engines: Engines) -> Report:
    return Report(await engines.checkup.run_async([*dependencies(engines, "graphql"), *_backlogs(engines)]))


async def service_health(_: Any, info: Info, serviceName: str) -> Fields:
    functions = manifest().functions
    if serviceName in functions:
        return await _function_health(functions[serviceName], info)
    members = manifest().of_service(serviceName)
    if not members:
        names = ", ".join(["client", "command", "query", *functions])
        raise NotFound(f"no service is called {serviceName!r:.60}; the services are {names}", ("serviceName",))
    engines = info.context.engines
    return _for_actor(Report(await engines.checkup.run_async([function_check(engines, one) for one in members])), info)


async def _function_health(function: Function, info: Info) -> Fields:
    """Return the function's own report, or one with the reason why it gave none."""
    engines = info.context.engines
    (result,) = await engines.checkup.run_async([function_check(engines, function)])
    return dict(result.found.details) if "checks" in result.found.details else _for_actor(Report([result]), info)


def _for_actor(report: Report, info: Info) -> Fields:
    return report.fields(everything=is_admin(info))


def function_check(engines: Engines, function: Function) -> Check:
    """Return the check that asks a function, which may have to start, for its report."""
    ask = _own_report if function.name == "graphql" else _report_over_http
    return Check(function.name, lambda: ask(engines, function), engines.settings.command_timeout_seconds)


def _own_report(engines: Engines, function: Function) -> Finding:
    return _summary(Report(engines.checkup.run(dependencies(engines, function.name))).fields(everything=False))


def _report_over_http(engines: Engines, function: Function) -> Finding:
    url = function.url(engines.settings)
    try:
        headers = asyncio.run(authorization(url))
        answer = engines.health_http.get(f"{url}/health/ready", headers=headers, timeout=time_left(60))
        return _summary(answer.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Unavailable("gave no report of its health; it may not be running") from error


def _summary(report: Fields) -> Finding:
    """Make one finding of a function's report, with the whole report as its details."""
    failing = [check["name"] for check in report["checks"] if check["status"] != HealthStatus.HEALTHY.name]
    message = f"not healthy: {', '.join(failing)}" if failing else "ready"
    return Finding(HealthStatus[report["status"]], message, report)


def _backlogs(engines: Engines) -> list[Check]:
    checks: Mapping[str, Callable[[], Finding]] = {
        "event_outbox": lambda: _outbox(engines.outboxes[0]),
        "saga_outbox": lambda: _outbox(engines.outboxes[1]),
        "sagas": lambda: _sagas(engines),
        "dead_letters": lambda: _dead_letters(engines),
    }
    return [Check(name, check, engines.settings.health_check_seconds) for name, check in checks.items()]


def _outbox(outbox: Outbox) -> Finding:
    reading = read_outbox(outbox)
    details = {"waiting": reading.waiting, "oldestSeconds": round(reading.oldest_seconds)}
    if reading.oldest_seconds >= _OUTBOX_LOST:
        return Finding(HealthStatus.UNHEALTHY, "messages have not been published for 10 minutes or more", details)
    if reading.oldest_seconds >= _OUTBOX_LATE:
        return Finding(HealthStatus.DEGRADED, "messages have not been published for a minute or more", details)
    return Finding(HealthStatus.HEALTHY, "messages are published in time", details)


def _sagas(engines: Engines) -> Finding:
    backlog = read_saga_backlog(engines.sagas)
    details = {"overdue": backlog.overdue, "stuck": backlog.stuck}
    if backlog.stuck:
        return Finding(HealthStatus.DEGRADED, "some sagas are stuck: a step could not be undone", details)
    if backlog.overdue:
        message = "deadlines of sagas passed two minutes ago and have not been fired"
        return Finding(HealthStatus.DEGRADED, message, details)
    return Finding(HealthStatus.HEALTHY, "no saga is stuck or overdue", details)


def _dead_letters(engines: Engines) -> Finding:
    pending = engines.dead_letters.pending()
    if pending:
        return Finding(HealthStatus.DEGRADED, "dead letters wait for an admin", {"pending": pending})
    return Finding(HealthStatus.HEALTHY, "no dead letters wait", {"pending": 0})


async def memory_info(_: Any, info: Info) -> Fields:
    return await asyncio.to_thread(_measured, info.context.engines, int(clock.monotonic()))


@lru_cache(maxsize=1)
def _measured(engines: Engines, _second: int) -> Fields:
    """Measure at most once a second: it walks the page tables and all objects of the stores."""
    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "total_mb": memory.rss / _MEGABYTE,
        "process_mb": memory.uss / _MEGABYTE,
        "binary_mb": max(0, memory.rss - memory.uss) / _MEGABYTE,
        "ets_mb": size_of(engines.in_memory) / _MEGABYTE,
        "process_count": process.num_threads(),
        "port_count": process.num_fds(),
    }


def size_of(roots: Sequence[object]) -> int:
    """Return the bytes of every object that the roots refer to, directly or not, without code."""
    seen: set[int] = set()
    pending: list[Any] = list(roots)
    size = 0
    while pending:
        item = pending.pop()
        if id(item) not in seen and not isinstance(item, type | FunctionType | ModuleType):
            seen.add(id(item))
            size += sys.getsizeof(item)
            pending += gc.get_referents(item)
    return size


RESOLVERS: Resolvers = {
    "Query": {"health": health, "serviceHealth": service_health, "memoryInfo": memory_info},
    "HealthCheckResult": {"durationMs": lambda check, _: check["durationMs"]},
}
