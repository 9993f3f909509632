"""Health of the shop, of each service and of each function, and the topology of all functions.

For the topology a function's own report is cached: asking each time would keep all functions
running. No request waits for a function that has to start first; it is UNKNOWN until it has
answered.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from shared.api.command_client import named
from shared.api.context import Info, Resolvers
from shared.api.limits import from_stores
from shared.api.resolvers.backlogs import backlogs
from shared.api.resolvers.common import is_admin
from shared.api.resolvers.projections import queue_sizes
from shared.auth.identity import authorization
from shared.config.manifest import Function, manifest
from shared.domain.errors import NotFound, ShopError
from shared.domain.faults import shown
from shared.monitoring.counts import Tallies, Tally
from shared.monitoring.dependencies import dependencies
from shared.monitoring.executions import Kind
from shared.monitoring.health import Check, Finding, HealthStatus, Report, Result
from shared.observability.sentences import said
from shared.read_models.protocol import Fields
from shared.resilience.calls import awaited, time_left
from shared.runtime.engines import Engines

_UNKNOWN = "UNKNOWN"

_Answers = Mapping[str, Result]
"""Results by function, of the functions that have answered or are known not to."""


async def health(_: Any, info: Info) -> Fields:
    return _for_actor(await shop_report(info.context.engines), info)


async def shop_report(engines: Engines) -> Report:
    loop = asyncio.get_running_loop()
    return Report(await engines.checkup.run_async([*dependencies(engines, "graphql"), *backlogs(engines, loop)]))


async def service_health(_: Any, info: Info, serviceName: str) -> Fields:
    functions = manifest().functions
    if serviceName in functions:
        return await _function_health(functions[serviceName], info)
    members = manifest().of_service(serviceName)
    if not members:
        names = ", ".join(["client", "command", "query", *functions])
        raise NotFound(f"no service is called {shown(serviceName)}; the services are {names}", ("serviceName",))
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
        headers = awaited(authorization(url), 60)
        answer = engines.health_http.get(f"{url}/health/ready", headers=headers, timeout=time_left(60))
        return _summary(answer.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return Finding(HealthStatus.UNHEALTHY, said("NO_REPORT"), {"error": repr(error)})


def _summary(report: Fields) -> Finding:
    """Make one finding of a function's report, with the whole report as its details."""
    failing = [check["name"] for check in report["checks"] if check["status"] != HealthStatus.HEALTHY.name]
    message = said("NOT_HEALTHY", checks=", ".join(failing)) if failing else said("READY")
    return Finding(HealthStatus[report["status"]], message, report)


async def system_topology(_: Any, info: Info) -> Sequence[Fields]:
    return await info.context.loaders.once("topology", partial(_topology, info.context.engines))


async def _topology(engines: Engines) -> Sequence[Fields]:
    answers, queues, used = await asyncio.gather(_answers(engines), queue_sizes(engines), _used(engines))
    return [_node(function, answers, queues, used) for function in manifest().functions.values()]


async def _used(engines: Engines) -> Tallies | None:
    """Return what has ever been executed, None when that is unknown."""
    try:
        return (await from_stores(engines.counts.executions)).ever
    except ShopError:
        return None


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


def _node(function: Function, answers: _Answers, queues: Mapping[str, int], used: Tallies | None) -> Fields:
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
        "connections": list(_connections(function, answers, used)),
    }


def _report(answers: _Answers, function: str) -> Mapping[str, Any]:
    """Return the function's own report, empty when it has given none."""
    details = answers[function].found.details if function in answers else {}
    return details if "checks" in details else {}


def _status(answers: _Answers, function: str) -> str:
    return answers[function].found.status.name if function in answers else _UNKNOWN


def _connections(function: Function, answers: _Answers, used: Tallies | None) -> Iterator[Fields]:
    checks = {check["name"]: check for check in _report(answers, function.name).get("checks", ())}
    for name in function.uses:
        check = checks.get(name, {})
        kind = "BROKER" if name == "pubsub" else "DATABASE"
        yield _connection(name, kind, check.get("status", _UNKNOWN), check.get("durationMs"))
    for subscription in manifest().all_subscriptions:
        if subscription.endpoint == function.name:
            about = _connection(subscription.topic, "SUBSCRIPTION", _UNKNOWN, None)
            yield about | _calls(used, "delivery", subscription.name)
    if function.name == "graphql":
        for other in _called_by_graphql():
            latency_ms = answers[other].duration_ms if other in answers else None
            about = _connection(other, "HTTP", _status(answers, other), latency_ms)
            yield about | _calls(used, "command", named(other))


def _connection(target: str, kind: str, status: str, latency_ms: int | None) -> Fields:
    about = {"target_service": target, "connection_type": kind, "status": status, "latency_ms": latency_ms}
    return about | {"calls": None, "errors": None, "total_duration_ms": None}


def _calls(used: Tallies | None, kind: Kind, name: str) -> Fields:
    """Return how often the connection was used, how often that failed and how long it took; nothing
    when that is unknown."""
    tally = used.get((kind, name), Tally()) if used is not None else None
    if tally is None:
        return {}
    return {"calls": tally.count, "errors": tally.errors, "total_duration_ms": tally.milliseconds}


def _called_by_graphql() -> list[str]:
    """Return the command functions; the sandbox, which uses no store, is for saga steps only."""
    return [function.name for function in manifest().of_service("command") if function.http and function.uses]


RESOLVERS: Resolvers = {
    "Query": {"health": health, "serviceHealth": service_health, "systemTopology": system_topology},
    "HealthCheckResult": {
        **dict.fromkeys(("durationMs", "duration_ms"), lambda check, _: check["durationMs"]),
        "messagePhrases": lambda check, _: check.get("messagePhrases", []),  # an earlier release sends none
    },
}
