"""A rebuild has a limit and can be cancelled, and its result is compared before clients read it."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest
from google.cloud.firestore import AsyncClient, Client
from uuid_utils.compat import uuid7

from shared.domain.errors import Unavailable
from shared.read_models.by_generation import EveryGeneration, LiveGeneration
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.firestore import FirestoreQueries, FirestoreReadModels
from shared.read_models.generations import (
    PARTITIONS,
    Generations,
    Pace,
    change_generations,
    generations_of,
    stored_in,
)
from shared.read_models.memory import MemoryReadModels
from shared.read_models.partitions import STREAMS, Partition, Partitions, streams_at_once, workers
from shared.read_models.protocol import Change, Fields, Find
from shared.resilience import clock
from shared.resilience.breakers import Breaker
from tests.fakes import HurriedClock
from tests.shop_in_memory import Json, ShopInMemory

NEW = """mutation ($name: String!, $limit: Int, $switch: Boolean) {
    rebuildProjection(name: $name, documentsPerSecond: $limit, switchWhenEqual: $switch) {
        generations { live other state unread documentsPerSecond switchWhenEqual }
    }
}"""
CHANGE = "mutation ($name: String!) { change: %s(name: $name) { generations { live other state } } }"
CANCEL, COMPARE, DROP = (CHANGE % name for name in ("cancelRebuild", "compareProjection", "dropProjectionGeneration"))
SWITCH = """mutation ($name: String!, $to: Int!, $force: Boolean) {
    switchProjection(name: $name, to: $to, force: $force) { generations { live other state unread } }
}"""
SIDE = "{ documents events digest different unknown }"
STATUS = f"""{{ projectionStatus {{ name generations {{ live other state unread
    progress {{ documents documentsPerSecond secondsLeft partitions unfinishedPartitions }}
    comparison {{ run ended rounds streams notCompared totals isEqual fold {SIDE} live {SIDE} other {SIDE} }}
}} }} }}"""
PARTS = f"""query ($name: String!, $compared: Boolean, $differing: Boolean, $first: Int, $after: String) {{
    rebuildPartitionsConnection(
        name: $name, compared: $compared, differing: $differing, first: $first, after: $after
    ) {{
        totalCount pageInfo {{ hasNextPage endCursor }}
        edges {{ node {{ id state streams done documentsPerSecond secondsLeft began ended
            fold {SIDE} live {SIDE} other {SIDE}
            differences {{ generation collection key missing error fields {{ name expected found }} }} }} }}
    }}
}}"""
SOON = 0.4  # within which a worker has begun


@pytest.fixture
def shop(shop: ShopInMemory) -> Iterator[ShopInMemory]:
    shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=SOON)
    with clock.use(HurriedClock(shop)):
        yield shop


@pytest.fixture
def stocked(shop: ShopInMemory) -> ShopInMemory:
    """Return a shop with six products in two categories, and three confirmed orders."""
    categories = [shop.new_category() for _ in range(2)]
    products = [shop.new_product(categories[n % 2]) for n in range(6)]
    for product in products[:3]:
        shop.new_order(product)
    shop.settle()
    return shop


def models(shop: ShopInMemory) -> MemoryReadModels:
    return cast(MemoryReadModels, shop.engines.read_models.models)


def spoil(shop: ShopInMemory, collection: str, key: str, **fields: Any) -> None:
    models(shop).update(collection, key, lambda _: Change(fields))


def run(shop: ShopInMemory, times: int = 4) -> None:
    for _ in range(times):
        clock.sleep(SOON)
        response = shop.call("continue_rebuilds")
        assert response.status_code == 200, response.text
        shop.settle()


def rebuilt(shop: ShopInMemory, read_model: str, **arguments: Any) -> Json:
    """Rebuild, and return what the status tells."""
    shop.ask(NEW, name=f"project_{read_model}", **arguments)
    run(shop)
    return status(shop, read_model)


def status(shop: ShopInMemory, read_model: str) -> Json:
    found = {one["name"]: one["generations"] for one in shop.ask(STATUS)["projectionStatus"]}
    generations: Json = found[f"project_{read_model}"]
    return generations


def parts(shop: ShopInMemory, read_model: str, **arguments: Any) -> Json:
    found: Json = shop.ask(PARTS, name=f"project_{read_model}", **arguments)["rebuildPartitionsConnection"]
    return found


def nodes(shop: ShopInMemory, read_model: str, **arguments: Any) -> list[Json]:
    return [edge["node"] for edge in parts(shop, read_model, **arguments)["edges"]]


def differences(shop: ShopInMemory, read_model: str) -> list[Json]:
    return [one for node in nodes(shop, read_model, differing=True) for one in node["differences"]]


def keys(shop: ShopInMemory, kind: str) -> list[str]:
    return [event.stream.partition("-")[2] for event in shop.log() if event.type == f"{kind}Created"]


# The comparison


@pytest.mark.parametrize("read_model", READ_MODELS)
def test_a_new_generation_waits_until_an_admin_switches(stocked: ShopInMemory, read_model: str) -> None:
    found = rebuilt(stocked, read_model)
    compared = found["comparison"]
    assert (found["live"], found["other"], found["state"], found["unread"]) == (1, 2, "KEPT", True)
    assert (compared["isEqual"], compared["notCompared"], compared["totals"]) == (True, 0, True)
    assert compared["fold"] == compared["live"] == compared["other"]
    assert compared["fold"]["documents"] == sum(
        len(keys(stocked, source.aggregate.name.title())) for source in sources_of(read_model)
    )
    assert differences(stocked, read_model) == []
    told = stocked.ask(SWITCH, name=f"project_{read_model}", to=2)["switchProjection"]["generations"]
    assert told == {"live": 2, "other": 1, "state": "KEPT", "unread": False}


def test_a_wrong_document_of_the_live_generation_is_shown_before_the_switch(stocked: ShopInMemory) -> None:
    key, *_ = keys(stocked, "Product")
    spoil(stocked, "products", key, name="wrong", left_over=1)
    found = rebuilt(stocked, "products")["comparison"]
    assert (found["live"]["different"], found["other"]["different"], found["isEqual"]) == (1, 0, True)
    assert found["live"]["digest"] != found["other"]["digest"] == found["fold"]["digest"]
    (difference,) = differences(stocked, "products")
    assert (difference["generation"], difference["collection"], difference["key"]) == ("LIVE", "products", key)
    assert {one["name"]: (one["expected"], one["found"]) for one in difference["fields"]} == {
        "name": ('"Tea"', '"wrong"'),
        "left_over": (None, "1"),
    }
    assert stocked.ask(SWITCH, name="project_products", to=2)


def test_a_new_generation_that_differs_is_refused_unless_forced(stocked: ShopInMemory) -> None:
    rebuilt(stocked, "products")
    key, *_ = keys(stocked, "Product")
    spoil(stocked, stored_in("products", 2), key, price="1")
    stocked.ask(COMPARE, name="project_products")
    refusal = stocked.graphql(SWITCH, {"name": "project_products", "to": 2})["errors"][0]["message"]
    assert "is being compared" in refusal
    run(stocked, 5)
    found = status(stocked, "products")["comparison"]
    assert (found["run"], found["isEqual"], found["other"]["different"], found["rounds"]) == (2, False, 1, 3)
    (difference,) = differences(stocked, "products")
    assert (difference["generation"], difference["fields"][0]["name"]) == ("OTHER", "price")
    refusal = stocked.graphql(SWITCH, {"name": "project_products", "to": 2})["errors"][0]["message"]
    assert "1 documents are not what the events make" in refusal
    assert "force: true" in refusal
    told = stocked.ask(SWITCH, name="project_products", to=2, force=True)["switchProjection"]["generations"]
    assert (told["live"], told["unread"]) == (2, False)


def test_switching_back_and_forth_is_never_refused(stocked: ShopInMemory) -> None:
    spoil(stocked, "products", keys(stocked, "Product")[0], name="wrong")
    rebuilt(stocked, "products")
    for to in (2, 1, 2):
        assert stocked.ask(SWITCH, name="project_products", to=to)["switchProjection"]["generations"]["live"] == to
    found = generations_of(stocked.engines.read_models, "products").comparison
    assert found
    assert (found.live.different, found.other.different) == (0, 1)


def test_a_generation_that_was_not_compared_is_refused(stocked: ShopInMemory) -> None:
    made = Generations(1, 2, "KEPT", 2, clock.now(), unread=True)
    change_generations(stocked.engines.read_models, "orders", lambda _: made)
    message = stocked.graphql(SWITCH, {"name": "project_orders", "to": 2})["errors"][0]["message"]
    assert "has not been compared" in message
    assert "compareProjection" in message


def test_a_rebuild_that_differs_does_not_go_live_by_itself(stocked: ShopInMemory) -> None:
    key, *_ = keys(stocked, "Product")
    stocked.ask(NEW, name="project_products", switch=True)
    run(stocked, 1)
    spoil(stocked, stored_in("products", 2), key, price="1")
    run(stocked, 6)
    found = status(stocked, "products")
    assert (found["live"], found["state"], found["unread"], found["comparison"]["isEqual"]) == (1, "KEPT", True, False)


@pytest.mark.parametrize("spoilt", [1, 2])
@pytest.mark.parametrize(
    ("read_model", "counter"), [("categories", "product_count"), ("sales", "units")], ids=["categories", "sales"]
)
def test_a_wrong_total_is_found(stocked: ShopInMemory, read_model: str, counter: str, spoilt: int) -> None:
    rebuilt(stocked, read_model)
    totals = stored_in(read_model, spoilt)
    wrong, *_ = asyncio.run(models(stocked).find(Find(totals, "id", limit=100)))
    spoil(stocked, totals, wrong["id"], **{counter: wrong[counter] + 7})
    stocked.ask(COMPARE, name=f"project_{read_model}")
    run(stocked, 5)
    (difference,) = differences(stocked, read_model)
    assert difference["key"] == wrong["id"]
    expected = [{"name": counter, "expected": f"{wrong[counter]}", "found": f"{wrong[counter] + 7}"}]
    assert (difference["generation"], difference["fields"]) == (("LIVE", "OTHER")[spoilt - 1], expected)
    assert status(stocked, read_model)["comparison"]["isEqual"] == (spoilt == 1)


def test_documents_without_a_stream_and_missing_ones_are_found(stocked: ShopInMemory) -> None:
    rebuilt(stocked, "orders")
    ghost = str(uuid7())
    spoil(stocked, stored_in("orders", 2), ghost, id=ghost, version=1, updated_at=clock.now())
    models(stocked).delete("orders", 1)
    clock.sleep(2 * SOON)  # what is missing for longer than a delivery takes is no lateness
    stocked.ask(COMPARE, name="project_orders")
    run(stocked, 6)
    found = status(stocked, "orders")["comparison"]
    assert (found["other"]["unknown"], found["other"]["different"]) == (1, 1)
    assert (found["live"]["documents"], found["live"]["different"]) == (2, 1)
    (missing,) = differences(stocked, "orders")
    assert (missing["generation"], missing["missing"]) == ("LIVE", True)


def test_a_late_delivery_is_no_difference(stocked: ShopInMemory) -> None:
    rebuilt(stocked, "products")
    stocked.engines.pace = Pace(known_seconds=0.0, settled_seconds=60.0)
    deliver, stocked.deliver = stocked.deliver, lambda to, body: 204
    stocked.command("adjust_stock", {"productId": keys(stocked, "Product")[0], "delta": 5})
    stocked.settle()
    stocked.deliver = deliver
    stocked.ask(COMPARE, name="project_products")
    run(stocked, 2)
    assert status(stocked, "products")["comparison"]["isEqual"]


def erased_without_a_delivery(shop: ShopInMemory) -> None:
    """Let no read model hear of an erasure that has begun."""
    deliver, shop.deliver = shop.deliver, lambda to, body: 204
    assert shop.call("continue_erasures").json() == {"done": 3}
    shop.settle()
    shop.deliver = deliver


def compared_again(shop: ShopInMemory) -> Json:
    shop.ask(COMPARE, name="project_orders")
    run(shop, 2)
    found: Json = status(shop, "orders")["comparison"]
    return found


def test_an_order_whose_person_is_being_erased_is_no_difference(stocked: ShopInMemory) -> None:
    """Once the key is destroyed, the events say nothing of the person; documents do, until
    OrderErased has come."""
    rebuilt(stocked, "orders")
    assert stocked.engines.person_keys.destroy("ann", "admin", "request 7")
    before_it_is_recorded = compared_again(stocked)
    stocked.engines.pace = Pace(known_seconds=0.0, settled_seconds=60.0)
    erased_without_a_delivery(stocked)
    before_it_is_delivered = compared_again(stocked)
    for found in (before_it_is_recorded, before_it_is_delivered):
        assert found["isEqual"] and found["fold"]["digest"] == found["live"]["digest"] == found["other"]["digest"]


def test_a_text_that_reads_erased_is_compared_like_any_other(shop: ShopInMemory) -> None:
    key = shop.new_category("teas", description="erased")
    shop.settle()
    rebuilt(shop, "categories")
    spoil(shop, stored_in("categories", 2), key, description="quite another")
    shop.ask(COMPARE, name="project_categories")
    run(shop, 2)
    assert not status(shop, "categories")["comparison"]["isEqual"]
    (difference,) = differences(shop, "categories")
    assert difference["fields"] == [{"name": "description", "expected": '"erased"', "found": '"quite another"'}]


def test_a_document_that_lacks_an_erasure_for_long_is_a_difference(stocked: ShopInMemory) -> None:
    rebuilt(stocked, "orders")
    assert stocked.engines.person_keys.destroy("ann", "admin", "request 7")
    erased_without_a_delivery(stocked)
    clock.sleep(SOON)
    assert not compared_again(stocked)["isEqual"]
    found = differences(stocked, "orders")
    assert {one["key"] for one in found} == {*keys(stocked, "Order")}
    assert {field["name"] for one in found for field in one["fields"]} == {"version"}


def test_only_admins_see_partitions(stocked: ShopInMemory) -> None:
    rebuilt(stocked, "products")
    answer = stocked.graphql(PARTS, {"name": "project_products"}, {"Authorization": ""})
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_partitions_are_read_page_by_page(shop: ShopInMemory) -> None:
    shop.engines.pace = replace(shop.engines.pace, page=2)
    for _ in range(5):
        shop.new_product()
    shop.settle()
    rebuilt(shop, "products")
    first = parts(shop, "products", first=2)
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    rest = parts(shop, "products", first=2, after=first["pageInfo"]["endCursor"])
    found = [edge["node"] for edge in first["edges"] + rest["edges"]]
    assert [(one["id"], one["state"], one["streams"], one["done"]) for one in found] == [
        ("0000-0000001", "DONE", 2, 2),
        ("0000-0000002", "DONE", 2, 2),
        ("0000-0000003", "DONE", 1, 1),
    ]
    assert all(one["documentsPerSecond"] > 0 and one["secondsLeft"] == 0 for one in found)
    assert [one["fold"]["documents"] for one in nodes(shop, "products", compared=True)] == [5]
    assert parts(shop, "products", differing=True)["totalCount"] == 0


# The limit


def test_all_workers_of_a_rebuild_together_keep_its_limit(shop: ShopInMemory) -> None:
    for _ in range(30):
        shop.new_product()
    shop.settle()
    told = shop.ask(NEW, name="project_products", limit=20)["rebuildProjection"]["generations"]
    assert told["documentsPerSecond"] == 20
    clock.sleep(SOON)
    began = clock.monotonic()
    filled: list[tuple[float, int]] = []
    create = models(shop).create

    def noting(collection: str, changes: Any) -> int:
        if PARTITIONS not in collection:
            filled.append((clock.monotonic() - began, len(changes)))
        return create(collection, changes)

    models(shop).create = noting  # type: ignore[method-assign]
    run(shop, 5)
    assert sum(number for _, number in filled) == 30
    for number, (at, _) in enumerate(filled):
        assert sum(many for _, many in filled[: number + 1]) <= 20 * (at + 1) + 1
    found = status(shop, "products")
    assert (found["state"], found["comparison"]["isEqual"]) == ("KEPT", True)


@pytest.mark.parametrize("limit", [1, 7, 25, 26, 100, 400, 10_000])
def test_partitions_of_a_limited_rebuild_are_short(limit: int) -> None:
    """Their workers have the limit in equal parts, and take 20 seconds at most."""
    rate = limit / workers(limit)
    assert 1 <= streams_at_once(limit) <= STREAMS
    assert streams_at_once(limit) / rate <= 20
    assert workers(limit) * rate <= limit


@pytest.mark.parametrize("limit", [0, -1, 10_001, 2**31 - 1])
def test_a_limit_that_makes_no_sense_is_refused(shop: ShopInMemory, limit: int) -> None:
    (error,) = shop.graphql(NEW, {"name": "project_products", "limit": limit})["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["documentsPerSecond"]}
    assert f"between 1 and 10,000; got {limit}" in error["message"]
    assert generations_of(shop.engines.read_models, "products") == Generations()


def test_only_a_rebuild_takes_a_limit(shop: ShopInMemory) -> None:
    for action, more in (("DROP", {"documentsPerSecond": 5}), ("COMPARE", {"switchWhenEqual": True})):
        body = {"name": "project_products", "action": action, **more}
        assert shop.command("rebuild_projection", body).status_code == 422


def test_a_second_call_changes_the_limit_of_a_running_rebuild(shop: ShopInMemory) -> None:
    shop.ask(NEW, name="project_products", limit=20)
    for arguments, expected in (({}, (20, False)), ({"limit": 5}, (5, False)), ({"switch": True}, (5, True))):
        told = shop.ask(NEW, name="project_products", **arguments)["rebuildProjection"]["generations"]
        assert (told["documentsPerSecond"], told["switchWhenEqual"], told["other"]) == (*expected, 2)


# A partition


def push_of(shop: ShopInMemory, kind: str) -> Json:
    """Return the last push of a kind to the products' projection."""
    found = [
        one.body for one in shop.pushed("project_products") if kind == one.body["message"]["attributes"]["ce-type"]
    ]
    return found[-1]


