"""A request whose token is not valid is answered as an anonymous reader's, and the answer says
so."""

from collections.abc import Mapping

import httpx
import pytest

from scripts.local.token import emulator_token
from tests.fakes import MovableClock
from tests.shop_in_memory import ADMIN, Json, ShopInMemory
from tests.streams import EVENT_STREAM, concurrent, going_on, in_thread, opened, with_settings

QUERY = "{ categories { id } }"
CHALLENGE = 'Bearer error="invalid_token"'
EXPIRED = f"Bearer {emulator_token('ann@example.com', lifetime=-60)}"
BAD = {
    "expired": (EXPIRED, "the ID token has expired"),
    "garbage": ("Bearer garbage", "is not valid"),
    "another scheme": ("Basic YW5uOnNlY3JldA==", "must be: Bearer"),
    "nothing but the scheme": ("Bearer", "must be: Bearer"),
    "reserved": (f"Bearer {emulator_token('x@example.com', uid='system')}", "reserved"),
}
MAY = [f"Bearer {ADMIN}", "", f"Bearer {emulator_token('x@example.com')}", f"bearer {ADMIN}"]


def sent(shop: ShopInMemory, authorization: str, query: str = QUERY, **headers: str) -> httpx.Response:
    return shop.http("POST", json={"query": query}, headers={"Authorization": authorization, **headers})


def note(answer: Json) -> str:
    """Return what the answer says about the token."""
    found = answer["extensions"]["authentication"]
    assert found["code"] == "UNAUTHENTICATED"
    return str(found["message"])


@pytest.mark.parametrize(("authorization", "problem"), BAD.values(), ids=BAD)
def test_a_query_is_answered_and_the_answer_says_what_is_wrong(
    shop: ShopInMemory, authorization: str, problem: str
) -> None:
    response = sent(shop, authorization)
    assert (response.status_code, response.json()["data"]) == (200, {"categories": []})
    assert response.headers["www-authenticate"] == CHALLENGE
    assert problem in note(response.json())


@pytest.mark.parametrize("authorization", MAY)
def test_an_answer_to_a_valid_token_or_to_none_says_nothing(shop: ShopInMemory, authorization: str) -> None:
    response = sent(shop, authorization)
    assert "www-authenticate" not in response.headers
    assert response.json() == {"data": {"categories": []}}


def test_a_query_by_get_or_as_a_stream_says_so(shop: ShopInMemory) -> None:
    response = shop.http("GET", params={"query": QUERY}, headers={"Authorization": EXPIRED})
    assert response.headers["www-authenticate"] == CHALLENGE
    assert "expired" in note(response.json())
    response = sent(shop, EXPIRED, Accept=EVENT_STREAM)
    assert response.headers["www-authenticate"] == CHALLENGE
    assert '"extensions":{"authentication":{"code":"UNAUTHENTICATED"' in response.text


def test_the_note_stands_beside_the_consistency(shop: ShopInMemory) -> None:
    category_id = shop.new_category()
    shop.settle()
    response = sent(shop, EXPIRED, Consistency=f"category-{category_id}:1")
    assert response.json()["extensions"]["consistency"]["consistent"] is True
    assert "expired" in note(response.json())


def test_a_mutation_fails_with_the_reason(shop: ShopInMemory) -> None:
    response = sent(shop, EXPIRED, 'mutation { createCategory(input: {name: "Tea"}) { id } }')
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED" and "expired" in error["message"]
    assert response.headers["www-authenticate"] == CHALLENGE
    assert shop.log() == []


@pytest.mark.parametrize(("query", "status"), [("{", 400), ("{ nope }", 400), ("", 400)])
def test_a_refused_request_says_so_in_its_header(shop: ShopInMemory, query: str, status: int) -> None:
    response = sent(shop, EXPIRED, query, Accept="application/graphql-response+json")
    assert (response.status_code, response.headers["www-authenticate"]) == (status, CHALLENGE)


