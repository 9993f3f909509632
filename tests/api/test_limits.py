"""The limits of a query and of requests per minute: each at its bound and just beyond it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from graphql import get_introspection_query
from pydantic import TypeAdapter
from starlette.applications import Starlette

from scripts.local.token import emulator_token
from shared.api.operation import parse_document
from shared.api.rates import Rates
from shared.config import settings as configured
from shared.config.manifest import ROOT
from shared.config.settings import MalformedSetting, Settings
from shared.resilience import clock
from tests.fakes import MovableClock
from tests.shop_in_memory import Json, ShopInMemory, app

QUERY = "{ categories { id } }"
PLAIN = "application/json"
RESPONSE = "application/graphql-response+json"


def limited(shop: ShopInMemory, **changes: Any) -> ShopInMemory:
    """Change settings of the shop and return it."""
    shop.engines.settings = replace(shop.engines.settings, **changes)
    return shop


def problem(answer: Json) -> str:
    """Return the message of the only error, or an empty string."""
    messages = [error["message"] for error in answer.get("errors", ())]
    assert {error["extensions"]["code"] for error in answer.get("errors", ())} <= {"INVALID_INPUT"}
    return messages[0] if messages else ""


def words(number: int) -> str:
    """A query of so many characters."""
    return QUERY + " " * (number - len(QUERY))


def nested(depth: int) -> str:
    names = ["products" if level % 2 == 0 else "category" for level in range(depth - 1)]
    return "{ " + " { ".join([*names, "id"]) + " }" * depth


AT_THE_BOUND: dict[str, tuple[int, Callable[[int], str], str]] = {
    "max_query_characters": (50, words, "longer than 50 characters"),
    "max_query_tokens": (20, lambda n: "{ categories { " + "id " * (n - 5) + "} }", "more than 20"),
    "max_query_fields": (5, lambda n: "{ categories {" + " id" * (n - 1) + "} }", "6 fields; at most 5"),
    "max_query_fragments": (
        3,
        lambda n: "{ categories {" + " ...f" * n + "} } fragment f on Category { id }",
        "4 fragments; at most 3",
    ),
    "max_query_depth": (3, nested, "depth is 4; at most 3"),
    "max_query_aliases": (2, lambda n: "{" + "".join(f" a{i}: categories {{ id }}" for i in range(n)) + "}", "is 3"),
    "max_query_cost": (21, lambda n: f"{{ categories(limit: {n - 1}) {{ id }} }}", "cost is 22; at most 21"),
    "max_list_limit": (
        150,
        lambda n: f"{{ categories(limit: {n}) {{ id }} }}",
        "limit must be between 0 and 150; got 151",
    ),
    "max_list_offset": (
        7,
        lambda n: f"{{ categories(offset: {n}) {{ id }} }}",
        "offset must be between 0 and 7; got 8",
    ),
    "max_string_characters": (
        5,
        lambda n: f'{{ searchProducts(searchTerm: "{"x" * n}") {{ id }} }}',
        "a string must have at most 5 characters; got 6",
    ),
    "max_search_characters": (
        4,
        lambda n: f'{{ searchProducts(searchTerm: "{"x" * n}") {{ id }} }}',
        "1 to 4 characters",
    ),
}


@pytest.mark.parametrize("setting", AT_THE_BOUND)
def test_a_query_at_a_limit_is_answered_and_one_beyond_it_names_the_limit(shop: ShopInMemory, setting: str) -> None:
    bound, query, message = AT_THE_BOUND[setting]
    limited(shop, **{setting: bound})
    assert problem(shop.graphql(query(bound))) == ""
    assert message in problem(shop.graphql(query(bound + 1)))


@pytest.mark.parametrize(
    ("declared", "given"),
    [("$n: Int", {"n": 1000}), ("$n: Int = 1000", {}), ("$n: Int = 1, $m: Int = 1000", {"n": 1000})],
)
def test_a_limit_costs_the_same_as_literal_variable_and_default(shop: ShopInMemory, declared: str, given: Json) -> None:
    last = "$m" if "$m" in declared else "$n"
    query = f"query ({declared}) {{ categories(limit: $n) {{ products(limit: {last}) {{ id }} }} }}"
    assert "cost is 1001001" in problem(shop.graphql(query, given))


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ categoriesConnection(first: 7) { edges { cursor node { id } } } }", 1 + 1 + 7 * 3),
        ("{ categoriesConnection(last: 7) { edges { cursor } } }", 1 + 1 + 7),
        ("{ categoriesConnection { edges { cursor } } }", 1 + 1 + 20),
        (
            "{ categoriesConnection(first: 7) { totalCount pageInfo { endCursor } edges { cursor } } }",
            1 + 1 + 2 + 1 + 7,
        ),
        (
            "{ categoriesConnection(first: 7) { ...f } } fragment f on CategoryConnection { edges { cursor } }",
            1 + 1 + 7,
        ),
        ("{ viewer { orders(first: 7) { edges { cursor } } } }", 1 + 1 + 1 + 7),
        ("query ($n: Int = 7) { categoriesConnection(first: $n) { edges { cursor } } }", 1 + 1 + 7),
        (
            "{ categoriesConnection(first: 2) { edges { node { children(limit: 3) { id } } } } }",
            1 + 1 + 2 * (1 + 1 + 3),
        ),
    ],
)
def test_a_connection_costs_its_edges(shop: ShopInMemory, query: str, cost: int) -> None:
    limited(shop, max_query_cost=cost - 1)
    assert f"cost is {cost}; at most {cost - 1}" in problem(shop.graphql(query))
    assert "data" in limited(shop, max_query_cost=cost).graphql(query)


def test_a_count_costs_what_the_database_counts(shop: ShopInMemory) -> None:
    for _ in range(3):
        shop.new_category()
    shop.settle()
    query = "{ categoriesConnection(first: 0) { totalCount } }"
    read = 2 + 10  # one category more than asked for is read, to know whether there is another page
    assert limited(shop, max_query_cost=read).ask(query)["categoriesConnection"]["totalCount"] == 3
    assert "cost has reached" in problem(limited(shop, max_query_cost=read - 1).graphql(query))


def test_documents_that_are_read_but_not_returned_cost_too(shop: ShopInMemory) -> None:
    """The database reads, and charges for, skipped documents."""
    far = " ".join(f"a{n}: products(offset: 100000, limit: 1) {{ id }}" for n in range(5))
    assert "cost is 50010" in problem(shop.graphql(f"{{ {far} }}"))
    assert "cost is 10002" in problem(
        limited(shop, max_query_cost=10_001).graphql(
            "query ($n: Int) { products(offset: $n, limit: 1) { id } }", {"n": 100_000}
        )
    )


def test_invalid_variables_are_reported_before_the_cost(shop: ShopInMemory) -> None:
    answer = shop.graphql("query ($n: Int) { categories(limit: $n) { id } }", {"n": "x"})
    assert "n must be a whole number" in problem(answer)


def test_the_number_of_values_in_variables_is_a_setting(shop: ShopInMemory) -> None:
    query = "query ($limit: Int, $by: String) { categories(limit: $limit, sortBy: $by) { id } }"
    assert problem(limited(shop, max_variable_values=3).graphql(query, {"limit": 1, "by": "name"})) == ""
    assert "more than 2 values" in problem(
        limited(shop, max_variable_values=2).graphql(query, {"limit": 1, "by": "name"})
    )


def test_every_limit_of_a_query_has_a_test() -> None:
    others = {"max_body_bytes", "max_persisted_characters", "max_search_documents", "max_variable_values"}
    others |= {"max_subscribers", "max_subscribers_anonymous", "max_subscriptions_per_client"}
    assert {one.name for one in fields(Settings) if one.name.startswith("max_")} == others | set(AT_THE_BOUND)


def test_the_limit_of_a_body_is_a_setting(shop: ShopInMemory) -> None:
    limited(shop, max_body_bytes=100)
    body = json.dumps({"query": QUERY}).encode()
    for size, status in ((100, 200), (101, 413)):
        response = shop.http("POST", content=body.ljust(size), headers={"Content-Type": PLAIN})
        assert response.status_code == status


def test_the_documents_that_a_search_reads_are_a_setting(shop: ShopInMemory) -> None:
    category = shop.new_category()
    for number in range(6):
        shop.new_product(category, name=f"Tea {number}")
    shop.settle()
    search = '{ searchProducts(searchTerm: "Tea 5") { name } }'
    assert limited(shop, max_search_documents=6).ask(search) == {"searchProducts": [{"name": "Tea 5"}]}
    assert limited(shop, max_search_documents=5).ask(search) == {"searchProducts": []}


@pytest.mark.parametrize("batch", [[], [{"query": QUERY}], [{"query": QUERY}] * 2])
def test_a_batch_is_refused_and_the_message_names_the_alternative(shop: ShopInMemory, batch: list[Json]) -> None:
    response = shop.http("POST", json=batch)
    assert response.status_code == 400
    assert "batch" in problem(response.json()) and "one JSON object" in problem(response.json())


@pytest.mark.parametrize("query", [get_introspection_query(), '{ __type(name: "Product") { name } }'])
def test_introspection_can_be_switched_off_also_for_a_cached_query(shop: ShopInMemory, query: str) -> None:
    assert problem(shop.graphql(query)) == ""
    assert "introspection" in problem(limited(shop, introspection=False).graphql(query))
    assert problem(limited(shop, introspection=True).graphql(query)) == ""


def test_the_schema_may_be_introspected_but_not_many_times_in_one_query(shop: ShopInMemory) -> None:
    """A few kilobytes would be answered with tens of megabytes, which would delay all other
    requests."""
    whole = get_introspection_query(schema_description=True, input_value_deprecation=True, directive_is_repeatable=True)
    assert problem(shop.graphql(whole)) == ""

    body, fragments = (
        whole[whole.index("__schema") : whole.index("fragment")].strip()[:-1],
        whole[whole.index("fragment") :],
    )
    seven = " ".join(f"a{n}: {body}" for n in range(7))
    assert "cost is" in problem(shop.graphql(f"{{ {seven} }} {fragments}"))
    many = " ".join(f"a{n}: fields {{ name }}" for n in range(51))
    assert "number of aliases is 51" in problem(shop.graphql(f"{{ __schema {{ types {{ {many} }} }} }}"))


def test_without_introspection_errors_suggest_no_names(shop: ShopInMemory) -> None:
    assert "categories" in problem(shop.graphql("{ categoriez { id } }"))
    assert problem(limited(shop, introspection=False).graphql("{ categoriez { id } }")).endswith("on type 'Query'.")
    assert shop.ask("{ __typename }") == {"__typename": "Query"}


def test_a_cached_query_is_measured_with_the_variables_of_each_request(shop: ShopInMemory) -> None:
    limited(shop, max_query_cost=100)
    query = "query ($limit: Int, $skip: Int) { products(limit: $limit, offset: $skip) { id } }"
    for _ in range(2):
        assert problem(shop.graphql(query, {"limit": 10})) == ""
        assert "query's cost is 301" in problem(shop.graphql(query, {"limit": 300}))
        assert "query's cost is 111" in problem(shop.graphql(query, {"limit": 10, "skip": 1000}))


def test_a_query_is_cached_for_the_settings_it_was_validated_with() -> None:
    def parsed(settings: Settings) -> object:
        return asyncio.run(parse_document(QUERY, settings))[0]

    usual = Settings()
    assert parsed(usual) is parsed(usual) is not None
    assert parsed(Settings(max_query_fields=1)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_body_bytes", "0"),
        ("max_query_depth", "-1"),
        ("max_query_cost", "many"),
        ("max_list_limit", "99"),
        ("rate_limit_anonymous", "-1"),
        ("trusted_proxies", "-1"),
        ("introspection", "perhaps"),
        ("health_check_seconds", "0"),
        ("health_check_seconds", "nan"),
        ("pool_size", "0"),
        ("max_subscribers", "0"),
        ("subscriber_buffer", "-1"),
        ("heartbeat_seconds", "0"),
        ("subscription_max_seconds", "inf"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(MalformedSetting, match=name.upper()):
        configured.settings.__wrapped__()


def test_the_readme_lists_every_limit_with_its_default() -> None:
    readme = (ROOT / "shared" / "api" / "README.md").read_text()
    plain = TypeAdapter(Settings).dump_python(Settings())
    for name in [
        *AT_THE_BOUND,
        "max_body_bytes",
        "max_search_documents",
        "max_subscribers",
        "subscriber_buffer",
        "rate_limit_signed_in",
        "rate_limit_anonymous",
    ]:
        assert f"| `{name.upper()}` | {plain[name]:,} |" in readme, name


class Clients(clock.World):
    """Sends requests from any address to the graphql function. `seconds`: of the monotonic clock.
    `jumped`: how far the wall clock has."""

    def __init__(self, shop: ShopInMemory) -> None:
        self.shop, self.jumped = shop, timedelta()
        self.seconds = 1_000_000.0  # twenty seconds before a minute begins

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return super().now() + self.jumped

    def ask(
        self,
        address: str = "192.0.2.1",
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        path: str = "/",
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(cast(Starlette, app("graphql")), client=(address, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                given = {"json": {"query": QUERY}} if method == "POST" else {}
                return await client.request(method, path, headers=dict(headers or {}), **cast(Any, given))

        return asyncio.run(send())

    def taken(self, requests: int, address: str = "192.0.2.1", **headers: str) -> int:
        """Send requests and return how many of them are answered."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        statuses = [self.ask(address, given).status_code for _ in range(requests)]
        assert set(statuses) <= {200, 429}
        return statuses.count(200)


