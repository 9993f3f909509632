"""Topology: each function of the manifest, its health, its connections and its queue size.

A function's own report is cached: asking each time would keep all functions running. No request
waits for a function that has to start first; it is UNKNOWN until it has answered.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from shared.api.context import Info, Resolvers, from_stores
from shared.api.resolvers.health import function_check
from shared.api.resolvers.projections import projections
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
_CLOUD_CACHE_SECONDS, _LOCAL_CACHE_SECONDS = 15.0, 1.0  # Cloud Monitoring has a new value every minute
_UNDELIVERED = "pubsub.googleapis.com/subscription/num_undelivered_messages"

Answers = Mapping[str, Result]
"""Results by function, of the functions that have answered or are known not to."""

_log = structlog.get_logger()


async def system_topology(_: Any, info: Info) -> Sequence[Fields]:
    engines = info.context.engines
    answers, queues = await asyncio.gather(_answers(engines), _queues(engines))
    return [_node(function, answers, queues) for function in manifest().functions.values()]


async def _answers(engines: Engines) -> Answers:
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
        (result,) = await engines.checkup.run_async([function_check(engines, function)])
        return result

    return await engines.cache.get(f"the health of {function.name}", engines.settings.topology_seconds, ask)


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
    """Return the function's own report, empty when it has given none."""
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


async def _queues(engines: Engines) -> Mapping[str, int]:
    """Return how many messages wait for each function for which this is known in time."""
    seconds = _CLOUD_CACHE_SECONDS if in_the_cloud() else _LOCAL_CACHE_SECONDS
    try:
        with deadline(engines.settings.health_check_seconds):
            return await engines.cache.get("the queues", seconds, partial(_read_queues, engines))
    except TimedOut:
        return {}


async def _read_queues(engines: Engines) -> Mapping[str, int]:
    undelivered, applying, unpublished = await asyncio.gather(
        from_stores(_undelivered, engines), projections(engines), from_stores(_unpublished, engines),
        return_exceptions=True,
    )  # fmt: skip
    queues: dict[str, int] = {}
    if not isinstance(applying, BaseException):
        queues |= {projection["name"]: projection["lag_events"] for projection in applying}
    if not isinstance(unpublished, BaseException):
        queues["relay_outbox"] = unpublished
    if not isinstance(undelivered, BaseException) and undelivered is not None:
        queues |= _by_function(undelivered)
    return queues


def _by_function(undelivered: Mapping[str, int]) -> dict[str, int]:
    """Add up the subscriptions of each function, of functions whose subscriptions are all known."""
    counts: dict[str, list[int | None]] = {}
    for subscription in manifest().all_subscriptions:
        counts.setdefault(subscription.endpoint, []).append(undelivered.get(subscription.name))
    return {name: sum(filter(None, numbers)) for name, numbers in counts.items() if None not in numbers}


def _unpublished(engines: Engines) -> int:
    return sum(outbox.backlog().waiting for outbox in engines.outboxes)


def _undelivered(engines: Engines) -> Mapping[str, int] | None:
    settings = engines.settings
    if in_the_cloud() or settings.monitoring_endpoint:
        try:
            return _from_cloud_monitoring(settings)
        except ShopError as error:
            _log.warning("could not read the queue sizes", reason=error.message)
            return None
    return engines.undelivered()


def _from_cloud_monitoring(settings: Settings) -> Mapping[str, int]:
    """Return each subscription's undelivered messages, minutes late. Raise Unavailable."""
    now = int(clock.now().timestamp())
    request = {
        "name": f"projects/{settings.project_id}",
        "filter": f'metric.type = "{_UNDELIVERED}"',
        "interval": {"start_time": {"seconds": now - 300}, "end_time": {"seconds": now}},
    }
    with monitoring_errors("read", "graphql", "roles/monitoring.viewer"):
        client = monitoring_client(settings.monitoring_endpoint)
        found = client.list_time_series(request, retry=None, timeout=time_left(3))
        return {one.resource.labels["subscription_id"]: one.points[0].value.int64_value for one in found if one.points}


RESOLVERS: Resolvers = {"Query": {"systemTopology": system_topology}}
