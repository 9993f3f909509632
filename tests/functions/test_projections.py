"""Projections make the same documents from duplicates, in any order, and from last messages
only."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, cast

import pytest
from google.cloud.firestore import AsyncClient, Client
from pydantic import TypeAdapter
from uuid_utils.compat import uuid7

from shared.api.consistency import ConsistentQueries
from shared.config.manifest import manifest
from shared.domain.aggregate import Aggregate, Lifecycle, Ref
from shared.domain.order import AGGREGATE_OF, ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.protocol import EventStore, LogEntry
from shared.read_models.by_generation import EveryGeneration
from shared.read_models.documents import (
    CATEGORIES,
    COLLECTIONS,
    PRODUCTS,
    RANKS_PER_UNIT,
    READ_MODELS,
    Collection,
    document,
    sources_of,
)
from shared.read_models.firestore import FirestoreQueries, FirestoreReadModels
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Fields, Find, Queries, ReadModels
from shared.resilience.breakers import Breaker
from shared.runtime.current import using
from shared.runtime.projection import projection
from tests.shop_in_memory import Json, Pushed, ShopInMemory, app, open_shop, usual_settings

PROJECTIONS = ("project_categories", "project_products", "project_orders", "project_sales")
AGGREGATES: dict[str, Aggregate[Any]] = {one.name: one.aggregate for one in COLLECTIONS}
SEEDS = range(3)

Documents = dict[str, dict[str, Fields]]


class BothSides(NamedTuple):
    """An empty query database. `queries` makes a client for one event loop."""

    models: ReadModels
    queries: Callable[[], Queries]


@pytest.fixture(scope="module", params=["memory", "firestore"])
def read_models(request: pytest.FixtureRequest) -> Callable[[], BothSides]:
    """Return a function that makes empty query databases."""

    def in_memory() -> BothSides:
        memory = MemoryReadModels()
        return BothSides(memory, lambda: memory)

    def on_firestore() -> BothSides:
        project = f"projections-{uuid7().hex}"  # empty, as each is
        return BothSides(
            FirestoreReadModels(Client(project), Breaker("Firestore", 10, 5)),
            lambda: FirestoreQueries(AsyncClient(project), Breaker("Firestore", 10, 5)),
        )

    if request.param == "firestore":
        request.getfixturevalue("firestore")
        return on_firestore
    return in_memory


@dataclass
class Clerk:
    """Makes a history from random commands, some of which the shop refuses."""

    shop: ShopInMemory
    random: Random
    categories: list[str] = field(default_factory=list)
    products: dict[str, Json] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)

    def work(self, commands: int) -> None:
        for _ in range(4):
            self.create_category()
            self.create_product()
        actions = [self.create_category, self.update_category, self.delete_category]
        actions += [self.create_product, self.update_product, self.change_stock, self.delete_product]
        actions += [self.create_order, self.cancel_order]
        for action in self.random.choices(actions, [1, 3, 1, 2, 6, 3, 1, 6, 2], k=commands):
            action()
        self.shop.settle()  # an order's erasure is recorded when the order has ended
        self._send("erase_person", userId="bob", reason="bob asked for it")

    def create_category(self) -> None:
        self.categories.append(str(uuid7()))
        parent = self.random.choice([None, *self.categories[:-1]])
        self._send("create_category", categoryId=self.categories[-1], name=self._word(), parentId=parent)

    def update_category(self) -> None:
        changes = self._some(name=self._word(), description=self._word(), parentId=self.random.choice(self.categories))
        self._send("update_category", categoryId=self.random.choice(self.categories), **changes)

    def delete_category(self) -> None:
        self._send("delete_category", categoryId=self.random.choice(self.categories))

    def create_product(self) -> None:
        product_id, price = str(uuid7()), self.random.randrange(1000)
        given = {"name": self._word(), "price": price, "categoryId": self.random.choice(self.categories)}
        self._send("create_product", productId=product_id, stockQuantity=self.random.randrange(20), **given)

    def update_product(self) -> None:
        stock, price = self.random.randrange(20), self.random.randrange(1000)
        category_id = self.random.choice(self.categories)
        changes = self._some(name=self._word(), price=price, categoryId=category_id, stockQuantity=stock)
        self._send("update_product", productId=self._product(), **changes)

    def change_stock(self) -> None:
        self._send("adjust_stock", productId=self._product(), delta=self.random.randint(-5, 9))

    def delete_product(self) -> None:
        self._send("delete_product", productId=self._product())

    def create_order(self) -> None:
        self.orders.append(str(uuid7()))
        bought = self.random.sample(sorted(self.products), self.random.randint(1, min(3, len(self.products))))
        lines = [
            {"productId": product_id, "productName": known["name"], "unitPrice": known["price"]}
            | {"quantity": self.random.randint(1, 3)}
            for product_id in bought
            for known in [self.products[product_id]]
        ]
        methods = {
            "paymentMethod": self.random.choice(["approve", "approve", "approve", "decline"]),
            "shippingMethod": self.random.choice(["standard", "refuse"]),
        }
        user_id = ("ann", "bob")[len(self.orders) % 2]
        self._send("create_order", orderId=self.orders[-1], userId=user_id, items=lines, **methods)

    def cancel_order(self) -> None:
        self._send("cancel_order", orderId=self.random.choice([*self.orders, str(uuid7())]))

    def _send(self, command: str, **body: Any) -> None:
        response = self.shop.command(command, body)
        assert response.status_code < 500, response.text
        if response.status_code == 200 and "productId" in body:
            self.products[body["productId"]] = response.json()["entity"]

    def _product(self) -> str:
        return self.random.choice(sorted(self.products))

    def _word(self) -> str:
        return "".join(self.random.choices("茶器筆紙墨 abc", k=3)) + "."

    def _some(self, **changes: Any) -> Json:
        return {name: value for name, value in changes.items() if self.random.random() < 0.5}


@dataclass(frozen=True, eq=False)
class History:
    """A shop with a random history. `messages`: to the projections, in the order of its events.
    `in_order`: the documents that they make, by the kind of query database."""

    shop: ShopInMemory
    messages: list[Pushed]
    in_order: dict[Callable[[], BothSides], Documents] = field(default_factory=dict)


def random_history(shop: ShopInMemory, seed: int) -> History:
    shop.deliver = lambda to, body: 204 if to.endpoint in PROJECTIONS else shop.hand_over(to, body)
    Clerk(shop, Random(seed)).work(60)
    product_id = shop.new_product()  # of the clerk's orders none may end as these two
    shop.new_order(product_id, paymentMethod="decline")
    shop.new_order(product_id, shippingMethod="refuse")
    shop.settle()
    position = {str(event.id): n for n, event in enumerate(shop.log())}
    messages = sorted(shop.pushed(*PROJECTIONS), key=lambda pushed: position[attributes(pushed)["ce-id"]])
    return History(shop, messages)


@pytest.fixture(scope="module")
def histories(provider: str) -> Iterator[list[History]]:
    """Yield the histories of all seeds. Tests deliver their messages to new query databases."""
    with ExitStack() as shops:
        yield [random_history(shops.enter_context(open_shop(usual_settings(provider))), seed) for seed in SEEDS]


@pytest.fixture(params=SEEDS)
def history(histories: list[History], request: pytest.FixtureRequest) -> Iterator[History]:
    chosen = histories[request.param]
    with using(chosen.shop.engines):
        yield chosen


@pytest.fixture
def in_order(history: History, read_models: Callable[[], BothSides]) -> Documents:
    """Return the documents after the history's messages in order. They are made once for all
    tests."""
    if read_models not in history.in_order:
        history.in_order[read_models] = projected(history.shop, read_models(), history.messages)
    return history.in_order[read_models]


def attributes(pushed: Pushed) -> dict[str, str]:
    found: dict[str, str] = pushed.body["message"]["attributes"]
    return found


def projected(shop: ShopInMemory, sides: BothSides, messages: Sequence[Pushed], at_once: int = 1) -> Documents:
    """Return all documents after these messages have been delivered."""
    shop.engines.read_models = EveryGeneration(sides.models)
    with ThreadPoolExecutor(at_once) as pool:
        statuses = set(pool.map(lambda pushed: shop.push(pushed.function, pushed.body).status_code, messages))
    assert statuses == {204}
    ids = {name: [str(ref.id) for ref in refs_of(shop, aggregate)] for name, aggregate in AGGREGATES.items()}

    async def stored() -> Documents:
        queries = sides.queries()
        documents = {name: dict(await queries.get_many(name, keys)) for name, keys in ids.items()}
        sales = await queries.find(Find("sales", "day", limit=1000))
        return documents | {"sales": {one["id"]: one for one in sales}}

    return asyncio.run(stored())


def refs_of(shop: ShopInMemory, aggregate: Aggregate[Any]) -> list[Ref[Any]]:
    streams = {event.stream for event in shop.log() if event.stream.startswith(f"{aggregate.name}-")}
    return [aggregate.ref(aggregate.id_of(stream)) for stream in sorted(streams)]


def twice(history: list[Pushed], _: Random) -> list[Pushed]:
    return [pushed for pushed in history for _ in range(2)]


def shuffled(history: list[Pushed], random: Random) -> list[Pushed]:
    return random.sample(history, len(history))


def backwards(history: list[Pushed], _: Random) -> list[Pushed]:
    return history[::-1]


def only_the_last(history: list[Pushed], random: Random) -> list[Pushed]:
    """Return the last message about each stream to each projection."""
    last = {(pushed.function, attributes(pushed)["ce-subject"]): pushed for pushed in history}
    return random.sample(list(last.values()), len(last))


@pytest.mark.parametrize("deliveries", [twice, shuffled, backwards, only_the_last])
def test_the_documents_do_not_depend_on_the_deliveries(
    read_models: Callable[[], BothSides],
    history: History,
    in_order: Documents,
    deliveries: Callable[[list[Pushed], Random], list[Pushed]],
) -> None:
    assert projected(history.shop, read_models(), deliveries(history.messages, Random(1))) == in_order


def test_the_documents_do_not_depend_on_how_many_messages_are_delivered_at_once(
    read_models: Callable[[], BothSides], history: History, in_order: Documents
) -> None:
    assert projected(history.shop, read_models(), shuffled(history.messages, Random(2)), at_once=8) == in_order


def test_a_category_counts_its_products_on_sale(read_models: Callable[[], BothSides], history: History) -> None:
    documents = projected(history.shop, read_models(), only_the_last(history.messages, Random(3)))
    products = load(history.shop.engines.event_store, refs_of(history.shop, PRODUCT))
    on_sale = Counter(str(one.state.category_id) for one in products if one.state.lifecycle is Lifecycle.ACTIVE)
    counted = {key: found.get("product_count", 0) for key, found in documents["categories"].items()}
    assert counted == {key: on_sale[key] for key in documents["categories"]}


def test_the_sales_of_a_day_add_up_the_orders_confirmed_on_it(
    read_models: Callable[[], BothSides], history: History
) -> None:
    documents = projected(history.shop, read_models(), only_the_last(history.messages, Random(4)))
    days = {event.stream: event.recorded_at.date() for event in history.shop.log() if event.type == "OrderConfirmed"}
    orders, units, revenue = Counter[str](), Counter[str](), Counter[str]()
    for one in load(history.shop.engines.event_store, refs_of(history.shop, ORDER)):
        for item in one.state.items if one.ref.stream in days else ():
            key = f"{item.product_id}_{days[one.ref.stream]}"
            orders[key] += 1
            units[key] += item.quantity
            revenue[key] += int(item.unit_price * item.quantity * RANKS_PER_UNIT)
    for field_name, expected in (("orders", orders), ("units", units), ("revenue_rank", revenue)):
        assert {key: found[field_name] for key, found in documents["sales"].items()} == expected


def test_a_document_equals_the_answer_of_the_write_side(history: History, in_order: Documents) -> None:
    everything: TypeAdapter[Any] = TypeAdapter(Any)
    for collection in ("categories", "products", "orders"):
        for one in load(history.shop.engines.event_store, refs_of(history.shop, AGGREGATES[collection])):
            shown = in_order[collection][str(one.ref.id)]
            answered = everything.dump_python(document(one.state), mode="json")
            answered |= {"version": one.version, "created_at": one.created_at, "updated_at": one.updated_at}
            assert answered == {name: shown[name] for name in answered}


def test_the_histories_hold_nearly_every_event_type(histories: list[History]) -> None:
    """The tests above prove little for event types that no history holds."""
    never = {kind.__name__ for kind in AGGREGATE_OF}
    never -= {event.type for history in histories for event in history.shop.log()}
    cancelled = {"ShippingCancelled", "FulfilmentStopped", "OrderCancelled", "OrderCancellationRequested"}
    assert never <= cancelled | {"NotificationFailed"}  # the sandbox refuses a notification only when an admin says so


def announced(body: Json, version: int, about: Json | None = None, **attributes: str) -> Json:
    """Return a push whose message announces another version, with other data (unless None) and
    attributes."""
    message = body["message"]
    hint = json.loads(base64.b64decode(message["data"]))
    hint |= {"version": version} | ({} if about is None else {"data": about})
    given = {**message["attributes"], **{f"ce-{name}": value for name, value in attributes.items()}}
    return body | {
        "message": message | {"data": base64.b64encode(json.dumps(hint).encode()).decode(), "attributes": given}
    }


def adjusted(product: str, delta: int) -> Json:
    return {"product_id": product, "delta": delta}


FORGED: dict[str, Callable[[Json, str], Json]] = {
    "the next version": lambda body, product: announced(
        body, 2, adjusted(product, 5000), type="StockAdjusted", id=str(uuid7())
    ),
    "the next version under a known id": lambda body, product: announced(
        body, 2, adjusted(product, 5000), type="StockAdjusted"
    ),
    "a known version under another id": lambda body, product: announced(body, 1, id=str(uuid7())),
    "a distant version": lambda body, product: announced(body, 2**31, id=str(uuid7())),
    "an endless version": lambda body, product: announced(body, 10**4000, id=str(uuid7())),
    "an unknown stream": lambda body, product: announced(body, 1, subject=f"product-{uuid7()}"),
    "an unknown type": lambda body, product: announced(body, 2, {}, type="ProductEaten"),
    "no stream": lambda body, product: announced(body, 1, subject="product-\0"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_message_changes_no_read_model_and_ends_as_a_dead_letter(
    shop: ShopInMemory, read_models: Callable[[], BothSides], forge: Callable[[Json, str], Json]
) -> None:
    """It is refused again when an admin retries it."""
    sides = read_models()
    shop.engines.read_models = EveryGeneration(sides.models)
    product = shop.new_product()
    shop.settle()
    (genuine,) = shop.pushed("project_products")
    before = asyncio.run(sides.queries().get_many("products", [product]))
    assert before[product]["stock_quantity"] == 100
    forged = forge(genuine.body, product)
    response = shop.push("project_products", forged)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_INPUT")
    message = forged["message"]
    shop.engines.broker.publish_raw("product-events", base64.b64decode(message["data"]), message["attributes"])
    shop.settle()
    retry = "mutation { retryDeadLetters { retried left } }"
    consumers = sum("product-events" in function.topics for function in manifest().functions.values())
    assert shop.ask(retry)["retryDeadLetters"] == {"retried": consumers, "left": 0}
    shop.settle()
    letters = shop.engines.dead_letters.latest(10)
    assert [(letter.status, letter.attempts) for letter in letters] == [("PENDING", 20)] * consumers
    assert asyncio.run(sides.queries().get_many("products", [product])) == before


def test_the_content_of_a_message_is_not_used(shop: ShopInMemory, read_models: Callable[[], BothSides]) -> None:
    """The event comes from the event store, so an altered message makes the right document."""
    sides = read_models()
    shop.engines.read_models = EveryGeneration(sides.models)
    shop.deliver = lambda to, body: 204
    product = shop.new_product()
    shop.command("adjust_stock", {"productId": product, "delta": -5})
    shop.settle()
    created, changed = shop.pushed("project_products")
    for altered in (
        announced(changed.body, 2, adjusted(product, 5000)),
        announced(created.body, 1, {"name": "free"}, type="ProductDeleted"),
    ):
        assert shop.push("project_products", altered).status_code == 204
    found = asyncio.run(sides.queries().get_many("products", [product]))[product]
    assert (found["stock_quantity"], found["version"], found["active"]) == (95, 2, True)


class CountingStore:
    """An event store that counts its reads."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reads = 0

    def read_stream(self, *page: Any) -> Sequence[LogEntry]:
        self.reads += 1
        entries: Sequence[LogEntry] = self._store.read_stream(*page)
        return entries


