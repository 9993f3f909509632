"""An engine fails while clients order: errors are clear, nothing is lost, and the shop recovers by
itself."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

import httpx
import pytest

from tests.databases import restart_postgres
from tests.end_to_end.running_shop import CREATE_ORDER, Fields, wait_until
from tests.failure.books import comes_to_rest, open_books
from tests.failure.breakable_shop import BreakableShop

CLEAR = {"SERVICE_UNAVAILABLE", "TIMEOUT"}
AT_ONCE = 45.0
"""Seconds within which every request is answered, during any outage: its 25, and more on a busy
machine."""
PAUSE = 2.0
"""Seconds between two requests of a customer."""
HEALED = 180.0
"""Seconds after the outage until everything that was accepted has ended: a message may wait for its
backoff."""


@dataclass(frozen=True)
class Answer:
    """`at`: when the request was sent, by the monotonic clock. `seconds`: until the answer. `code`:
    empty for a success."""

    what: str
    at: float
    seconds: float
    code: str
    order_id: str = ""


@dataclass
class Customers:
    """Place orders in some threads and read orders in one, until stopped."""

    shop: BreakableShop
    product: Fields
    answers: list[Answer] = field(default_factory=list)
    _gone: Event = field(default_factory=Event)

    @contextmanager
    def come(self, ordering: int = 3) -> Iterator[None]:
        with ThreadPoolExecutor(ordering + 1) as pool:
            visits = [pool.submit(self._keep_asking, "order") for _ in range(ordering)]
            visits.append(pool.submit(self._keep_asking, "query"))
            try:
                yield
            finally:
                self._gone.set()
        for visit in visits:
            visit.result()

    def _keep_asking(self, what: str) -> None:
        while not self._gone.wait(PAUSE):
            self.answers.append(self.ask(what))

    def ask(self, what: str) -> Answer:
        started = time.monotonic()
        order_id = ""
        try:
            answer = self._order() if what == "order" else self.shop.ask("{ orders(limit: 5) { id status } }")
            errors = answer.get("errors", [])
            code = ",".join(error["extensions"]["code"] for error in errors)
            if what == "order" and not errors:
                order_id = answer["data"]["createOrder"]["order"]["id"]
        except (httpx.HTTPError, ValueError) as error:
            code = repr(error)
        return Answer(what, started, time.monotonic() - started, code, order_id)

    def _order(self) -> Fields:
        line = {"productId": self.product["id"], "productName": self.product["name"], "quantity": 1}
        items = [line | {"unitPrice": self.product["price"]}]
        return self.shop.ask(CREATE_ORDER, input={"userId": "hanako", "items": items})

    def codes(self, what: str, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Return how often each code was returned in that time."""
        return Counter(one.code for one in self.answers if one.what == what and since <= one.at < until)

    def were_answered_clearly(self) -> None:
        """Assert that every request was answered in time, errors with a clear code."""
        slow = [one for one in self.answers if one.seconds > AT_ONCE]
        unclear = [one for one in self.answers if one.code not in CLEAR | {""}]
        assert (slow, unclear) == ([], [])

    @property
    def accepted(self) -> set[str]:
        return {one.order_id for one in self.answers if one.order_id}


@pytest.mark.parametrize(("engine", "affected"), [("PostgreSQL", "order"), ("Pub/Sub", None), ("Firestore", "query")])
# A cut lasts longer than the 25 s of a request, so that some fail.
@pytest.mark.parametrize(("breaks", "seconds"), [("cut", 30), ("hang", 12)])
def test_an_engine_that_goes_away_costs_no_order_and_the_shop_heals_by_itself(
    shop: BreakableShop, engine: str, affected: str | None, breaks: str, seconds: float
) -> None:
    """`affected`: the requests that fail without the engine; all others succeed."""
    customers = Customers(shop, shop.product(stock=1000))
    with customers.come():
        time.sleep(2)
        gone = time.monotonic()
        getattr(shop.engines[engine], breaks)()
        time.sleep(seconds)
        shop.engines[engine].restore()
        back = time.monotonic()
        time.sleep(2)
    customers.were_answered_clearly()
    for what in {"order", "query"} - {affected}:
        assert customers.codes(what, gone, back).keys() == {""}
    if affected and breaks == "cut":
        assert customers.codes(affected, gone, back).keys() & CLEAR
    comes_to_rest(shop, back + HEALED - time.monotonic())
    assert customers.accepted <= {str(order_id) for order_id in open_books(shop).orders}
    wait_until(lambda: not customers.ask("order").code, 60)  # a breaker lets one try again, then all
    assert shop.until_ended(shop.order(customers.product), 60)[0]["status"] == "CONFIRMED"


@pytest.mark.parametrize("how", ["fast", "immediate", "fail-over"])
def test_a_restart_of_postgresql_fails_no_request_once_it_is_back(shop: BreakableShop, how: str) -> None:
    customers = Customers(shop, shop.product(stock=1000))
    events = "{ recentEvents(limit: 5) { eventType } }"

    def ask_all_at_once() -> list[object]:
        """Return the errors of many more requests than there are connections."""
        with ThreadPoolExecutor(8) as pool:
            orders = [pool.submit(customers.ask, "order") for _ in range(16)]
            queries = [pool.submit(shop.ask, events) for _ in range(16)]
        return [order.result().code for order in orders if order.result().code] + [
            query.result()["errors"] for query in queries if "errors" in query.result()
        ]

    assert ask_all_at_once() == []
    if how == "fail-over":
        shop.engines["PostgreSQL"].strand()
        time.sleep(16)  # longer than the 15 seconds for which a statement under way keeps its connection
    restart_postgres(shop.home / "postgres", "immediate" if how == "immediate" else "fast")
    time.sleep(1.5)
    assert ask_all_at_once() == []
