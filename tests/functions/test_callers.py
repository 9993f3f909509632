"""In the cloud each function answers only its own callers; nowhere does a function answer another
site's page."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.config.manifest import Function, manifest
from tests.shop_in_memory import ShopInMemory
from tests.signed_tokens import GRAPHQL, HERE, OTHER_KEY, from_cloud_run, googles_keys, service_token, unsigned

__all__ = ["googles_keys"]

PUSH = "shop-push@shop.iam.gserviceaccount.com"
SCHEDULER = "shop-scheduler@shop.iam.gserviceaccount.com"
PAYER = "shop-process-payment@shop.iam.gserviceaccount.com"
FUNCTIONS = [function for function in manifest().functions.values() if not function.public]
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)


def caller(function: Function) -> str:
    """Return the account that terraform/functions.tf lets call the function."""
    if function.name == "sandbox_provider":
        return PAYER
    return SCHEDULER if function.schedule else GRAPHQL if function.http else PUSH


@pytest.fixture
def in_cloud_run(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, googles_keys: None) -> None:
    monkeypatch.setenv("K_SERVICE", "shop-a-function")


def status(shop: ShopInMemory, function: Function, authorization: str | None = None, **headers: str) -> int:
    """Call the function with an empty object, and return the status."""
    given = {"Authorization": authorization} if authorization is not None else {}
    method = "GET" if function.name == "sandbox_provider" else "POST"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shop.call(function.name, b"{}", method, headers=given | named).status_code


@pytest.mark.usefixtures("in_cloud_run")
@each_function
@pytest.mark.parametrize("handed_over", [str, from_cloud_run], ids=["signed", "verified by Cloud Run"])
def test_only_its_caller_may_call_a_function(
    shop: ShopInMemory, function: Function, handed_over: Callable[[str], str]
) -> None:
    mine = caller(function)
    shop.engines.settings = replace(shop.engines.settings, callers=mine, audience=HERE)
    good = f"Bearer {handed_over(service_token(email=mine))}"
    assert status(shop, function, good) != 403
    others = {GRAPHQL, PUSH, SCHEDULER, PAYER, "me@example.com"} - {mine}
    bad = [
        None,
        "",
        *(f"Bearer {handed_over(service_token(email=other))}" for other in others),
        f"Bearer {handed_over(service_token(email=mine, aud='https://elsewhere.example.com'))}",
        f"Bearer {handed_over(unsigned(iss='https://accounts.google.com', aud=HERE, email=mine))}",
        f"Bearer {service_token(OTHER_KEY, email=mine)}",
    ]
    assert [status(shop, function, header) for header in bad] == [403] * len(bad)
    assert shop.log() == []


@pytest.mark.usefixtures("in_cloud_run")
@each_function
def test_a_second_token_that_cloud_run_would_have_verified_instead_is_refused(
    shop: ShopInMemory, function: Function
) -> None:
    shop.engines.settings = replace(shop.engines.settings, callers=caller(function), audience=HERE)
    for encoded in (service_token(email=caller(function)), from_cloud_run(service_token(email=caller(function)))):
        authorization = f"Bearer {encoded}"
        assert status(shop, function, authorization, X_Serverless_Authorization=authorization) == 403
        assert status(shop, function, authorization, X_Serverless_Authorization="") == 403


@pytest.mark.usefixtures("in_cloud_run")
@each_function
def test_health_and_metrics_ask_for_no_caller(shop: ShopInMemory, function: Function) -> None:
    """Cloud Run's own probes send no token; from outside, Cloud Run lets only accounts through that
    may call."""
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert shop.call(function.name, method="GET", path=path).status_code == 200


@pytest.mark.usefixtures("in_cloud_run")
@each_function
def test_without_named_callers_a_function_in_the_cloud_answers_no_caller(
    shop: ShopInMemory, function: Function
) -> None:
    assert status(shop, function, f"Bearer {service_token(email='', aud='')}") == 403
    assert status(shop, function, f"Bearer {service_token()}") == 403


@each_function
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://localhost:8080"])
def test_a_web_page_may_not_call_a_function(shop: ShopInMemory, function: Function, origin: str) -> None:
    assert status(shop, function, Origin=origin) == 403
    response = shop.call(function.name, b"{}", headers={"Origin": origin})
    assert "graphql function" in json.loads(response.text)["message"]
    assert shop.log() == []
