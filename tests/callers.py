"""Callers of the graphql function other than the admin, what they ask and what they may not see."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from graphql import GraphQLOutputType, get_named_type, is_interface_type, is_object_type

from scripts.local.token import emulator_token
from shared.event_store.protocol import EventRecord
from tests.shop_in_memory import Json, ShopInMemory

NOBODY = {"Authorization": ""}


ONE_ORDER = ("timeline", "whatHappensNow")
"""The fields that can be asked of one order at a time."""


def signed_in(uid: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {emulator_token('x@example.com', uid=uid)}"}


def as_nobody(shop: ShopInMemory, query: str, **variables: Any) -> httpx.Response:
    return shop.http("POST", json={"query": query, "variables": variables}, headers=NOBODY)


def personal(event: EventRecord) -> Json:
    """The event's personal data, masked."""
    hidden = ("user_id", "payment_id", "shipping_id", "payment_method", "shipping_method", "reason")
    return {name: "***" for name in hidden if name in event.data}


def selection(kind: GraphQLOutputType, path: Sequence[str] = ()) -> str:
    """Select all fields of a type, but no type within itself."""
    named = get_named_type(kind)
    if is_interface_type(named):
        return "{ id }"
    if not is_object_type(named):
        return ""
    parts = [
        f"{name} {selection(field.type, [*path, named.name])}"
        for name, field in named.fields.items()
        if get_named_type(field.type).name not in [*path, named.name]
        and (name not in ("timeline", "whatHappensNow") or path == ())
    ]
    return f"{{ {' '.join(parts)} }}"
