"""The resolver that shows what the shop consists of: each function of the manifest, how it does, and what it talks to.

What a function says of itself is asked for over HTTP and kept for a while, or looking would keep all of them running. Nobody
waits for one that has to start first: it is UNKNOWN until it has answered.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from shared.api.context import Info, from_stores
from shared.api.monitoring import asking
from shared.api.statistics import projections
from shared.auth.identity import in_the_cloud
from shared.config.manifest import Function, manifest
from shared.config.settings import Settings
from shared.domain.errors import ShopError, TimedOut
from shared.monitoring.health import Result
from shared.monitoring.reports import monitoring_client, monitoring_errors
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.resilience.calls import deadline, time_left
from shared.runtime.engines import Engines

_UNKNOWN = "UNKNOWN"
_QUEUES_KEPT = 15.0  # seconds; Cloud Monitoring has a new value every minute
_UNDELIVERED = "pubsub.googleapis.com/subscription/num_undelivered_messages"

Answers = Mapping[str, Result]
"""By function; only of those that have answered, or are known not to."""

_log = structlog.get_logger()


async def system_topology(_: Any, info: Info) -> Sequence[Fields]:
    engines = info.context.engines
    answers, queues = await asyncio.gather(_answers(engines), _queues(engines))
    return [_node(function, answers, queues) for function in manifest().functions.values()]


async def _answers(engines: Engines) -> Answers:
    """Of those who answer within the time that a health check has; what others answer later is there for who asks next."""
    functions = manifest().functions.values()
    asked = {one.name: asyncio.ensure_future(_answer(engines, one)) for one in functions}
    await asyncio.wait(asked.values(), timeout=engines.settings.health_check_seconds)
    answers = {name: one.result() for name, one in asked.items() if one.done() and not one.exception()}
    for one in asked.values():
        one.cancel()
    return answers


async def _answer(engines: Engines, function: Function) -> Result:
    async def ask() -> Result:
        (result,) = await engines.checkup.run_async([asking(engines, function)])
        return result

    return await engines.cache.get(f"how {function.name} does", engines.settings.topology_seconds, ask)


def _node(function: Function, answers: Answers, queues: Mapping[str, int]) -> Fields:
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


def _report(answers: Answers, function: str) -> Mapping[str, Any]:
    """What it has said of itself; empty when it has said nothing."""
    details = answers[function].found.details if function in answers else {}
    return details if "checks" in details else {}


def _status(answers: Answers, function: str) -> str:
    return answers[function].found.status.name if function in answers else _UNKNOWN


def _connections(function: Function, answers: Answers) -> Iterator[Fields]:
    checks = {check["name"]: check for check in _report(answers, function.name).get("checks", ())}
    for name in function.uses:
        check = checks.get(name, {})
        kind = "BROKER" if name == "pubsub" else "DATABASE"
        yield _connection(name, kind, check.get("status", _UNKNOWN), check.get("durationMs"))
    for one in manifest().all_subscriptions:
        if one.endpoint == function.name:
            yield _connection(one.topic, "SUBSCRIPTION", _UNKNOWN, None)
    if function.name == "graphql":
        for other in _called_by_graphql():
            took = answers[other].duration_ms if other in answers else None
            yield _connection(other, "HTTP", _status(answers, other), took)


def _connection(target: str, kind: str, status: str, latency_ms: int | None) -> Fields:
    return {"target_service": target, "connection_type": kind, "status": status, "latency_ms": latency_ms}


def _called_by_graphql() -> list[str]:
    """All commands; the sandbox of the providers, which uses none of our stores, is called by saga steps."""
    return [one.name for one in manifest().of_service("command") if one.http and one.uses]


async def _queues(engines: Engines) -> Mapping[str, int]:
    """Messages that wait for each function; without those for which nobody knows, or not in time."""
    try:
        with deadline(engines.settings.health_check_seconds):
            return await engines.cache.get(
                "the queues", _QUEUES_KEPT if in_the_cloud() else 1.0, partial(_counted, engines)
            )
    except TimedOut:
        return {}


async def _counted(engines: Engines) -> Mapping[str, int]:
    waiting, applying, publishing = await asyncio.gather(
        from_stores(_undelivered, engines), projections(engines), from_stores(_unpublished, engines),
        return_exceptions=True,
    )  # fmt: skip
    queues: dict[str, int] = {}
    if not isinstance(applying, BaseException):
        queues |= {one["name"]: one["lag_events"] for one in applying}
    if not isinstance(publishing, BaseException):
        queues["relay_outbox"] = publishing
    if not isinstance(waiting, BaseException) and waiting is not None:
        queues |= _by_function(waiting)
    return queues


def _by_function(waiting: Mapping[str, int]) -> dict[str, int]:
    """Only of functions of which all subscriptions are known."""
    found: dict[str, list[int | None]] = {}
    for one in manifest().all_subscriptions:
        found.setdefault(one.endpoint, []).append(waiting.get(one.name))
    return {name: sum(filter(None, numbers)) for name, numbers in found.items() if None not in numbers}


def _unpublished(engines: Engines) -> int:
    return sum(outbox.backlog().waiting for outbox in engines.outboxes)


def _undelivered(engines: Engines) -> Mapping[str, int] | None:
    settings = engines.settings
    if in_the_cloud() or settings.monitoring_endpoint:
        try:
            return _monitored(settings)
        except ShopError as error:
            _log.warning("nobody knows how many messages wait", reason=error.message)
            return None
    return engines.undelivered()


def _monitored(settings: Settings) -> Mapping[str, int]:
    """As Cloud Monitoring has it, which is a minute or a few behind. Raises Unavailable."""
    now = int(clock.now().timestamp())
    wanted = {
        "name": f"projects/{settings.project_id}",
        "filter": f'metric.type = "{_UNDELIVERED}"',
        "interval": {"start_time": {"seconds": now - 300}, "end_time": {"seconds": now}},
    }
    with monitoring_errors("read", "graphql", "roles/monitoring.viewer"):
        found = monitoring_client(settings.monitoring_endpoint).list_time_series(
            wanted, retry=None, timeout=time_left(3)
        )
        return {one.resource.labels["subscription_id"]: one.points[0].value.int64_value for one in found if one.points}