@pytest.fixture
def clients(shop: ShopInMemory) -> Iterator[Clients]:
    made = Clients(limited(shop, rate_limit_anonymous=3, rate_limit_signed_in=5))
    with clock.use(made):
        yield made


def bearer(name: str, role: str | None = None) -> str:
    return f"Bearer {emulator_token(f'{name}@example.com', role=role)}"


def test_by_default_a_user_has_a_thousand_requests_a_minute_and_an_address_a_hundred() -> None:
    assert (Settings().rate_limit_signed_in, Settings().rate_limit_anonymous) == (1000, 100)


def test_each_address_has_its_own_number_of_requests(clients: Clients) -> None:
    assert clients.taken(5) == 3
    assert clients.taken(5, "192.0.2.2") == 3


def test_users_are_counted_separately_whatever_their_address(clients: Clients) -> None:
    for name, role in (("ann", "writer"), ("bob", "reader"), ("eve", "admin")):
        token = bearer(name, role=role)
        assert clients.taken(4, "192.0.2.1", authorization=token) == 4
        assert clients.taken(4, "192.0.2.2", authorization=token) == 1
    assert clients.taken(1) == 1


def test_an_invalid_token_counts_as_anonymous(clients: Clients) -> None:
    assert sum(clients.taken(1, authorization=f"Bearer {number}") for number in range(5)) == 3


