"""Measure how long a shop with a short history and one with a long history take to answer
monitoring queries."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, NamedTuple, cast
from uuid import UUID, uuid4

import functions_framework
import httpx
import psycopg
import structlog
from starlette.applications import Starlette

from scripts.local.emulators import start_postgres
from scripts.local.migrate import migrate_all
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.domain import events as happened
from shared.domain.order import ORDER
from shared.domain.values import Money
from shared.event_store.aggregates import Loaded, records
from shared.event_store.protocol import Append
from shared.monitoring.executions import Execution
from shared.observability.context import fresh
from shared.runtime.current import use
from shared.runtime.engines import Engines

QUERIES = {
    "events": "{ events(limit: 100) { id eventData } }",
    "events of one kind": '{ events(eventType: "OrderConfirmed", limit: 100) { id eventData } }',
    "events of one order": '{ events(aggregateId: "ORDER") { id eventData } }',
    "recentEvents": "{ recentEvents { id eventData } }",
    "eventHistory": '{ eventHistory(aggregateId: "ORDER") { after changes { field } } }',
    "eventStoreStats": "{ eventStoreStats { totalEvents eventsByType { count } } }",
    "sagas": '{ sagas(status: "COMPLETED") { id commandsDispatched { commandType } } }',
    "saga": '{ saga(id: "ORDER") { id commandsDispatched { commandType } } }',
    "commandExecutions": "{ commandExecutions { id eventsGenerated } }",
    "queryExecutions": "{ queryExecutions { id } }",
    "order as of now, timeline": '{ order(id: "ORDER", asOf: "NOW") { timeline { kind } } }',
    "pubsubMessages": "{ pubsubMessages { id payload } }",
    "pubsubStats": "{ pubsubStats { topic messageCount messagesPerMinute } }",
    "systemStatistics": "{ systemStatistics { eventStore { totalRecords } commandDb { totalRecords } } }",
    "projectionStatus": "{ projectionStatus { name position lagEvents } }",
    "dashboardStats": "{ dashboardStats { totalEvents eventsPerMinute totalCommands } }",
    "health": "{ health { status } }",
    "stuck": "{ stuck { kind subject waitingFor } }",
    "whyStuck": '{ whyStuck(orderId: "ORDER") { stuck answer } }',
    "schedules": "{ schedules { name status lastRunAt } }",
}
"""The queries of an operator, with the default limits."""

EVENTS = 5
"""The number of events of one order."""


class Shop(NamedTuple):
    engines: Engines
    order: UUID


@contextmanager
def shop(folder: Path, orders: int) -> Iterator[Shop]:
    """Yield a shop on its own PostgreSQL server, with this many confirmed orders."""
    event_store, command_database, stop = start_postgres(folder / "data")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # no access lines
    settings = Settings(
        profile="postgres",
        event_store_url=event_store,
        command_database_url=command_database,
        rate_limit_signed_in=0,
        history_sample_ratio=0,
    )
    migrate_all(settings)
    engines = Engines(settings, deliver=lambda _subscription, _body: 204)
    try:
        made = Shop(engines, _one_order(engines))
        _multiply(event_store, _EVENTS, made.order, orders - 1)
        for copy in (_SAGAS, _HISTORIES, _EXECUTIONS):
            _multiply(command_database, copy, made.order, orders - 1)
        yield made
    finally:
        engines.close()
        stop()


def _one_order(engines: Engines) -> UUID:
    """Record one confirmed order with its saga and executions, through the production code; return
    its id."""
    order_id, price = uuid4(), Money(Decimal(1500))
    item = happened.OrderItem(uuid4(), "宇治抹茶 40g", 1, price.amount)
    story = [
        happened.OrderCreated(order_id, "hanako", (item,), price, "approve", "standard"),
        happened.InventoryReserved(order_id),
        happened.PaymentProcessed(order_id, "pay-1", price),
        happened.ShippingArranged(order_id, "ship-1"),
        happened.OrderConfirmed(order_id),
    ]
    assert len(story) == EVENTS
    loaded, context = Loaded(ORDER.ref(order_id), ORDER.initial), fresh("hanako")
    engines.event_store.append(Append(records([loaded], story, context)))
    engines.order_saga.follow(order_id)
    asked = Execution("command", "CreateOrder", "success", 12, context.correlation_id, None, loaded.ref.stream)
    names = [f"{function.replace('_', '-')}.{function}" for function in manifest().functions]
    brought = [replace(asked, id=uuid4(), kind="delivery", name=name) for name in names[:10]]
    engines.executions.write([asked, replace(asked, id=uuid4(), kind="query", name="order"), *brought])
    return order_id


_COPIES: LiteralString = """
WITH copies AS MATERIALIZED (
    SELECT number, gen_random_uuid()::text AS new FROM generate_series(1, %(copies)s) AS number
)
"""
_EVENTS: LiteralString = f"""{_COPIES}
INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
SELECT gen_random_uuid(), replace(stream, %(order)s, new), version, type, schema_version,
    replace(data::text, %(order)s, new)::jsonb, metadata || jsonb_build_object('correlation_id', new),
    recorded_at - number * interval '1 second'
FROM copies, events ORDER BY number DESC, version
"""  # noqa: S608 - made of constants only
_SAGAS: LiteralString = f"""{_COPIES}
INSERT INTO sagas (id, type, version, status, deadline_at, progress, correlation_id, created_at, updated_at)
SELECT new::uuid, type, version, status, deadline_at, replace(progress::text, %(order)s, new)::jsonb, new,
    created_at - number * interval '1 second', updated_at - number * interval '1 second'
FROM copies, sagas
"""  # noqa: S608 - made of constants only
_HISTORIES: LiteralString = """
INSERT INTO saga_history (saga_id, version, entry, kind, name, data, message, progress, recorded_at)
SELECT s.id, h.version, h.entry, h.kind, h.name, replace(h.data::text, %(order)s, s.id::text)::jsonb,
    CASE WHEN h.message IS NOT NULL THEN gen_random_uuid() END,
    replace(h.progress::text, %(order)s, s.id::text)::jsonb, s.updated_at
FROM saga_history h, sagas s WHERE h.saga_id = %(order)s::uuid AND s.id <> h.saga_id
"""
_EXECUTIONS: LiteralString = f"""{_COPIES}
INSERT INTO executions (id, kind, name, status, milliseconds, error, subject, data, correlation_id, recorded_at)
SELECT gen_random_uuid(), kind, name, status, milliseconds, error, replace(subject, %(order)s, new), data, new,
    recorded_at - number * interval '1 second'
FROM copies, executions
"""  # noqa: S608 - made of constants only


def _multiply(url: str, copy: LiteralString, order: UUID, copies: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(copy, {"order": str(order), "copies": copies})
        connection.execute("VACUUM ANALYZE")


def answered(shop: Shop, query: str) -> float:
    """Return the milliseconds that the query took. Raise AssertionError when the answer has
    errors."""
    use(shop.engines)
    asked = query.replace("ORDER", str(shop.order)).replace("NOW", datetime.now(UTC).isoformat())
    began = time.perf_counter()
    answer = asyncio.run(_asked({"query": asked}))
    took = (time.perf_counter() - began) * 1000
    assert "errors" not in answer, answer
    return took


async def _asked(body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(_graphql()), base_url="http://shop") as client:
        answer: dict[str, Any] = (await client.post("/graphql", json=body, timeout=60)).json()
        return answer


@cache
def _graphql() -> Starlette:
    return cast(Starlette, functions_framework.create_app("graphql", str(manifest().functions["graphql"].source)))
