"""The rules of products: category, price, and units that are on hand, reserved, released or
shipped."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.domain.category import CATEGORY
from shared.domain.commands import AdjustStock, ChangeProductPrice, CreateProduct, DeleteProduct, UpdateProduct
from shared.domain.errors import Invalid, NotFound, Rejected
from shared.domain.events import (
    CategoryDeleted,
    ProductCreated,
    ProductDeleted,
    ProductEvent,
    ProductPriceChanged,
    ProductUpdated,
    StockAdjusted,
    StockReleased,
    StockReserved,
    StockShipped,
)
from shared.domain.product import (
    PRODUCT,
    Product,
    adjust_stock,
    change_price,
    create,
    delete,
    release,
    reserve,
    ship,
    shortage,
    update,
)
from shared.domain.values import MAX_STOCK, Money, To
from tests.specification import (
    CUP_ID,
    DRINKS_ID,
    KITCHEN_ID,
    ORDER_ID,
    OTHER_ORDER_ID,
    category_created,
    cup_created,
    given,
    given_no,
    yen,
)

ABSENT = CATEGORY.initial
KITCHEN = given(category_created(KITCHEN_ID)).state
DRINKS = given(category_created(DRINKS_ID)).state
DELETED_DRINKS = given(category_created(DRINKS_ID), CategoryDeleted(DRINKS_ID)).state
DELETED = ProductDeleted(CUP_ID)
THREE_RESERVED = StockReserved(CUP_ID, ORDER_ID, 3)
FOUR_RESERVED = StockReserved(CUP_ID, OTHER_ORDER_ID, 4)
ORDER_IDS = st.sampled_from([ORDER_ID, OTHER_ORDER_ID, UUID(int=99)])
NEW_CUP = CreateProduct(CUP_ID, "湯呑み", Decimal(800), KITCHEN_ID, "手作り", "JPY", 10)


def test_a_product_is_created_with_the_fields_of_the_command() -> None:
    given_no(PRODUCT).when(create, NEW_CUP, [KITCHEN]).then(cup_created(on_hand=10))


def test_a_product_has_no_stock_unless_the_command_says_so() -> None:
    command = CreateProduct(CUP_ID, "湯呑み", Decimal(800), KITCHEN_ID)
    created = ProductCreated(CUP_ID, "湯呑み", None, KITCHEN_ID, yen(800), 0)
    given_no(PRODUCT).when(create, command, [KITCHEN]).then(created)


@pytest.mark.parametrize("history", [[cup_created()], [cup_created(), DELETED]], ids=["on sale", "deleted"])
def test_a_product_is_not_created_under_an_id_that_is_taken(history: list[ProductEvent]) -> None:
    given(*history).when(create, NEW_CUP, [KITCHEN]).then_rejected(Rejected, field=["product_id"])


def test_a_product_is_created_only_in_an_active_category() -> None:
    given_no(PRODUCT).when(create, NEW_CUP, [ABSENT]).then_rejected(NotFound, field=["category_id"])
    given_no(PRODUCT).when(create, NEW_CUP, [DELETED_DRINKS]).then_rejected(Rejected, field=["category_id"])


def test_a_price_has_no_more_decimals_than_its_currency() -> None:
    command = CreateProduct(CUP_ID, "湯呑み", Decimal("800.5"), KITCHEN_ID)
    given_no(PRODUCT).when(create, command, [KITCHEN]).then_rejected(Invalid, match="JPY", field=["price"])


def test_a_price_carries_exactly_the_decimals_of_its_currency() -> None:
    product = given_no(PRODUCT)
    (created,) = create(CreateProduct(CUP_ID, "cup", Decimal(8), KITCHEN_ID, currency="USD"), product.state, [KITCHEN])
    assert isinstance(created, ProductCreated)
    assert str(created.price.amount) == "8.00"


def test_a_new_name_leaves_the_rest_as_it_was() -> None:
    command = UpdateProduct(CUP_ID, name=To("マグ"))
    given(cup_created()).when(update, command, []).then(ProductUpdated(CUP_ID, "マグ", "手作り", KITCHEN_ID))


def test_a_description_can_be_cleared() -> None:
    command = UpdateProduct(CUP_ID, description=To(None))
    given(cup_created()).when(update, command, []).then(ProductUpdated(CUP_ID, "湯呑み", None, KITCHEN_ID))


def test_a_product_moves_to_another_category() -> None:
    command = UpdateProduct(CUP_ID, category_id=To(DRINKS_ID))
    given(cup_created()).when(update, command, [DRINKS]).then(ProductUpdated(CUP_ID, "湯呑み", "手作り", DRINKS_ID))


def test_a_product_moves_only_to_an_active_category() -> None:
    command = UpdateProduct(CUP_ID, category_id=To(DRINKS_ID))
    given(cup_created()).when(update, command, [ABSENT]).then_rejected(NotFound, field=["category_id"])
    given(cup_created()).when(update, command, [DELETED_DRINKS]).then_rejected(Rejected, field=["category_id"])


def test_a_new_price_and_a_new_stock_are_events_of_their_own() -> None:
    command = UpdateProduct(CUP_ID, To("マグ"), price=To(Decimal(900)), stock_quantity=To(12))
    given(cup_created(on_hand=10)).when(update, command, []).then(
        ProductUpdated(CUP_ID, "マグ", "手作り", KITCHEN_ID),
        ProductPriceChanged(CUP_ID, yen(900)),
        StockAdjusted(CUP_ID, 2, "stock set"),
    )


def test_the_new_stock_includes_reserved_units() -> None:
    command = UpdateProduct(CUP_ID, stock_quantity=To(3))
    product = given(cup_created(on_hand=10), THREE_RESERVED)
    product.when(update, command, []).then(StockAdjusted(CUP_ID, -7, "stock set"))


def test_the_stock_is_not_set_below_the_reserved_units() -> None:
    command = UpdateProduct(CUP_ID, stock_quantity=To(2))
    given(cup_created(), THREE_RESERVED).when(update, command, []).then_rejected(Rejected, field=["stock_quantity"])


def test_an_update_with_one_wrong_field_records_nothing() -> None:
    command = UpdateProduct(CUP_ID, name=To("マグ"), price=To(Decimal("0.5")))
    given(cup_created()).when(update, command, []).then_rejected(Invalid, field=["price"])


def test_an_updated_price_is_in_the_currency_of_the_product() -> None:
    created = ProductCreated(CUP_ID, "cup", None, KITCHEN_ID, Money(Decimal("8.00"), "USD"), 0)
    command = UpdateProduct(CUP_ID, price=To(Decimal("8.5")))
    given(created).when(update, command, []).then(ProductPriceChanged(CUP_ID, Money(Decimal("8.50"), "USD")))


@pytest.mark.parametrize(
    "command",
    [
        UpdateProduct(CUP_ID),
        UpdateProduct(CUP_ID, To("湯呑み"), To("手作り"), To(Decimal("800.00")), To(KITCHEN_ID), To(10)),
    ],
    ids=["nothing given", "all the same"],
)
def test_changing_nothing_records_nothing(command: UpdateProduct) -> None:
    given(cup_created(on_hand=10)).when(update, command, [KITCHEN]).then_nothing()


def test_a_price_changes() -> None:
    command = ChangeProductPrice(CUP_ID, Decimal(900))
    given(cup_created()).when(change_price, command).then(ProductPriceChanged(CUP_ID, yen(900)))


def test_a_product_may_be_free() -> None:
    command = ChangeProductPrice(CUP_ID, Decimal(0))
    given(cup_created()).when(change_price, command).then(ProductPriceChanged(CUP_ID, yen(0)))


@pytest.mark.parametrize("same", ["800", "800.00", "8E+2"])
def test_the_same_price_records_nothing(same: str) -> None:
    given(cup_created()).when(change_price, ChangeProductPrice(CUP_ID, Decimal(same))).then_nothing()


def test_a_new_price_has_no_more_decimals_than_the_currency_of_the_product() -> None:
    command = ChangeProductPrice(CUP_ID, Decimal("0.001"))
    given(cup_created()).when(change_price, command).then_rejected(Invalid, match="JPY", field=["new_price"])


@pytest.mark.parametrize("delta", [5, -10])
def test_the_stock_is_adjusted_up_and_down(delta: int) -> None:
    command = AdjustStock(CUP_ID, delta, "counted")
    given(cup_created(on_hand=10)).when(adjust_stock, command).then(StockAdjusted(CUP_ID, delta, "counted"))


def test_adjusting_by_zero_records_nothing() -> None:
    given(cup_created()).when(adjust_stock, AdjustStock(CUP_ID, 0)).then_nothing()


def test_the_stock_is_never_negative() -> None:
    command = AdjustStock(CUP_ID, -11)
    given(cup_created(on_hand=10)).when(adjust_stock, command).then_rejected(Rejected, field=["delta"])


def test_the_stock_is_not_adjusted_below_the_reserved_units() -> None:
    product = given(cup_created(on_hand=10), THREE_RESERVED, FOUR_RESERVED)
    product.when(adjust_stock, AdjustStock(CUP_ID, -3)).then(StockAdjusted(CUP_ID, -3, None))
    product.when(adjust_stock, AdjustStock(CUP_ID, -4)).then_rejected(Rejected, match="only 3 of 10", field=["delta"])


def test_the_stock_has_an_upper_bound() -> None:
    product = given(cup_created(on_hand=MAX_STOCK - 1))
    product.when(adjust_stock, AdjustStock(CUP_ID, 1)).then(StockAdjusted(CUP_ID, 1, None))
    product.when(adjust_stock, AdjustStock(CUP_ID, 2)).then_rejected(Invalid, field=["delta"])


def test_a_product_is_deleted() -> None:
    given(cup_created()).when(delete, DeleteProduct(CUP_ID)).then(DELETED)


def test_a_product_with_reserved_units_can_be_deleted() -> None:
    given(cup_created(), THREE_RESERVED).when(delete, DeleteProduct(CUP_ID)).then(DELETED)


def test_deleting_a_product_twice_records_nothing() -> None:
    given(cup_created(), DELETED).when(delete, DeleteProduct(CUP_ID)).then_nothing()


def test_a_product_that_does_not_exist_is_not_changed() -> None:
    nothing = given_no(PRODUCT)
    nothing.when(update, UpdateProduct(CUP_ID), []).then_rejected(NotFound, field=["id"])
    nothing.when(change_price, ChangeProductPrice(CUP_ID, Decimal(1))).then_rejected(NotFound, field=["id"])
    nothing.when(adjust_stock, AdjustStock(CUP_ID, 1)).then_rejected(NotFound, field=["id"])
    nothing.when(delete, DeleteProduct(CUP_ID)).then_rejected(NotFound, field=["id"])


def test_a_product_that_is_no_longer_sold_is_not_changed() -> None:
    deleted = given(cup_created(), DELETED)
    deleted.when(update, UpdateProduct(CUP_ID, To("マグ")), []).then_rejected(match="no longer sold", field=["id"])
    deleted.when(change_price, ChangeProductPrice(CUP_ID, Decimal(1))).then_rejected(field=["id"])
    deleted.when(adjust_stock, AdjustStock(CUP_ID, 1)).then_rejected(field=["id"])


def test_all_available_units_can_be_reserved_but_no_more() -> None:
    product = given(cup_created(on_hand=10), THREE_RESERVED).state
    assert product.available == 7
    assert shortage(product, 7) is None
    assert shortage(product, 8) == "湯呑み: 8 ordered, 7 available"


def test_no_unit_is_reserved_of_a_product_that_is_not_sold() -> None:
    assert shortage(given(cup_created(), DELETED).state, 1) == "湯呑み is no longer sold"
    assert shortage(PRODUCT.initial, 1) is not None


def _reserve(quantity: int, product: Product) -> list[ProductEvent]:
    return reserve(product, ORDER_ID, quantity)


def _release(order_id: UUID, product: Product) -> list[ProductEvent]:
    return release(product, order_id)


def _ship(order_id: UUID, product: Product) -> list[ProductEvent]:
    return ship(product, order_id)


def test_units_are_reserved_once_for_an_order() -> None:
    given(cup_created()).when(_reserve, 3).then(THREE_RESERVED)
    given(cup_created(), THREE_RESERVED).when(_reserve, 3).then_nothing()


def test_reserved_units_are_released_once() -> None:
    released = StockReleased(CUP_ID, ORDER_ID, 3)
    given(cup_created(), THREE_RESERVED, FOUR_RESERVED).when(_release, ORDER_ID).then(released)
    given(cup_created(), THREE_RESERVED, FOUR_RESERVED, released).when(_release, ORDER_ID).then_nothing()


def test_reserved_units_are_shipped_once() -> None:
    shipped = StockShipped(CUP_ID, ORDER_ID, 3)
    given(cup_created(), THREE_RESERVED, FOUR_RESERVED).when(_ship, ORDER_ID).then(shipped)
    given(cup_created(), THREE_RESERVED, FOUR_RESERVED, shipped).when(_ship, ORDER_ID).then_nothing()


def test_released_units_are_available_again() -> None:
    product = given(cup_created(on_hand=10), THREE_RESERVED, StockReleased(CUP_ID, ORDER_ID, 3)).state
    assert (product.on_hand, product.available) == (10, 10)


def test_shipped_units_are_no_longer_on_hand() -> None:
    product = given(cup_created(on_hand=10), THREE_RESERVED, StockShipped(CUP_ID, ORDER_ID, 3)).state
    assert (product.on_hand, product.available) == (7, 7)


@pytest.mark.parametrize("move", [_release, _ship])
def test_units_reserved_of_a_deleted_product_are_still_released_or_shipped(
    move: Callable[[UUID, Product], list[ProductEvent]],
) -> None:
    (moved,) = move(ORDER_ID, given(cup_created(), THREE_RESERVED, DELETED).state)
    assert not given(cup_created(), THREE_RESERVED, DELETED, moved).state.reserved


class Shelf(RuleBasedStateMachine):
    """One product that gets every kind of event in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[ProductEvent] = []
        self.product = given(cup_created(on_hand=5)).state

    def record(self, events: list[ProductEvent]) -> None:
        self.events += events
        self.product = PRODUCT.fold(events, self.product)

    @rule(delta=st.integers(-9, 9) | st.sampled_from([-MAX_STOCK, MAX_STOCK - 5, MAX_STOCK]))
    def adjust(self, delta: int) -> None:
        with suppress(Rejected, Invalid):
            self.record(adjust_stock(AdjustStock(CUP_ID, delta), self.product))

    @rule(quantity=st.integers(0, 9) | st.just(MAX_STOCK))
    def set_stock(self, quantity: int) -> None:
        with suppress(Rejected):
            self.record(update(UpdateProduct(CUP_ID, stock_quantity=To(quantity)), self.product, []))

    @rule(order_id=ORDER_IDS, quantity=st.integers(1, 9))
    def reserve(self, order_id: UUID, quantity: int) -> None:
        if shortage(self.product, quantity) is None:
            self.record(reserve(self.product, order_id, quantity))

    @rule(order_id=ORDER_IDS)
    def release(self, order_id: UUID) -> None:
        self.record(release(self.product, order_id))

    @rule(order_id=ORDER_IDS)
    def ship(self, order_id: UUID) -> None:
        self.record(ship(self.product, order_id))

    @precondition(lambda self: len(self.events) > 9)
    @rule()
    def delete(self) -> None:
        self.record(delete(DeleteProduct(CUP_ID), self.product))

    @invariant()
    def reserved_units_are_on_hand(self) -> None:
        assert 0 <= sum(self.product.reserved.values()) <= self.product.on_hand <= MAX_STOCK

    @invariant()
    def the_units_on_hand_are_the_sum_of_all_events(self) -> None:
        added = sum(event.delta for event in self.events if isinstance(event, StockAdjusted))
        shipped = sum(event.quantity for event in self.events if isinstance(event, StockShipped))
        assert self.product.on_hand == 5 + added - shipped

    @invariant()
    def every_reserved_unit_is_still_reserved_or_released_or_shipped(self) -> None:
        def units(*kinds: type[StockReserved | StockReleased | StockShipped]) -> int:
            return sum(event.quantity for event in self.events if isinstance(event, kinds))

        assert units(StockReserved) == sum(self.product.reserved.values()) + units(StockReleased, StockShipped)


TestNoOrderOfEventsOversellsAProduct = Shelf.TestCase
TestNoOrderOfEventsOversellsAProduct.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
