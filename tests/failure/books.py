"""Read a shop's state from its engines, and list every inconsistency once it is at rest."""

import inspect
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, reduce
from typing import Any
from uuid import UUID

import httpx
from google.cloud import firestore

from functions.projections.project_categories import main as categories
from functions.projections.project_orders import main as orders
from functions.projections.project_products import main as products
from scripts.local.token import PROJECT
from shared.domain import events as e
from shared.domain.aggregate import Aggregate, Lifecycle
from shared.domain.order import ORDER, Order, OrderStatus
from shared.domain.product import PRODUCT, Product
from shared.domain.values import adapter
from shared.event_store.aggregates import CODEC
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Checkpoint, EventRecord
from shared.postgres.pool import connect
from shared.read_models.documents import CATEGORIES, CATEGORY_MEMBERS, ORDERS, PRODUCTS
from shared.read_models.generations import GENERATIONS, stored_in
from shared.read_models.project import Projection
from tests.failure.breakable_shop import BreakableShop

Fields = dict[str, Any]
ENDS = (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)
PROJECTIONS: Sequence[Projection[Any]] = (
    Projection(CATEGORIES, categories.created, inspect.unwrap(categories.project_categories)),
    Projection(CATEGORY_MEMBERS, categories.joined, categories.membership),
    Projection(PRODUCTS, products.created, inspect.unwrap(products.project_products)),
    Projection(ORDERS, orders.created, inspect.unwrap(orders.project_orders)),
)
"""The collections, each with the pure functions that make a document of a stream."""


@dataclass(frozen=True)
class Books:
    """`streams`: every event, by stream in the order of versions. `payments`, `shipments`: the provider's ledger."""

    streams: Mapping[str, list[EventRecord]]
    payments: list[Fields]
    shipments: list[Fields]
    sagas: Mapping[str, str]

    @cached_property
    def orders(self) -> Mapping[UUID, Order]:
        return {order.order_id: order for order in self._states(ORDER)}

    @cached_property
    def products(self) -> Mapping[UUID, Product]:
        return {product.product_id: product for product in self._states(PRODUCT)}

    @property
    def confirmed(self) -> set[str]:
        return {str(key) for key, order in self.orders.items() if order.status is OrderStatus.CONFIRMED}

    def happened(self, order_id: str) -> list[str]:
        """Return the names of an order's events."""
        return [event.type for event in self.streams.get(ORDER.stream(UUID(order_id)), [])]

    def of(self, aggregate: Aggregate[Any]) -> Iterator[list[EventRecord]]:
        return (events for stream, events in self.streams.items() if stream.startswith(f"{aggregate.name}-"))

    def _states(self, aggregate: Aggregate[Any]) -> list[Any]:
        return [aggregate.fold(map(CODEC.decode, events)) for events in self.of(aggregate)]


def open_books(shop: BreakableShop) -> Books:
    provider = f"{shop.ports.url('command')}/sandbox_provider"
    payments, shipments = (httpx.get(f"{provider}/{kind}", timeout=30).json() for kind in ("payments", "shipments"))
    return Books(read_log(shop), payments, shipments, shop.sagas())


def read_log(shop: BreakableShop) -> dict[str, list[EventRecord]]:
    streams: dict[str, list[EventRecord]] = defaultdict(list)
    with connect(shop.event_store, 1) as pool:
        for entry in PostgresEventStore(pool).read_all(Checkpoint(), 1_000_000):
            streams[entry.event.stream].append(entry.event)
    return streams


def faults(shop: BreakableShop) -> list[str]:
    """Return every inconsistency as a sentence; empty when the shop is at rest and consistent."""
    books = open_books(shop)
    left = [f"{row} is left in an outbox" for row in shop.outbox()]
    lost = [f"{letter} became a dead letter" for letter in shop.dead_letters()]
    return [*left, *lost, *_orders(books), *_stock(books), *_money(books), *_parcels(books), *_read_models(books)]


def comes_to_rest(shop: BreakableShop, seconds: float = 60) -> None:
    """Wait until the shop is at rest and assert that it is consistent."""
    until = time.monotonic() + seconds
    while (wrong := faults(shop)) and time.monotonic() < until:
        time.sleep(0.5)
    assert wrong == []


