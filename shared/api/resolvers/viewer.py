"""The caller of a request, and any object by its id."""

import asyncio
from typing import Any
from uuid import UUID

from shared.api.connections import Connection
from shared.api.context import Info, Resolvers
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import is_admin
from shared.api.resolvers.orders import user_orders_connection
from shared.auth.permissions import Actor, Permission
from shared.dead_letters.protocol import DeadLetter
from shared.read_models.protocol import Fields


async def viewer(_: Any, info: Info) -> Actor:
    return info.context.actor


async def viewers_orders(
    actor: Actor, info: Info, filter: Fields | None = None, **page: Any
) -> Connection[Fields] | None:
    if actor.uid is None:
        return None
    return await user_orders_connection(None, info, actor.uid, filter, **page)


async def node(_: Any, info: Info, id: str) -> Fields | DeadLetter | None:
    """Return the object with this id, None if there is none."""
    key, loaders = uuid(id, "id"), info.context.loaders
    kinds = {"Category": loaders.categories, "Product": loaders.products, "Order": loaders.orders}
    found = await asyncio.gather(*(loader.load(key) for loader in kinds.values()))
    for kind, document in zip(kinds, found, strict=True):
        if document is not None:
            return {**document, "__typename": kind}
    return await from_stores(info.context.engines.dead_letters.load, UUID(key)) if is_admin(info) else None


def kind_of(found: Fields | DeadLetter, *_: Any) -> str:
    """Return the name of a node's type."""
    return "DeadLetter" if isinstance(found, DeadLetter) else str(found["__typename"])


RESOLVERS: Resolvers = {
    "Query": {"node": node, "viewer": viewer},
    "Viewer": {
        "role": lambda actor, _: actor.role.name,
        "permissions": lambda actor, _: [one.name for one in Permission if actor.may(one)],
        "orders": viewers_orders,
    },
}