def test_a_partition_goes_on_where_a_killed_worker_has_stopped(shop: ShopInMemory) -> None:
    for _ in range(4):
        shop.new_product()
    shop.settle()
    deliver, shop.deliver = shop.deliver, lambda to, body: 204  # the worker is killed
    shop.ask(NEW, name="project_products", limit=1000)
    run(shop, 1)
    shop.deliver = deliver
    store = Partitions(models(shop), "products", 2)
    (half,) = store.of(cast(Any, models(shop)), 0)
    store.replace(replace(half, done=3))
    body = push_of(shop, "FillGeneration")
    assert shop.push("project_products", body).status_code == 204
    assert _there(shop) == [half.streams[3].removeprefix("product-")]
    (done,) = nodes(shop, "products")
    assert (done["state"], done["done"]) == ("DONE", 4)
    assert shop.push("project_products", body).status_code == 204  # delivered again: nothing to do
    run(shop, 5)
    assert len(_there(shop)) == 4  # the passes complete what was noted, but not written
    assert status(shop, "products")["comparison"]["isEqual"]


def _there(shop: ShopInMemory) -> list[str]:
    found = asyncio.run(models(shop).get_many(stored_in("products", 2), keys(shop, "Product")))
    return sorted(found)


def test_two_deliveries_of_a_limited_partition_do_not_work_at_once(shop: ShopInMemory) -> None:
    store = Partitions(models(shop), "products", 2)
    store.save([Partition(0, 1, ("product-1",), rate=5.0)])
    assert store.begin("0000-0000001")
    with pytest.raises(Unavailable, match="another delivery"):
        store.begin("0000-0000001")
    assert store.begin("0000-0000009") is None


