"""The order that is placed after a deployment, in a shop of this process, with a fake Identity
Platform."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from scripts.local import smoke
from scripts.local.smoke import USER, NotHealthy, Shop, clear_away
from scripts.local.token import emulator_token
from shared.config.manifest import Subscription
from tests.deploy.fake_tools import SOON
from tests.shop_in_memory import ShopInMemory, served

Json = dict[str, Any]


class IdentityPlatform(BaseHTTPRequestHandler):
    """Accepts any custom token, as the emulator does. `asked`: the requests, in order."""

    asked: ClassVar[list[str]]

    def do_POST(self) -> None:
        body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.rpartition(":")[2]
        self.asked.append(method)
        answer: Json = {}
        if method.startswith("signInWithCustomToken"):
            payload = body["token"].split(".")[1]
            said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            answer["idToken"] = emulator_token(f"{said['uid']}@example.com", role=said["claims"]["role"])
        self.send_response(200 if "key=the-key" in self.path else 400)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, shop: ShopInMemory) -> Iterator[list[str]]:
    class Asked(IdentityPlatform):
        asked: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        thread = threading.Thread(target=server.serve_forever, args=(SOON,))
        thread.start()
        monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", f"127.0.0.1:{server.server_port}")
        yield Asked.asked
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve the shop of whichever test runs."""
    with served("client") as url:
        yield url


@pytest.fixture
def url(shop: ShopInMemory, address: str) -> str:
    return f"{address}/graphql"


def environment(monkeypatch: pytest.MonkeyPatch, url: str, key: str = "the-key") -> None:
    monkeypatch.setenv("SMOKE_SIGN_IN_SECONDS", "0")
    for name, value in {"PROJECT_ID": "shop-local", "WEB_API_KEY": key, "GRAPHQL_URL": url}.items():
        monkeypatch.setenv(name, value)


def admin(url: str) -> Shop:
    return Shop(url, emulator_token("ann@example.com", role="admin"))


def on_sale(shop: ShopInMemory) -> Json:
    shop.settle()
    return shop.ask("{ categories { name } products { name } }")


def test_an_order_goes_through_and_nothing_of_it_stays_on_sale(
    shop: ShopInMemory,
    url: str,
    identity: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment(monkeypatch, url)
    assert smoke.main() == 0
    assert "was confirmed" in capsys.readouterr().out
    assert on_sale(shop) == {"categories": [], "products": []}
    assert [
        order["status"] for order in shop.ask(f'{{ userOrders(userId: "{USER}") {{ status }} }}')["userOrders"]
    ] == ["CONFIRMED"]
    assert [asked.partition("?")[0] for asked in identity] == ["signInWithCustomToken", "delete"]


def test_it_may_be_run_again(
    shop: ShopInMemory, url: str, identity: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, url)
    assert [smoke.main(), smoke.main()] == [0, 0]


def test_an_order_that_is_not_confirmed_fails_the_deployment_and_is_cleared_away_all_the_same(
    shop: ShopInMemory, url: str
) -> None:
    def lost(subscription: Subscription, body: Json) -> int:
        return 200 if subscription.endpoint == "order_saga" else shop.hand_over(subscription, body)

    shop.deliver = lost
    with pytest.raises(NotHealthy, match="is not confirmed"):
        smoke.smoke(admin(url), patience=2)
    assert on_sale(shop) == {"categories": [], "products": []}


def test_a_later_run_deletes_the_leftovers_of_a_killed_run_only(shop: ShopInMemory, url: str) -> None:
    shop.new_product(shop.new_category("Smoke test of another run"))
    shop.new_product(shop.new_category("Tea"))
    shop.settle()
    clear_away(admin(url), older_than=datetime.now(UTC) - timedelta(hours=1))
    assert len(on_sale(shop)["categories"]) == 2
    clear_away(admin(url), older_than=datetime.now(UTC))
    assert on_sale(shop) == {"categories": [{"name": "Tea"}], "products": [{"name": "Tea"}]}


def test_a_shop_that_does_not_answer_is_told(
    identity: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(monkeypatch, "http://127.0.0.1:9/graphql")
    assert smoke.main() == 1
    assert "http://127.0.0.1:9/graphql does not answer" in capsys.readouterr().err
    assert [asked.partition("?")[0] for asked in identity] == ["signInWithCustomToken", "delete"]


def test_a_failed_sign_in_is_reported(
    url: str, identity: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(monkeypatch, url, key="another-key")
    assert smoke.main() == 1
    assert "Identity Platform refused" in capsys.readouterr().err
