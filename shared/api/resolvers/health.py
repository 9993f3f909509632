"""Health of the shop, of each service and of each function, and the topology of all functions.

For the topology a function's own report is cached: asking each time would keep all functions running.
No request waits for a function that has to start first; it is UNKNOWN until it has answered.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from shared.api.context import Info, Resolvers
from shared.api.limits import from_stores
from shared.api.resolvers.common import is_admin
from shared.api.resolvers.projections import queue_sizes
from shared.auth.identity import authorization
from shared.config.manifest import Function, manifest
from shared.domain.errors import NotFound, Unavailable
from shared.messaging.outbox import Outbox
from shared.monitoring.health import Check, Finding, HealthStatus, Report, Result, dependencies
from shared.monitoring.lag import ahead, applied_events, at_most
from shared.monitoring.reports import age, read_saga_backlog
from shared.read_models.protocol import Fields
from shared.resilience.calls import time_left
from shared.runtime.engines import Engines

_OUTBOX_LATE, _OUTBOX_LOST, _LOG_LATE = 60, 600, 60  # seconds
_AHEAD_SECONDS = 10.0  # for which the comparison, which reads all documents' versions, is reused
_UNKNOWN = "UNKNOWN"

_Answers = Mapping[str, Result]
"""Results by function, of the functions that have answered or are known not to."""


async def health(_: Any, info: Info) -> Fields:
    return _for_actor(await shop_report(info.context.engines), info)


async def shop_report(engines: Engines) -> Report:
    loop = asyncio.get_running_loop()
    return Report(await engines.checkup.run_async([*dependencies(engines, "graphql"), *_backlogs(engines, loop)]))


async def service_health(_: Any, info: Info, serviceName: str) -> Fields:
    functions = manifest().functions
    if serviceName in functions:
        return await _function_health(functions[serviceName], info)
    members = manifest().of_service(serviceName)
    if not members:
        names = ", ".join(["client", "command", "query", *functions])
        raise NotFound(f"no service is called {serviceName!r:.60}; the services are {names}", ("serviceName",))
    engines = info.context.engines
    return _for_actor(Report(await engines.checkup.run_async([_function_check(engines, one) for one in members])), info)


async def _function_health(function: Function, info: Info) -> Fields:
    """Return the function's own report, or one with the reason why it gave none."""
    engines = info.context.engines
    (result,) = await engines.checkup.run_async([_function_check(engines, function)])
    return dict(result.found.details) if "checks" in result.found.details else _for_actor(Report([result]), info)


def _for_actor(report: Report, info: Info) -> Fields:
    return report.fields(everything=is_admin(info))


def _function_check(engines: Engines, function: Function) -> Check:
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


def _backlogs(engines: Engines, loop: asyncio.AbstractEventLoop) -> list[Check]:
    checks: Mapping[str, Callable[[], Finding]] = {
        "event_outbox": lambda: _outbox(engines.outboxes[0]),
        "saga_outbox": lambda: _outbox(engines.outboxes[1]),
        "sagas": lambda: _sagas(engines),
        "dead_letters": lambda: _dead_letters(engines),
        "event_log": lambda: _event_log(engines),
        "read_models": lambda: _read_models(engines, loop),
    }
    return [Check(name, check, engines.settings.health_check_seconds) for name, check in checks.items()]


def _outbox(outbox: Outbox) -> Finding:
    backlog = outbox.backlog()
    oldest_seconds = age(backlog.oldest)
    details = {"waiting": backlog.waiting, "oldestSeconds": round(oldest_seconds)}
    if oldest_seconds >= _OUTBOX_LOST:
        return Finding(HealthStatus.UNHEALTHY, "messages have not been published for 10 minutes or more", details)
    if oldest_seconds >= _OUTBOX_LATE:
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


def _event_log(engines: Engines) -> Finding:
    seconds, events = engines.event_log.held_back()
    details = {"oldestTransactionSeconds": round(seconds), "eventsHeldBack": events}
    if seconds < _LOG_LATE:
        return Finding(HealthStatus.HEALTHY, "readers of the log see what is committed", details)
    message = (
        f"a transaction that began {seconds:.0f} seconds ago holds back {events} events: live updates and counts wait "
        "for it; end it, as shared/monitoring/README.md says"
    )
    return Finding(HealthStatus.DEGRADED, message, details)


