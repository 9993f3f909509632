"""Aggregates to and from the store: folding, snapshots, old events."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from uuid_utils.compat import uuid7

from shared.domain.aggregate import Lifecycle
from shared.domain.commands import AdjustStock
from shared.domain.events import CategoryCreated, OrderCreated, OrderItem, ProductCreated, StockReserved
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT, Product, adjust_stock
from shared.domain.values import Money, adapter
from shared.event_store.aggregates import (
    CODEC,
    SNAPSHOT_EVERY,
    Codec,
    UnknownEvent,
    announcement,
    load,
    records,
    state_by,
)
from shared.event_store.memory import MemoryEventStore
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, EventRecord, EventStore
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.runtime.execute import execute_step

CONTEXT = Context("correlation", "causation")


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    pool: Pool = request.getfixturevalue("event_store_pool")
    return PostgresEventStore(pool)


def record(store: EventStore, *events: Any) -> None:
    refs = [PRODUCT.ref(event.product_id) for event in events]
    written = records(load(store, refs), events, CONTEXT)
    store.append(Append(written))


def product_created(**changes: Any) -> ProductCreated:
    price = Money(Decimal("12.50"), "EUR")
    created = ProductCreated(uuid7(), "Tea 🍵", None, uuid7(), price, 1000)
    return replace(created, **changes)


def test_a_state_with_snapshot_is_the_fold_of_all_events(store: EventStore) -> None:
    created = product_created()
    ref = PRODUCT.ref(created.product_id)
    order_id = uuid7()
    record(store, created)
    record(store, StockReserved(created.product_id, order_id, 5))
    for _ in range(SNAPSHOT_EVERY + 10):
        execute_step(store, adjust_stock, AdjustStock(created.product_id, 1), ref)
    snapshot = store.snapshots([ref.stream], PRODUCT.snapshot_schema)[ref.stream]
    assert snapshot.version == SNAPSHOT_EVERY
    events = store.read([ref.stream])[ref.stream]
    (loaded,) = load(store, [ref])
    assert loaded.state == PRODUCT.fold(CODEC.decode(event) for event in events)
    assert loaded.state.reserved == {order_id: 5}
    assert (loaded.version, loaded.created_at, loaded.updated_at) == (
        len(events),
        events[0].recorded_at,
        events[-1].recorded_at,
    )


def test_a_reader_goes_on_from_the_snapshot_when_it_has_seen_that(store: EventStore) -> None:
    created = product_created()
    ref = PRODUCT.ref(created.product_id)
    record(store, created)
    for _ in range(SNAPSHOT_EVERY + 10):
        execute_step(store, adjust_stock, AdjustStock(created.product_id, 1), ref)
    entries = store.read_stream(ref.stream, 0, SNAPSHOT_EVERY + 20)
    starts = [state_by(store, ref, entry.checkpoint).version for entry in entries]
    assert starts == [0] * (SNAPSHOT_EVERY - 1) + [SNAPSHOT_EVERY] * 12
    assert state_by(store, PRODUCT.ref(uuid7()), entries[-1].checkpoint).version == 0


def test_a_snapshot_of_another_schema_version_is_ignored(store: EventStore) -> None:
    created = product_created()
    ref = PRODUCT.ref(created.product_id)
    record(store, created)
    for _ in range(SNAPSHOT_EVERY):
        execute_step(store, adjust_stock, AdjustStock(created.product_id, 1), ref)
    newer = replace(PRODUCT, snapshot_schema=PRODUCT.snapshot_schema + 1)
    assert store.snapshots([ref.stream], newer.snapshot_schema) == {}
    assert load(store, [newer.ref(created.product_id)])[0].state == load(store, [ref])[0].state


def test_an_order_survives_a_snapshot(store: EventStore) -> None:
    """Every state can be written and read back, nested values and enums included."""
    items = (OrderItem(uuid7(), "お茶", 2, Decimal(500)),)
    created = OrderCreated(uuid7(), "hanako", items, Money(Decimal(1000)), "approve", "standard")
    (loaded,) = load(store, [ORDER.ref(created.order_id)])
    after = loaded.then(records([loaded], [created], CONTEXT))
    states = adapter(type(after.state))
    again = states.validate_python(states.dump_python(after.state, mode="json"))
    assert again == after.state


def test_many_aggregates_are_loaded_in_the_order_asked_for(store: EventStore) -> None:
    first, second = product_created(name="a"), product_created(name="b")
    record(store, first, second)
    missing = uuid7()
    loaded = load(store, [PRODUCT.ref(product_id) for product_id in (second.product_id, missing, first.product_id)])
    assert [entry.state.name for entry in loaded] == ["b", "", "a"]
    assert loaded[1].state.lifecycle is Lifecycle.ABSENT
    assert loaded[1].state == Product()


def test_an_encoded_event_is_decoded_unchanged() -> None:
    created = product_created(description="濃い 🍃\nsecond line")
    name, schema_version, data = CODEC.encode(created)
    stored = EventRecord(uuid7(), "product-1", 1, name, schema_version, data, CONTEXT, datetime.now(UTC))
    assert CODEC.decode(stored) == created
    assert data["price"] == {"amount": "12.50", "currency": "EUR"}


def test_a_message_is_announced_under_the_events_own_id() -> None:
    event = EventRecord(uuid7(), "product-1", 3, "ProductDeleted", 1, {}, CONTEXT, datetime.now(UTC))
    announced = announcement(event)
    assert (announced.id, announced.topic, announced.subject, announced.data["version"]) == (
        event.id,
        "product-events",
        "product-1",
        3,
    )


@dataclass(frozen=True)
class Renamed:
    schema_version: ClassVar[int] = 3
    first_name: str
    last_name: str


UPCASTERS = {
    ("Renamed", 1): lambda data: {"full_name": data["name"]},
    ("Renamed", 2): lambda data: dict(zip(("first_name", "last_name"), data["full_name"].split(), strict=True)),
}


def stored(event_type: str, schema_version: int, **data: Any) -> EventRecord:
    return EventRecord(uuid7(), "person-1", 1, event_type, schema_version, data, CONTEXT, datetime.now(UTC))


@pytest.mark.parametrize(
    "old",
    [
        stored("Renamed", 1, name="Hanako Sato"),
        stored("Renamed", 2, full_name="Hanako Sato"),
        stored("Renamed", 3, first_name="Hanako", last_name="Sato"),
    ],
)
def test_events_of_every_schema_version_are_read_as_the_newest(old: EventRecord) -> None:
    codec = Codec([Renamed], UPCASTERS)
    decoded: Any = codec.decode(old)
    assert decoded == Renamed("Hanako", "Sato")
    assert codec.encode(Renamed("Hanako", "Sato"))[1] == 3


@pytest.mark.parametrize(
    ("unreadable", "why"),
    [
        (stored("Forgotten", 1), "no event is called Forgotten"),
        (stored("Renamed", 4, first_name="a", last_name="b"), "has schema version 4"),
        (stored("Renamed", 1, name="a b"), "no upcaster"),
    ],
)
def test_an_unreadable_event_raises(unreadable: EventRecord, why: str) -> None:
    with pytest.raises(UnknownEvent, match=why):
        Codec([Renamed], {}).decode(unreadable)


def test_an_event_of_another_shape_raises() -> None:
    with pytest.raises(ValueError, match="category_id"):
        CODEC.decode(stored(CategoryCreated.__name__, 1, name="a"))
