"""Queries for categories, products and orders: lists, searches, single entities, and the number of
reads they take."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from shared.api import loaders
from shared.api.resolvers import common
from shared.read_models.generations import GENERATIONS
from shared.read_models.protocol import Change, Fields, Find
from tests.fakes import method_replaced
from tests.shop_in_memory import Json, ShopInMemory

PRODUCTS = """query ($categoryId: ID, $limit: Int, $offset: Int, $sortBy: String, $sortOrder: SortOrder,
                     $min: Decimal, $max: Decimal) {
  products(categoryId: $categoryId, limit: $limit, offset: $offset, sortBy: $sortBy, sortOrder: $sortOrder,
           minPrice: $min, maxPrice: $max) { name }
}"""
CATEGORIES = """query ($limit: Int, $offset: Int, $sortBy: String, $sortOrder: SortOrder) {
  categories(limit: $limit, offset: $offset, sortBy: $sortBy, sortOrder: $sortOrder) { name }
}"""
SEARCH = """query ($term: String!, $categoryId: ID, $limit: Int, $offset: Int) {
  searchProducts(searchTerm: $term, categoryId: $categoryId, limit: $limit, offset: $offset) { name }
}"""
SEARCH_CATEGORIES = """query ($term: String!, $limit: Int, $offset: Int) {
  searchCategories(searchTerm: $term, limit: $limit, offset: $offset) { name }
}"""
ORDERS = """query ($userId: String, $status: OrderStatus, $limit: Int, $offset: Int) {
  orders(userId: $userId, status: $status, limit: $limit, offset: $offset) { id }
}"""
USER_ORDERS = """query ($userId: String!, $limit: Int, $offset: Int) {
  userOrders(userId: $userId, limit: $limit, offset: $offset) { id }
}"""

UNKNOWN_ID = "01a2036e-52b0-77fc-b14e-d9af82f3d492"


def names(shop: ShopInMemory, query: str, **variables: Any) -> list[str]:
    (found,) = shop.ask(query, **variables).values()
    return [one["name"] for one in found]


@pytest.fixture
def priced(shop: ShopInMemory) -> ShopInMemory:
    """Products whose order differs by name, by price, and by price as text."""
    category_id = shop.new_category()
    for name, price, stock in (("b", "100", 1), ("a", "20", 3), ("d", "3", 2), ("c", "20", 10)):
        shop.new_product(category_id, name=name, price=price, stockQuantity=stock)
    shop.settle()
    return shop


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (None, "abcd"),
        ("name", "abcd"),
        ("price", "dacb"),
        ("stockQuantity", "bdac"),
        ("createdAt", "badc"),
        ("updatedAt", "badc"),
    ],
)
def test_lists_are_sorted(priced: ShopInMemory, by: str | None, expected: str) -> None:
    assert names(priced, PRODUCTS, sortBy=by) == names(priced, PRODUCTS, sortBy=by, sortOrder="ASC") == [*expected]
    assert names(priced, PRODUCTS, sortBy=by, sortOrder="DESC") == [*expected[::-1]]


def test_without_arguments_a_list_is_sorted_by_name(priced: ShopInMemory) -> None:
    assert priced.ask("{ products { name } }")["products"] == [{"name": name} for name in "abcd"]


def test_sorting_by_updated_at_puts_the_last_change_last(priced: ShopInMemory) -> None:
    first = priced.ask('{ products(sortBy: "updatedAt", limit: 1) { id } }')["products"][0]["id"]
    priced.command("change_product_price", {"productId": first, "newPrice": 7})
    priced.settle()
    assert names(priced, PRODUCTS, sortBy="updatedAt") == [*"adcb"]


@pytest.mark.parametrize("query", [CATEGORIES, PRODUCTS])
@pytest.mark.parametrize("by", ["nope", "created_at", "price_rank", "grams", "__name__", "x" * 1000, "\0", ""])
def test_an_unknown_sort_field_is_refused_with_the_known_ones(shop: ShopInMemory, query: str, by: str) -> None:
    (error,) = shop.graphql(query, {"sortBy": by})["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["sortBy"]}
    known = ["name", "createdAt", "updatedAt"] + (["price", "stockQuantity"] if query is PRODUCTS else [])
    assert ", ".join(known) in error["message"]
    assert len(error["message"]) < 200


PAGED: list[tuple[str, Json]] = [
    (CATEGORIES, {}),
    (PRODUCTS, {}),
    (SEARCH, {"term": "a"}),
    (SEARCH_CATEGORIES, {"term": "a"}),
    (ORDERS, {}),
    (USER_ORDERS, {"userId": "ann"}),
]


@pytest.mark.parametrize(("query", "variables"), PAGED)
@pytest.mark.parametrize(
    ("argument", "value"), [("limit", -1), ("limit", 1001), ("limit", 2**31 - 1), ("offset", -1), ("offset", 100_001)]
)
def test_pages_have_bounds(shop: ShopInMemory, query: str, variables: Json, argument: str, value: int) -> None:
    (error,) = shop.graphql(query, variables | {argument: value})["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": [argument]}
    assert str(value) in error["message"]


@pytest.mark.parametrize(("query", "variables"), PAGED)
@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 1000}, {"offset": 100_000}, {"limit": None, "offset": None}])
def test_an_empty_page_is_a_page(shop: ShopInMemory, query: str, variables: Json, page: Json) -> None:
    assert [*shop.ask(query, **variables, **page).values()] == [[]]


@pytest.mark.parametrize(("query", "variables"), [(PRODUCTS, {}), (SEARCH, {"term": "item"})])
def test_pages_follow_each_other(shop: ShopInMemory, query: str, variables: Json) -> None:
    category_id, expected = shop.new_category(), [f"item {n:02}" for n in range(25)]
    for name in reversed(expected):
        shop.new_product(category_id, name=name)
    shop.settle()
    assert names(shop, query, **variables, limit=1) == expected[:1]
    assert names(shop, query, **variables) == names(shop, query, **variables, limit=None) == expected[:20]
    assert names(shop, query, **variables, offset=20) == expected[20:]
    assert names(shop, query, **variables, limit=0) == []
    assert names(shop, query, **variables, limit=1000) == expected
    pages = [names(shop, query, **variables, limit=7, offset=offset) for offset in range(0, 28, 7)]
    assert [name for page in pages for name in page] == expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"min": 20}, "abc"),
        ({"max": "20"}, "acd"),
        ({"min": "3", "max": 20.0}, "acd"),
        ({"min": "20.0001"}, "b"),
        ({"min": "19.99999999999"}, "abc"),
        ({"min": "20.00001"}, "b"),
        ({"max": "20.00001"}, "acd"),
        ({"max": "19.99999"}, "d"),
        ({"min": 50, "max": 10}, ""),
        ({"min": -5}, "abcd"),
        ({"max": -1}, ""),
        ({"max": "1e30"}, "abcd"),
        ({"min": "1e30"}, ""),
        ({"min": None, "max": None}, "abcd"),
    ],
)
def test_prices_are_compared_as_numbers(priced: ShopInMemory, bounds: Json, expected: str) -> None:
    assert names(priced, PRODUCTS, **bounds) == [*expected]
    assert names(priced, PRODUCTS, **bounds, sortBy="price") == sorted(expected, key="dacb".index)


def test_a_free_product_is_above_a_negative_minimum_price(shop: ShopInMemory) -> None:
    shop.new_product(price="0")
    shop.settle()
    assert names(shop, PRODUCTS, min=0, max=0) == names(shop, PRODUCTS, max="0.00001") == ["Tea"]
    assert names(shop, PRODUCTS, max="-0.00001") == names(shop, PRODUCTS, min="0.00001") == []


def test_the_highest_price_lies_below_a_higher_bound(shop: ShopInMemory) -> None:
    shop.new_product(price="1000000000000")
    shop.settle()
    assert names(shop, PRODUCTS, min="1e12") == ["Tea"]
    assert names(shop, PRODUCTS, min="1000000000001") == names(shop, PRODUCTS, min="1e400") == []


def test_a_list_can_be_limited_to_one_category(shop: ShopInMemory) -> None:
    tea, mugs = shop.new_category(), shop.new_category()
    shop.new_product(tea, name="sencha")
    shop.new_product(mugs, name="mug")
    shop.settle()
    assert names(shop, PRODUCTS, categoryId=tea) == names(shop, PRODUCTS, categoryId=tea.upper()) == ["sencha"]
    assert names(shop, PRODUCTS, categoryId=tea, min=501) == []
    assert names(shop, PRODUCTS, categoryId=UNKNOWN_ID) == []
    assert names(shop, PRODUCTS, categoryId=None) == ["mug", "sencha"]


@pytest.mark.parametrize("query", [PRODUCTS, SEARCH])
@pytest.mark.parametrize("category_id", ["", "x", "\0", f"{UNKNOWN_ID}0"])
def test_a_malformed_category_id_is_refused(shop: ShopInMemory, query: str, category_id: str) -> None:
    variables = {"categoryId": category_id} | ({"term": "a"} if query is SEARCH else {})
    assert shop.refusal(query, **variables) == {"code": "INVALID_INPUT", "field": ["categoryId"]}


CATALOGUE = {
    "宇治抹茶 40g": "石臼挽き。Stone-ground matcha.",
    "知覧茶 100g": "深蒸し煎茶",
    "Rangefinder R2 📷": "35 mm film camera",
    "Ｆｕｌｌ Ｗｉｄｔｈ": None,
    "ﾊﾝｶｸ ｶﾞﾗｽ": None,
    "100% cotton_towel": "50 % off",
    "Straße": "İstanbul",
    "Cafe\u0301 crème": "l'eau \\ d'or",
    "👩‍👩‍👧 family": None,
    "𠮷野": None,
}


@pytest.fixture(scope="module")
def stocked(shared_shop: ShopInMemory) -> ShopInMemory:
    return with_catalogue(shared_shop)


def with_catalogue(shop: ShopInMemory) -> ShopInMemory:
    category_id = shop.new_category()
    for name, description in CATALOGUE.items():
        shop.new_product(category_id, name=name, description=description)
    shop.settle()
    return shop


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("抹茶", {"宇治抹茶 40g"}),
        ("茶", {"宇治抹茶 40g", "知覧茶 100g"}),
        ("煎茶", {"知覧茶 100g"}),
        ("rangefinder", {"Rangefinder R2 📷"}),
        ("RANGEFINDER r2", {"Rangefinder R2 📷"}),
        ("Ｒａｎｇｅ", {"Rangefinder R2 📷"}),
        ("full width", {"Ｆｕｌｌ Ｗｉｄｔｈ"}),
        ("ハンカク", {"ﾊﾝｶｸ ｶﾞﾗｽ"}),
        ("ガラス", {"ﾊﾝｶｸ ｶﾞﾗｽ"}),
        ("１００", {"知覧茶 100g", "100% cotton_towel"}),
        ("📷", {"Rangefinder R2 📷"}),
        ("👩‍👩‍👧", {"👩‍👩‍👧 family"}),
        ("𠮷", {"𠮷野"}),
        ("%", {"100% cotton_towel"}),
        ("0%", {"100% cotton_towel"}),
        ("_", {"100% cotton_towel"}),
        ("'", {"Café crème"}),
        ("\\", {"Café crème"}),
        ("CAFÉ", {"Café crème"}),
        ("STRASSE", {"Straße"}),
        ("istanbul", {"Straße"}),
        ("ıstanbul", {"Straße"}),
        ("creme", {"Café crème"}),
        ("CRÈMÉ", {"Café crème"}),
        ("cr\u200beme", {"Café crème"}),
        ("eme", {"Café crème"}),
        ("ème", {"Café crème"}),
        ("İSTANBUL", {"Straße"}),
        (" matcha ", {"宇治抹茶 40g"}),
        ("40g石", set()),
        ("matchaa", set()),
        (".*", set()),
        ("%%", set()),
        ("猫", set()),
        ("x" * 200, set()),
    ],
)
def test_a_search_finds_names_and_descriptions_with_the_term(
    stocked: ShopInMemory, term: str, expected: set[str]
) -> None:
    assert set(names(stocked, SEARCH, term=term)) == expected


@pytest.mark.parametrize("query", [SEARCH, SEARCH_CATEGORIES])
@pytest.mark.parametrize("term", ["", " ", "　", "\0", "a\0b", "a\nb", "x" * 201, "x" * 10_000])
def test_a_term_has_1_to_200_printable_characters(shop: ShopInMemory, query: str, term: str) -> None:
    assert shop.refusal(query, term=term) == {"code": "INVALID_INPUT", "field": ["searchTerm"]}


@pytest.mark.parametrize("term", ["ème", "crème", "CRÈME", "creme", "は゛", "ばら", "ø", "øl"])
def test_a_document_that_an_earlier_release_indexed_is_found_as_before(shop: ShopInMemory, term: str) -> None:
    """Its index has the letters with their accents, until its read model is rebuilt."""
    product_id = shop.new_product(name="Crème", description="ばら, øl")
    shop.settle()
    grams = sorted({gram for text in ("crème", "ばら, øl") for n in (1, 2) for gram in pairs(text, n)})
    shop.engines.read_models.update("products", product_id, lambda now: Change({**(now or {}), "grams": grams}))
    expected = [] if term in ("は゛",) else ["Crème"]
    assert names(shop, SEARCH, term=term) == expected


def pairs(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))


def test_kana_with_and_without_marks_are_different_letters(shop: ShopInMemory) -> None:
    shop.new_product(name="ガラス")
    shop.settle()
    assert names(shop, SEARCH, term="がらす") == []
    assert names(shop, SEARCH, term="カラス") == []
    assert names(shop, SEARCH, term="ｶﾞﾗｽ") == ["ガラス"]


def test_categories_are_searched_too(shop: ShopInMemory) -> None:
    shop.new_category("文房具", description="書く、切る、貼る道具")
    shop.new_category("お茶")
    shop.settle()
    assert names(shop, SEARCH_CATEGORIES, term="道具") == names(shop, SEARCH_CATEGORIES, term="文") == ["文房具"]


def test_a_search_can_be_limited_to_one_category(shop: ShopInMemory) -> None:
    stocked = with_catalogue(shop)
    category_id = stocked.new_category()
    stocked.new_product(category_id, name="玉露茶")
    stocked.settle()
    assert names(stocked, SEARCH, term="茶", categoryId=category_id) == ["玉露茶"]
    assert names(stocked, SEARCH, term="茶", categoryId=UNKNOWN_ID) == []


def test_a_search_reads_further_batches_until_the_page_is_full(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "_SEARCH_BATCH", 3)
    category_id = shop.new_category()
    for n in range(12):
        shop.new_product(category_id, name=f"tea {n:02}" + (" green" if n % 4 == 3 else ""))
    shop.settle()
    green = ["tea 03 green", "tea 07 green", "tea 11 green"]
    assert names(shop, SEARCH, term="green") == green
    found = [names(shop, SEARCH, term="tea", limit=5, offset=offset) for offset in (0, 5, 10, 15)]
    assert [len(page) for page in found] == [5, 5, 2, 0]
    assert names(shop, SEARCH, term="green", limit=1, offset=2) == green[2:]


def test_a_search_follows_changes(shop: ShopInMemory) -> None:
    product_id = shop.new_product(name="old name", description="green")
    shop.command("update_product", {"productId": product_id, "name": "new name", "description": None})
    shop.settle()
    assert names(shop, SEARCH, term="new name") == ["new name"]
    assert names(shop, SEARCH, term="old") == names(shop, SEARCH, term="green") == []


ONE_PRODUCT = "query ($id: ID!) { product(id: $id) { id name active stockQuantity category { name active } } }"
ONE_CATEGORY = "query ($id: ID!) { category(id: $id) { id active productCount products { name } } }"
ONE_ORDER = "query ($id: ID!) { order(id: $id) { id } }"


def test_deleted_entities_leave_the_lists_and_are_still_found_by_id(shop: ShopInMemory) -> None:
    category_id = shop.new_category("Tea")
    product_id = shop.new_product(category_id, name="sencha")
    order_id = shop.new_order(shop.new_product())
    shop.command("delete_product", {"productId": product_id})
    shop.command("delete_category", {"categoryId": category_id})
    shop.settle()
    assert names(shop, PRODUCTS, categoryId=category_id) == names(shop, SEARCH, term="sencha") == []
    assert "Tea" not in names(shop, CATEGORIES)
    assert names(shop, SEARCH_CATEGORIES, term="Tea") == []
    assert shop.ask(ONE_PRODUCT, id=product_id)["product"] == {
        "id": product_id,
        "name": "sencha",
        "active": False,
        "stockQuantity": 100,
        "category": {"name": "Tea", "active": False},
    }
    gone = {"id": category_id, "active": False, "productCount": 0, "products": []}
    assert shop.ask(ONE_CATEGORY, id=category_id)["category"] == gone
    assert shop.ask(ONE_ORDER, id=order_id)["order"] == {"id": order_id}


@pytest.mark.parametrize("query", [ONE_PRODUCT, ONE_CATEGORY, ONE_ORDER])
@pytest.mark.parametrize(
    ("given", "code"),
    [
        (UNKNOWN_ID, "NOT_FOUND"),
        (UNKNOWN_ID.upper(), "NOT_FOUND"),
        ("", "INVALID_INPUT"),
        ("x", "INVALID_INPUT"),
        (5, "INVALID_INPUT"),
        (f"{UNKNOWN_ID}0", "INVALID_INPUT"),
        (f"{UNKNOWN_ID}\0", "INVALID_INPUT"),
        (f"product-{UNKNOWN_ID}", "INVALID_INPUT"),
        ("../orders/1", "INVALID_INPUT"),
        ("x" * 10_000, "INVALID_INPUT"),
    ],
)
def test_an_unknown_id_is_null_with_the_error_not_found(
    shop: ShopInMemory, query: str, given: object, code: str
) -> None:
    answer = shop.graphql(query, {"id": given})
    assert [*answer["data"].values()] == [None]
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": code, "field": ["id"]}
    assert len(error["message"]) < 200


def test_an_id_may_be_in_capitals(shop: ShopInMemory) -> None:
    product_id = shop.new_product()
    shop.settle()
    assert shop.ask(ONE_PRODUCT, id=product_id.upper())["product"]["id"] == product_id


def test_a_category_document_that_only_holds_a_count_is_not_visible_yet(shop: ShopInMemory) -> None:
    """The message of its product overtook its own."""
    shop.deliver = lambda to, body: (
        204 if "CategoryCreated" in body["message"]["attributes"].values() else shop.hand_over(to, body)
    )
    category_id = shop.new_category()
    product_id = shop.new_product(category_id)
    shop.settle()
    assert shop.refusal(ONE_CATEGORY, id=category_id)["code"] == "SERVICE_UNAVAILABLE"
    assert names(shop, CATEGORIES) == []
    assert shop.ask(ONE_PRODUCT, id=product_id)["product"]["category"] is None


def reads(shop: ShopInMemory, query: str, **variables: Any) -> tuple[Json, int]:
    """The data, and how many reads it took, besides those that ask which generation is live."""
    before = shop.engines.memory_models.reads.copy()
    data = shop.ask(query, **variables)
    made = shop.engines.memory_models.reads - before
    return data, made.total() - made[GENERATIONS]


@pytest.mark.parametrize("categories", [1, 10, 100])
def test_products_and_their_categories_take_two_reads(shop: ShopInMemory, categories: int) -> None:
    category_ids = [shop.new_category() for _ in range(categories)]
    for n in range(100):
        shop.new_product(category_ids[n % categories])
    shop.settle()
    data, count = reads(shop, "{ products(limit: 100) { name category { id name } } }")
    assert len(data["products"]) == 100
    assert {product["category"]["id"] for product in data["products"]} == set(category_ids)
    assert count == 2


def test_categories_and_their_products_take_two_reads(shop: ShopInMemory) -> None:
    category_ids = [shop.new_category(f"category {n:02}") for n in range(30)]
    for category_id in category_ids:
        for name in "ba":
            shop.new_product(category_id, name=name)
    shop.settle()
    data, count = reads(shop, "{ categories(limit: 30) { id productCount products { name } } }")
    expected = {"productCount": 2, "products": [{"name": "a"}, {"name": "b"}]}
    assert data["categories"] == [{"id": category_id} | expected for category_id in category_ids]
    assert count == 2


def test_more_categories_than_one_read_can_name_take_several_reads(shop: ShopInMemory) -> None:
    for category_id in [shop.new_category() for _ in range(70)]:
        shop.new_product(category_id)
    shop.settle()
    data, count = reads(shop, "{ categories(limit: 70) { products { name } } }")
    assert data["categories"] == [{"products": [{"name": "Tea"}]}] * 70
    assert count == 1 + 3


def test_a_product_asked_for_many_times_is_read_once(shop: ShopInMemory) -> None:
    product_id = shop.new_product()
    shop.settle()
    asked = " ".join(f'p{n}: product(id: "{product_id}") {{ name category {{ name }} }}' for n in range(50))
    data, count = reads(shop, f"{{ {asked} }}")
    assert len(data) == 50
    assert count == 2


def test_nested_products_and_categories_take_one_read_per_level(shop: ShopInMemory) -> None:
    category_id = shop.new_category()
    for _ in range(10):
        shop.new_product(category_id)
    shop.settle()
    data, count = reads(shop, "{ products { category { products { category { name } } } } }")
    assert len(data["products"][0]["category"]["products"]) == 10
    assert count <= 4


@pytest.mark.parametrize("batch", [1000, 7, 1])
def test_the_products_of_a_category_are_active_and_sorted_by_name(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Products beyond one batch are read category by category."""
    monkeypatch.setattr(loaders, "_BATCH", batch)
    for category in ("x", "y"):
        category_id = shop.new_category(category)
        for name in "dbca":
            shop.new_product(category_id, name=f"{category}{name}")
        shop.command("delete_product", {"productId": shop.new_product(category_id, name=f"{category}0")})
    shop.settle()
    data = shop.ask(
        "{ categories { all: products { name } two: products(limit: 2) { name } no: products(limit: 0) { name } } }"
    )
    assert data["categories"] == [
        {
            "all": [{"name": f"{category}{name}"} for name in "abcd"],
            "two": [{"name": f"{category}{name}"} for name in "ab"],
            "no": [],
        }
        for category in ("x", "y")
    ]


