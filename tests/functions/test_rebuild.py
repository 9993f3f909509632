"""A read model is rebuilt beside the one that clients read, while the shop goes on."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest
from google.cloud.firestore import AsyncClient, Client
from uuid_utils.compat import uuid7

from shared.config.settings import Settings
from shared.domain.aggregate import topic_of
from shared.domain.errors import Unavailable
from shared.event_store.protocol import Append, EventRecord, EventStore, LogEntry
from shared.messaging.envelope import ONLY_FOR, Message
from shared.observability.context import Context
from shared.read_models.by_generation import EveryGeneration, LiveGeneration
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.fill import FILL
from shared.read_models.firestore import FirestoreQueries, FirestoreReadModels
from shared.read_models.generations import Generations, Pace, generations_of, stored_in
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Change, Fields, MakeChange
from shared.resilience import clock
from shared.resilience.breakers import Breaker
from shared.runtime.current import using
from tests.fakes import HurriedClock, MovableClock, method_replaced
from tests.shop_in_memory import Json, ShopInMemory

PRODUCTS = "{ products(limit: 1000) { id name stockQuantity reservedQuantity } }"
STATUS = """{ projectionStatus { name lagEvents generations {
    live other state passes checked streams behind missingEvents incomplete { stream error }
} } }"""
NEW = """mutation ($name: String!) {
    rebuildProjection(name: $name, switchWhenEqual: true) { generations { live other state } }
}"""
SWITCH = """mutation ($name: String!, $to: Int!, $force: Boolean) {
    switchProjection(name: $name, to: $to, force: $force) { generations { live other state } }
}"""
DROP = "mutation ($name: String!) { dropProjectionGeneration(name: $name) { generations { live other state } } }"

Documents = Mapping[str, Fields]
SOON = 0.1


@pytest.fixture
def shop(shop: ShopInMemory) -> Iterator[ShopInMemory]:
    """Yield a shop that reads the generations before each use: rebuilds need not wait for that."""
    shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=SOON)
    with clock.use(HurriedClock(shop)):
        yield shop


@pytest.fixture
def busy_shop(shop: ShopInMemory) -> ShopInMemory:
    """Return a shop with seven products in three categories, some changed, and five orders."""
    categories = [shop.new_category() for _ in range(3)]
    products = [shop.new_product(categories[n % 3]) for n in range(7)]
    for product in products[:4]:
        shop.command("adjust_stock", {"productId": product, "delta": 5})
    for product in products[:5]:
        shop.new_order(product, shippingMethod="refuse" if product == products[0] else "standard")
    shop.command("delete_product", {"productId": products[6]})
    shop.settle()
    return shop


def documents(shop: ShopInMemory, collection: str, generation: int) -> Documents:
    ids = {event.stream.partition("-")[2] for event in shop.log()}
    return asyncio.run(stored(shop).get_many(stored_in(collection, generation), sorted(ids)))


def stored(shop: ShopInMemory) -> MemoryReadModels:
    return cast(MemoryReadModels, shop.engines.read_models.models)


def spoil(shop: ShopInMemory, key: str, name: str | None) -> None:
    """Change the name in one product's document of the first generation."""
    stored(shop).update("products", key, lambda _: Change({"name": name}))


def paged(shop: ShopInMemory, page: int) -> None:
    shop.engines.pace = replace(shop.engines.pace, page=page)


def run(shop: ShopInMemory, times: int = 4) -> list[int]:
    """Return how many things each run of the schedule reports."""
    done = []
    for _ in range(times):
        clock.sleep(SOON)
        response = shop.call("continue_rebuilds")
        assert response.status_code == 200, response.text
        done.append(response.json()["done"])
        shop.settle()
    return done


def known(shop: ShopInMemory, read_model: str) -> Generations:
    return generations_of(shop.engines.read_models, read_model)


@pytest.mark.parametrize("read_model", READ_MODELS)
def test_a_new_generation_equals_the_old_one(busy_shop: ShopInMemory, read_model: str) -> None:
    name = f"project_{read_model}"
    begun = busy_shop.ask(NEW, name=name)["rebuildProjection"]["generations"]
    assert begun == {"live": 1, "other": 2, "state": "BUILDING"}
    run(busy_shop)
    found = known(busy_shop, read_model)
    assert (found.live, found.other, found.state) == (2, 1, "KEPT")
    for source in sources_of(read_model):
        assert documents(busy_shop, source.name, 2) == documents(busy_shop, source.name, 1) != {}


