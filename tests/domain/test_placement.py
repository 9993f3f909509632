"""The places that events take in the tree of categories and products, and which names are equal."""

import unicodedata

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from shared.domain.aggregate import Place, Remove
from shared.domain.events import (
    CategoryDeleted,
    CategoryUpdated,
    Event,
    ProductDeleted,
    ProductPriceChanged,
    ProductUpdated,
    StockAdjusted,
    StockReserved,
)
from shared.domain.order import placement
from shared.domain.values import comparable
from tests.specification import (
    CANCELLATION,
    CREATED,
    CUP_ID,
    DRINKS_ID,
    KITCHEN_ID,
    ORDER_ID,
    category_created,
    cup_created,
    yen,
)

DRINKS, KITCHEN, CUP = f"category-{DRINKS_ID}", f"category-{KITCHEN_ID}", f"product-{CUP_ID}"


def test_a_category_takes_a_place_at_the_top() -> None:
    assert placement(category_created()) == Place(DRINKS, None, "飲み物")


def test_a_category_takes_a_place_below_its_parent() -> None:
    assert placement(category_created(parent_id=KITCHEN_ID)) == Place(DRINKS, KITCHEN, "飲み物")


def test_an_updated_category_takes_its_place_again() -> None:
    assert placement(CategoryUpdated(DRINKS_ID, "TEA", None, KITCHEN_ID)) == Place(DRINKS, KITCHEN, "tea")
    assert placement(CategoryUpdated(DRINKS_ID, "TEA", None, None)) == Place(DRINKS, None, "tea")


@pytest.mark.parametrize("event", [cup_created(), ProductUpdated(CUP_ID, "マグ", None, KITCHEN_ID)])
def test_a_product_takes_a_place_without_a_name_in_its_category(event: Event) -> None:
    assert placement(event) == Place(CUP, KITCHEN, None)


def test_a_deleted_category_or_product_leaves_the_tree() -> None:
    assert placement(CategoryDeleted(DRINKS_ID)) == Remove(DRINKS)
    assert placement(ProductDeleted(CUP_ID)) == Remove(CUP)


@pytest.mark.parametrize(
    "event",
    [
        ProductPriceChanged(CUP_ID, yen(1)),
        StockAdjusted(CUP_ID, 1, None),
        StockReserved(CUP_ID, ORDER_ID, 1),
        CREATED,
        CANCELLATION,
    ],
    ids=lambda event: type(event).__name__,
)
def test_other_events_leave_the_tree_alone(event: Event) -> None:
    assert placement(event) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Tea", "TEA"),
        ("tea", "ｔｅａ"),
        ("ガラス", "ｶﾞﾗｽ"),
        ("がらす", "か\u3099らす"),
        ("Straße", "STRASSE"),
        ("㌔", "キロ"),
        ("ΐ", "ΐ".upper()),  # folded, it comes apart into three code points
        ("ΰ", "ΰ".upper()),
    ],
)
def test_names_that_differ_in_case_or_width_are_equal(first: str, second: str) -> None:
    assert comparable(first) == comparable(second)


@pytest.mark.parametrize(
    "invisible", ["\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u202e", "\ufe0f", "\u3164", "\U000e0020"]
)
def test_names_that_differ_in_invisible_characters_are_equal(invisible: str) -> None:
    for name in (f"{invisible}Tea", f"Te{invisible}a", f"Tea{invisible}", f"Tea {invisible}", f"T{invisible * 3}ea"):
        assert comparable(name) == comparable("tea")


@pytest.mark.parametrize(("first", "second"), [("か", "が"), ("お茶", "茶"), ("e", "é"), ("か", "カ")])
def test_names_that_differ_in_letters_are_different(first: str, second: str) -> None:
    assert comparable(first) != comparable(second)


@for_all(st.text())
def test_every_unicode_form_of_a_name_is_equal(name: str) -> None:
    forms = {comparable(unicodedata.normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len(forms) == 1


@for_all(st.text())
def test_making_a_comparable_name_comparable_changes_nothing(name: str) -> None:
    assert comparable(comparable(name)) == comparable(name)
