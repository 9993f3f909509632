"""What the front end of an earlier system sends and expects still works."""

import pytest

from tests.shop_in_memory import ShopInMemory


@pytest.fixture
def ended(shop: ShopInMemory) -> tuple[ShopInMemory, dict[str, str]]:
    """A shop with a saga that is completed, one that had nothing to undo, one that undid a step,
    and one that runs."""
    product = shop.new_product()
    made = {
        "completed": shop.new_order(product),
        "refused": shop.new_order(product, quantity=1000),
        "compensated": shop.new_order(product, paymentMethod="decline"),
    }
    shop.settle()
    hand_over = shop.deliver
    shop.deliver = lambda to, body: hand_over(to, body) if to.endpoint == "order_saga" else 204
    made["running"] = shop.new_order(product)
    shop.settle()
    return shop, made


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("started", ["running"]),
        ("active", ["running"]),
        ("completed", ["completed"]),
        ("failed", ["refused", "compensated"]),
        ("compensated", ["compensated"]),
        ("stuck", []),
    ],
)
def test_sagas_are_filtered_by_status_in_any_case(
    ended: tuple[ShopInMemory, dict[str, str]], status: str, expected: list[str]
) -> None:
    shop, made = ended
    for text in (status, status.upper(), status.title()):
        found = {one["id"] for one in shop.ask("query ($s: String) { sagas(status: $s) { id } }", s=text)["sagas"]}
        assert found == {made[name] for name in expected}
        connection = (
            "query ($s: String) { sagasConnection(filter: { status: $s }) { totalCount edges { node { id } } } }"
        )
        paged = shop.ask(connection, s=text)["sagasConnection"]
        assert {edge["node"]["id"] for edge in paged["edges"]} == found
        assert paged["totalCount"] == len(found)


def test_a_healthy_shop_is_called_healthy(shop: ShopInMemory) -> None:
    assert shop.ask("{ dashboardStats { systemHealth } }")["dashboardStats"]["systemHealth"] == "healthy"


def test_fields_have_their_former_names_too(shop: ShopInMemory) -> None:
    memory = shop.ask("""{ memoryInfo {
        totalMb processMb binaryMb etsMb processCount portCount
        total_mb process_mb binary_mb ets_mb process_count port_count } }""")["memoryInfo"]
    for name in ("total_mb", "process_mb", "binary_mb", "ets_mb", "process_count", "port_count"):
        first, _, second = name.partition("_")
        assert memory[name] == memory[first + second.title()]
    for check in shop.ask("{ health { checks { durationMs duration_ms } } }")["health"]["checks"]:
        assert check["duration_ms"] == check["durationMs"]


def test_topics_come_in_the_order_of_their_messages(ended: tuple[ShopInMemory, dict[str, str]]) -> None:
    shop, _ = ended
    counts = [one["messageCount"] for one in shop.ask("{ pubsubStats { topic messageCount } }")["pubsubStats"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0