def test_a_rebuild_waits_while_its_projection_is_stopped(busy_shop: ShopInMemory) -> None:
    busy_shop.ask(NEW, name="project_products")
    busy_shop.ask('mutation { stopProjection(name: "project_products", minutes: 60) { status } }')
    assert run(busy_shop) == [0, 0, 0, 0]
    assert busy_shop.engines.outboxes[1].backlog().waiting == 0  # no message that would only be refused
    busy_shop.ask('mutation { startProjection(name: "project_products") { status } }')
    run(busy_shop)
    assert (known(busy_shop, "products").live, known(busy_shop, "products").other) == (2, 1)


def test_a_rebuild_restores_lost_documents(busy_shop: ShopInMemory) -> None:
    before = busy_shop.ask(PRODUCTS)
    busy_shop.engines.read_models.delete("products", 1000)
    assert busy_shop.ask(PRODUCTS) == {"products": []}
    busy_shop.ask(NEW, name="project_products")
    run(busy_shop)
    assert busy_shop.ask(PRODUCTS) == before


def test_a_corrected_projection_gets_the_documents_that_it_makes(busy_shop: ShopInMemory) -> None:
    """The live documents stay as they are until the switch."""
    old = dict(documents(busy_shop, "products", 1))
    for key in old:
        spoil(busy_shop, key, "made by code that was wrong")
    busy_shop.ask(NEW, name="project_products")
    assert {one["name"] for one in busy_shop.ask(PRODUCTS)["products"]} == {"made by code that was wrong"}
    run(busy_shop)
    assert {one["name"] for one in busy_shop.ask(PRODUCTS)["products"]} == {"Tea"}
    assert documents(busy_shop, "products", 2).keys() == old.keys()


def test_a_document_that_cannot_be_read_is_made_again(busy_shop: ShopInMemory) -> None:
    spoiled, *_ = documents(busy_shop, "products", 1)
    spoil(busy_shop, spoiled, None)  # as if another version of the code had written it
    busy_shop.ask(NEW, name="project_products")
    busy_shop.command("adjust_stock", {"productId": spoiled, "delta": 5})
    run(busy_shop)
    assert known(busy_shop, "products").live == 2
    assert documents(busy_shop, "products", 2)[spoiled]["name"] == "Tea"


def test_events_during_a_rebuild_reach_both_generations(busy_shop: ShopInMemory) -> None:
    busy_shop.ask(NEW, name="project_products")
    during = busy_shop.new_product(name="during")
    busy_shop.settle()
    assert during in documents(busy_shop, "products", 2)
    run(busy_shop)
    after = busy_shop.new_product(name="after")
    busy_shop.settle()
    assert {during, after} <= {one["id"] for one in busy_shop.ask(PRODUCTS)["products"]}
    back = busy_shop.ask(SWITCH, name="project_products", to=1)["switchProjection"]["generations"]
    assert back == {"live": 1, "other": 2, "state": "KEPT"}
    assert {during, after} <= {one["id"] for one in busy_shop.ask(PRODUCTS)["products"]}
    assert documents(busy_shop, "products", 2) == documents(busy_shop, "products", 1)


def test_categories_are_counted_once_in_each_generation(busy_shop: ShopInMemory) -> None:
    query = "{ categories(limit: 100) { id productCount } }"
    before = busy_shop.ask(query)
    busy_shop.ask(NEW, name="project_categories")
    busy_shop.new_product(before["categories"][0]["id"])
    run(busy_shop)
    counted = {one["id"]: one["productCount"] for one in busy_shop.ask(query)["categories"]}
    there = {one["id"]: one["productCount"] for one in before["categories"]}
    assert counted == there | {before["categories"][0]["id"]: before["categories"][0]["productCount"] + 1}


def test_the_rebuilt_projection_alone_gets_messages(busy_shop: ShopInMemory) -> None:
    events = len(busy_shop.log())
    sagas = busy_shop.engines.sagas.newest(100)
    told = len(busy_shop.pushed("project_orders"))
    busy_shop.ask(NEW, name="project_orders")
    run(busy_shop)
    again = busy_shop.pushed("project_orders")[told:]
    assert [streams_to_fill(one.body) for one in again] == [5, 0]  # filled, then compared
    assert {one.body["message"]["attributes"][ONLY_FOR] for one in again} == {"project-orders.order-events"}
    assert (len(busy_shop.log()), busy_shop.engines.sagas.newest(100)) == (events, sagas)


