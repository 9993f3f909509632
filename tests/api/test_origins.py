"""Web pages of the origins in ALLOWED_ORIGINS may call the shop; those of all other origins may
not."""

from dataclasses import replace

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from shared.config.settings import Settings
from shared.event_store.tail import SubscriptionQuota
from tests.callers import NOBODY
from tests.fakes import MovableClock
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import EVENT_STREAM, concurrent, opened

SHOP, LOCAL, EVIL = "https://shop.example.com", "http://localhost:3000", "https://evil.example.com"
QUERY = "{ categories { id } }"
LISTED = ["content-type", "authorization", "idempotency-key", "consistency", "last-event-id"]


@pytest.fixture
def shop_settings(shop_settings: Settings) -> Settings:
    return replace(shop_settings, allowed_origins=(SHOP, LOCAL))


def preflight(shop: ShopInMemory, origin: str, method: str = "POST", asked: str = ",".join(LISTED)) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return shop.http("OPTIONS", headers=NOBODY | headers | ({"Access-Control-Request-Headers": asked} if asked else {}))


def allowed(response: httpx.Response) -> str | None:
    """Return the origin that the response allows to read it."""
    origin: str | None = response.headers.get("access-control-allow-origin")
    return origin


def listed(response: httpx.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers[header].split(",")}


@pytest.mark.parametrize("origin", [SHOP, LOCAL])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_browser_may_ask_before_it_calls(shop: ShopInMemory, origin: str, method: str) -> None:
    response = preflight(shop, origin, method)
    assert (response.status_code, allowed(response)) == (200, origin)
    assert listed(response, "access-control-allow-headers") >= set(LISTED)
    assert listed(response, "access-control-allow-methods") == {"get", "post"}
    assert response.headers["access-control-max-age"] == "7200"
    assert "origin" in listed(response, "vary")


@pytest.mark.parametrize(
    "origin",
    [EVIL, "null", "", "http://shop.example.com", f"{SHOP}:444", f"{SHOP}.evil.com", SHOP.upper(), f"{SHOP}/", "*"],
)
def test_another_origin_is_not_allowed(shop: ShopInMemory, origin: str) -> None:
    assert allowed(preflight(shop, origin)) is None
    response = shop.http("GET", params={"query": QUERY}, headers=NOBODY | {"Origin": origin})
    assert allowed(response) is None
    assert "origin" in listed(response, "vary")


@pytest.mark.parametrize(("method", "asked"), [("DELETE", ""), ("PUT", "content-type"), ("POST", "x-other")])
def test_other_methods_and_headers_are_not_allowed(shop: ShopInMemory, method: str, asked: str) -> None:
    assert preflight(shop, SHOP, method, asked).status_code == 400


def test_an_answer_can_be_read_with_its_headers(shop: ShopInMemory) -> None:
    response = shop.http("POST", json={"query": QUERY}, headers={"Origin": SHOP})
    assert (response.status_code, allowed(response)) == (200, SHOP)
    assert listed(response, "access-control-expose-headers") >= {"consistency", "retry-after"}
    assert "origin" in listed(response, "vary")


def test_what_a_cache_keeps_for_one_origin_is_not_for_another(shop: ShopInMemory) -> None:
    response = shop.http("GET", params={"query": QUERY}, headers=NOBODY)
    assert allowed(response) is None
    assert "origin" in listed(response, "vary")


