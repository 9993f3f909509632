"""What a decoder accepts: names, texts, amounts, quantities, and update fields: present, absent,
null."""

import json
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from shared.domain.commands import (
    AdjustStock,
    ChangeProductPrice,
    CreateCategory,
    CreateOrder,
    CreateProduct,
    UpdateCategory,
    UpdateProduct,
)
from shared.domain.errors import Invalid
from shared.domain.values import MAX_AMOUNT, MAX_LINES, MAX_QUANTITY, MAX_STOCK, Money, To
from shared.runtime.decode import decode, parse_json
from tests.specification import CUP_ID, DRINKS_ID, KITCHEN_ID, ORDER_ID, yen

CATEGORY = {"categoryId": str(DRINKS_ID), "name": "飲み物"}
PRODUCT = {"productId": str(CUP_ID), "name": "湯呑み", "price": 800, "categoryId": str(KITCHEN_ID)}
LINE = {"productId": str(CUP_ID), "productName": "湯呑み", "quantity": 2, "unitPrice": "800"}
ORDER = {"orderId": str(ORDER_ID), "userId": "taro", "items": [LINE]}
TOO_MANY_DIGITS = "298800." + 30 * "0" + "1"


def _name(text: str) -> str:
    return decode(CreateCategory, CATEGORY | {"name": text}).name


def _text(text: str) -> str | None:
    return decode(CreateCategory, CATEGORY | {"description": text}).description


def _price(amount: object) -> Decimal:
    return decode(ChangeProductPrice, {"productId": str(CUP_ID), "newPrice": amount}).new_price


def _refused(kind: type[Any], value: object) -> tuple[str | int, ...]:
    """Return the path of the field that the decoder refuses."""
    with pytest.raises(Invalid) as refused:
        decode(kind, value)
    return refused.value.field


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "x" * 200,
        "日本語の名前",
        "𠮷野家",
        "🍵",
        "🍵" * 200,
        "👨\u200d👩\u200d👧",
        "❤\ufe0f",
        "\U0001fae8",  # younger than the Unicode tables of Python 3.11
        "نام\u200cه",
        "a b",
        "0",
    ],
)
def test_a_good_name_is_stored_unchanged(name: str) -> None:
    assert _name(name) == name


def test_a_name_is_normalised_to_nfc() -> None:
    assert _name("か\u3099らす") == "がらす"


def test_the_length_of_a_name_counts_after_normalisation() -> None:
    assert _name("e\u0301" * 200) == "é" * 200
    assert _name("\u0958" * 100) == "\u0915\u093c" * 100
    assert _refused(CreateCategory, CATEGORY | {"name": "\u0958" * 101}) == ("name",)


@pytest.mark.parametrize("around", [" ", "\u3000", "\n", "\t", "\u00a0"])
def test_a_name_is_trimmed(around: str) -> None:
    assert _name(around + "x" * 200 + around) == "x" * 200


@pytest.mark.parametrize("name", ["", " ", "\u3000", "x" * 201, "🍵" * 201, "x" * 1_000_000])
def test_a_name_has_1_to_200_characters(name: str) -> None:
    assert _refused(CreateCategory, CATEGORY | {"name": name}) == ("name",)


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud83c"])
def test_a_name_has_no_control_characters(character: str) -> None:
    assert _refused(CreateCategory, CATEGORY | {"name": f"お{character}茶"}) == ("name",)


@pytest.mark.parametrize("control", ["\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069"])
def test_a_name_has_no_controls_of_the_writing_direction(control: str) -> None:
    for name in (f"{control}お茶", f"お{control}茶", f"お茶{control}"):
        assert _refused(CreateCategory, CATEGORY | {"name": name}) == ("name",)


@pytest.mark.parametrize("invisible", ["\ufeff", "\u200b", "\u2060", "\u00ad"])
def test_a_name_has_no_invisible_character_at_its_ends(invisible: str) -> None:
    for name in (f"{invisible}お茶", f"お茶{invisible}", f" {invisible}お茶", f"お茶{invisible} "):
        assert _refused(CreateCategory, CATEGORY | {"name": name}) == ("name",)
    assert _name(f"お{invisible}茶") == f"お{invisible}茶"


@pytest.mark.parametrize("name", ["お\u202e茶", "\ufeffお茶"])
def test_a_product_that_has_such_a_name_from_before_can_be_ordered(name: str) -> None:
    order = decode(CreateOrder, ORDER | {"items": [LINE | {"productName": name}]})
    assert order.items[0].product_name == name