def test_a_delivery_in_order_costs_one_indexed_read(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.settle()
    shop.command("adjust_stock", {"productId": product, "delta": -5})
    shop.settle()
    (_, changed) = shop.pushed("project_products")
    store = CountingStore(shop.engines.event_store)
    shop.engines.event_store = cast(EventStore, store)
    shop.engines.read_models = EveryGeneration(MemoryReadModels())
    assert shop.push("project_products", shop.pushed("project_products")[0].body).status_code == 204
    assert store.reads == 1
    for _ in range(2):  # the second time it is a duplicate
        assert shop.push("project_products", changed.body).status_code == 204
    assert store.reads == 3


def test_each_projection_of_the_manifest_is_declared_with_its_topics() -> None:
    projections = [one for one in manifest().functions.values() if one.group == "projections"]
    assert sorted(one.read_model for one in projections) == sorted(READ_MODELS)
    for one in projections:
        app(one.name)  # decorating it checks that it keeps all collections of its read model
        assert list(one.topics) == [source.aggregate.topic for source in sources_of(one.read_model)]


def test_a_projection_of_an_undeclared_collection_cannot_be_made() -> None:
    undeclared = Collection("things", PRODUCT, type(None))
    with pytest.raises(LookupError, match="'things' is not declared"):
        projection(undeclared, lambda _: None)(lambda document, _: document)


def test_a_projection_must_keep_all_collections_of_its_read_model() -> None:
    with pytest.raises(LookupError, match="must keep categories, category_members; it keeps categories"):
        projection(CATEGORIES, lambda event: event)(lambda document, _: document)


@pytest.mark.parametrize("collection", ["things", "generations", ""])
def test_a_query_of_an_undeclared_collection_does_not_wait_for_nothing(collection: str) -> None:
    queries = ConsistentQueries(MemoryReadModels(), {f"product-{uuid7()}": 1}, 0.0, MemoryEventLog(MemoryEventStore()))
    with pytest.raises(LookupError, match="is not declared"):
        asyncio.run(queries.get_many(collection, ["1"]))


def test_the_collection_that_is_counted_in_waits_for_both_of_its_sources() -> None:
    assert [source.name for source in sources_of("categories")] == ["categories", "category_members"]
    assert [source.name for source in sources_of("category_members")] == ["category_members"]
    assert sources_of("products") == [PRODUCTS]
