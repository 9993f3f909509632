"""A projection can be stopped: it falls behind, loses nothing, and catches up."""

import pytest

from scripts.local.token import emulator_token
from shared.config.settings import Settings
from shared.resilience import clock
from tests.fakes import MovableClock, Uncached
from tests.shop_in_memory import Json, ShopInMemory

STOP = 'mutation ($minutes: Int) { stopProjection(name: "project_orders", minutes: $minutes) { name status } }'
START = 'mutation { startProjection(name: "project_orders") { name status stop { by } } }'
STATUS = "{ projectionStatus { name status lagEvents lastErrorAt deadLetters stop { by since until } } }"


@pytest.fixture(autouse=True)
def uncached(shop: ShopInMemory) -> None:
    shop.engines.cache = Uncached()


def status(shop: ShopInMemory) -> Json:
    (found,) = [one for one in shop.ask(STATUS)["projectionStatus"] if one["name"] == "project_orders"]
    return dict(found)


def relay(shop: ShopInMemory, moved: MovableClock) -> None:
    """Let the messages that wait be published again, as the schedule does."""
    moved.move(5)
    assert shop.call("relay_outbox").status_code == 200
    shop.settle()


def failed_deliveries(shop: ShopInMemory) -> int:
    shop.engines.recorder.flush()
    tallies = shop.engines.counts.executions().ever
    return sum(tally.errors for (kind, name), tally in tallies.items() if name == "project-orders.order-events")


def order_status(shop: ShopInMemory, order_id: str) -> Json:
    return shop.graphql(f'{{ order(id: "{order_id}") {{ status }} }}')


def saga_status(shop: ShopInMemory, order_id: str) -> str:
    return str(shop.ask(f'{{ saga(id: "{order_id}") {{ status }} }}')["saga"]["status"])


