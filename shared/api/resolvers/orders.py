"""Orders: queries, live updates, mutations, and the timeline of one order."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Any

from shared.api.command_client import CommandMutation
from shared.api.connections import AT, DOCUMENT_ID, Connection, connect
from shared.api.context import Info, LiveField, Number, Resolver, Resolvers, SourceEvent, Text
from shared.api.inputs import uuid
from shared.api.resolvers import listings
from shared.api.resolvers.common import Sort, documents, follow, state_at
from shared.api.resolvers.listings import Order
from shared.api.resolvers.timeline import timeline, what_happens_now
from shared.api.resolvers.visible import visible
from shared.auth.permissions import Permission
from shared.domain.errors import Forbidden, Invalid, Unauthenticated
from shared.domain.faults import at, length
from shared.domain.order import ORDER
from shared.observability.context import annotate
from shared.read_models.protocol import Fields, Where

_NEWEST = Order("CREATED_AT", "created_at", tuple[AT, DOCUMENT_ID])
_STEPS = {
    "PENDING": "reserve_inventory",
    "INVENTORY_RESERVED": "process_payment",
    "PAYMENT_PROCESSED": "arrange_shipping",
    "SHIPPED": "confirm_order",
}
_SAGA_ENDS = {"CONFIRMED": "COMPLETED", "CANCELLED": "FAILED", "FAILED": "FAILED"}


async def order(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return await state_at(info, ORDER, id, asOf)
    key = uuid(id, "id")
    annotate(subject=f"{ORDER.name}-{key}")
    return await visible(info, await info.context.loaders.orders.load(key), ORDER, key)


async def orders(_: Any, info: Info, userId: Text = None, status: Text = None, **page: Number) -> Sequence[Fields]:
    """Return orders, the newest first. The filter by user is for that user and admins.

    Raise Unauthenticated or Forbidden: who ordered what is masked for others."""
    where = _where(status, _user(info, userId, "userId"))
    return await documents(info, "orders", where, Sort({"createdAt": "created_at"}, "createdAt", "DESC"), page)


def _user(info: Info, user_id: Text, *argument: str) -> Text:
    """Return the id of the user whose orders are wanted. Raise Invalid, Unauthenticated and
    Forbidden."""
    if user_id is None:
        return None
    if len(user_id) > 128:
        raise Invalid(at(argument, length(0, 128, len(user_id))), argument)
    actor = info.context.actor
    if not actor.may_see(user_id):
        refused = "orders of one user are for that user and admins only: sign in as one of them"
        raise (Forbidden if actor.uid else Unauthenticated)(actor.problem or refused, argument)
    return user_id


def _where(status: Text, user_id: Text) -> list[Where]:
    wanted = {"user_id": user_id, "status": status}
    return [Where(field, "==", value) for field, value in wanted.items() if value is not None]


async def user_orders(_: Any, info: Info, userId: str, **page: Number) -> Sequence[Fields]:
    return await orders(_, info, userId, None, **page)


async def orders_connection(_: Any, info: Info, filter: Fields | None = None, **page: Any) -> Connection[Fields]:
    """Return a page of orders. The filter by user is for that user and admins, as in `orders`."""
    wanted = filter or {}
    where = _where(wanted.get("status"), _user(info, wanted.get("userId"), "filter", "userId"))
    after, before = wanted.get("createdAfter"), wanted.get("createdBefore")
    where += [Where("created_at", ">=", after)] if after is not None else []
    where += [Where("created_at", "<", before)] if before is not None else []
    return await connect(info, listings.documents(info, "orders", where, _NEWEST, page), page)


async def user_orders_connection(
    _: Any, info: Info, userId: str, filter: Fields | None = None, **page: Any
) -> Connection[Fields]:
    wanted = filter or {}
    _user(info, userId, "userId")
    if wanted.get("userId") not in (None, userId):
        raise Invalid("filter.userId must be omitted here, or the same as userId", ("filter", "userId"))
    return await orders_connection(_, info, wanted | {"userId": userId}, **page)


async def order_updates(info: Info, id: str) -> AsyncGenerator[SourceEvent]:
    return await follow(info, ORDER, id, "id")


def _personal(key: str, masked: Text = None) -> Resolver:
    """Resolve a field that only the order's owner and admins may see."""
    return lambda order, info: order[key] if info.context.actor.may_see(order["user_id"]) else masked


async def product(item: Fields, info: Info) -> Fields | None:
    return await info.context.loaders.products.load(item["product_id"])


def saga_status(order: Fields, _: Info) -> str:
    return _SAGA_ENDS.get(order["status"], "STARTED")


def saga_current_step(order: Fields, _: Info) -> str | None:
    if order["status"] in _SAGA_ENDS:
        return None
    return "compensating" if order["closing"] else _STEPS[order["status"]]


def _with(message: str) -> Callable[[Fields], Fields]:
    """Return the function that makes the OrderResult of an order. `message`: may name a field of
    it."""
    return lambda order: {"success": True, "order": order, "message": message.format_map(order)}


RESOLVERS: Resolvers = {
    "Query": {
        "order": order,
        "orders": orders,
        "ordersConnection": orders_connection,
        "userOrders": user_orders,
        "userOrdersConnection": user_orders_connection,
    },
    "Mutation": {
        "createOrder": CommandMutation("create_order", Permission.WRITE, "orderId", _with("the order is {status}")),
        "cancelOrder": CommandMutation(
            "cancel_order", Permission.WRITE, "orderId", _with("the order is being cancelled, or has ended already")
        ),
    },
    "Subscription": {"orderUpdates": LiveField(order_updates)},
    "Order": {
        "userId": _personal("user_id", masked="***"),
        "paymentId": _personal("payment_id"),
        "shippingId": _personal("shipping_id"),
        "reason": _personal("reason"),
        "sagaId": lambda order, _: order["id"],
        "sagaStatus": saga_status,
        "sagaCurrentStep": saga_current_step,
        "timeline": timeline,
        "whatHappensNow": what_happens_now,
    },
    "OrderItem": {"product": product},
}
