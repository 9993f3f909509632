"""Clients read their own writes, however slow the projections are."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Timer
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid7

from shared.api import consistency
from shared.api.consistency import ConsistentQueries
from shared.config.settings import Settings
from shared.domain.errors import TimedOut, Unavailable
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Change, Fields
from tests.fakes import MovableClock
from tests.shop_in_memory import PATIENCE, Json, ShopInMemory
from tests.stand_ins import raising, with_methods
from tests.streams import with_settings

CATEGORY = 'mutation { createCategory(input: {name: "お茶"}) { id } }'


@pytest.fixture
def shop_settings(provider: str) -> Settings:
    return Settings(profile="memory", sign_in_required=True, consistency_wait_seconds=PATIENCE)


def ask(shop: ShopInMemory, query: str, token: str | None = None) -> httpx.Response:
    headers = {"Content-Type": "application/json"} | ({"Consistency": token} if token is not None else {})
    return shop.http("POST", content=json.dumps({"query": query}), headers=headers)


def token_of(response: httpx.Response) -> str:
    token: str = response.headers["Consistency"]
    assert response.json()["extensions"]["consistency"]["token"] == token
    return token


@pytest.fixture
def slow(shop: ShopInMemory) -> Callable[[float], None]:
    """Delay every delivery by so many seconds."""

    def by(seconds: float) -> None:
        deliver = shop.hand_over

        def late(to: Any, body: Json) -> int:
            time.sleep(seconds)
            return deliver(to, body)

        shop.deliver = late

    return by


def test_a_mutation_answers_with_what_it_wrote(shop: ShopInMemory) -> None:
    answer = ask(shop, CATEGORY)
    category_id = answer.json()["data"]["createCategory"]["id"]
    assert token_of(answer) == f"category-{category_id}:1"
    told = answer.json()["extensions"]["consistency"]
    assert (told["stream"], told["version"]) == (f"category-{category_id}", 1)


def test_several_mutations_answer_with_all_they_wrote(shop: ShopInMemory) -> None:
    product = shop.new_product()
    adjust = f'adjustStock(id: "{product}", delta: 1) {{ id }}'
    token = token_of(ask(shop, f"mutation {{ a: {adjust} b: {adjust} {CATEGORY[11:-2]} }}"))
    assert token.split(",")[0] == f"product-{product}:3"
    assert len(token.split(",")) == 2


def test_a_query_without_a_token_has_no_consistency_extension(shop: ShopInMemory) -> None:
    answer = ask(shop, "{ products { id } }")
    assert "Consistency" not in answer.headers
    assert "extensions" not in answer.json()


def test_a_create_followed_by_a_list_with_the_token_shows_the_new_item(
    shop: ShopInMemory, slow: Callable[[float], None]
) -> None:
    slow(0.15)
    for _ in range(3):
        made = ask(shop, CATEGORY.replace("お茶", str(uuid7())))
        answer = ask(shop, "{ categories(limit: 1000) { id } }", token_of(made)).json()
        assert made.json()["data"]["createCategory"]["id"] in [one["id"] for one in answer["data"]["categories"]]
        assert answer["extensions"]["consistency"]["consistent"] is True
        assert 0 <= answer["extensions"]["consistency"]["waitedMs"] < PATIENCE * 1000


def test_the_count_of_a_category_waits_for_the_product(shop: ShopInMemory, slow: Callable[[float], None]) -> None:
    category = shop.new_category()
    shop.settle()
    slow(0.15)
    create = f'mutation {{ createProduct(input: {{name: "a", price: 1, categoryId: "{category}"}}) {{ id }} }}'
    answer = ask(shop, f'{{ category(id: "{category}") {{ productCount }} }}', token_of(ask(shop, create))).json()
    assert answer["data"]["category"]["productCount"] == 1


def test_after_the_longest_wait_the_answer_is_stale_and_says_so(shop: ShopInMemory) -> None:
    with_settings(shop, consistency_wait_seconds=0.5)
    shop.deliver = lambda to, body: 204  # every message is lost
    token = token_of(ask(shop, CATEGORY))
    started = time.monotonic()
    answer = ask(shop, "{ categories { id } a: categories { id } }", token).json()
    assert 0.4 < time.monotonic() - started < 20
    assert answer["data"] == {"categories": [], "a": []}
    assert answer["extensions"]["consistency"]["consistent"] is False
    assert answer["extensions"]["consistency"]["waitedMs"] >= 500


def test_a_version_that_the_event_store_has_lost_is_not_met(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        consistency, "_LOOKUP_SECONDS", PATIENCE
    )  # a store that answers late counts as one that is down
    product = shop.new_product()
    shop.settle()
    query = f'{{ product(id: "{product}") {{ id }} }}'
    shop.engines.read_models.update("products", product, lambda _: Change({"version": 3}))
    for version, consistent in ((1, True), (2, False), (3, False)):
        answer = ask(shop, query, f"product-{product}:{version}").json()
        assert answer["data"]["product"]["id"] == product
        assert answer["extensions"]["consistency"]["consistent"] is consistent
    with_older = ask(shop, query, f"product-{product}:1,product-{uuid7()}:0,product-{product}:3").json()
    assert with_older["extensions"]["consistency"]["consistent"] is False


@pytest.mark.parametrize("error", [Unavailable("down"), TimedOut("slow")])
def test_a_token_is_met_while_the_event_store_is_down(shop: ShopInMemory, error: Exception) -> None:
    product = shop.new_product()
    shop.settle()
    shop.engines.event_log = with_methods(shop.engines.event_log, of_places=raising(error))
    answer = ask(shop, "{ products { id } }", f"product-{product}:1").json()
    assert answer["extensions"]["consistency"]["consistent"] is True


def test_an_event_store_that_hangs_delays_a_query_with_a_token_by_half_a_second(
    shop: ShopInMemory, hang: Callable[..., Any]
) -> None:
    product = shop.new_product()
    shop.settle()
    shop.engines.event_log = with_methods(shop.engines.event_log, of_places=hang)
    began = time.monotonic()
    answer = ask(shop, "{ products { id } }", f"product-{product}:1").json()
    assert time.monotonic() - began < 20
    assert answer["data"]["products"][0]["id"] == product


def test_a_query_waits_only_for_the_read_models_that_it_reads(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    movable_clock.stop()  # the machine may do something else for a millisecond, which is no wait
    shop.deliver = lambda to, body: 204
    token = token_of(ask(shop, CATEGORY))
    answer = ask(shop, "{ orders { id } products { id } }", token).json()
    assert answer["extensions"]["consistency"] == {"consistent": True, "waitedMs": 0}


def test_an_older_version_of_the_document_is_waited_past(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.settle()
    holding = Event()
    deliver = shop.hand_over
    shop.deliver = lambda to, body: deliver(to, body) if holding.wait(PATIENCE) else 500
    adjusted = ask(shop, f'mutation {{ adjustStock(id: "{product}", delta: 7) {{ id }} }}')
    Timer(0.1, holding.set).start()
    answer = ask(shop, f'{{ product(id: "{product}") {{ stockQuantity }} }}', token_of(adjusted)).json()
    assert answer["data"]["product"]["stockQuantity"] == 107


PRODUCT = "product-0190b1b6-7c5e-7000-8000-000000000000"
BAD = ["", "x", "product-1:1", PRODUCT, f"{PRODUCT}:-1", f"{PRODUCT}:1;", PRODUCT.replace("product", "user") + ":1"]
BAD += [",".join([f"{PRODUCT}:1"] * 101)]


@pytest.mark.parametrize("token", BAD)
def test_a_malformed_token_is_refused(shop: ShopInMemory, token: str) -> None:
    answer = ask(shop, "{ products { id } }", token)
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "Consistency" in error["message"]


def test_one_token_serves_many_streams(shop: ShopInMemory, slow: Callable[[float], None]) -> None:
    slow(0.05)
    tokens = [token_of(ask(shop, CATEGORY.replace("お茶", f"c{n}"))) for n in range(3)]
    answer: Mapping[str, Any] = ask(shop, "{ categories { name } }", " , ".join(tokens)).json()
    assert [one["name"] for one in answer["data"]["categories"]] == ["c0", "c1", "c2"]


class OneFirst(MemoryReadModels):
    """Read models of which the others answer when `first` has been read and waited for."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.first, self.over = first, asyncio.Event()

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        if collection != self.first:
            await self.over.wait()
        return await super().get_many(collection, keys, only)


@pytest.mark.parametrize("first", ["products", "category_members"])
def test_an_answer_is_not_consistent_when_one_of_its_collections_is_late(first: str) -> None:
    product_id, models = str(uuid7()), OneFirst(first)
    models.update("products", product_id, lambda _: Change({"version": 1}))
    log = with_methods(MemoryEventLog(MemoryEventStore()), of_places=lambda places: [*places])
    queries = ConsistentQueries(models, {f"product-{product_id}": 1}, 0.0, log)

    async def read_both() -> None:
        reads = {name: asyncio.ensure_future(queries.get_many(name, [])) for name in ("products", "category_members")}
        await reads[first]
        models.over.set()
        await asyncio.gather(*reads.values())

    asyncio.run(read_both())
    assert not queries.consistent
