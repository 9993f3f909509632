"""A process is killed at the worst moments of its work; what was accepted is neither lost nor done
twice.

The victim is the service itself, in a process of its own, on PostgreSQL, Pub/Sub and Firestore, and
it gets SIGKILL: no handler runs. Afterwards the service is started again, as Cloud Run would.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from signal import SIGKILL
from typing import Any

import httpx
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud.pubsub_v1 import SubscriberClient
from uuid_utils.compat import uuid7

from scripts.local.token import PROJECT
from tests.end_to_end.running_shop import Fields, wait_until
from tests.failure.books import comes_to_rest, open_books, read_log
from tests.failure.breakable_shop import BreakableShop

FULFILLED = [
    "OrderCreated",
    "InventoryReserved",
    "PaymentProcessed",
    "ShippingArranged",
    "OrderConfirmed",
    "CustomerNotified",
]

Death = tuple[str, str]
"""A moment of the victim's work, and its subject; see victim.py."""


class Witness:
    """The test's own subscription, which sees what Pub/Sub accepted for a topic."""

    def __init__(self, topic: str) -> None:
        self._client = SubscriberClient()
        self._name = f"projects/{PROJECT}/subscriptions/witness-{uuid7().hex}"
        self._client.create_subscription(name=self._name, topic=f"projects/{PROJECT}/topics/{topic}")
        self._heard: dict[str, Mapping[str, str]] = {}

    def heard(self, name: str, order_id: str, least: int) -> list[str]:
        """Return the id of each publication of that message about the order. Wait until there are
        so many at least, and no message comes any more: the emulator may be slow."""
        about = {"ce-type": name, "ce-subject": f"order-{order_id}"}

        def found() -> list[str]:
            return [heard["ce-id"] for heard in self._heard.values() if about.items() <= dict(heard).items()]

        wait_until(lambda: not self._take() and len(found()) >= least, 60)
        return found()

    def _take(self) -> bool:
        """Take what has come. Return whether there was anything."""
        received = self._pull()
        self._heard |= {one.message.message_id: one.message.attributes for one in received}
        if received:
            self._client.acknowledge(subscription=self._name, ack_ids=[one.ack_id for one in received])
        return bool(received)

    def _pull(self) -> list[Any]:
        try:
            return list(
                self._client.pull(subscription=self._name, max_messages=100, timeout=1, retry=None).received_messages
            )
        except DeadlineExceeded:
            return []

    def close(self) -> None:
        self._client.delete_subscription(subscription=self._name)
        self._client.close()


@pytest.fixture
def pubsub(shop: BreakableShop) -> Iterator[Callable[[str], Witness]]:
    witnesses: list[Witness] = []

    def witness(topic: str) -> Witness:
        witnesses.append(Witness(topic))
        return witnesses[-1]

    yield witness
    for one in witnesses:
        one.close()


@pytest.fixture
def product(shop: BreakableShop) -> Fields:
    return shop.product(stock=10)


def begin_dying(shop: BreakableShop, service: str, death: Death) -> None:
    """Make the service a victim from now on."""
    shop.kill(service)
    shop.start(service, dying=death)


def dies_of(shop: BreakableShop, service: str, deaths: Sequence[Death]) -> None:
    """Wait until each victim has died and start the next; start the service itself after the
    last."""
    for death, following in zip(deaths, [*deaths[1:], ()], strict=True):
        assert shop.died(service) == -SIGKILL, f"{service} was never at the moment {death}"
        shop.end_leases()
        shop.start(service, dying=following)


OF_THE_OUTBOX = [
    (["after publishing"], 2),
    (["before publishing"], 1),
    (["before publishing", "after claiming", "after publishing"], 2),
]
"""Moments between the commit and the deletion from the outbox, and how often the message is
published."""


@pytest.mark.parametrize(("moments", "copies"), OF_THE_OUTBOX)
def test_a_committed_command_is_announced_wherever_the_process_dies(
    shop: BreakableShop, product: Fields, pubsub: Callable[[str], Witness], moments: list[str], copies: int
) -> None:
    order_id, key = str(uuid7()), str(uuid7())
    line = {"productId": product["id"], "productName": product["name"], "quantity": 2, "unitPrice": "1500"}
    create = {"orderId": order_id, "userId": "hanako", "items": [line]}
    witness = pubsub("order-events")
    begin_dying(shop, "command", (moments[0], "OrderCreated"))
    with pytest.raises(httpx.TransportError):
        shop.command("create_order", create, key)
    assert [event.type for event in read_log(shop)[f"order-{order_id}"]] == ["OrderCreated"]
    assert len(shop.outbox()) == 1
    dies_of(shop, "command", [(moment, "OrderCreated") for moment in moments])
    again = shop.command("create_order", create, key)
    assert again.status_code == 200
    assert (again.json()["version"], again.json()["entity"]["status"]) == (1, "PENDING")
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    assert open_books(shop).happened(order_id) == FULFILLED
    (created, *_) = read_log(shop)[f"order-{order_id}"]
    assert witness.heard("OrderCreated", order_id, copies) == [str(created.id)] * copies


