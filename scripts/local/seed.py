"""Create a small catalogue through GraphQL, as a client would."""

from typing import Any

from scripts.local.local_http import local_http
from scripts.local.token import emulator_token

CATALOGUE: dict[tuple[str, str], list[tuple[str, str, int, int]]] = {
    ("文房具", "書く、切る、貼る道具"): [
        ("万年筆「夜空」", "14金ペン先、細字。Fountain pen, fine nib.", 24800, 12),
        ("原稿用紙 B4", "20字×20行、50枚", 660, 200),
    ],
    ("お茶", "日本各地の茶葉"): [
        ("宇治抹茶 40g", "石臼挽き。Stone-ground matcha.", 2160, 80),
        ("知覧茶 100g", "深蒸し煎茶", 1080, 120),
    ],
    ("Cameras", "Film and digital"): [
        ("Rangefinder R2 📷", "35 mm film camera with a coupled rangefinder", 298800, 3),
        ("Film ISO 400, 36 exposures", "Colour negative film", 1980, 500),
    ],
}

_CATEGORY = "mutation ($input: CreateCategoryInput!) { createCategory(input: $input) { id } }"
_PRODUCT = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { id name price } }"


def seed(url: str) -> list[dict[str, Any]]:
    """Create the catalogue and return its products. Raise RuntimeError with the answer when a
    mutation fails."""
    products = []
    for (name, description), items in CATALOGUE.items():
        category = ask(url, _CATEGORY, {"input": {"name": name, "description": description}})["createCategory"]
        for product, about, price, stock in items:
            values = {"name": product, "description": about, "price": price, "stockQuantity": stock}
            made = ask(url, _PRODUCT, {"input": values | {"categoryId": category["id"]}})
            products.append(made["createProduct"])
    return products


def ask(url: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send the query as an admin and return the data. Raise RuntimeError when the answer has
    errors."""
    headers = {"Authorization": f"Bearer {emulator_token('admin@example.com', role='admin')}"}
    response = local_http().post(url, json={"query": query, "variables": variables or {}}, headers=headers)
    answer: dict[str, Any] = response.json()
    if "errors" in answer:
        raise RuntimeError(f"GraphQL answered {answer['errors']}")
    data: dict[str, Any] = answer["data"]
    return data
