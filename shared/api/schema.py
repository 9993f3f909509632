"""schema.graphql bound to its resolvers: by name where a field needs work, to the documents' fields where it doesn't;
and its own scalars, exact decimals and UTC times."""

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from graphql import (
    FloatValueNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    IntValueNode,
    StringValueNode,
    ValueNode,
    build_schema,
)

from shared.api import (
    administration,
    event_history,
    history,
    messages,
    monitoring,
    queries,
    statistics,
    subscriptions,
    timeline,
    topology,
)
from shared.api.context import Info
from shared.api.mutations import MUTATIONS, resolver
from shared.config.manifest import ROOT
from shared.dead_letters.protocol import DeadLetter, LetterEntry
from shared.read_models.documents import CategoryDocument, ItemDocument, OrderDocument, ProductDocument
from shared.read_models.protocol import Fields

_STEPS = {
    "PENDING": "reserve_inventory",
    "INVENTORY_RESERVED": "process_payment",
    "PAYMENT_PROCESSED": "arrange_shipping",
    "SHIPPED": "confirm_order",
}
_ENDS = {"CONFIRMED": "COMPLETED", "CANCELLED": "FAILED", "FAILED": "FAILED"}


def _saga_status(order: Fields, _: Info) -> str:
    return _ENDS.get(order["status"], "STARTED")


def _saga_step(order: Fields, _: Info) -> str | None:
    if order["status"] in _ENDS:
        return None
    return "compensating" if order["closing"] else _STEPS[order["status"]]


def _personal(key: str, masked: str | None = None) -> Any:
    """A field that only the order's owner and admins see."""
    return lambda order, info: order[key] if info.context.actor.may_see(order["user_id"]) else masked


RESOLVERS: Mapping[str, Mapping[str, Any]] = {
    "Query": {
        "category": queries.category,
        "categories": queries.categories,
        "searchCategories": queries.search_categories,
        "product": queries.product,
        "products": queries.products,
        "searchProducts": queries.search_products,
        "order": queries.order,
        "orders": queries.orders,
        "userOrders": queries.user_orders,
        "events": history.events,
        "recentEvents": history.recent_events,
        "eventHistory": event_history.event_history,
        "eventStoreStats": history.event_store_stats,
        "pubsubMessages": messages.pubsub_messages,
        "pubsubStats": messages.pubsub_stats,
        "queryExecutions": history.query_executions,
        "commandExecutions": history.command_executions,
        "health": monitoring.health,
        "serviceHealth": monitoring.service_health,
        "memoryInfo": monitoring.memory_info,
        "systemStatistics": statistics.system_statistics,
        "projectionStatus": statistics.projection_status,
        "dashboardStats": statistics.dashboard_stats,
        "systemTopology": topology.system_topology,
        **administration.QUERIES,
    },
    "Mutation": {**{name: resolver(mutation) for name, mutation in MUTATIONS.items()}, **administration.MUTATIONS},
    "Subscription": {name: one.shown for name, one in subscriptions.SUBSCRIPTIONS.items()},
    "HealthCheckResult": {"durationMs": lambda check, _: check["durationMs"]},
    "Category": {"products": queries.products_of_category, "productCount": queries.product_count},
    "Product": {
        "category": queries.category_of_product,
        "availableQuantity": lambda product, _: product["stock_quantity"] - product["reserved_quantity"],
    },
    "Order": {
        "userId": _personal("user_id", masked="***"),
        "paymentId": _personal("payment_id"),
        "shippingId": _personal("shipping_id"),
        "sagaId": lambda order, _: order["id"],
        "reason": _personal("reason"),
        "sagaStatus": _saga_status,
        "timeline": timeline.timeline,
        "sagaCurrentStep": _saga_step,
    },
}