@pytest.mark.parametrize(
    "name",
    ["\u200b", "\u200d\ufe0f", "\u00ad", "\ufeff", "\u0301", "\u2060", "\u3164", "\u115f"],
    ids=[
        "zero width space",
        "joiner",
        "soft hyphen",
        "mark",
        "accent",
        "word joiner",
        "hangul filler",
        "choseong filler",
    ],
)
def test_a_name_has_a_visible_character(name: str) -> None:
    assert _refused(CreateCategory, CATEGORY | {"name": name}) == ("name",)


@pytest.mark.parametrize("name", [None, 1, True, ["x"], {"value": "x"}])
def test_a_name_is_a_string(name: object) -> None:
    assert _refused(CreateCategory, CATEGORY | {"name": name}) == ("name",)


@for_all(st.text(min_size=1, max_size=210))
def test_a_name_that_is_accepted_is_accepted_unchanged_again(text: str) -> None:
    try:
        name = _name(text)
    except Invalid:
        return
    assert 1 <= len(name) <= 200
    assert name == name.strip() == unicodedata.normalize("NFC", name) == _name(name)


@pytest.mark.parametrize("text", ["", "一行目\n二行目\r\n\t三行目", "🍵", "x" * 2000])
def test_a_text_may_have_line_breaks(text: str) -> None:
    assert _text(text) == text


def test_a_text_is_normalised_and_trimmed() -> None:
    assert _text(" か\u3099\n ") == "が"


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\ud83c"])
def test_a_text_has_no_control_characters_but_line_breaks(character: str) -> None:
    assert _refused(CreateCategory, CATEGORY | {"description": f"お{character}茶"}) == ("description",)


@pytest.mark.parametrize("length", [2001, 1_000_000])
def test_a_text_has_up_to_2000_characters(length: int) -> None:
    assert _refused(CreateCategory, CATEGORY | {"description": "x" * length}) == ("description",)


@pytest.mark.parametrize(("field", "allowed"), [("name", "1 to 200"), ("description", "at most 2,000")])
def test_the_error_for_a_much_too_long_value_names_the_limit(field: str, allowed: str) -> None:
    with pytest.raises(Invalid, match=f"must have {allowed} characters"):
        decode(CreateCategory, CATEGORY | {field: "x" * 100_000})


def test_the_length_of_a_text_counts_after_normalisation() -> None:
    assert _text("\u0958" * 1000) == "\u0915\u093c" * 1000
    assert _refused(CreateCategory, CATEGORY | {"description": "\u0958" * 1001}) == ("description",)


@pytest.mark.parametrize("user", ["x" * 128, "user|1:a/b", "たろう"])
def test_a_token_is_stored_unchanged(user: str) -> None:
    assert decode(CreateOrder, ORDER | {"userId": user}).user_id == user


@pytest.mark.parametrize("user", ["", " ", " x", "x ", "x" * 129, "a\0b", "a\nb", "\ud83c"])
def test_a_token_is_neither_empty_nor_padded_nor_long(user: str) -> None:
    assert _refused(CreateOrder, ORDER | {"userId": user}) == ("userId",)


@pytest.mark.parametrize(
    ("amount", "exact"),
    [
        (0, "0"),
        ("0", "0"),
        (298800, "298800"),
        ("298800.00", "298800.00"),
        (Decimal("0.001"), "0.001"),
        (MAX_AMOUNT, str(MAX_AMOUNT)),
        ("1e3", "1E+3"),
    ],
)
def test_an_amount_is_an_exact_number(amount: object, exact: str) -> None:
    assert str(_price(amount)) == exact


@pytest.mark.parametrize("zero", ["-0", "-0.00", Decimal("-0")])
def test_minus_zero_is_zero(zero: object) -> None:
    assert not _price(zero).is_signed()


@pytest.mark.parametrize(
    "amount",
    ["NaN", "sNaN", "Infinity", "-Infinity", "1e400", "-1", -1, MAX_AMOUNT + 1, Decimal("-1E-400"), 10**40],
    ids=str,
)
def test_an_amount_is_from_0_to_the_maximum(amount: object) -> None:
    assert _refused(ChangeProductPrice, {"productId": str(CUP_ID), "newPrice": amount}) == ("newPrice",)


@pytest.mark.parametrize("amount", ["", "1,000", "¥1", "0x10", True, False, None, [], {}])
def test_an_amount_is_a_number(amount: object) -> None:
    assert _refused(ChangeProductPrice, {"productId": str(CUP_ID), "newPrice": amount}) == ("newPrice",)


def test_an_amount_loses_no_digit() -> None:
    assert _price(TOO_MANY_DIGITS) == Decimal(TOO_MANY_DIGITS)