# Cancelling


def test_a_cancelled_rebuild_stops_and_its_generation_can_be_dropped(shop: ShopInMemory) -> None:
    for _ in range(20):
        shop.new_product()
    shop.settle()
    shop.ask(NEW, name="project_products", limit=2)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(run, shop, 2)
        until = time.monotonic() + 30
        while not _there(shop) and time.monotonic() < until:
            time.sleep(0.02)
        told = shop.ask(CANCEL, name="project_products")["change"]["generations"]
        assert told == {"live": 1, "other": 2, "state": "CANCELLED"}
        working.result()
    partial = _there(shop)
    assert 0 < len(partial) < 20
    assert status(shop, "products")["progress"]["documents"] == len(partial)
    assert shop.ask(CANCEL, name="project_products")["change"]["generations"] == told
    new = shop.new_product()
    shop.settle()
    run(shop, 1)
    assert _there(shop) == partial  # not filled, and not written by deliveries
    assert new in {one["id"] for one in shop.ask("{ products(limit: 100) { id } }")["products"]}
    assert shop.refusal(NEW, name="project_products") == {"code": "BUSINESS_RULE_VIOLATION", "field": ["name"]}
    assert shop.refusal(SWITCH, name="project_products", to=2)["code"] == "BUSINESS_RULE_VIOLATION"
    assert shop.refusal(COMPARE, name="project_products")["code"] == "BUSINESS_RULE_VIOLATION"
    shop.ask(DROP, name="project_products")
    run(shop, 3)
    assert _there(shop) == []
    assert generations_of(shop.engines.read_models, "products") == Generations(1, newest=2)
    assert shop.ask(NEW, name="project_products")["rebuildProjection"]["generations"]["other"] == 3


