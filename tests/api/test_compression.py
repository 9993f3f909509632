"""Answers are compressed where that pays, never streams; a client's cache asks whether an answer is
still the same."""

import httpx
import pytest

from tests.callers import NOBODY
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import concurrent, opened

LARGE = "{ __schema { types { name description } } }"
SMALL = "{ categories { id } }"
RESPONSE = "application/graphql-response+json"


def answer(
    shop: ShopInMemory, encoding: str, query: str = LARGE, accept: str = RESPONSE, method: str = "POST"
) -> httpx.Response:
    headers = {"Accept-Encoding": encoding, "Accept": accept}
    asked: Json = {"params": {"query": query}} if method == "GET" else {"json": {"query": query}}
    return shop.http(method, headers=headers, **asked)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("accept", [RESPONSE, "application/json"])
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        *(("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br"), ("zstd, gzip", "zstd"), ("GZIP", "gzip")),
        *(("br;q=0, gzip", "gzip"), ("identity", ""), ("", ""), ("gzip;q=0", ""), ("deflate", ""), ("compress", "")),
    ],
)
def test_a_large_answer_is_compressed(
    shop: ShopInMemory, encoding: str, expected: str, accept: str, method: str
) -> None:
    response = answer(shop, encoding, accept=accept, method=method)
    assert response.headers.get("content-encoding", "") == expected
    assert "Accept-Encoding" in response.headers["vary"]
    assert response.json() == answer(shop, "identity", accept=accept).json()


def test_compressing_pays(shop: ShopInMemory) -> None:
    plain = int(answer(shop, "identity").headers["content-length"])
    for encoding in ("gzip", "br", "zstd"):
        assert int(answer(shop, encoding).headers["content-length"]) < plain / 2


def test_a_small_answer_is_sent_as_it_is(shop: ShopInMemory) -> None:
    assert "content-encoding" not in answer(shop, "gzip, br", SMALL).headers
    assert "content-encoding" not in answer(shop, "gzip, br", "{").headers


@concurrent
async def test_a_stream_is_never_compressed(shop: ShopInMemory) -> None:
    async with opened("subscription { eventStream { id } }", headers={"Accept-Encoding": "gzip, br, zstd"}) as stream:
        assert "content-encoding" not in stream.headers
    async with opened(LARGE, headers={"Accept-Encoding": "gzip, br, zstd"}) as stream:
        assert "content-encoding" not in stream.headers
        assert "data" in ((await stream.event()).data or {})


def cached(shop: ShopInMemory, tag: str = "", query: str = SMALL, **headers: str) -> httpx.Response:
    given = {"Accept": RESPONSE, **({"If-None-Match": tag} if tag else {}), **headers}
    return shop.http("GET", params={"query": query}, headers=given)


def test_an_answer_is_not_sent_again_until_it_changes(shop: ShopInMemory) -> None:
    first = cached(shop)
    tag = first.headers["etag"]
    assert (first.status_code, first.headers["cache-control"]) == (200, "private, no-cache")
    for sent in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = cached(shop, sent)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    shop.new_category("Tea")
    shop.settle()
    changed = cached(shop, tag)
    assert (changed.status_code, len(changed.json()["data"]["categories"])) == (200, 1)
    assert changed.headers["etag"] != tag


def test_the_tag_is_of_the_caller_s_answer(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product())
    shop.settle()
    query = "{ orders { userId } }"
    mine = cached(shop, query=query)
    theirs = cached(shop, mine.headers["etag"], query, **NOBODY)
    assert (theirs.status_code, theirs.json()) == (200, {"data": {"orders": [{"userId": "***"}]}})
    assert {"Accept", "Authorization"} <= {name.strip() for name in mine.headers["vary"].split(",")}


def test_the_tag_is_the_same_for_each_encoding(shop: ShopInMemory) -> None:
    tags = {cached(shop, query=LARGE, **{"Accept-Encoding": one}).headers["etag"] for one in ("br", "gzip", "identity")}
    assert len(tags) == 1
    assert next(iter(tags)).startswith("W/")
    assert cached(shop, tags.pop(), LARGE, **{"Accept-Encoding": "br"}).status_code == 304


def test_the_tag_is_of_one_media_type(shop: ShopInMemory) -> None:
    tag = cached(shop).headers["etag"]
    assert cached(shop, tag, Accept="application/json").status_code == 200


def test_an_answer_to_post_has_no_tag(shop: ShopInMemory) -> None:
    response = shop.http("POST", json={"query": SMALL}, headers={"If-None-Match": "*"})
    assert (response.status_code, "etag" in response.headers) == (200, False)


@pytest.mark.parametrize(("query", "status"), [("{", 400), ("mutation { nope }", 400), ("", 400)])
def test_a_refusal_has_no_tag(shop: ShopInMemory, query: str, status: int) -> None:
    response = cached(shop, "*", query)
    assert (response.status_code, "etag" in response.headers) == (status, False)


@concurrent
async def test_a_stream_by_get_has_no_tag(shop: ShopInMemory) -> None:
    asked = str(httpx.QueryParams({"query": "subscription { eventStream { id } }"})).encode()
    async with opened("", method="GET", query_string=asked, headers={"If-None-Match": "*"}) as stream:
        assert (stream.status, "etag" in stream.headers) == (200, False)