def test_a_stopped_projection_falls_behind_and_catches_up_without_loss(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    shown = shop.new_order(shop.new_product())
    shop.settle()
    before = saga_status(shop, shown)
    assert shop.ask(STOP) == {"stopProjection": {"name": "project_orders", "status": "STOPPED"}}
    movable_clock.move(2)
    hidden = shop.new_order(shop.new_product())
    shop.settle()
    for _ in range(20):  # more often than a message may be attempted
        relay(shop, movable_clock)
    assert saga_status(shop, hidden) == before  # only the read model waits
    assert order_status(shop, hidden)["errors"]
    now = status(shop)
    assert (now["status"], now["deadLetters"], now["lastErrorAt"]) == ("STOPPED", 0, None)
    assert now["lagEvents"] >= 5
    assert failed_deliveries(shop) == 0  # a message that waits was not handled
    assert now["stop"]["by"] == "ann"
    assert shop.ask(START)["startProjection"]["stop"] is None
    relay(shop, movable_clock)
    assert order_status(shop, hidden) == {"data": {"order": {"status": "CONFIRMED"}}}
    assert status(shop)["lagEvents"] == 0
    assert shop.ask("{ deadLetters { id } }") == {"deadLetters": []}


def test_a_forgotten_stop_ends_by_itself(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    shop.ask(STOP, minutes=1)
    hidden = shop.new_order(shop.new_product())
    shop.settle()
    assert order_status(shop, hidden)["errors"]
    movable_clock.move(60)
    relay(shop, movable_clock)
    assert order_status(shop, hidden) == {"data": {"order": {"status": "CONFIRMED"}}}
    assert (status(shop)["status"], status(shop)["stop"]) == ("RUNNING", None)


def test_health_and_what_is_stuck_say_that_it_is_stopped_and_by_whom(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    shop.ask(STOP, minutes=10)
    hidden = shop.new_order(shop.new_product())
    shop.settle()
    movable_clock.move(120)  # the read model is late now, for a reason that is known
    relay(shop, movable_clock)
    kinds = "[PROJECTION_STOPPED, READ_MODEL, OUTBOX, DEAD_LETTER]"
    (entry,) = shop.ask(f"{{ stuck(kinds: {kinds}) {{ kind subject waitingFor whatToDo }} }}")["stuck"]
    assert (entry["kind"], entry["subject"]) == ("PROJECTION_STOPPED", "orders")
    assert "ann has stopped project_orders" in entry["waitingFor"]
    assert entry["whatToDo"] == 'mutation { startProjection(name: "project_orders") { status } }'
    checks = {
        one["name"]: one
        for one in shop.ask("{ health { checks { name status message details } } }")["health"]["checks"]
    }
    assert checks["projections"]["status"] == "DEGRADED"
    assert "an admin has stopped project_orders until" in checks["projections"]["message"]
    assert "ann stopped it" in checks["projections"]["details"]["stopped"]["orders"]
    why = shop.ask(f'{{ whyStuck(orderId: "{hidden}") {{ kind answer }} }}')["whyStuck"]
    assert why["kind"] == "PROJECTION_STOPPED" and "ann has stopped project_orders" in why["answer"]


def test_stopping_and_starting_are_recorded(shop: ShopInMemory) -> None:
    shop.ask(STOP.replace("minutes: $minutes", 'minutes: $minutes, reason: "a drill"'))
    shop.ask(START)
    shop.engines.recorder.flush()
    fields = "edges { node { action target by reason status } }"
    found = shop.ask(f"{{ operatorActionsConnection {{ {fields} }} }}")["operatorActionsConnection"]["edges"]
    about = {"target": "project_orders", "by": "ann", "status": "success"}
    assert [edge["node"] for edge in found] == [
        {"action": "StartProjection", "reason": None, **about},
        {"action": "StopProjection", "reason": "a drill", **about},
    ]
    commands = shop.ask("{ commandExecutions { commandType } }")["commandExecutions"]
    assert [one["commandType"] for one in commands] == ["StartProjection", "StopProjection"]
    stops = shop.ask('{ commandExecutions(commandType: "StopProjection") { commandType } }')["commandExecutions"]
    assert len(stops) == 1


def test_others_than_admins_neither_stop_it_nor_learn_who_did(shop: ShopInMemory) -> None:
    writer = {"Authorization": f"Bearer {emulator_token('bob@example.com', role='writer')}"}
    for mutation in (STOP, START):
        (error,) = shop.graphql(mutation, headers=writer)["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
    assert status(shop)["stop"] is None
    shop.ask(STOP)
    own = shop.new_order(shop.new_product(), userId="bob")
    shop.settle()
    why = shop.graphql(f'{{ whyStuck(orderId: "{own}") {{ answer facts {{ waitingFor }} }} }}', headers=writer)
    assert "project_orders is stopped" in why["data"]["whyStuck"]["answer"] and "ann" not in str(why)
    found = shop.graphql(STATUS, headers=writer)["data"]["projectionStatus"]
    (seen,) = [one["stop"] for one in found if one["stop"]]
    assert seen["by"] is None and seen["until"] > clock.now().isoformat()


@pytest.mark.parametrize("minutes", [0, 61, -1])
def test_the_time_limit_has_limits(shop: ShopInMemory, minutes: int) -> None:
    (error,) = shop.graphql(STOP, {"minutes": minutes})["errors"]
    assert error["message"] == f"minutes must be between 1 and 60; got {minutes}"
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["minutes"]}


def test_an_unknown_projection_is_named(shop: ShopInMemory) -> None:
    asked = 'mutation { stopProjection(name: "project_nothing") { name } }'
    assert shop.refusal(asked)["code"] == "NOT_FOUND"


class TestWithoutTheSandbox:
    @pytest.fixture
    def shop_settings(self) -> Settings:
        return Settings(profile="memory", sign_in_required=True, fault_lab=False)

    def test_nothing_can_be_broken(self, shop: ShopInMemory) -> None:
        assert shop.ask("{ faults { provider } }") == {"faults": []}
        assert shop.http("GET", "/console/config.json").json()["faultLab"] is False
        for mutation in (STOP, START, "mutation { setFault(provider: PAYMENT, fault: DOWN) { fault } }"):
            assert shop.refusal(mutation)["code"] == "BUSINESS_RULE_VIOLATION"