def test_a_complete_rebuild_cannot_be_cancelled(stocked: ShopInMemory) -> None:
    assert stocked.ask(CANCEL, name="project_products")["change"]["generations"]["state"] is None
    rebuilt(stocked, "products")
    assert stocked.refusal(CANCEL, name="project_products") == {"code": "BUSINESS_RULE_VIOLATION", "field": ["name"]}


def test_a_cancelled_comparison_does_not_end_the_rebuild(stocked: ShopInMemory) -> None:
    stocked.ask(NEW, name="project_products", switch=True)
    run(stocked, 1)
    stocked.ask(CANCEL, name="project_products")
    run(stocked)
    found = status(stocked, "products")
    assert (found["live"], found["state"], found["comparison"]) == (1, "CANCELLED", None)


def test_what_admins_do_to_generations_is_audited(stocked: ShopInMemory) -> None:
    stocked.ask(NEW, name="project_products", limit=50)
    stocked.ask(CANCEL, name="project_products")
    stocked.engines.recorder.flush()
    asked = "{ operatorActionsConnection { edges { node { action detail target } } } }"
    edges = stocked.ask(asked)["operatorActionsConnection"]["edges"]
    found = [edge["node"] for edge in edges]
    expected = {"action": "RebuildProjection", "target": "project_products"}
    assert found[:2] == [expected | {"detail": "CANCEL"}, expected | {"detail": "REBUILD"}]