def _read_models(engines: Engines, loop: asyncio.AbstractEventLoop) -> Finding:
    """Compare in the event loop, to which the client of the query database belongs."""
    asking = engines.cache.get("which read models are ahead", _AHEAD_SECONDS, partial(_ahead, engines))
    lost = asyncio.run_coroutine_threadsafe(asking, loop).result(time_left(60))
    if not any(lost.values()):
        return Finding(HealthStatus.HEALTHY, "none is ahead of the event store", {"ahead": lost})
    named = ", ".join(f"read model {name} is ahead of the event store by {n} events" for name, n in lost.items() if n)
    message = f"{named}: restore them or rebuild; see shared/monitoring/README.md"
    return Finding(HealthStatus.UNHEALTHY, message, {"ahead": lost})


async def _ahead(engines: Engines) -> Mapping[str, int]:
    applied = await applied_events(engines.queries)
    return ahead(applied, await from_stores(at_most, engines.event_log))


async def system_topology(_: Any, info: Info) -> Sequence[Fields]:
    return await info.context.loaders.once("topology", partial(_topology, info.context.engines))


async def _topology(engines: Engines) -> Sequence[Fields]:
    answers, queues = await asyncio.gather(_answers(engines), queue_sizes(engines))
    return [_node(function, answers, queues) for function in manifest().functions.values()]


async def _answers(engines: Engines) -> _Answers:
    """Return what arrives within the time of a health check; later answers are cached."""
    functions = manifest().functions.values()
    asked = {function.name: asyncio.ensure_future(_answer(engines, function)) for function in functions}
    await asyncio.wait(asked.values(), timeout=engines.settings.health_check_seconds)
    answers = {name: task.result() for name, task in asked.items() if task.done() and not task.exception()}
    for task in asked.values():
        task.cancel()
    return answers


async def _answer(engines: Engines, function: Function) -> Result:
    async def ask() -> Result:
        (result,) = await engines.checkup.run_async([_function_check(engines, function)])
        return result

    return await engines.cache.get(f"the health of {function.name}", engines.settings.topology_seconds, ask)


def _node(function: Function, answers: _Answers, queues: Mapping[str, int]) -> Fields:
    report = _report(answers, function.name)
    process = report.get("process", {})
    return {
        "service_name": function.name,
        "node_name": report.get("node") or _UNKNOWN.lower(),
        "group": function.service,
        "status": _status(answers, function.name),
        "uptime_seconds": process.get("uptimeSeconds"),
        "memory_usage_mb": process.get("memoryMb"),
        "cpu_usage_percent": process.get("cpuPercent"),
        "message_queue_size": queues.get(function.name),
        "connections": list(_connections(function, answers)),
    }


def _report(answers: _Answers, function: str) -> Mapping[str, Any]:
    """Return the function's own report, empty when it has given none."""
    details = answers[function].found.details if function in answers else {}
    return details if "checks" in details else {}


def _status(answers: _Answers, function: str) -> str:
    return answers[function].found.status.name if function in answers else _UNKNOWN


def _connections(function: Function, answers: _Answers) -> Iterator[Fields]:
    checks = {check["name"]: check for check in _report(answers, function.name).get("checks", ())}
    for name in function.uses:
        check = checks.get(name, {})
        kind = "BROKER" if name == "pubsub" else "DATABASE"
        yield _connection(name, kind, check.get("status", _UNKNOWN), check.get("durationMs"))
    for subscription in manifest().all_subscriptions:
        if subscription.endpoint == function.name:
            yield _connection(subscription.topic, "SUBSCRIPTION", _UNKNOWN, None)
    if function.name == "graphql":
        for other in _called_by_graphql():
            latency_ms = answers[other].duration_ms if other in answers else None
            yield _connection(other, "HTTP", _status(answers, other), latency_ms)


def _connection(target: str, kind: str, status: str, latency_ms: int | None) -> Fields:
    return {"target_service": target, "connection_type": kind, "status": status, "latency_ms": latency_ms}


def _called_by_graphql() -> list[str]:
    """Return the command functions; the sandbox, which uses no store, is for saga steps only."""
    return [function.name for function in manifest().of_service("command") if function.http and function.uses]


RESOLVERS: Resolvers = {
    "Query": {"health": health, "serviceHealth": service_health, "systemTopology": system_topology},
    "HealthCheckResult": {"durationMs": lambda check, _: check["durationMs"]},
}
