"""Automatic persisted queries, with the requests that Apollo Client and urql send, and the answers
they act on."""

import json
from hashlib import sha256

import httpx
import pytest

from shared.api.persisted import PersistedQueries, Unknown, Unsupported
from shared.config.settings import Settings
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import concurrent, opened

PLAIN, RESPONSE = "application/json", "application/graphql-response+json"
APOLLO = "application/graphql-response+json,application/json;q=0.9"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
QUERY = "query Names { categories { name __typename } }"
HASH = sha256(QUERY.encode()).hexdigest()
EMPTY: Json = {"data": {"categories": []}}


def extensions(digest: str = HASH, **more: object) -> Json:
    return {"persistedQuery": {"version": 1, "sha256Hash": digest, **more}}


def post(shop: ShopInMemory, body: Json, accept: str = APOLLO) -> httpx.Response:
    headers = {"Content-Type": PLAIN, "Accept": accept}
    return shop.http("POST", content=json.dumps(body).encode(), headers=headers)


def get(shop: ShopInMemory, accept: str = APOLLO, **given: Json | str) -> httpx.Response:
    params = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return shop.http("GET", params=params, headers={"Accept": accept})


def error(response: httpx.Response) -> tuple[str, str]:
    (only,) = response.json()["errors"]
    assert set(response.json()) == {"errors"}
    return only["message"], only["extensions"]["code"]


NOT_FOUND = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")


@pytest.mark.parametrize(("accept", "status"), [(APOLLO, 400), (URQL, 400), (PLAIN, 200), ("*/*", 200)])
def test_an_unknown_hash_is_asked_for_its_text_and_then_enough(shop: ShopInMemory, accept: str, status: int) -> None:
    asked = {"operationName": "Names", "variables": {}, "extensions": extensions()}
    response = post(shop, asked, accept)
    assert (response.status_code, error(response)) == (status, NOT_FOUND)
    assert post(shop, {**asked, "query": QUERY}, accept).json() == EMPTY
    assert post(shop, asked, accept).json() == EMPTY
    assert post(shop, {**asked, "extensions": extensions(HASH.upper())}, accept).json() == EMPTY


def test_a_hash_may_come_by_get(shop: ShopInMemory) -> None:
    """As Apollo Client does with useGETForHashedQueries, and urql with
    preferGetForPersistedQueries."""
    asked: Json = {"operationName": "Names", "variables": "{}", "extensions": extensions()}
    assert error(get(shop, **asked)) == NOT_FOUND
    assert (
        post(shop, {"operationName": "Names", "query": QUERY, "extensions": extensions(miss=True)}, URQL).json()
        == EMPTY
    )
    assert get(shop, **asked).json() == EMPTY
    assert get(shop, **asked, query=QUERY).json() == EMPTY


def test_a_mutation_by_hash_is_not_for_get(shop: ShopInMemory) -> None:
    mutation = 'mutation { createCategory(input: {name: "Tea"}) { name } }'
    hashed = extensions(sha256(mutation.encode()).hexdigest())
    made = post(shop, {"query": mutation, "extensions": hashed}).json()
    assert made["data"] == {"createCategory": {"name": "Tea"}}
    assert get(shop, extensions=hashed).status_code == 405


@pytest.mark.parametrize(
    "named",
    [
        *({}, [], "x", 1, {"version": 1}, {"version": 2, "sha256Hash": HASH}, {"sha256Hash": HASH}),
        *({"version": 1, "sha256Hash": wrong} for wrong in ("", "x", HASH[:-1], HASH + "0", 5, None, "é" * 64)),
    ],
)
@pytest.mark.parametrize("with_query", [True, False])
def test_a_malformed_hash_is_refused(shop: ShopInMemory, named: object, with_query: bool) -> None:
    response = post(shop, {"extensions": {"persistedQuery": named}} | ({"query": QUERY} if with_query else {}))
    message, code = error(response)
    assert (response.status_code, code) == (400, "INVALID_INPUT")
    assert "sha256Hash" in message


@pytest.mark.parametrize("query", [f"{QUERY} ", "{ products { id } }", "\ud800", 5, ["x"]])
def test_a_hash_of_another_text_is_refused_and_not_kept(shop: ShopInMemory, query: object) -> None:
    response = post(shop, {"query": query, "extensions": extensions()})
    assert (response.status_code, error(response)[1]) == (400, "INVALID_INPUT")
    assert error(post(shop, {"extensions": extensions()})) == NOT_FOUND


def test_a_persisted_query_of_null_is_none(shop: ShopInMemory) -> None:
    assert post(shop, {"query": QUERY, "extensions": {"persistedQuery": None}}).json() == EMPTY
    assert post(shop, {"query": QUERY, "extensions": None}).json() == EMPTY
    assert post(shop, {"query": QUERY, "extensions": {"other": 1}}).json() == EMPTY


def test_a_kept_query_keeps_its_limits(shop: ShopInMemory) -> None:
    deep = "{ categories { products { category { products { category { products { category { id } } } } } } } }"
    hashed = extensions(sha256(deep.encode()).hexdigest())
    for asked in ({"query": deep}, {"query": deep, "extensions": hashed}, {"extensions": hashed}):
        assert "at most" in error(post(shop, asked))[0]


@concurrent
async def test_a_stream_asks_for_the_text_too(shop: ShopInMemory) -> None:
    asked = str(httpx.QueryParams({"extensions": json.dumps(extensions())})).encode()
    async with opened("", method="GET", query_string=asked) as stream:
        event = await stream.event()
        assert event.data is not None
        assert event.data["errors"][0]["message"] == "PersistedQueryNotFound"
        await stream.complete()


class TestWithout:
    @pytest.fixture
    def shop_settings(self) -> Settings:
        return Settings(profile="memory", max_persisted_characters=0)

    def test_a_client_is_told_to_send_texts_only(self, shop: ShopInMemory) -> None:
        expected = ("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
        assert error(post(shop, {"extensions": extensions()})) == expected
        assert post(shop, {"query": QUERY, "extensions": extensions()}).json() == EMPTY
        assert error(post(shop, {"extensions": extensions()})) == expected


def test_those_that_were_not_used_for_longest_are_forgotten() -> None:
    queries = PersistedQueries(100)
    for name in "abcdefghij":
        queries.keep(name, name * 10)
    assert queries.text("a") == "a" * 10
    queries.keep("k", "k" * 10)
    assert queries.text("a") == "a" * 10
    with pytest.raises(Unknown):
        queries.text("b")
    queries.keep("long", "x" * 11)
    with pytest.raises(Unknown):
        queries.text("long")
    assert queries.text("k") == "k" * 10
    with pytest.raises(Unsupported):
        PersistedQueries(0).text("a")