@pytest.mark.parametrize(
    ("amount", "currency", "exact"),
    [
        ("298800", "JPY", "298800"),
        ("298800.00", "JPY", "298800"),
        ("2.988E+5", "JPY", "298800"),
        ("12", "USD", "12.00"),
        ("12.5", "USD", "12.50"),
        ("12.340", "USD", "12.34"),
        ("0.001", "BHD", "0.001"),
        ("0", "BHD", "0.000"),
        (str(MAX_AMOUNT), "BHD", "1000000000000.000"),
    ],
)
def test_money_carries_the_decimals_of_its_currency(amount: str, currency: str, exact: str) -> None:
    money = Money.of(Decimal(amount), currency)
    assert (str(money.amount), money.currency) == (exact, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0.001", "JPY"), ("298800.5", "JPY"), ("1E-400", "JPY"), ("0.001", "USD"), ("0.0001", "BHD")]
    + [(TOO_MANY_DIGITS, currency) for currency in ("JPY", "USD", "BHD")],
)
def test_money_is_never_rounded(amount: str, currency: str) -> None:
    with pytest.raises(Invalid, match=currency) as refused:
        Money.of(Decimal(amount), currency, ("price",))
    assert refused.value.field == ("price",)


def test_a_decoded_amount_is_never_rounded() -> None:
    with pytest.raises(Invalid):
        Money.of(_price(TOO_MANY_DIGITS), "JPY")


@for_all(st.decimals(0, MAX_AMOUNT, places=3), st.integers(1, MAX_QUANTITY))
def test_a_multiple_of_money_is_exact(amount: Decimal, quantity: int) -> None:
    assert Money.of(amount, "BHD").times(quantity).amount * 1000 == int(amount * 1000) * quantity


@pytest.mark.parametrize("currency", ["jpy", "", "YEN", "XXX", "JPYJPY", None, 392])
def test_a_currency_is_an_iso_code_with_decimals(currency: object) -> None:
    assert _refused(CreateProduct, PRODUCT | {"currency": currency}) == ("currency",)


def test_the_default_currency_is_the_yen() -> None:
    assert decode(CreateProduct, PRODUCT).currency == "JPY"
    assert yen(1) == Money.of(Decimal(1), "JPY")


@pytest.mark.parametrize("quantity", [1, MAX_QUANTITY])
def test_a_quantity_is_at_least_one(quantity: int) -> None:
    assert decode(CreateOrder, ORDER | {"items": [LINE | {"quantity": quantity}]}).items[0].quantity == quantity


@pytest.mark.parametrize(
    "quantity", [0, -1, MAX_QUANTITY + 1, 2**31, 2**63, 2**64, 1.0, Decimal("1.0"), "1", True, None]
)
def test_a_quantity_is_a_whole_number_within_bounds(quantity: object) -> None:
    assert _refused(CreateOrder, ORDER | {"items": [LINE | {"quantity": quantity}]}) == ("items", 0, "quantity")


@pytest.mark.parametrize("stock", [-1, MAX_STOCK + 1, 2**31, 1.0, Decimal("1.0"), "1", True, False])
def test_a_stock_is_a_whole_number_within_bounds(stock: object) -> None:
    assert _refused(CreateProduct, PRODUCT | {"stockQuantity": stock}) == ("stockQuantity",)


@pytest.mark.parametrize("delta", [MAX_STOCK + 1, -MAX_STOCK - 1, 1.0, Decimal(1), "1", True, None])
def test_an_adjustment_is_a_whole_number_within_bounds(delta: object) -> None:
    assert _refused(AdjustStock, {"productId": str(CUP_ID), "delta": delta}) == ("delta",)


@pytest.mark.parametrize("lines", [1, MAX_LINES])
def test_an_order_has_1_to_100_lines(lines: int) -> None:
    assert len(decode(CreateOrder, ORDER | {"items": [LINE] * lines}).items) == lines


