"""The resolvers before they are one module per noun."""

from typing import Any

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
from shared.api.command_client import CommandMutation
from shared.api.context import Info, Resolvers
from shared.auth.permissions import Permission
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


def _deleted(entity: Fields) -> Fields:
    return {"success": True, "message": f"{entity['name']} has been deleted"}


def _ordered(entity: Fields) -> Fields:
    return {"success": True, "order": entity, "message": f"the order is {entity['status']}"}


def _cancelling(entity: Fields) -> Fields:
    return {"success": True, "order": entity, "message": "the order is being cancelled, or has ended already"}


RESOLVERS: Resolvers = {
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
    "Mutation": {
        "createCategory": CommandMutation("create_category", Permission.ADMIN, "categoryId"),
        "updateCategory": CommandMutation("update_category", Permission.ADMIN, "categoryId"),
        "deleteCategory": CommandMutation("delete_category", Permission.ADMIN, "categoryId", _deleted),
        "createProduct": CommandMutation("create_product", Permission.ADMIN, "productId"),
        "updateProduct": CommandMutation("update_product", Permission.ADMIN, "productId"),
        "changeProductPrice": CommandMutation("change_product_price", Permission.ADMIN, "productId"),
        "adjustStock": CommandMutation("adjust_stock", Permission.ADMIN, "productId"),
        "deleteProduct": CommandMutation("delete_product", Permission.ADMIN, "productId", _deleted),
        "createOrder": CommandMutation("create_order", Permission.WRITE, "orderId", _ordered),
        "cancelOrder": CommandMutation("cancel_order", Permission.WRITE, "orderId", _cancelling),
        **administration.MUTATIONS,
    },
    "Subscription": subscriptions.SUBSCRIPTIONS,
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