def test_a_generation_goes_live_only_when_it_is_complete(busy_shop: ShopInMemory) -> None:
    deliver = busy_shop.deliver
    busy_shop.deliver = lambda to, body: 204  # everything is lost
    busy_shop.ask(NEW, name="project_products")
    run(busy_shop, 2)
    found = known(busy_shop, "products")
    assert (found.live, found.state, documents(busy_shop, "products", 2)) == (1, "BUILDING", {})
    assert found.passes >= 1
    assert len(busy_shop.ask(PRODUCTS)["products"]) == 6
    busy_shop.deliver = deliver
    run(busy_shop)
    assert known(busy_shop, "products").live == 2
    assert known(busy_shop, "products").live == 2


def test_the_status_shows_the_progress_of_a_pass(busy_shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    paged(busy_shop, 3)
    busy_shop.ask(NEW, name="project_products")
    stop_after(busy_shop, 2, monkeypatch)
    clock.sleep(SOON)
    assert busy_shop.call("continue_rebuilds").status_code == 503
    found = progress(busy_shop)
    assert (found["checked"], found["streams"], found["behind"]) == (6, 7, 6)


def progress(shop: ShopInMemory) -> Json:
    """Return what the status tells of the generations of the products' read model."""
    (told,) = [one for one in shop.ask(STATUS)["projectionStatus"] if one["name"] == "project_products"]
    found: Json = told["generations"]
    return found


def stop_after(shop: ShopInMemory, pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the publisher refuse all announcements of rebuilds after so many pages."""
    publish, left = shop.engines.publisher.publish, iter(range(pages))

    def stopping(messages: Any) -> Any:
        if any(ONLY_FOR in one.attributes() for one in messages) and next(left, None) is None:
            return []
        return publish(messages)

    monkeypatch.setattr(shop.engines.publisher, "publish", stopping)


def test_an_interrupted_pass_goes_on_from_its_last_page(
    busy_shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(busy_shop, 2)
    busy_shop.ask(NEW, name="project_products")
    with monkeypatch.context() as patch:
        stop_after(busy_shop, 1, patch)
        clock.sleep(SOON)
        assert busy_shop.call("continue_rebuilds").status_code == 503
    busy_shop.settle()
    assert len(documents(busy_shop, "products", 2)) == 2
    told = len(busy_shop.pushed("project_products"))
    run(busy_shop)
    again = busy_shop.pushed("project_products")[told:]
    assert sum(streams_to_fill(one.body) for one in again) == 5  # the two are not told again
    assert known(busy_shop, "products").live == 2


def test_a_rebuild_that_fails_does_not_stop_the_others(
    busy_shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = busy_shop.engines.publisher.publish

    def unreliable(messages: Any) -> Any:
        return [] if messages[0].topic == "product-events" else publish(messages)

    monkeypatch.setattr(busy_shop.engines.publisher, "publish", unreliable)
    for name in ("project_products", "project_orders"):
        busy_shop.ask(NEW, name=name)
    for _ in range(2):
        clock.sleep(SOON)
        assert busy_shop.call("continue_rebuilds").status_code == 503
        busy_shop.settle()
    assert (known(busy_shop, "products").live, known(busy_shop, "orders").live) == (1, 2)


def test_once_few_documents_are_incomplete_a_pass_checks_only_these(busy_shop: ShopInMemory) -> None:
    lost = {busy_shop.new_product() for _ in range(2)}
    busy_shop.settle()
    deliver, read = busy_shop.deliver, busy_shop.engines.event_store.read
    busy_shop.deliver = lambda to, body: 204 if about(body) in lost else deliver(to, body)
    busy_shop.ask(NEW, name="project_products")
    streams = {f"product-{product_id}" for product_id in lost}
    with method_replaced(busy_shop, "event_store.read", lambda wanted: read([*{*wanted} - streams])):
        run(busy_shop, 2)
    assert (known(busy_shop, "products").live, set(known(busy_shop, "products").wanted)) == (1, streams)
    busy_shop.deliver = deliver
    told = len(busy_shop.pushed("project_products"))
    run(busy_shop)
    looked = [about(one.body) for one in busy_shop.pushed("project_products")[told:]]
    assert (known(busy_shop, "products").live, set(looked)) == (2, {*lost, "products"})  # they, and the comparison


def streams_to_fill(body: Json) -> int:
    """Return for how many streams a push fills the new generation, 0 for an event's
    announcement."""
    message = body["message"]
    if message["attributes"]["ce-type"] != FILL:
        return 0
    return len(json.loads(base64.b64decode(message["data"]))["streams"])


def about(body: Json) -> str:
    subject: str = body["message"]["attributes"]["ce-subject"]
    return subject.removeprefix("product-")


def test_a_rebuild_waits_for_a_running_transaction_that_hides_streams_from_the_log(
    shop_settings: Settings, event_store_url: str, command_url: str
) -> None:
    """The hidden product was delivered before the rebuild began, so only the log can tell of it."""
    urls: Json = {"event_store_url": event_store_url, "command_database_url": command_url}
    shop = ShopInMemory(replace(shop_settings, profile="postgres", **urls))
    shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=SOON)
    with using(shop.engines), closing(shop), psycopg.connect(event_store_url) as writer:
        shown = shop.new_product()
        shop.settle()
        writer.execute("SELECT pg_current_xact_id()")
        hidden = shop.new_product()
        shop.settle()
        shop.command("rebuild_projection", {"name": "project_products", "action": "REBUILD", "switchWhenEqual": True})
        run(shop)
        assert known(shop, "products").live == 1
        writer.commit()
        run(shop)
        assert known(shop, "products").live == 2
        assert documents(shop, "products", 2).keys() == {shown, hidden}


CLOCKS = {
    "the writers' is ahead": (3600, 0, 0),
    "the writers' is behind": (-3600, 0, 0),
    "the admin's is ahead": (0, 3600, 0),
    "the admin's is behind": (0, -3600, 0),
    "the rebuild's is ahead": (0, 0, 3600),
    "the rebuild's is behind": (0, 0, -120),
    "all differ": (300, -60, -7200),
}


@pytest.mark.parametrize("store", ["memory", "firestore"])
@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=CLOCKS)
def test_no_event_is_left_out_whatever_the_clocks_say(
    shop: ShopInMemory, clocks: tuple[float, float, float], store: str, request: pytest.FixtureRequest
) -> None:
    on_firestore = store == "firestore" and request.getfixturevalue("firestore")
    queries = use_firestore(shop) if on_firestore else lambda: stored(shop)
    writers, admin, rebuild = (HurriedClock(shop, seconds) for seconds in clocks)
    with clock.use(writers):
        products = [shop.new_product() for _ in range(5)]
        shop.command("adjust_stock", {"productId": products[0], "delta": 5})
        shop.settle()
    with clock.use(admin):
        assert (
            shop.command(
                "rebuild_projection", {"name": "project_products", "action": "REBUILD", "switchWhenEqual": True}
            ).status_code
            == 200
        )
    with clock.use(rebuild):
        run(shop)
    assert known(shop, "products").live == 2
    found = asyncio.run(queries().get_many(stored_in("products", 2), products))
    assert {key: fields["version"] for key, fields in found.items()} == dict.fromkeys(products, 1) | {products[0]: 2}


def use_firestore(shop: ShopInMemory) -> Callable[[], FirestoreQueries]:
    """Keep the shop's read models in the emulator; return a function that makes queries for one
    event loop."""
    project = f"rebuilding-{uuid7().hex}"

    def queries() -> FirestoreQueries:
        return FirestoreQueries(AsyncClient(project), Breaker("Firestore", 10, 5))

    models = FirestoreReadModels(Client(project), Breaker("Firestore", 10, 5))
    shop.engines.read_models, shop.engines.queries = EveryGeneration(models, 0.0), LiveGeneration(queries(), 0.0)
    return queries


def unreadable(shop: ShopInMemory, product: str, version: int, kind: str = "ProductEaten") -> str:
    """Append an event that no code can read to a product's stream, and return the stream."""
    stream = f"product-{product}"
    record = EventRecord(uuid7(), stream, version, kind, 1, {}, Context("c", "k"), clock.now())
    shop.engines.event_store.append(Append([record]))
    shop.settle()
    return stream


def test_an_unreadable_stream_is_named_with_its_error_and_can_be_left_out(shop: ShopInMemory) -> None:
    good, bad = shop.new_product(), shop.new_product()
    stream = unreadable(shop, bad, 2)
    shop.ask(NEW, name="project_products")
    run(shop)
    found = progress(shop)
    assert (found["state"], found["checked"], found["behind"], found["streams"]) == ("BUILDING", 1, 1, 2)
    (incomplete,) = found["incomplete"]
    assert (incomplete["stream"], "ProductEaten" in incomplete["error"]) == (stream, True)
    (error,) = shop.graphql(SWITCH, {"name": "project_products", "to": 2})["errors"]
    assert error["extensions"] == {"code": "BUSINESS_RULE_VIOLATION", "field": ["to"]}
    assert all(part in error["message"] for part in (stream, "ProductEaten", "force: true"))
    shop.ask(SWITCH, name="project_products", to=2, force=True)
    assert {one["id"] for one in shop.ask(PRODUCTS)["products"]} == {good}
    run(shop)
    kept = known(shop, "products")
    assert (kept.live, kept.other, kept.state, [one.stream for one in kept.incomplete]) == (2, 1, "KEPT", [stream])
    shop.ask(SWITCH, name="project_products", to=1)
    assert {one["id"] for one in shop.ask(PRODUCTS)["products"]} == {good, bad}


def test_an_unreadable_stream_is_named_on_firestore_too(shop: ShopInMemory, firestore: object) -> None:
    use_firestore(shop)
    stream = unreadable(shop, shop.new_product(), 2)
    change = {"name": "project_products", "action": "REBUILD", "switchWhenEqual": True}
    shop.command("rebuild_projection", change)
    run(shop)
    (incomplete,) = known(shop, "products").incomplete
    assert (incomplete.stream, "ProductEaten" in (incomplete.error or "")) == (stream, True)
    switch = {"name": "project_products", "action": "SWITCH", "to": 2}
    assert stream in shop.command("rebuild_projection", switch).json()["message"]
    assert shop.command("rebuild_projection", switch | {"force": True}).json()["live"] == 2


def test_only_admins_see_which_streams_are_unreadable(shop: ShopInMemory) -> None:
    unreadable(shop, shop.new_product(), 2)
    shop.ask(NEW, name="project_products")
    run(shop)
    told = shop.graphql(STATUS, headers={"Authorization": ""})["data"]["projectionStatus"]
    assert [one["generations"]["incomplete"] for one in told] == [[]] * len(READ_MODELS)
    assert progress(shop)["incomplete"]


def test_a_stream_whose_first_event_is_unknown_is_missed_by_its_number(shop: ShopInMemory) -> None:
    shop.new_product()
    unreadable(shop, str(uuid7()), 1)
    shop.ask(NEW, name="project_products")
    run(shop)
    found = progress(shop)
    assert (found["live"], found["behind"], found["missingEvents"]) == (1, 0, 1)
    (error,) = shop.graphql(SWITCH, {"name": "project_products", "to": 2})["errors"]
    assert "no known event: 1." in error["message"]
    shop.ask(SWITCH, name="project_products", to=2, force=True)
    assert known(shop, "products").live == 2


def test_a_failed_stream_completes_the_rebuild_once_it_can_be_read(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.settle()
    store = shop.engines.event_store
    read, read_stream = store.read, store.read_stream

    def without_data(*page: Any) -> list[LogEntry]:
        return [replace(entry, event=replace(entry.event, data={})) for entry in read_stream(*page)]

    def all_without_data(streams: Sequence[str]) -> dict[str, list[EventRecord]]:
        return {stream: [replace(event, data={}) for event in events] for stream, events in read(streams).items()}

    with (
        method_replaced(shop, "event_store.read_stream", without_data),
        method_replaced(shop, "event_store.read", all_without_data),
    ):
        shop.ask(NEW, name="project_products")
        run(shop)
        (incomplete,) = progress(shop)["incomplete"]
        assert incomplete["error"]
    run(shop)
    assert (known(shop, "products").live, set(documents(shop, "products", 2))) == (2, {product})


def test_passes_in_vain_become_rare(shop: ShopInMemory) -> None:
    pace, begun = Pace(1.0, 9.0), clock.now()
    waits = []
    for passes in range(12):
        now = Generations(1, 2, "BUILDING", 2, begun, passes=passes)
        after = [seconds for seconds in range(0, 1000, 10) if due_after(now, pace, seconds)]
        waits.append(after[0])
    assert waits == [10, 10, 10, 10, 10, 20, 40, 80, 160, 320, 640, 640]


def due_after(now: Generations, pace: Pace, seconds: float) -> bool:
    later = MovableClock()
    later.move(seconds)
    with clock.use(later):
        return now.is_due(pace)


@pytest.mark.parametrize(
    "document",
    [
        {"live": 1, "other": None, "state": None, "newest": 1},
        {
            "live": 1,
            "other": 2,
            "state": "BUILDING",
            "newest": 2,
            "since": "2026-01-01T00:00:00Z",
            "places": {"product": 9},
        }
        | {"wanted": ["product-x"], "checked": 3, "behind": 2, "late": ["product-x"], "passes": 4},
    ],
)
def test_a_rebuild_that_an_earlier_version_began_is_finished(shop: ShopInMemory, document: Fields) -> None:
    product = shop.new_product()
    shop.settle()
    stored(shop).update("generations", "products", lambda _: Change(document))
    if document["state"] is None:
        shop.ask(NEW, name="project_products")
    run(shop)
    assert (known(shop, "products").live, set(documents(shop, "products", 2))) == (2, {product})


class Noting(MemoryReadModels):
    """Read models that note which collection each update was for."""

    def __init__(self) -> None:
        super().__init__()
        self.updated: list[str] = []

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        self.updated.append(collection)
        super().update(collection, key, change, version)


class SmallPages:
    """An event store that reads at most two events of a stream at a time."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def read_stream(self, stream: str, after: int, limit: int) -> Sequence[LogEntry]:
        entries: Sequence[LogEntry] = self._store.read_stream(stream, after, min(limit, 2))
        return entries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_history_is_applied_page_by_page(shop: ShopInMemory) -> None:
    models = Noting()
    shop.engines.read_models, shop.engines.queries = EveryGeneration(models, 0.0), LiveGeneration(models, 0.0)
    shop.engines.event_store = cast(EventStore, SmallPages(shop.engines.event_store))
    product = shop.new_product()
    for _ in range(5):
        shop.new_order(product)
    shop.settle()
    deliver = shop.deliver
    shop.deliver = lambda to, body: 204 if streams_to_fill(body) else deliver(to, body)
    shop.ask(NEW, name="project_orders")
    run(shop)
    assert known(shop, "orders").live == 2
    assert documents(shop, "orders", 2) == documents(shop, "orders", 1) != {}
    assert models.updated.count(stored_in("orders", 2)) > 2 * len(documents(shop, "orders", 2))


def test_concurrent_runs_make_the_same_documents(busy_shop: ShopInMemory) -> None:
    paged(busy_shop, 1)
    busy_shop.ask(NEW, name="project_categories")
    clock.sleep(SOON)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: busy_shop.call("continue_rebuilds").status_code, range(4)))
    assert answers == [200] * 4
    busy_shop.settle()
    run(busy_shop)
    assert known(busy_shop, "categories").live == 2
    assert documents(busy_shop, "categories", 2) == documents(busy_shop, "categories", 1)


def test_a_dropped_generation_is_deleted_and_no_longer_written(busy_shop: ShopInMemory) -> None:
    busy_shop.ask(NEW, name="project_categories")
    run(busy_shop)
    gone = busy_shop.ask(DROP, name="project_categories")["dropProjectionGeneration"]["generations"]
    assert gone == {"live": 2, "other": 1, "state": "DROPPED"}
    assert busy_shop.ask(DROP, name="project_categories")["dropProjectionGeneration"]["generations"] == gone
    busy_shop.new_product()
    run(busy_shop)
    assert documents(busy_shop, "categories", 1) == documents(busy_shop, "category_members", 1) == {}
    assert known(busy_shop, "categories") == Generations(2, newest=2)
    assert len(documents(busy_shop, "categories", 2)) == 4
    third = busy_shop.ask(NEW, name="project_categories")["rebuildProjection"]["generations"]
    assert third == {"live": 2, "other": 3, "state": "BUILDING"}


def test_a_generation_can_be_dropped_while_it_is_built(busy_shop: ShopInMemory) -> None:
    busy_shop.ask(NEW, name="project_products")
    busy_shop.new_product()
    busy_shop.settle()
    assert documents(busy_shop, "products", 2)
    busy_shop.ask(DROP, name="project_products")
    run(busy_shop)
    assert not documents(busy_shop, "products", 2)
    assert known(busy_shop, "products") == Generations(1, newest=2)


def test_a_repeated_request_begins_one_rebuild(busy_shop: ShopInMemory) -> None:
    first, second = (busy_shop.ask(NEW, name="project_orders") for _ in range(2))
    assert first == second


def test_a_repeated_switch_does_not_switch_back(busy_shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    busy_shop.ask(NEW, name="project_products")
    run(busy_shop)
    append, failing = busy_shop.engines.event_store.append, iter([Unavailable("down")])

    def unreliable(what: Any) -> Any:
        if error := next(failing, None):
            raise error
        return append(what)

    monkeypatch.setattr(busy_shop.engines.event_store, "append", unreliable)
    told = busy_shop.ask(SWITCH, name="project_products", to=1)["switchProjection"]["generations"]
    assert told == {"live": 1, "other": 2, "state": "KEPT"}
    assert next(failing, None) is None


def test_impossible_requests_are_refused(busy_shop: ShopInMemory) -> None:
    rejected = {"code": "BUSINESS_RULE_VIOLATION", "field": ["name"]}
    no_such = rejected | {"field": ["to"]}
    assert busy_shop.refusal(SWITCH, name="project_orders", to=2) == no_such
    busy_shop.ask(NEW, name="project_orders")
    assert busy_shop.refusal(SWITCH, name="project_orders", to=2) == no_such
    run(busy_shop)
    assert busy_shop.refusal(NEW, name="project_orders") == rejected  # the old one is still there
    busy_shop.ask(DROP, name="project_orders")
    assert busy_shop.refusal(NEW, name="project_orders") == rejected
    assert busy_shop.refusal(SWITCH, name="project_orders", to=1) == no_such
    assert busy_shop.refusal(SWITCH, name="project_orders", to=3) == no_such
    for query, more in ((NEW, {}), (SWITCH, {"to": 2}), (DROP, {})):
        for name in ("project_nothing", "create_order", "orders"):
            assert busy_shop.refusal(query, name=name, **more) == {"code": "NOT_FOUND", "field": ["name"]}


@pytest.mark.parametrize("name", ["", "a\0b", "🍵" * 400])
def test_an_invalid_name_is_refused(shop: ShopInMemory, name: str) -> None:
    assert shop.refusal(NEW, name=name)["code"] in ("INVALID_INPUT", "NOT_FOUND")
    assert shop.command(
        "rebuild_projection", {"name": name, "action": "REBUILD", "switchWhenEqual": True}
    ).status_code in (404, 422)
    assert shop.command("rebuild_projection", {"name": "project_orders", "action": "DELETE"}).status_code == 422


@pytest.mark.parametrize(
    "given",
    [
        {"action": "SWITCH"},
        {"action": "DROP", "to": 1},
        {"action": "SWITCH", "to": "1"},
        {"action": "REBUILD", "force": True},
        {"action": "SWITCH", "to": 1, "force": "yes"},
    ],
)
def test_only_a_switch_takes_a_generation_and_force(shop: ShopInMemory, given: dict[str, Any]) -> None:
    assert shop.command("rebuild_projection", {"name": "project_orders", **given}).status_code == 422


def test_an_empty_read_model_is_complete_at_once(shop: ShopInMemory) -> None:
    shop.ask(NEW, name="project_orders")
    run(shop, 1)
    assert known(shop, "orders").live == 2


def test_documents_written_before_every_process_knew_are_checked_too(shop: ShopInMemory) -> None:
    shop.engines.pace = Pace(known_seconds=1.0, settled_seconds=SOON)
    shop.new_category()
    shop.settle()  # now this process knows that there is one generation
    shop.command("rebuild_projection", {"name": "project_categories", "action": "REBUILD", "switchWhenEqual": True})
    clock.sleep(0.05)
    shop.new_category()
    shop.settle()
    until = time.monotonic() + 60
    while known(shop, "categories").live == 1 and time.monotonic() < until:
        shop.call("continue_rebuilds")
        clock.sleep(0.01)
    assert documents(shop, "categories", 2) == documents(shop, "categories", 1) != {}


def test_no_stream_is_announced_again_before_every_process_knows(busy_shop: ShopInMemory) -> None:
    busy_shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=60.0)
    busy_shop.ask(NEW, name="project_products")
    assert run(busy_shop, 2) == [0, 0]
    assert known(busy_shop, "products").checked == 0


def test_a_rebuild_on_firestore(busy_shop: ShopInMemory, firestore: object) -> None:
    """Use the collections, conditions and deletions of the emulator."""
    shop = busy_shop
    queries = use_firestore(shop)
    shop.command("rebuild_projection", {"name": "project_categories", "action": "REBUILD", "switchWhenEqual": True})
    run(shop)
    assert known(shop, "categories").live == 2

    def there(generation: int) -> int:
        return asyncio.run(queries().extent(stored_in("categories", generation))).documents

    assert (there(1), there(2)) == (0, 3)
    ids = [event.stream.removeprefix("category-") for event in shop.log() if event.type == "CategoryCreated"]
    found = asyncio.run(queries().get_many(stored_in("categories", 2), ids))
    assert [fields["product_count"] for fields in found.values()] == [2, 2, 2]
    shop.command("rebuild_projection", {"name": "project_categories", "action": "SWITCH", "to": 1})
    shop.command("rebuild_projection", {"name": "project_categories", "action": "DROP"})
    run(shop)
    assert known(shop, "categories") == Generations(1, newest=2)
    assert (there(1), there(2)) == (0, 0)


def fill_message(shop: ShopInMemory, read_model: str, generation: int, streams: Sequence[str]) -> Json:
    """Return the body of a push that fills a generation with these streams."""
    data = {"generation": generation, "streams": list(streams)}
    topic = topic_of(streams[0])
    message = Message(topic, FILL, read_model, data, Context("c", "c"))
    pushed = {"data": base64.b64encode(message.body()).decode(), "attributes": message.attributes(), "messageId": "1"}
    return {"message": pushed, "subscription": f"projects/memory/subscriptions/project-{read_model}.{topic}"}


def product_counts(shop: ShopInMemory, generation: int) -> list[int]:
    found = documents(shop, "categories", generation)
    return sorted(fields["product_count"] for fields in found.values())


def test_a_message_to_fill_may_come_twice_and_late(busy_shop: ShopInMemory) -> None:
    products = [event.stream for event in busy_shop.log() if event.type == "ProductCreated"]
    busy_shop.ask(NEW, name="project_categories")
    message = fill_message(busy_shop, "categories", 2, products)
    for _ in range(2):
        assert busy_shop.push("project_categories", message).status_code == 204
    assert product_counts(busy_shop, 2) == [2, 2, 2]
    run(busy_shop)
    assert known(busy_shop, "categories").live == 2
    before = documents(busy_shop, "categories", 2)
    assert busy_shop.push("project_categories", message).status_code == 204
    assert documents(busy_shop, "categories", 2) == before


def test_a_dropped_generation_is_not_filled(busy_shop: ShopInMemory) -> None:
    products = [event.stream for event in busy_shop.log() if event.type == "ProductCreated"]
    message = fill_message(busy_shop, "products", 2, products)
    busy_shop.ask(NEW, name="project_products")
    busy_shop.ask(DROP, name="project_products")
    assert busy_shop.push("project_products", message).status_code == 204
    assert documents(busy_shop, "products", 2) == {}


@pytest.mark.parametrize(
    "data", [{}, {"generation": "x", "streams": []}, {"generation": 2, "streams": ["order-1"]}, {"generation": 2}]
)
def test_a_malformed_message_to_fill_is_refused(busy_shop: ShopInMemory, data: Json) -> None:
    message = fill_message(busy_shop, "products", 2, ["product-1"])
    message["message"]["data"] = base64.b64encode(json.dumps(data).encode()).decode()
    refused = busy_shop.push("project_products", message)
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_INPUT")


def test_one_unreadable_stream_does_not_hold_up_the_others_of_its_message(busy_shop: ShopInMemory) -> None:
    products = [event.stream for event in busy_shop.log() if event.type == "ProductCreated"]
    read = busy_shop.engines.event_store.read

    def one_unreadable(streams: Sequence[str]) -> dict[str, list[EventRecord]]:
        found = read(streams)
        return found | {products[0]: [replace(event, type="Unknown") for event in found[products[0]]]}

    busy_shop.ask(NEW, name="project_products")
    with method_replaced(busy_shop, "event_store.read", one_unreadable):
        message = fill_message(busy_shop, "products", 2, products)
        assert busy_shop.push("project_products", message).status_code == 204
    assert {f"product-{key}" for key in documents(busy_shop, "products", 2)} == {*products[1:]}


def test_the_error_of_an_unreadable_event_has_no_values_of_its_person(shop: ShopInMemory) -> None:
    """It is kept with dead letters and generations, where no erasure looks."""
    order_id = uuid7()
    data = {"order_id": str(order_id), "user_id": "hanako tanaka", "items": "hanako tanaka"}
    record = EventRecord(uuid7(), f"order-{order_id}", 1, "OrderCreated", 1, data, Context("c", "k"), clock.now())
    shop.engines.event_store.append(Append([record]))
    shop.settle()
    shop.ask(NEW, name="project_orders")
    run(shop)
    (incomplete,) = next(
        one["generations"]["incomplete"]
        for one in shop.ask("{ projectionStatus { name generations { incomplete { stream error } } } }")[
            "projectionStatus"
        ]
        if one["name"] == "project_orders"
    )
    letters = shop.engines.dead_letters.latest(10)
    assert {"items tuple_type" in error for error in (incomplete["error"], letters[0].error or "")} == {True}
    assert "hanako" not in repr((incomplete, [(one.error, one.first_error) for one in letters]))