_DOCUMENTS: Mapping[str, type[Any]] = {
    "Category": CategoryDocument,
    "Product": ProductDocument,
    "Order": OrderDocument,
    "OrderItem": ItemDocument,
    "DeadLetter": DeadLetter,
    "DeadLetterEntry": LetterEntry,
    "SagaDetail": administration.SagaDetail,
    "TimelineEntry": timeline.TimelineEntry,
    "SagaCommand": administration.SagaCommand,
}
_TIMES = {"created_at", "updated_at"}
_RESULTS = {
    "OrderResult": {"success", "order", "message"},
    "DeleteResult": {"success", "message"},
    "Event": {
        *("id", "aggregate_id", "aggregate_type", "event_type", "event_data", "event_version", "global_sequence"),
        *("metadata", "inserted_at"),
    },
    "EventHistoryEntry": {"event", "before", "after", "changes"},
    "FieldChange": {"field", "before", "after"},
    "QueryExecution": {
        *("id", "query_type", "query_params", "execution_time_ms", "result_count", "status", "error_message"),
        "timestamp",
    },
    "CommandExecution": {
        *("id", "command_type", "command_data", "aggregate_id", "aggregate_type", "execution_time_ms", "status"),
        *("error_message", "events_generated", "timestamp"),
    },
    "EventStoreStats": {"total_events", "events_by_type", "events_by_aggregate", "latest_sequence"},
    "EventTypeCount": {"event_type", "count"},
    "AggregateTypeCount": {"aggregate_type", "count"},
    "HealthReport": {"status", "timestamp", "checks", "version", "node"},
    "HealthCheckResult": {"name", "status", "message", "details"},
    "MemoryInfo": {"total_mb", "process_mb", "binary_mb", "ets_mb", "process_count", "port_count"},
    "RetriedDeadLetters": {"retried", "left"},
    "PubsubMessage": {"id", "topic", "message_type", "payload", "timestamp", "source_service"},
    "PubsubTopicStats": {"topic", "message_count", "messages_per_minute", "last_message_at"},
    "SystemStatistics": {"event_store", "command_db", "query_db", "sagas"},
    "DatabaseStats": {"total_records", "last_updated", "records"},
    "RecordCount": {"name", "count"},
    "ReadModelStats": {"categories", "products", "orders", "last_updated"},
    "SagaStats": {"active", "completed", "failed", "compensated", "total"},
    "ProjectionStatus": {
        *("name", "read_model", "status", "position", "lag_events", "lag_seconds", "processed_count"),
        *("last_processed_at", "deliveries", "failed_deliveries", "dead_letters", "last_error", "last_error_at"),
        "generations",
    },
    "Generations": {"live", "other", "state", "since", "passes", "checked", "streams", "behind"},
    "SystemTopologyNode": {
        *("service_name", "node_name", "group", "status", "uptime_seconds", "memory_usage_mb", "cpu_usage_percent"),
        *("message_queue_size", "connections"),
    },
    "ServiceConnection": {"target_service", "connection_type", "status", "latency_ms"},
    "DashboardStats": {
        *("total_events", "events_per_minute", "active_sagas", "total_commands", "total_queries", "system_health"),
        *("error_rate", "average_latency_ms"),
    },
}


class UnboundField(Exception):
    """The schema has a field that no resolver and no document provides, or a resolver has no field."""


@lru_cache
def schema() -> GraphQLSchema:
    """Raises UnboundField."""
    built = build_schema((ROOT / "schema.graphql").read_text())
    bind_scalars(built)
    if unknown := set(RESOLVERS) - set(built.type_map):
        raise UnboundField(f"the schema has no type {', '.join(sorted(unknown))}")
    for name, kind in built.type_map.items():
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__"):
            _bind(kind)
    return built


def _bind(kind: GraphQLObjectType) -> None:
    resolvers = RESOLVERS.get(kind.name, {})
    provided = _provided(kind.name)
    if unknown := set(resolvers) - set(kind.fields):
        raise UnboundField(f"{kind.name} has no field {', '.join(sorted(unknown))}")
    for name, field in kind.fields.items():
        if name in resolvers:
            field.resolve = history.remembered(name, resolvers[name]) if kind.name == "Query" else resolvers[name]
            field.subscribe = subscriptions.SUBSCRIPTIONS[name].source if kind.name == "Subscription" else None
        elif snake_case(name) in provided:
            field.resolve = _from_document(snake_case(name))
        else:
            raise UnboundField(f"nothing provides {kind.name}.{name}")


def _provided(name: str) -> set[str]:
    if name in _DOCUMENTS:
        return {field.name for field in dataclasses.fields(_DOCUMENTS[name])} | _TIMES
    return _RESULTS.get(name, set())


def _from_document(key: str) -> Any:
    return lambda document, _: document.get(key)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


def decimal_out(value: Any) -> str:
    return format(Decimal(value), "f")


def decimal_in(value: Any) -> Decimal:
    """From a string, an integer, or a JSON number that was parsed as a Decimal."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise GraphQLError(f'Decimal must be a number such as "12.50", not {value!r:.50}')
    return Decimal(text)


def decimal_literal(node: ValueNode) -> Decimal:
    if not isinstance(node, StringValueNode | IntValueNode | FloatValueNode):
        raise GraphQLError("Decimal must be a number or a string", node)
    return decimal_in(node.value)


def datetime_out(value: Any) -> str:
    """From a datetime or its ISO 8601 form."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def datetime_in(value: Any) -> datetime:
    """From RFC 3339 with a time zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise GraphQLError(f"DateTime must be RFC 3339 such as 2026-04-01T09:00:00Z, not {value!r:.50}")
    return moment.astimezone(UTC)


def bind_scalars(schema: GraphQLSchema) -> None:
    decimal, moment = schema.type_map["Decimal"], schema.type_map["DateTime"]
    assert isinstance(decimal, GraphQLScalarType) and isinstance(moment, GraphQLScalarType)
    decimal.coerce_output_value = decimal_out
    decimal.coerce_input_value = decimal_in
    decimal.coerce_input_literal = decimal_literal
    moment.coerce_output_value = datetime_out
    moment.coerce_input_value = datetime_in