@pytest.mark.parametrize("limit", [-1, 1001])
def test_the_products_of_a_category_have_bounds(shop: ShopInMemory, limit: int) -> None:
    category_id = shop.new_category()
    shop.settle()
    query = "query ($id: ID!, $n: Int) { category(id: $id) { id products(limit: $n) { name } } }"
    answer = shop.graphql(query, {"id": category_id, "n": limit})
    assert answer["data"]["category"] == {"id": category_id, "products": None}
    assert answer["errors"][0]["extensions"] == {"code": "INVALID_INPUT", "field": ["limit"]}
    assert answer["errors"][0]["path"] == ["category", "products"]


def test_a_mutation_answers_with_the_product_count_of_its_category(shop: ShopInMemory) -> None:
    create = 'mutation { createCategory(input: {name: "Tea"}) { id productCount products { name } } }'
    made = shop.ask(create)["createCategory"]
    assert (made["productCount"], made["products"]) == (0, [])
    shop.new_product(made["id"])
    shop.settle()
    rename = 'mutation ($id: ID!) { updateCategory(id: $id, input: {name: "Teas"}) { name productCount } }'
    assert shop.ask(rename, id=made["id"])["updateCategory"] == {"name": "Teas", "productCount": 1}
    delete = "mutation ($id: ID!) { deleteProduct(id: $id) { success message } }"
    product_id = shop.ask("{ products { id } }")["products"][0]["id"]
    assert shop.ask(delete, id=product_id)["deleteProduct"] == {"success": True, "message": "Tea has been deleted"}
    shop.settle()
    assert shop.ask(rename, id=made["id"])["updateCategory"]["productCount"] == 0