# On Firestore, while others write


def use_firestore(shop: ShopInMemory) -> FirestoreQueries:
    project = f"comparing-{uuid7().hex}"
    store = FirestoreReadModels(Client(project), Breaker("Firestore", 10, 5))
    queries = FirestoreQueries(AsyncClient(project), Breaker("Firestore", 10, 5))
    shop.engines.read_models, shop.engines.queries = EveryGeneration(store, 0.0), LiveGeneration(queries, 0.0)
    return FirestoreQueries(AsyncClient(project), Breaker("Firestore", 10, 5))


def change(shop: ShopInMemory, action: str, **more: Any) -> None:
    body = {"name": "project_categories", "action": action, **more}
    assert shop.command("rebuild_projection", body).status_code == 200


def test_counts_are_right_and_found_equal_under_concurrent_writes(shop: ShopInMemory, firestore: object) -> None:
    queries = use_firestore(shop)
    categories = [shop.new_category() for _ in range(2)]
    for n in range(6):
        shop.new_product(categories[n % 2])
    shop.settle()
    change(shop, "REBUILD", documentsPerSecond=50)

    def write(number: int) -> None:
        for n in range(4):
            product = shop.new_product(categories[(n + number) % 2])
            if n == 0:
                shop.command("delete_product", {"productId": product})
            if n == 1:
                moved = {"productId": product, "categoryId": categories[(n + number + 1) % 2]}
                shop.command("update_product", moved)

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, number) for number in range(2)]
        run(shop, 3)
        for one in writing:
            one.result()
    shop.settle()
    run(shop, 6)
    found = generations_of(shop.engines.read_models, "categories")
    assert (found.state, found.comparison and found.comparison.is_equal) == ("KEPT", True)
    counts = asyncio.run(_counts(queries, categories))
    assert counts[1] == counts[2] != {}
    assert sum(counts[2].values()) == 6 + 2 * 3


