"""What admins did, dead letters by cause, and the dashboard's history, as the console shows
them."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.domain.errors import Unavailable
from shared.monitoring.health import Checkup
from shared.resilience import clock
from tests.fakes import FrozenClock, method_replaced
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import raising

ADMIN = {"Authorization": f"Bearer {emulator_token('ann@example.com', role='admin')}"}
ORDER = "0190b1b6-7c5e-7000-8000-000000000000"
ACTIONS = """query ($by: String, $first: Int, $after: String) {
    operatorActionsConnection(by: $by, first: $first, after: $after) { totalCount pageInfo { endCursor hasNextPage }
    edges { node { by action detail target reason status error } } } }"""


def actions(shop: ShopInMemory, **variables: Any) -> Json:
    shop.engines.recorder.flush()
    answer = shop.graphql(ACTIONS, variables, headers=ADMIN)
    assert "errors" not in answer, answer
    found: Json = answer["data"]["operatorActionsConnection"]
    return found


def nodes(found: Json) -> list[Json]:
    return [edge["node"] for edge in found["edges"]]


def test_an_admins_actions_say_who_did_what_to_what_and_why(shop: ShopInMemory) -> None:
    letter = str(uuid7())
    discard = 'mutation ($id: ID!) { discardDeadLetter(id: $id, reason: "a test") { id } }'
    assert (
        shop.graphql(discard, {"id": letter.upper()}, headers=ADMIN)["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    )
    assert "errors" not in shop.graphql("mutation { retryDeadLetters { left } }", headers=ADMIN)
    retried, discarded = nodes(actions(shop))
    assert retried == {
        "by": "ann",
        "action": "RetryDeadLetters",
        "detail": None,
        "target": None,
        "reason": None,
        "status": "success",
        "error": None,
    }
    assert discarded["by"], discarded["action"] == ("ann", "DiscardDeadLetter")
    assert (discarded["target"], discarded["reason"], discarded["status"]) == (letter, "a test", "NOT_FOUND")
    assert "dead letter" in discarded["error"]


def test_an_action_on_the_dead_letters_of_one_cause_is_not_shown_as_one_on_all(shop: ShopInMemory) -> None:
    cause = '{ source: "project-orders.order-events", type: "OrderCreated", error: "no route" }'
    assert "errors" not in shop.graphql(f"mutation {{ retryDeadLetters(cause: {cause}) {{ left }} }}", headers=ADMIN)
    (retried,) = nodes(actions(shop))
    assert (retried["target"], retried["detail"]) == ("project-orders.order-events", "no route")


ASKED = {
    "retryDeadLetters": "left",
    f'retrySaga(id: "{ORDER}"': "id",
    f'restartSaga(id: "{ORDER}", fromStep: "ship"': "id",
    'rebuildProjection(name: "project_orders"': "name",
    'cancelRebuild(name: "project_orders"': "name",
    'compareProjection(name: "project_orders"': "name",
    'switchProjection(name: "project_orders", to: 9': "name",
    'dropProjectionGeneration(name: "project_orders"': "name",
    'stopProjection(name: "project_orders"': "name",
    'startProjection(name: "project_orders"': "name",
    "setFault(provider: PAYMENT, fault: SLOW": "fault",
}


@pytest.mark.parametrize("asked", ASKED)
def test_the_audit_has_the_reason_of_every_action_also_of_one_that_is_refused(shop: ShopInMemory, asked: str) -> None:
    reason = "本番の訓練" * 300
    field = f"{asked}{',' if '(' in asked else '('} reason: $reason) {{ {ASKED[asked]} }}"
    mutation = f"mutation ($reason: String) {{ {field} }}"
    shop.graphql(mutation, {"reason": reason}, headers=ADMIN)
    (found,) = nodes(actions(shop))
    assert found["reason"] == reason
    (refused,) = shop.graphql(mutation, {"reason": "two\nlines"}, headers=ADMIN)["errors"]
    assert refused["extensions"] == {"code": "INVALID_INPUT", "field": ["reason"]}


def test_operators_actions_are_read_page_by_page_and_by_who_did_them(shop: ShopInMemory) -> None:
    for _ in range(3):
        shop.graphql("mutation { retryDeadLetters { left } }", headers=ADMIN)
    first = actions(shop, first=2)
    assert (len(first["edges"]), first["totalCount"], first["pageInfo"]["hasNextPage"]) == (2, 3, True)
    rest = actions(shop, first=2, after=first["pageInfo"]["endCursor"])
    assert (len(rest["edges"]), rest["pageInfo"]["hasNextPage"]) == (1, False)
    assert len(nodes(actions(shop, by="ann"))) == 3
    assert nodes(actions(shop, by="bob")) == []


def test_the_history_has_an_entry_for_each_minute(shop: ShopInMemory) -> None:
    shop.ask("{ categories { id } }")
    shop.graphql('{ product(id: "no uuid") { id } }')
    shop.engines.recorder.flush()
    fields = "at commands queries deliveries errors failedDeliveries averageLatencyMs"
    history = shop.ask(f"{{ dashboardHistory(minutes: 5) {{ {fields} }} }}")["dashboardHistory"]
    moments = [datetime.fromisoformat(one["at"]) for one in history]
    assert len(history) == 5
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(moments)} == {60}
    assert (datetime.now(UTC) - moments[-1]).total_seconds() < 120
    assert sum(one["queries"] for one in history) >= 2
    assert sum(one["errors"] for one in history) == 1
    assert (history[0]["queries"], history[0]["averageLatencyMs"]) == (0, None)


GAUGES = "lagSeconds lagStreams outboxWaiting sagasStarted sagasCompensating sagasStuck"
UNKNOWN = dict.fromkeys(GAUGES.split())


def test_the_history_says_what_waited_in_each_minute_and_a_gap_stays_a_gap(shop: ShopInMemory) -> None:
    later = FrozenClock()
    with clock.use(later):
        product = shop.new_product()
        shop.settle()
        shop.call("report_metrics")
        later.move(120)
        shop.deliver = lambda subscription, body: 204  # lost
        shop.new_order(product)
        shop.settle()
        later.move(60)
        shop.call("report_metrics")
        shop.call("report_metrics")
        history = shop.ask(f"{{ dashboardHistory(minutes: 5) {{ {GAUGES} }} }}")["dashboardHistory"]
    nothing = dict.fromkeys(UNKNOWN, 0)
    assert history[:4] == [UNKNOWN, nothing, UNKNOWN, UNKNOWN]
    waited = history[4]
    assert waited.pop("lagSeconds") >= 60
    assert waited == {name: value for name, value in nothing.items() if name != "lagSeconds"} | {"lagStreams": 1}


def test_a_store_that_does_not_answer_leaves_a_gap_in_its_own_numbers_only(shop: ShopInMemory) -> None:
    shop.engines.checkup = Checkup(keep_seconds=0)
    with clock.use(FrozenClock()):
        with method_replaced(shop, "sagas.counts", raising(Unavailable("down"))):
            assert shop.call("report_metrics").status_code == 200
        (present,) = shop.ask(f"{{ dashboardHistory(minutes: 1) {{ {GAUGES} }} }}")["dashboardHistory"]
    assert present == dict.fromkeys(UNKNOWN, 0) | dict.fromkeys(("sagasStarted", "sagasCompensating", "sagasStuck"))


def test_metrics_are_reported_while_the_history_does_not_answer(shop: ShopInMemory) -> None:
    with method_replaced(shop, "gauges.keep", raising(Unavailable("down"))):
        assert shop.call("report_metrics").json()["done"] > 10
    (present,) = shop.ask(f"{{ dashboardHistory(minutes: 1) {{ {GAUGES} }} }}")["dashboardHistory"]
    assert present == UNKNOWN


@pytest.mark.parametrize("minutes", [-1, 1441])
def test_the_history_has_an_end(shop: ShopInMemory, minutes: int) -> None:
    answer = shop.graphql(f"{{ dashboardHistory(minutes: {minutes}) {{ at }} }}")
    assert answer["errors"][0]["message"] == f"minutes must be between 0 and 1,440; got {minutes}"
