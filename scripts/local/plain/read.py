"""A function that answers like ours without GraphQL: the measure for the requests of ours. It reads
20 products and their categories with the fields that ours reads, or nothing."""

import os
from functools import cache
from typing import Any

import functions_framework.aio
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

TIMES = ["version", "created_at", "updated_at"]
CATEGORY = ["id", "name", "description", "parent_id", "active", "product_count", *TIMES]
STOCK = ["stock_quantity", "reserved_quantity", "price_rank"]
PRODUCT = ["id", "name", "description", "price", "currency", "category_id", "active", *STOCK, *TIMES]


@cache
def firestore() -> Any:
    return AsyncClient(os.environ["PROJECT_ID"])


@functions_framework.aio.http
async def plain_read(request: Request) -> Response:
    if "products" not in (await request.json())["query"]:
        return JSONResponse({"data": {"__typename": "Query"}})
    active = firestore().collection("products").where(filter=FieldFilter("active", "==", True))
    query = active.order_by("name").limit(20).select(PRODUCT)
    products = [found.to_dict() async for found in query.stream()]
    keys = {firestore().collection("categories").document(product["category_id"]) for product in products}
    read = firestore().get_all(keys, field_paths=CATEGORY)
    categories = {found.id: found.to_dict() async for found in read}
    answers = [
        {
            "id": product["id"],
            "name": product["name"],
            "price": product["price"],
            "category": {"id": product["category_id"], "name": categories[product["category_id"]]["name"]},
        }
        for product in products
    ]
    return JSONResponse({"data": {"products": answers}})