async def _counts(queries: FirestoreQueries, categories: Sequence[str]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for generation in (1, 2):
        documents: Any = await queries.get_many(stored_in("categories", generation), categories)
        found[generation] = {key: fields["product_count"] for key, fields in documents.items()}
    return found


def test_a_spoilt_count_on_firestore_is_named(shop: ShopInMemory, firestore: object) -> None:
    use_firestore(shop)
    category = shop.new_category()
    shop.new_product(category)
    shop.settle()
    change(shop, "REBUILD")
    run(shop)
    wrong: Fields = {"product_count": 9}
    store = shop.engines.read_models.models
    store.update(stored_in("categories", 2), category, lambda _: Change(wrong))
    change(shop, "COMPARE")
    run(shop, 6)
    partitions = Partitions(store, "categories", 2).of(shop.engines.queries.queries, 2)
    (difference,) = [one for partition in partitions for one in partition.result["differences"]]
    assert (difference["key"], difference["fields"]) == (
        category,
        [{"name": "product_count", "expected": "1", "found": "9"}],
    )
    refused = shop.command("rebuild_projection", {"name": "project_categories", "action": "SWITCH", "to": 2})
    assert "not what the events make" in json.dumps(refused.json())


def test_a_difference_names_personal_fields_without_their_values(stocked: ShopInMemory) -> None:
    """It is stored where no erasure looks."""
    key, *_ = keys(stocked, "Order")
    spoil(stocked, "orders", key, user_id="somebody else")
    rebuilt(stocked, "orders")
    (difference,) = differences(stocked, "orders")
    assert difference["fields"] == [{"name": "user_id", "expected": '"***"', "found": '"***"'}]


def test_a_difference_that_an_earlier_release_stored_is_shown_without_personal_values(stocked: ShopInMemory) -> None:
    key, *_ = keys(stocked, "Order")
    spoil(stocked, "orders", key, user_id="somebody else", currency="USD")
    rebuilt(stocked, "orders")
    stored = Partitions(models(stocked), "orders", 2)
    (partition,) = [one for one in stored.of(stocked.engines.queries.queries, 1) if one.result["differences"]]
    (difference,) = partition.result["differences"]
    fields = [
        {"name": "currency", "expected": '"JPY"', "found": '"USD"'},
        {"name": "payment_id", "expected": None, "found": '"4242"'},
        {"name": "user_id", "expected": '"hanako"', "found": '"somebody else"'},
    ]
    stored.replace(replace(partition, result={**partition.result, "differences": [difference | {"fields": fields}]}))
    (shown,) = differences(stocked, "orders")
    assert shown["fields"] == [
        fields[0],
        {"name": "payment_id", "expected": None, "found": '"***"'},
        {"name": "user_id", "expected": '"***"', "found": '"***"'},
    ]
