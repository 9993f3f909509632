"""What is true of every history of the shop: of a simulated one, and of one on the real engines.

`Watch` checks each append when it happens. `broken` reads a shop at rest, as `Books`.
"""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from functions.projections.project_categories import main as categories
from functions.projections.project_orders import main as orders
from functions.projections.project_products import main as products
from functions.projections.project_sales import main as sales
from shared.domain import events as e
from shared.domain.aggregate import Aggregate, Lifecycle
from shared.domain.order import AGGREGATES, ORDER, Order, OrderStatus
from shared.domain.personal import ERASED
from shared.domain.product import PRODUCT, Product
from shared.domain.values import adapter
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventRecord
from shared.read_models.documents import CATEGORIES, CATEGORY_MEMBERS, ORDERS, PRODUCTS, RANKS_PER_UNIT, SALES_OF_ORDERS
from shared.read_models.project import Projection

Fields = Mapping[str, Any]
ENDS = (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)
PROJECTIONS: Sequence[Projection[Any]] = (
    Projection(CATEGORIES, categories.created, inspect.unwrap(categories.project_categories)),
    Projection(CATEGORY_MEMBERS, categories.joined, categories.membership),
    Projection(PRODUCTS, products.created, inspect.unwrap(products.project_products)),
    Projection(ORDERS, orders.created, inspect.unwrap(orders.project_orders)),
    Projection(SALES_OF_ORDERS, sales.ordered, inspect.unwrap(sales.project_sales), recorded_at=True),
)
"""The collections, each with the pure functions that make a document of a stream."""

_NEVER_AFTER = {
    e.InventoryReserved: e.InventoryReleased,
    e.PaymentProcessed: e.PaymentRefunded,
    e.ShippingArranged: e.ShippingCancelled,
}
"""No effect of a step is recorded after its compensation's mark."""
_MARKS: Mapping[str, type[Any]] = {
    "reserve_inventory": e.InventoryReleased,
    "process_payment": e.PaymentRefunded,
    "arrange_shipping": e.ShippingCancelled,
}


class Deed(NamedTuple):
    """A payment or a shipment in a provider's ledger. `status`: accepted, refused or undone."""

    status: str
    amount: Decimal
    reference: str


@dataclass(frozen=True)
class Books:
    """A shop at rest. `streams`: every event, by stream in the order of the log. `payments`,
    `shipments`: the entry of each order in the providers' ledgers. `sagas`: their status by order.
    `documents`: those of each live and kept generation of a collection. `sales`: the same of the
    sales, which are the totals of a collection. `lost`: orders that a restore of a backup has
    lost. `erased`: orders whose person's key is destroyed."""

    streams: Mapping[str, Sequence[EventRecord]]
    payments: Mapping[str, Deed]
    shipments: Mapping[str, Deed]
    sagas: Mapping[str, str]
    documents: Sequence[tuple[str, Mapping[str, Fields]]]
    sales: Sequence[tuple[str, Mapping[str, Fields]]]
    lost: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()

    @cached_property
    def orders(self) -> Mapping[str, Order]:
        return {str(order.order_id): order for order in self._states(ORDER)}

    @cached_property
    def products(self) -> Mapping[UUID, Product]:
        return {product.product_id: product for product in self._states(PRODUCT)}

    @property
    def confirmed(self) -> set[str]:
        return {key for key, order in self.orders.items() if order.status is OrderStatus.CONFIRMED}

    def happened(self, order_id: str) -> list[str]:
        """Return the names of an order's events."""
        return [event.type for event in self.streams.get(ORDER.stream(UUID(order_id)), [])]

    def of(self, aggregate: Aggregate[Any]) -> Iterator[Sequence[EventRecord]]:
        return (events for stream, events in self.streams.items() if stream.startswith(f"{aggregate.name}-"))

    def _states(self, aggregate: Aggregate[Any]) -> list[Any]:
        return [aggregate.fold(map(CODEC.decode, events)) for events in self.of(aggregate)]