def test_a_mutation_answers_with_what_it_just_wrote(shop: ShopInMemory) -> None:
    category_id = shop.new_category("Tea")
    shop.settle()
    shop.deliver = lambda *_: 204  # the read models hear nothing of what follows
    fields = "name description price currency stockQuantity reservedQuantity availableQuantity active category { name }"
    create = f"mutation ($i: CreateProductInput!) {{ createProduct(input: $i) {{ id {fields} }} }}"
    given = {"name": "sencha", "price": "12.5", "currency": "USD", "categoryId": category_id, "stockQuantity": 3}
    made = shop.ask(create, i=given)["createProduct"]
    expected = {"name": "sencha", "description": None, "price": "12.50", "currency": "USD", "active": True}
    stock = {"stockQuantity": 3, "reservedQuantity": 0, "availableQuantity": 3, "category": {"name": "Tea"}}
    assert made == {"id": made["id"]} | expected | stock
    adjust = f"mutation ($id: ID!) {{ adjustStock(id: $id, delta: -1) {{ {fields} }} }}"
    after = {"stockQuantity": 2, "availableQuantity": 2}
    assert shop.ask(adjust, id=made["id"])["adjustStock"] == expected | stock | after


def test_a_mutation_answers_with_a_category_that_no_read_model_has_yet(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204  # nothing reaches the read models
    category_id = shop.new_category("お茶")
    made = shop.ask(
        "mutation ($input: CreateProductInput!) { createProduct(input: $input) { category { id name productCount } } }",
        input={"name": "Tea", "price": 500, "categoryId": category_id},
    )["createProduct"]
    assert made["category"] == {"id": category_id, "name": "お茶", "productCount": 0}


@pytest.fixture
def ordered(shop: ShopInMemory) -> list[str]:
    """Return ids of orders, the oldest first: of ann, bob, ann, and a failed one of ann."""
    product_id = shop.new_product()
    order_ids = [shop.new_order(product_id, userId=user) for user in ("ann", "bob", "ann")]
    order_ids.append(shop.new_order(product_id, userId="ann", paymentMethod="decline"))
    shop.settle()
    return order_ids


def test_orders_are_listed_the_newest_first(shop: ShopInMemory, ordered: list[str]) -> None:
    def ids(query: str, **variables: Any) -> list[int]:
        (found,) = shop.ask(query, **variables).values()
        return [ordered.index(order["id"]) for order in found]

    assert ids(ORDERS) == [3, 2, 1, 0]
    assert ids(ORDERS, limit=2, offset=1) == [2, 1]
    assert ids(ORDERS, userId="ann") == ids(USER_ORDERS, userId="ann") == [3, 2, 0]
    assert ids(ORDERS, status="CONFIRMED") == [2, 1, 0]
    assert ids(ORDERS, userId="ann", status="FAILED") == [3]
    assert ids(ORDERS, userId="Ann") == ids(ORDERS, userId="") == ids(USER_ORDERS, userId="\0") == []
    assert ids(USER_ORDERS, userId="ann", limit=1, offset=1) == [2]
    assert ids(ORDERS, userId=None, status=None) == [3, 2, 1, 0]


def test_lists_hold_what_the_read_models_hold(shop: ShopInMemory) -> None:
    assert names(shop, PRODUCTS) == []
    product_id = shop.new_product(str(shop.new_category()), name=f"tea {uuid7()}")
    shop.settle()
    assert shop.ask("{ products { id } }")["products"] == [{"id": product_id}]


@pytest.mark.parametrize("user", ["x" * 129, "x" * 2000])
def test_a_malformed_user_id_is_refused_and_opens_no_circuit_breaker(shop: ShopInMemory, user: str) -> None:
    for field in ("orders", "userOrders"):
        for _ in range(6):
            query = f"query ($u: String!) {{ {field}(userId: $u) {{ id }} }}"
            (error,) = shop.graphql(query, {"u": user})["errors"]
            assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", ["userId"])
    assert shop.ask("{ orders { id } }") == {"orders": []}


@pytest.mark.parametrize("query", ["{ products { category { id } } }", "{ categories { products { id } } }"])
def test_lists_read_no_search_strings(shop: ShopInMemory, query: str) -> None:
    """They are most of a document, and only the database compares them."""
    shop.new_product()
    shop.settle()
    read: list[Fields] = []
    find, get_many = shop.engines.queries.find, shop.engines.queries.get_many

    async def found(wanted: Find) -> Sequence[Fields]:
        read.extend(documents := await find(wanted))
        return documents

    async def got(*wanted: Any) -> Mapping[str, Fields]:
        read.extend((documents := await get_many(*wanted)).values())
        return documents

    with method_replaced(shop, "queries.find", found), method_replaced(shop, "queries.get_many", got):
        shop.ask(query)
    assert len(read) >= 2
    assert [fields for fields in read if "grams" in fields] == []