def test_a_client_beyond_its_rate_is_told_too(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    movable_clock.stop()  # a minute that begins on the way would allow more
    responses = [sent(shop, EXPIRED) for _ in range(101)]
    assert [responses[0].status_code, responses[-1].status_code] == [200, 429]
    assert {response.headers["www-authenticate"] for response in responses} == {CHALLENGE}


@concurrent
async def test_each_event_of_a_stream_says_so(shop: ShopInMemory) -> None:
    product_id = shop.new_product()
    query = f'subscription {{ stockUpdates(productId: "{product_id}") {{ stockQuantity }} }}'
    async with opened(query, headers={"Authorization": EXPIRED}) as stream:
        assert stream.headers["www-authenticate"] == CHALLENGE
        event = await stream.event()
        assert event.data is not None and event.data["data"] == {"stockUpdates": {"stockQuantity": 100}}
        assert "expired" in note(event.data)
        assert event.data["extensions"]["lastEventId"] == event.id
    async with opened(query) as stream:
        assert "www-authenticate" not in stream.headers
        event = await stream.event()
        assert event.data is not None and event.data["extensions"] == {"lastEventId": event.id}


@concurrent
async def test_a_refused_subscription_says_so(shop: ShopInMemory) -> None:
    async with opened("subscription { orderUpdates(id: 5) { id } }", headers={"Authorization": EXPIRED}) as stream:
        assert stream.headers["www-authenticate"] == CHALLENGE
        event = await stream.event()
        assert event.data is not None and "errors" in event.data
        assert "expired" in note(event.data)


def signed_in(lifetime: int) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {emulator_token('ann@example.com', role='admin', lifetime=lifetime)}"}


TYPES = "subscription { eventStream { eventType } }"


@concurrent
async def test_a_stream_ends_when_its_token_expires_and_goes_on_with_a_new_one_without_a_gap(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    with_settings(shop, heartbeat_seconds=0.05)
    async with opened(TYPES, headers=signed_in(60)) as stream:
        await in_thread(shop.new_category)
        assert await stream.next("eventType") == "CategoryCreated"
        movable_clock.move(45)
        await in_thread(shop.new_product)
        seen = await stream.some(2, "eventType")
        movable_clock.move(30)
        assert await stream.refusal() == {
            "message": "the ID token has expired; subscribe again with a new one and the last event id",
            "extensions": {"code": "UNAUTHENTICATED"},
        }
        assert stream.parser.last_id == stream.taken
    assert (shop.engines.tail.subscribers, shop.engines.subscription_quota.open) == (0, 0)
    await in_thread(shop.new_product)
    async with opened(TYPES, headers={**signed_in(3600), **going_on(stream.taken)}) as stream:
        seen += await stream.some(2, "eventType")
    assert seen == ["CategoryCreated", "ProductCreated"] * 2


@concurrent
async def test_a_stream_that_is_silent_ends_at_the_moment_its_token_expires(shop: ShopInMemory) -> None:
    with_settings(shop, heartbeat_seconds=3600)
    async with opened(TYPES, headers=signed_in(-8)) as stream:
        assert "has expired" in (await stream.refusal())["message"]


@pytest.mark.parametrize("authorization", ["", EXPIRED])
@concurrent
async def test_the_stream_of_an_anonymous_reader_does_not_expire(
    shop: ShopInMemory, movable_clock: MovableClock, authorization: str
) -> None:
    with_settings(shop, heartbeat_seconds=0.05)
    async with opened(TYPES, headers={"Authorization": authorization}) as stream:
        movable_clock.move(3000)
        await stream.until(lambda: stream.parser.comments > 1)
        await in_thread(shop.new_category)
        assert await stream.next("eventType") == "CategoryCreated"


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [({"Authorization": ""}, "Bearer"), ({"Authorization": EXPIRED}, CHALLENGE)],
)
def test_the_metrics_ask_for_a_token(shop: ShopInMemory, headers: Mapping[str, str], challenge: str) -> None:
    response = shop.http("GET", "/metrics", headers=headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, challenge)
    writer = shop.http("GET", "/metrics", headers={"Authorization": f"Bearer {emulator_token('x@example.com')}"})
    assert (writer.status_code, "www-authenticate" in writer.headers) == (403, False)