def _orders(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        if order.status not in ENDS:
            yield f"order {order_id} is {order.status.value}: {books.happened(str(order_id))}"
        saga = books.sagas.get(str(order_id))
        if saga != ("COMPLETED" if order.status is OrderStatus.CONFIRMED else "FAILED"):
            yield f"order {order_id} is {order.status.value}, its saga {saga}"
        twice = [name for name, times in Counter(books.happened(str(order_id))).items() if times > 1]
        if twice:
            yield f"order {order_id} has {twice} more than once"


def _stock(books: Books) -> Iterator[str]:
    """Yield a sentence unless on hand + sold = initial and nothing is reserved."""
    sold: Counter[UUID] = Counter()
    for order in books.orders.values():
        if order.status is OrderStatus.CONFIRMED:
            sold.update({item.product_id: item.quantity for item in order.items})
    for product_id, product in books.products.items():
        initial = _initial(books.streams[PRODUCT.stream(product_id)])
        if product.on_hand + sold[product_id] != initial:
            yield f"{product.name}: {product.on_hand} on hand + {sold[product_id]} sold are not {initial}"
        if product.reserved:
            yield f"{product.name}: reserved for {list(product.reserved)}"


def _initial(events: list[EventRecord]) -> int:
    """Return the units that admins received."""
    known = [CODEC.decode(event) for event in events]
    made = sum(event.on_hand for event in known if isinstance(event, e.ProductCreated))
    return made + sum(event.delta for event in known if isinstance(event, e.StockAdjusted))


def _money(books: Books) -> Iterator[str]:
    """Yield a sentence unless charged - refunded = the totals of confirmed orders, in events and ledger."""
    charged = {entry["key"]: entry for entry in books.payments if entry["status"] == "accepted"}
    if charged.keys() != books.confirmed:
        yield f"charged and not confirmed, or the reverse: {charged.keys() ^ books.confirmed}"
    taken = sum((Decimal(entry["amount"]) for entry in charged.values()), Decimal(0))
    totals = [
        order.total.amount for order in books.orders.values() if order.status is OrderStatus.CONFIRMED and order.total
    ]
    if taken != sum(totals, Decimal(0)):
        yield f"{taken} were taken for orders worth {sum(totals, Decimal(0))}"
    for key, order in books.orders.items():
        names = books.happened(str(key))
        if ("PaymentProcessed" in names and "PaymentRefunded" not in names) != (str(key) in books.confirmed):
            yield f"order {key} is paid or confirmed, not both: {names}"
        if str(key) in charged and charged[str(key)]["reference"] != order.payment_id:
            yield f"order {key} has another payment than the provider"


def _parcels(books: Books) -> Iterator[str]:
    sent = {entry["key"] for entry in books.shipments if entry["status"] == "accepted"}
    if sent != books.confirmed:
        yield f"sent and not confirmed, or the reverse: {sent ^ books.confirmed}"


def _read_models(books: Books) -> Iterator[str]:
    """Yield a sentence for each document that is not the fold of its stream, or has no stream."""
    client: Any = firestore.Client(PROJECT)
    for projection in PROJECTIONS:
        collection = projection.collection
        place = stored_in(collection.name, _live_generation(client, collection.read_model))
        there = {snapshot.id: snapshot.to_dict() for snapshot in client.collection(place).stream()}
        streams = books.of(collection.aggregate)
        made = {str(collection.aggregate.id_of(events[0].stream)): _document(projection, events) for events in streams}
        if collection is CATEGORIES:
            made = {key: fields | {"product_count": _on_sale(books, key)} for key, fields in made.items()}
        for key in there.keys() | made.keys():
            found = {name: value for name, value in there.get(key, {}).items() if name in made.get(key, {})}
            if found != made.get(key):
                yield f"{collection.name}/{key} is {there.get(key)}, the events say {made.get(key)}"
    client.close()


def _live_generation(client: Any, read_model: str) -> int:
    generations = client.collection(GENERATIONS).document(read_model).get().to_dict() or {}
    return int(generations.get("live", 1))


def _document(projection: Projection[Any], events: list[EventRecord]) -> Fields:
    first, *later = map(CODEC.decode, events)
    document = reduce(projection.apply, later, projection.begin(first))
    fields: Fields = adapter(projection.collection.document).dump_python(document, mode="json")
    return fields | {"version": len(events), "updated_at": events[-1].recorded_at}


def _on_sale(books: Books, category_id: str) -> int:
    products = books.products.values()
    return sum(one.lifecycle is Lifecycle.ACTIVE and str(one.category_id) == category_id for one in products)
