"""A GraphQL function made of the plain libraries: the measure for the cold start of ours. It reads
two documents."""

import os
from functools import cache
from typing import Any

import functions_framework.aio
from google.cloud.firestore import AsyncClient
from graphql import build_schema, graphql
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

SCHEMA = build_schema("type Query { products: [Product!]! } type Product { id: ID! }")


@cache
def firestore() -> Any:
    return AsyncClient(os.environ["PROJECT_ID"])


class Root:
    async def products(self, _: Any) -> list[dict[str, str]]:
        documents = [firestore().collection("plain").document(each) for each in ("a", "b")]
        return [{"id": found.id} async for found in firestore().get_all(documents)]


@functions_framework.aio.http
async def plain_graphql(request: Request) -> Response:
    """Run the query in the body."""
    result = await graphql(SCHEMA, (await request.json())["query"], Root())
    return JSONResponse(result.formatted)
