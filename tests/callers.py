"""Callers of the graphql function other than the admin, and what they may not see."""

from collections.abc import Mapping
from typing import Any

import httpx

from scripts.local.token import emulator_token
from shared.event_store.protocol import EventRecord
from tests.shop_in_memory import Json, ShopInMemory

NOBODY = {"Authorization": ""}


def signed_in(uid: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {emulator_token('x@example.com', uid=uid)}"}


def as_nobody(shop: ShopInMemory, query: str, **variables: Any) -> httpx.Response:
    return shop.http("POST", json={"query": query, "variables": variables}, headers=NOBODY)


def personal(event: EventRecord) -> Json:
    """The event's personal data, masked."""
    hidden = ("user_id", "payment_id", "shipping_id", "payment_method", "shipping_method", "reason")
    return {name: "***" for name in hidden if name in event.data}
