"""The text that the shop shows when it is open."""

import json
import time

from scripts.local import observe
from scripts.local.seed import ask
from scripts.local.shop import Shop
from scripts.local.token import ADMIN_EMAIL, emulator_token
from shared.config.manifest import manifest


def screen(shop: Shop, building: bool = False) -> str:
    """Return the text of the screen: the address of each part, and an order to try. `building`: the
    console is not there yet."""
    functions = {service: len(manifest().of_service(service)) for service in shop.ports.services}
    services = "\n".join(
        f"  {service:22}{shop.ports.url(service)}  (functions: {functions[service]})" for service in shop.ports.services
    )
    engines = "\n".join(f"  {part:22}{where}" for part, where in shop.engines.items())
    return f"""
The shop is open.

  {"console":22}{shop.url.removesuffix("graphql")}{"  (being built, which takes a minute)" if building else ""}
  GraphQL               {shop.url}  (in a browser: GraphiQL)
{services}
{engines}
  {"logs":22}{shop.home / "logs"}

Order something:

{example(shop)}

Other endings: add paymentMethod: "decline", or shippingMethod: "refuse", or order more than there is.
{signing_in(shop)}{debugging(shop)}{watching(shop)}
Ctrl-C stops it all.
"""


def debugging(shop: Shop) -> str:
    """Return where the debugger attaches, if a function waits for it."""
    return f"\n\n{shop.debugged}: attach your debugger to 127.0.0.1:{shop.ports.debugger}\n" if shop.debugged else ""


def watching(shop: Shop) -> str:
    """Return example queries for Prometheus, if it runs."""
    queries = "\n".join(f"  {query}" for query in observe.QUERIES)
    return f"\n\nAsk Prometheus (http://127.0.0.1:{shop.ports.prometheus}):\n\n{queries}\n" if shop.observed else ""


def signing_in(shop: Shop) -> str:
    how = f"scripts/token EMAIL prints a token for any user, scripts/token {ADMIN_EMAIL} the admin's."
    sign_in = (
        "Mutations need sign-in" if shop.sign_in else "Without sign-in everything is allowed (--sign-in requires it)"
    )
    return f"{sign_in}: {how}"


def _products(url: str, query: str) -> list[dict[str, str]]:
    """Return the query's products; none when GraphQL answers with errors."""
    try:
        products: list[dict[str, str]] = ask(url, query)["products"]
    except RuntimeError:
        return []
    return products


def example(shop: Shop) -> str:
    """Return a shell command that orders one unit of the cheapest product."""
    query = '{ products(limit: 1, sortBy: "price") { id name price } }'
    deadline = time.monotonic() + 10  # read models follow after a moment, later on a busy machine
    while not (product := _products(shop.url, query)) and not shop.is_new() and time.monotonic() < deadline:
        time.sleep(0.2)
    if not product:
        return "  There is no product yet: use createCategory, then createProduct"
    line = {"productId": product[0]["id"], "productName": product[0]["name"], "quantity": 1}
    order = {"userId": "hanako", "items": [line | {"unitPrice": product[0]["price"]}]}
    mutation = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id status totalAmount } } }"
    body = json.dumps({"query": mutation, "variables": {"input": order}}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    headers = "-H 'content-type: application/json'"
    if shop.sign_in:
        headers += f" -H 'authorization: Bearer {emulator_token('hanako@example.com')}'"
    return f"  curl -s {shop.url} {headers} -d '{quoted}'"