def test_without_required_sign_in_a_caller_counts_as_signed_in(clients: Clients) -> None:
    limited(clients.shop, sign_in_required=False)
    assert clients.taken(7) == 5


@pytest.mark.parametrize("accept", [PLAIN, RESPONSE, "*/*"])
def test_one_request_too_many_gets_retry_after_in_the_media_type_it_accepts(clients: Clients, accept: str) -> None:
    clients.taken(3)
    refused = clients.ask(headers={"Accept": accept})
    wait = int(refused.headers["retry-after"])
    assert refused.status_code == 429
    assert refused.headers["content-type"] == f"{RESPONSE if accept == RESPONSE else PLAIN}; charset=utf-8"
    (error,) = refused.json()["errors"]
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": wait}
    assert str(wait) in error["message"]


@pytest.mark.parametrize("moment", [0.0, 19.9, 20.0, 21.5, 59.0, 79.9])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_client_that_waits_for_retry_after_is_answered_and_no_second_earlier(
    clients: Clients, moment: float, limit: int
) -> None:
    limited(clients.shop, rate_limit_anonymous=limit)
    clients.taken(limit)
    clients.seconds += moment
    clients.taken(limit)
    refused = clients.ask()
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 121
    if wait > 1:
        clients.seconds += wait - 1.001
        assert clients.ask().status_code == 429
        clients.seconds -= wait - 1.001
    clients.seconds += wait
    assert clients.ask().status_code == 200


