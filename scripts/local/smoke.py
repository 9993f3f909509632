"""Place an order in the deployed shop as a client would, wait until it is confirmed, and delete its
product and category.

This runs as a Cloud Run job whose service account may sign for itself
(iam.serviceAccounts.signBlob), so the person who deploys needs no right to impersonate an account.
The order and its events stay in the shop's history.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

USER = "smoke-test"
_NAME = "Smoke test"
_SIGN_IN_SECONDS = "600"
_PATIENCE = 180.0
_ENDED = ("CONFIRMED", "CANCELLED", "FAILED")
_ABANDONED_AFTER = timedelta(hours=1)  # no run takes this long

_CATEGORY = "mutation ($input: CreateCategoryInput!) { createCategory(input: $input) { id } }"
_PRODUCT = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }"
_ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"
_STATUS = "query ($id: ID!) { order(id: $id) { status reason } }"
_FIND = "query ($name: String!) { searchCategories(searchTerm: $name) { id createdAt products { id } } }"
_DELETE_PRODUCT = "mutation ($id: ID!) { deleteProduct(id: $id) { success } }"
_DELETE_CATEGORY = "mutation ($id: ID!) { deleteCategory(id: $id) { success } }"

Fields = dict[str, Any]


class NotHealthy(Exception):
    """A request or the order failed; the message says how."""


@dataclass(frozen=True)
class Shop:
    """`url`: the shop's GraphQL address. `token`: an admin's ID token."""

    url: str
    token: str

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the answer's only field. Raise NotHealthy."""
        headers = {"Authorization": f"Bearer {self.token}"}
        body = {"query": query, "variables": variables}
        try:
            answer = httpx.post(self.url, json=body, headers=headers, timeout=60)
            data: Fields = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NotHealthy(f"{self.url} does not answer: {error or type(error).__name__}") from error
        if data.get("errors") or not data.get("data"):
            raise NotHealthy(f"{self.url} answered {answer.status_code} {answer.text[:1000]}")
        (field,) = data["data"].values()
        return field


def smoke(shop: Shop, patience: float = _PATIENCE) -> str:
    """Return the id of a confirmed order. Raise NotHealthy when it is not confirmed in `patience`
    seconds."""
    clear_away(shop, older_than=datetime.now(UTC) - _ABANDONED_AFTER)
    name = f"{_NAME} {datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    category = shop.ask(_CATEGORY, input={"name": name})["id"]
    with _deleted(shop, _DELETE_CATEGORY, category):
        product = {"name": name, "price": "1", "stockQuantity": 1, "categoryId": category}
        product["id"] = shop.ask(_PRODUCT, input=product)["id"]
        with _deleted(shop, _DELETE_PRODUCT, product["id"]):
            return _ordered(shop, product, patience)


def _ordered(shop: Shop, product: Fields, patience: float) -> str:
    line = {"productId": product["id"], "productName": product["name"], "quantity": 1, "unitPrice": product["price"]}
    order: str = shop.ask(_ORDER, input={"userId": USER, "items": [line]})["order"]["id"]
    until, seen = time.monotonic() + patience, None
    while time.monotonic() < until:
        seen = shop.ask(_STATUS, id=order)
        if seen and seen["status"] in _ENDED:
            break
        time.sleep(1)
    if not seen or seen["status"] != "CONFIRMED":
        raise NotHealthy(f"order {order} is not confirmed after {patience:.0f} s: {seen or 'it has no read model'}")
    return order


def clear_away(shop: Shop, older_than: datetime) -> None:
    """Delete the products and categories that killed runs have left."""
    for category in shop.ask(_FIND, name=_NAME):
        if datetime.fromisoformat(category["createdAt"]) < older_than:
            for product in category["products"]:
                shop.ask(_DELETE_PRODUCT, id=product["id"])
            shop.ask(_DELETE_CATEGORY, id=category["id"])


@contextmanager
def _deleted(shop: Shop, deletion: str, id: str) -> Iterator[None]:
    try:
        yield
    finally:
        shop.ask(deletion, id=id)


@contextmanager
def signed_in(project_id: str, api_key: str) -> Iterator[str]:
    """Yield the ID token of a temporary admin, deleted from Identity Platform afterwards. Raise
    NotHealthy."""
    import firebase_admin  # slow to import
    from firebase_admin import auth

    app = firebase_admin.initialize_app(options={"projectId": project_id}, name="smoke")

    def sign_in() -> str:
        custom = auth.create_custom_token(USER, {"role": "admin"}, app).decode()
        found = _identity("signInWithCustomToken", api_key, {"token": custom, "returnSecureToken": True})
        return str(found["idToken"])

    token = _retry_while_new(sign_in)
    try:
        yield token
    finally:
        _identity("delete", api_key, {"idToken": token})
        firebase_admin.delete_app(app)


def _retry_while_new(sign_in: Callable[[], str]) -> str:
    """Retry the sign-in: just after the first deployment, Google may not know the key and the right
    to sign yet."""
    from firebase_admin.exceptions import FirebaseError
    from google.auth.exceptions import GoogleAuthError

    until = time.monotonic() + float(os.environ.get("SMOKE_SIGN_IN_SECONDS", _SIGN_IN_SECONDS))
    while True:
        try:
            return sign_in()
        except (NotHealthy, FirebaseError, GoogleAuthError, ValueError) as error:
            if time.monotonic() > until:
                raise NotHealthy(f"the smoke test cannot sign in: {error}") from error
            print(f"sign-in does not work yet: {error}", file=sys.stderr, flush=True)
        time.sleep(10)


def _identity(method: str, api_key: str, body: Fields) -> Fields:
    emulator = os.environ.get("FIREBASE_AUTH_EMULATOR_HOST")
    address = f"http://{emulator}/" if emulator else "https://"
    url = f"{address}identitytoolkit.googleapis.com/v1/accounts:{method}"
    answer = httpx.post(url, params={"key": api_key}, json=body, timeout=30)
    if answer.is_error:
        raise NotHealthy(f"Identity Platform refused to {method}: {answer.text[:500]}")
    body_of_answer: Fields = answer.json()
    return body_of_answer


def main() -> int:
    try:
        with signed_in(os.environ["PROJECT_ID"], os.environ["WEB_API_KEY"]) as token:
            order = smoke(Shop(os.environ["GRAPHQL_URL"], token))
    except NotHealthy as reason:
        print(reason, file=sys.stderr)
        return 1
    print(f"order {order} was confirmed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