@pytest.mark.parametrize(("moments", "copies"), OF_THE_OUTBOX)
def test_a_command_that_a_saga_has_saved_is_sent_wherever_the_process_dies(
    shop: BreakableShop, product: Fields, pubsub: Callable[[str], Witness], moments: list[str], copies: int
) -> None:
    witness = pubsub("process-payment")
    begin_dying(shop, "command", (moments[0], "ProcessPayment"))
    order_id = shop.order(product)
    dies_of(shop, "command", [(moment, "ProcessPayment") for moment in moments])
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    assert open_books(shop).happened(order_id) == FULFILLED
    assert len(witness.heard("ProcessPayment", order_id, copies)) >= copies


@pytest.mark.parametrize("collection", ["products", "category_members", "orders"])
def test_a_projection_that_dies_between_its_write_and_the_acknowledgement_writes_once(
    shop: BreakableShop, product: Fields, collection: str
) -> None:
    """`category_members` increments a category's number of products, the only write that must not
    be repeated."""
    comes_to_rest(shop)
    begin_dying(shop, "query", ("after writing the read model", collection))
    new = shop.product(stock=5)
    order_id = shop.order(product, quantity=3)
    dies_of(shop, "query", [("after writing the read model", collection)])
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    assert shop.stock(product) == (7, 0)
    assert shop.stock(new) == (5, 0)


def test_an_order_whose_every_step_dies_after_its_effect_is_confirmed_once(
    shop: BreakableShop, product: Fields
) -> None:
    deaths = [
        ("after saving the saga", "OrderCreated"),
        ("after appending", "InventoryReserved"),
        ("before appending", "PaymentProcessed"),  # the provider has been paid
        ("after appending", "PaymentProcessed"),
        ("before appending", "ShippingArranged"),  # the parcel is on its way
        ("after appending", "ShippingArranged"),
        ("after appending", "OrderConfirmed"),
        ("before appending", "CustomerNotified"),  # the customer has been told
        ("after appending", "CustomerNotified"),
    ]
    begin_dying(shop, "command", deaths[0])
    order_id = shop.order(product, quantity=3)
    dies_of(shop, "command", deaths)
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    assert open_books(shop).happened(order_id) == FULFILLED
    assert shop.stock(product) == (7, 0)


def test_an_order_whose_every_compensation_dies_after_its_effect_is_undone_once(
    shop: BreakableShop, product: Fields
) -> None:
    deaths = [
        ("after appending", "ShippingFailed"),
        ("before appending", "PaymentRefunded"),  # the provider has given the money back
        ("after appending", "PaymentRefunded"),
        ("after appending", "InventoryReleased"),
        ("after appending", "OrderFailed"),
    ]
    begin_dying(shop, "command", deaths[0])
    order_id = shop.order(product, quantity=3, shippingMethod="refuse")
    dies_of(shop, "command", deaths)
    assert shop.until_ended(order_id)[0]["status"] == "FAILED"
    comes_to_rest(shop)
    undone = ["ShippingFailed", "PaymentRefunded", "InventoryReleased", "OrderFailed"]
    assert open_books(shop).happened(order_id) == [*FULFILLED[:3], *undone]
    assert shop.stock(product) == (10, 0)
    assert shop.ledger("payments")[order_id] == "undone"


def test_a_rebuild_that_dies_before_it_has_noted_how_far_it_is_goes_on(shop: BreakableShop, product: Fields) -> None:
    comes_to_rest(shop)
    begin_dying(shop, "query", ("after publishing", "ForSubscription(subscription='project-products"))
    shop.data('mutation { rebuildProjection(name: "project_products", switchWhenEqual: true) { name } }')
    dies_of(shop, "query", [("after publishing", "ForSubscription(subscription='project-products")])

    def live() -> list[int]:
        found = shop.data("{ projectionStatus { name generations { live } } }")["projectionStatus"]
        return [one["generations"]["live"] for one in found if one["name"] == "project_products"]

    wait_until(lambda: live() == [2], 180, every=1)
    assert shop.stock(product) == (10, 0)
    comes_to_rest(shop)