REFUSED: list[tuple[int, str, Json]] = [
    (400, "POST", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    (404, "GET", {"path": "/nothing"}),
    (405, "PUT", {}),
    (406, "POST", {"json": {"query": QUERY}, "headers": {"Accept": "image/png"}}),
    (413, "POST", {"content": b" " * 1_000_001, "headers": {"Content-Type": "application/json"}}),
    (415, "POST", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
]


@pytest.mark.parametrize(("status", "method", "request_"), REFUSED, ids=lambda value: str(value)[:10])
def test_a_refusal_can_be_read(shop: ShopInMemory, status: int, method: str, request_: Json) -> None:
    request = {**request_, "headers": {**request_.get("headers", {}), "Origin": SHOP}}
    response = shop.http(method, request.pop("path", "/graphql"), **request)
    assert (response.status_code, allowed(response)) == (status, SHOP)


def test_a_client_beyond_its_rate_can_read_when_to_return(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    movable_clock.stop()  # a minute that begins on the way would allow more
    sent = [shop.http("POST", json={"query": QUERY}, headers=NOBODY | {"Origin": SHOP}) for _ in range(101)]
    assert (sent[-1].status_code, allowed(sent[-1])) == (429, SHOP)
    assert int(sent[-1].headers["retry-after"]) > 0


def test_a_crash_can_be_read(shop: ShopInMemory) -> None:
    shop.engines.settings = replace(shop.engines.settings, max_query_characters=None)  # type: ignore[arg-type]
    response = shop.http("POST", json={"query": QUERY}, headers={"Origin": SHOP})
    assert (response.status_code, allowed(response)) == (500, SHOP)
    assert response.json()["errors"][0]["extensions"] == {"code": "INTERNAL_ERROR"}


def test_too_many_subscribers_can_read_when_to_return(shop: ShopInMemory) -> None:
    shop.engines.subscription_quota = SubscriptionQuota(0, 0)
    asked = {"query": "subscription { eventStream { id } }"}
    response = shop.http("POST", json=asked, headers={"Origin": SHOP, "Accept": EVENT_STREAM})
    assert (response.status_code, allowed(response), response.headers["retry-after"]) == (503, SHOP, "5")


@concurrent
async def test_a_stream_can_be_read(shop: ShopInMemory) -> None:
    async with opened("subscription { eventStream { id } }", headers={"Origin": SHOP}) as stream:
        assert stream.headers["access-control-allow-origin"] == SHOP
        assert stream.headers["content-type"].startswith(EVENT_STREAM)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_health_and_metrics_are_not_for_pages(shop: ShopInMemory, path: str) -> None:
    response = shop.http("GET", path, headers={"Origin": SHOP})
    assert (response.status_code, allowed(response)) == (200, None)
    asked = {"Origin": SHOP, "Access-Control-Request-Method": "GET"}
    assert allowed(shop.http("OPTIONS", path, headers=asked)) is None


def test_by_default_no_other_origin_may_call(shop: ShopInMemory) -> None:
    shop.engines.settings = replace(shop.engines.settings, allowed_origins=())
    assert preflight(shop, SHOP).status_code == 405
    response = shop.http("POST", json={"query": QUERY}, headers={"Origin": SHOP})
    assert not [name for name in response.headers if name.startswith("access-control")]


def settings_of(text: str) -> tuple[str, ...]:
    return TypeAdapter(Settings).validate_python({"allowed_origins": text}).allowed_origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("  ", ()),
        (SHOP, (SHOP,)),
        (f"{SHOP} {LOCAL}", (SHOP, LOCAL)),
        (f" {SHOP}, {LOCAL}\n", (SHOP, LOCAL)),
        ("http://127.0.0.1:5173", ("http://127.0.0.1:5173",)),
        ("http://[::1]:5173", ("http://[::1]:5173",)),
        ("https://xn--mnchen-3ya.example", ("https://xn--mnchen-3ya.example",)),
        ("http://localhost", ("http://localhost",)),
    ],
)
def test_origins_are_separated_by_spaces_or_commas(text: str, origins: tuple[str, ...]) -> None:
    assert settings_of(text) == origins


@pytest.mark.parametrize(
    "wrong",
    [
        *("*", "null", "https://*.example.com", "shop.example.com", "//shop.example.com", "https://", "https:/a.com"),
        *(f"{SHOP}/", f"{SHOP}/graphql", f"{SHOP}?a=1", f"{SHOP}#a", "https://Shop.example.com", "HTTPS://a.com"),
        *(f"{SHOP}:443", "http://localhost:80", f"{SHOP}:", f"{SHOP}:0", f"{SHOP}:port", f"{SHOP}:123456"),
        *(
            "https://ann@a.com",
            "https://münchen.example",
            "https://a..com",
            "https://.com",
            "ftp://a.com",
            "https://a.com;",
        ),
    ],
)
def test_what_no_browser_sends_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings_of(f"{SHOP} {wrong}")
    assert "allowed_origins" in str(refused.value)
    assert f"got '{wrong}'" in str(refused.value)