def test_a_new_minute_does_not_double_the_limit(clients: Clients) -> None:
    clients.seconds += 19.9
    assert clients.taken(3) == 3
    clients.seconds += 0.2  # the next minute
    assert clients.taken(3) == 1
    clients.seconds += 120
    assert clients.taken(5) == 3


@pytest.mark.parametrize("days", [-1, 1])
def test_a_wall_clock_that_jumps_changes_no_limit(clients: Clients, days: int) -> None:
    assert clients.taken(2) == 2
    clients.jumped = timedelta(days=days)
    assert clients.taken(3) == 1
    clients.seconds += 121
    assert clients.taken(5) == 3


def test_counting_starts_no_thread() -> None:
    rates, before = Rates(Settings()), threading.active_count()
    assert [rates.seconds_until_allowed("user", str(number)) for number in range(100)] == [0] * 100
    assert threading.active_count() == before


@pytest.mark.parametrize("setting", ["rate_limit_anonymous", "rate_limit_signed_in"])
def test_zero_is_no_limit(clients: Clients, setting: str) -> None:
    limited(clients.shop, **{setting: 0})
    token = {"authorization": bearer("ann")} if setting == "rate_limit_signed_in" else {}
    assert clients.taken(20, **token) == 20


def test_a_client_can_not_claim_another_address(clients: Clients) -> None:
    assert sum(clients.taken(1, x_forwarded_for=f"198.51.100.{n}") for n in range(6)) == 3


