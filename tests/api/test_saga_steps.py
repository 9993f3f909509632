"""How many sagas are at each step, and which."""

import pytest
from uuid_utils.compat import uuid7

from shared.sagas.definition import Progress
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.callers import NOBODY
from tests.fakes import Uncached
from tests.shop_in_memory import ShopInMemory

STEPS = "{ sagaSteps { step active compensating stuck } }"
AT = """query ($step: String, $status: String) {
    sagasConnection(filter: { currentStep: $step, status: $status }) { totalCount edges { node { id currentStep } } } }"""


@pytest.fixture(autouse=True)
def uncached(shop: ShopInMemory) -> None:
    shop.engines.cache = Uncached()


def saved(shop: ShopInMemory, status: SagaStatus, step: int) -> None:
    names = ORDER_FULFILMENT.step_names
    progress = Progress(uuid7(), status, step, steps=names, version=ORDER_FULFILMENT.version)
    shop.engines.sagas.save(StoredSaga("OrderSaga", progress, 0, "c"), [], [])


def test_everybody_sees_how_many_sagas_are_at_each_step_and_which(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product())
    shop.settle()  # it has ended, so it is at no step
    for status in (SagaStatus.STARTED, SagaStatus.STARTED, SagaStatus.COMPENSATING, SagaStatus.STUCK):
        saved(shop, status, 1)
    saved(shop, SagaStatus.STARTED, 2)
    found = shop.graphql(STEPS, headers=NOBODY)["data"]["sagaSteps"]
    assert [one["step"] for one in found][:3] == ["reserve_inventory", "process_payment", "arrange_shipping"]
    assert [one["active"] for one in found] == [0, 4, 1] + [0] * (len(found) - 3)
    assert found[1] == {"step": "process_payment", "active": 4, "compensating": 1, "stuck": 1}
    for group, number in ((None, 4), ("ACTIVE", 4), ("STUCK", 1), ("COMPLETED", 0)):
        listed = shop.graphql(AT, {"step": "process_payment", "status": group}, NOBODY)["data"]["sagasConnection"]
        assert listed["totalCount"] == len(listed["edges"]) == number
        assert {edge["node"]["currentStep"] for edge in listed["edges"]} <= {"process_payment"}


def test_an_unknown_step_is_refused(shop: ShopInMemory) -> None:
    assert shop.refusal(AT, step="eat_order") == {"code": "INVALID_INPUT", "field": ["filter", "currentStep"]}