def broken(books: Books) -> Iterator[str]:
    """Yield every promise that the shop has broken, as a sentence."""
    checks: Sequence[Callable[[Books], Iterable[str]]] = (
        _versions,
        _effects,
        _orders,
        _stock,
        _money,
        _parcels,
        _documents,
        _sales,
    )
    for check in checks:
        yield from check(books)


def _versions(books: Books) -> Iterator[str]:
    for stream, events in books.streams.items():
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            yield f"{stream} has the versions {[event.version for event in events]} in the log"


def _effects(books: Books) -> Iterator[str]:
    """What is true at every moment of a stream is true of all its events."""
    watch = Watch()
    for events in books.streams.values():
        watch.see(events)
    yield from watch.faults


def _orders(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        if order.status not in ENDS:
            yield f"order {order_id} is {order.status.value}: {books.happened(order_id)}"
        saga = books.sagas.get(order_id)
        if saga != ("COMPLETED" if order.status is OrderStatus.CONFIRMED else "FAILED"):
            yield f"order {order_id} is {order.status.value}, its saga {saga}"
        if order.erased != (order_id in books.erased):
            yield f"order {order_id} has recorded an erasure, or its key is destroyed, not both"
        if twice := [name for name, times in Counter(books.happened(order_id)).items() if times > 1]:
            yield f"order {order_id} has {twice} more than once"


def _stock(books: Books) -> Iterator[str]:
    """On hand + sold = received, and nothing is reserved."""
    sold: Counter[UUID] = Counter()
    for order in books.orders.values():
        if order.status is OrderStatus.CONFIRMED:
            sold.update({item.product_id: item.quantity for item in order.items})
    for product_id, product in books.products.items():
        received = _received(books.streams[PRODUCT.stream(product_id)])
        if product.on_hand + sold[product_id] != received:
            yield f"{product.name}: {product.on_hand} on hand + {sold[product_id]} sold are not {received}"
        if product.reserved:
            yield f"{product.name}: reserved for {list(product.reserved)}"


def _received(events: Sequence[EventRecord]) -> int:
    known = [CODEC.decode(event) for event in events]
    made = sum(event.on_hand for event in known if isinstance(event, e.ProductCreated))
    return made + sum(event.delta for event in known if isinstance(event, e.StockAdjusted))


def _money(books: Books) -> Iterator[str]:
    """Charged - refunded = the totals of confirmed orders, in the events and in the ledger."""
    charged = {key: deed for key, deed in books.payments.items() if deed.status == "accepted"}
    for key in (charged.keys() ^ books.confirmed) - books.lost:
        yield f"order {key} is charged or confirmed, not both: {books.happened(key)}"
    for key in charged.keys() & books.confirmed:
        order, deed = books.orders[key], charged[key]
        reference = ERASED if order.erased else deed.reference
        if (deed.amount, reference) != (order.total.amount, order.payment_id):
            yield f"{deed} was made for order {key}, which has {order.total} and {order.payment_id}"
    for key, order in books.orders.items():
        names = books.happened(key)
        paid = "PaymentProcessed" in names and "PaymentRefunded" not in names
        if paid != (order.status is OrderStatus.CONFIRMED) and key not in books.lost:
            yield f"order {key} is paid or confirmed, not both: {names}"


def _parcels(books: Books) -> Iterator[str]:
    sent = {key for key, deed in books.shipments.items() if deed.status == "accepted"}
    for key in (sent ^ books.confirmed) - books.lost:
        yield f"order {key} is sent or confirmed, not both: {books.happened(key)}"


def _documents(books: Books) -> Iterator[str]:
    """Each document of each live and kept generation is the fold of its stream."""
    for name, there in books.documents:
        projection = next(one for one in PROJECTIONS if one.collection.name == name.rpartition("/")[2])
        aggregate = projection.collection.aggregate
        made = {str(aggregate.id_of(one[0].stream)): _document(projection, one) for one in books.of(aggregate)}
        if projection.collection is CATEGORIES:
            made = {key: fields | {"product_count": _on_sale(books, key)} for key, fields in made.items()}
        for key in sorted(there.keys() | made.keys()):
            found = {name: value for name, value in there.get(key, {}).items() if name in made.get(key, {})}
            if found != made.get(key):
                yield f"{name}/{key} is {there.get(key)}, the events say {made.get(key)}"


def _sales(books: Books) -> Iterator[str]:
    """Each generation's sales of a product and day are those of the orders confirmed on that
    day."""
    sold: dict[str, Counter[str]] = defaultdict(Counter)
    for events in books.of(ORDER):
        order: Order = ORDER.fold(map(CODEC.decode, events))
        for day in [event.recorded_at.date() for event in events if event.type == "OrderConfirmed"]:
            for item in order.items:
                amount = int(item.unit_price * item.quantity * RANKS_PER_UNIT)
                sold[f"{item.product_id}_{day}"].update(orders=1, units=item.quantity, revenue_rank=amount)
    for name, there in books.sales:
        for key in sorted(there.keys() | sold.keys()):
            found = {field: there.get(key, {}).get(field, 0) for field in ("orders", "units", "revenue_rank")}
            if found != {**sold.get(key, dict.fromkeys(found, 0))}:
                yield f"{name}/{key} is {there.get(key)}, the orders say {sold.get(key)}"


def _document(projection: Projection[Any], events: Sequence[EventRecord]) -> dict[str, Any]:
    document = None
    for event in events:
        document = projection.after(document, CODEC.decode(event), event.recorded_at)
    fields: dict[str, Any] = adapter(projection.collection.document).dump_python(document, mode="json")
    return fields | {"version": len(events), "updated_at": events[-1].recorded_at}


def _on_sale(books: Books, category_id: str) -> int:
    on_sale = (one for one in books.products.values() if one.lifecycle is Lifecycle.ACTIVE)
    return sum(str(one.category_id) == category_id for one in on_sale)


@dataclass
class Watch:
    """Folds every append as it happens. `faults`: what it saw that must never be."""

    faults: list[str] = field(default_factory=list)
    states: dict[str, Any] = field(default_factory=dict)
    happened: dict[str, list[type[Any]]] = field(default_factory=lambda: defaultdict(list))

    def see(self, events: Iterable[EventRecord]) -> None:
        for record in events:
            event, stream = CODEC.decode(record), record.stream
            aggregate = AGGREGATES[stream.partition("-")[0]]
            self.states[stream] = aggregate.evolve(self.states.get(stream, aggregate.initial), event)
            self._judge(stream, type(event))
            self.happened[stream].append(type(event))

    def is_undone(self, step: str, stream: str) -> bool:
        """Return whether the order has the mark of this step's compensation."""
        return step in _MARKS and _MARKS[step] in self.happened.get(stream, ())

    def _judge(self, stream: str, kind: type[Any]) -> None:
        before, state = self.happened[stream], self.states[stream]
        if kind in _NEVER_AFTER and _NEVER_AFTER[kind] in before:
            self.faults.append(f"{stream} has {kind.__name__} after {_NEVER_AFTER[kind].__name__}")
        if isinstance(state, Order) and kind in before:
            self.faults.append(f"{stream} has {kind.__name__} twice")
        told = (e.CustomerNotified, e.NotificationFailed, e.OrderErased)
        if isinstance(state, Order) and e.OrderConfirmed in before and kind not in told:
            self.faults.append(f"{stream} has {kind.__name__} after OrderConfirmed")
        if isinstance(state, Product) and not 0 <= sum(state.reserved.values()) <= state.on_hand:
            self.faults.append(f"{stream} has {state.on_hand} on hand and {dict(state.reserved)} reserved")