def test_in_the_cloud_the_last_address_is_the_one_that_the_platform_saw(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST")
    monkeypatch.setenv("K_SERVICE", "graphql")
    spoofed = [f"198.51.100.{n}, 192.0.2.1" for n in range(6)]
    assert sum(clients.taken(1, "169.254.1.1", x_forwarded_for=hops) for hops in spoofed) == 3
    assert clients.taken(1, "169.254.1.1", x_forwarded_for="192.0.2.1, 192.0.2.2") == 1


def test_behind_more_proxies_more_entries_are_trusted(clients: Clients) -> None:
    limited(clients.shop, trusted_proxies=2)
    spoofed = [f"198.51.100.{n}, 192.0.2.1, 203.0.113.9" for n in range(6)]
    assert sum(clients.taken(1, x_forwarded_for=hops) for hops in spoofed) == 3
    assert clients.taken(1, x_forwarded_for="192.0.2.2") == 1


def test_entries_may_come_in_several_headers(clients: Clients) -> None:
    limited(clients.shop, trusted_proxies=1)
    for number in range(6):
        headers = [("X-Forwarded-For", f"198.51.100.{number}"), ("X-Forwarded-For", "192.0.2.1")]
        assert clients.ask(headers=cast(Any, httpx.Headers(headers))).status_code == (200 if number < 3 else 429)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("testclient", "\N{BOMB}", True),
    ],
)
def test_a_client_is_an_address_or_the_network_it_chooses_from(
    clients: Clients, first: str, second: str, same: bool
) -> None:
    assert clients.taken(3, first) == 3
    assert clients.taken(3, second) == (0 if same else 3)


def test_health_and_the_console_are_not_counted(clients: Clients) -> None:
    for path in ("/health/live", "/health/ready", "/console/assets/x.js", "/console/config.json", "/"):
        for _ in range(5):
            assert clients.ask(headers={"Accept": "text/html"}, method="GET", path=path).status_code != 429
    assert clients.taken(5) == 3


def test_malformed_requests_count_too(clients: Clients) -> None:
    statuses = [clients.ask(headers={"Content-Type": "text/plain"}).status_code for _ in range(5)]
    assert statuses == [415, 415, 415, 429, 429]


def test_counters_are_bounded_in_number(movable_clock: MovableClock) -> None:
    movable_clock.stop()  # in a new minute the first client would be allowed one more
    rates = Rates(Settings(rate_limit_anonymous=1), max_clients=10)
    assert rates.seconds_until_allowed("address", "first") == 0
    for number in range(10):
        assert rates.seconds_until_allowed("address", "first") > 0
        assert rates.seconds_until_allowed("address", str(number)) == 0
    assert rates.seconds_until_allowed("address", "first") == 0  # an eleventh counter makes room by dropping all