@pytest.mark.parametrize("items", [[], [LINE] * 101, None, "items", LINE, {"0": LINE}])
def test_an_order_without_lines_or_with_too_many_is_refused(items: object) -> None:
    assert _refused(CreateOrder, ORDER | {"items": items}) == ("items",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], r"the body must be an object; got \[\]"),
        (ORDER | {"items": [LINE] * 101}, "items must have 1 to 100 items; got 101"),
        (ORDER | {"items": []}, "items must have 1 to 100 items; got 0"),
        (ORDER | {"items": "{0}"}, 'items must be a list; got "{0}"'),
    ],
)
def test_errors_are_in_the_words_of_json(value: object, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        decode(CreateOrder, value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (CreateCategory, CATEGORY),
        (CreateProduct, PRODUCT),
        (CreateOrder, ORDER),
        (UpdateCategory, {"categoryId": str(DRINKS_ID)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("name", ["colour", "category_id", "Name", ""])
def test_an_unknown_field_is_refused(kind: type[Any], given: dict[str, object], name: str) -> None:
    assert _refused(kind, given | {name: 1}) == (name,)


def test_an_unknown_field_of_a_line_is_refused_with_its_path() -> None:
    assert _refused(CreateOrder, ORDER | {"items": [LINE, LINE | {"discount": 1}]}) == ("items", 1, "discount")


@pytest.mark.parametrize("missing", ["productId", "productName", "quantity", "unitPrice"])
def test_a_missing_field_of_a_line_is_named_with_its_path(missing: str) -> None:
    line = {name: value for name, value in LINE.items() if name != missing}
    assert _refused(CreateOrder, ORDER | {"items": [LINE, line]}) == ("items", 1, missing)


@pytest.mark.parametrize("id", ["", "1", "category-1", str(DRINKS_ID)[:-1], 1, None, True])
def test_an_id_is_a_uuid(id: object) -> None:
    assert _refused(CreateCategory, CATEGORY | {"categoryId": id}) == ("categoryId",)


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_command_is_an_object(value: object) -> None:
    assert _refused(CreateCategory, value) == ()


def _update_category(**fields: object) -> UpdateCategory:
    """Decode the command from JSON text."""
    return decode(UpdateCategory, parse_json(json.dumps({"categoryId": str(DRINKS_ID)} | fields)))


def _update_product(**fields: object) -> UpdateProduct:
    return decode(UpdateProduct, parse_json(json.dumps({"productId": str(CUP_ID)} | fields)))


def test_values_of_an_update_compare_by_their_content() -> None:
    assert To(1) == To(1)
    assert len({To(1), To(1), To(2), To(None), None}) == 4


def test_an_update_leaves_absent_fields_as_they_are() -> None:
    assert _update_category() == UpdateCategory(DRINKS_ID, None, None, None)
    assert _update_product() == UpdateProduct(CUP_ID, None, None, None, None, None)


def test_an_update_of_a_category_changes_the_fields_that_are_present() -> None:
    expected = UpdateCategory(DRINKS_ID, To("酒"), To("お酒"), To(KITCHEN_ID))
    assert _update_category(name=" 酒 ", description="お酒", parentId=str(KITCHEN_ID)) == expected


def test_an_update_of_a_product_changes_the_fields_that_are_present() -> None:
    expected = UpdateProduct(CUP_ID, To("マグ"), To(""), To(Decimal("900.00")), To(KITCHEN_ID), To(0))
    fields = {"name": "マグ", "description": "", "price": "900.00", "categoryId": str(KITCHEN_ID), "stockQuantity": 0}
    assert _update_product(**fields) == expected


def test_null_clears_an_optional_field() -> None:
    assert _update_category(description=None) == UpdateCategory(DRINKS_ID, description=To(None))
    assert _update_category(parentId=None) == UpdateCategory(DRINKS_ID, parent_id=To(None))
    assert _update_product(description=None) == UpdateProduct(CUP_ID, description=To(None))


def test_null_leaves_a_required_field_as_it_is() -> None:
    assert _update_category(name=None) == UpdateCategory(DRINKS_ID)
    assert _update_product(name=None, price=None, categoryId=None, stockQuantity=None) == UpdateProduct(CUP_ID)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", "1 to 200"),
        ("description", "a\0b", "control"),
        ("price", -1, "between 0 and 1,000,000,000,000; got -1"),
        ("categoryId", "kitchen", "UUID"),
        ("stockQuantity", -1, "between 0 and 1,000,000,000; got -1"),
        ("stockQuantity", True, "a whole number; got true"),
        ("colour", "red", "colour is not a field"),
    ],
)
def test_the_fields_of_an_update_follow_the_same_rules(field: str, value: object, message: str) -> None:
    with pytest.raises(Invalid, match=message) as refused:
        _update_product(**{field: value})
    assert refused.value.field == (field,)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused_in_json(number: str) -> None:
    with pytest.raises(Invalid, match="not a number"):
        parse_json(f'{{"newPrice": {number}}}')


def test_a_number_in_json_is_exact() -> None:
    body = f'{{"productId": "{CUP_ID}", "newPrice": 0.1}}'
    assert decode(ChangeProductPrice, parse_json(body)).new_price == Decimal("0.1")


@pytest.mark.parametrize("body", ["", "[", "{'a': 1}", "[" * 100_000, b"\xff", "9" * 5000], ids=range(6))
def test_a_body_that_is_not_json_is_refused(body: bytes | str) -> None:
    with pytest.raises(Invalid, match="not JSON") as refused:
        parse_json(body)
    assert "sys." not in str(refused.value)  # Python's message says how to raise its limits


def test_half_a_surrogate_pair_in_json_is_refused() -> None:
    value = parse_json(f'{{"categoryId": "{DRINKS_ID}", "name": "\\ud83c"}}')
    assert _refused(CreateCategory, value) == ("name",)
