"""Run the whole shop on this machine until Ctrl-C."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from scripts.local import observe
from scripts.local.console import build_console
from scripts.local.ports import Ports
from scripts.local.processes import CannotStart
from scripts.local.seed import ask, seed
from scripts.local.shop import CONSOLE, HOME, Shop
from scripts.local.token import ADMIN_EMAIL, emulator_token
from shared.config.manifest import manifest


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/dev", description=__doc__)
    parser.add_argument(
        "--memory", action="store_true", help="no engines: everything in one process, gone when it stops"
    )
    parser.add_argument(
        "--port", type=int, default=8080, metavar="N", help="of GraphQL; N+1 to N+7 are used too (8080)"
    )
    parser.add_argument("--reset", action="store_true", help="erase the data of earlier runs first")
    parser.add_argument(
        "--data", type=Path, default=HOME, metavar="DIR", help="where data and logs are kept (.dev/data)"
    )
    parser.add_argument("--sign-in", action="store_true", help="ask for sign-in, as in the cloud")
    parser.add_argument("--observe", action="store_true", help="start Prometheus too, where it is installed")
    parser.add_argument("--no-seed", action="store_true", help="start without the example catalogue")
    chosen = parser.parse_args()
    if not 1024 <= chosen.port <= 65_000:
        parser.error("--port must be from 1024 to 65000")
    return chosen


def say(step: str) -> None:
    print(f"  ... {step}", flush=True)


def main() -> int:
    chosen = arguments()
    ports = Ports(chosen.port)
    observed = chosen.observe and observe.found(say)
    shop = Shop(ports, chosen.data.resolve(), say, chosen.memory, chosen.sign_in, observed)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        shop.claim()
        if chosen.reset:
            shop.erase()
        print("Starting the shop", flush=True)
        build_console(CONSOLE, say)
        shop.start()
        if shop.is_new() and not chosen.no_seed:
            say("the example catalogue")
            seed(shop.url)
        print(screen(shop), flush=True)
        return _watch(shop)
    except CannotStart as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # stopping has begun; asking again doesn't make it faster
        shop.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(shop: Shop) -> int:
    while not (why := shop.failed()):
        time.sleep(0.5)
    print(f"\n{why}", file=sys.stderr)
    return 1


def screen(shop: Shop) -> str:
    """What runs where, and something to try."""
    counted = {service: len(manifest().of_service(service)) for service in shop.ports.services}
    services = "\n".join(
        f"  {service:22}{shop.ports.url(service)}  (functions: {counted[service]})" for service in shop.ports.services
    )
    engines = "\n".join(f"  {what:22}{where}" for what, where in shop.engines.items())
    return f"""
The shop is open.

  GraphQL               {shop.url}  (in a browser: GraphiQL)
{services}
{engines}
  {"logs":22}{shop.home / "logs"}

Order something:

{example(shop)}

Other endings: add paymentMethod: "decline", or shippingMethod: "refuse", or order more than there is.
{signing_in(shop)}{watching(shop)}
Ctrl-C stops it all.
"""


def watching(shop: Shop) -> str:
    """Something to ask Prometheus, where it runs."""
    queries = "\n".join(f"  {query}" for query in observe.QUERIES)
    return f"\n\nAsk Prometheus (http://127.0.0.1:{shop.ports.prometheus}):\n\n{queries}\n" if shop.observed else ""


def signing_in(shop: Shop) -> str:
    how = f"scripts/token EMAIL gives a token for anyone, scripts/token {ADMIN_EMAIL} the admin's."
    needed = (
        "Mutations need sign-in" if shop.sign_in else "Without sign-in everything is allowed (--sign-in asks for it)"
    )
    return f"{needed}: {how}"


def _asked(url: str, query: str) -> list[dict[str, str]]:
    """Nothing while there is no answer."""
    try:
        found: list[dict[str, str]] = ask(url, query)["products"]
    except RuntimeError:
        return []
    return found


def example(shop: Shop) -> str:
    """A command to paste that orders one of the first product."""
    query = '{ products(limit: 1, sortBy: "price") { id name price } }'
    deadline = time.monotonic() + 10  # the read models follow after a moment, and wake up slowly on a busy machine
    while not (product := _asked(shop.url, query)) and not shop.is_new() and time.monotonic() < deadline:
        time.sleep(0.2)
    if not product:
        return "  there is nothing to order yet: createCategory, then createProduct"
    line = {"productId": product[0]["id"], "productName": product[0]["name"], "quantity": 1}
    order = {"userId": "hanako", "items": [line | {"unitPrice": product[0]["price"]}]}
    mutation = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id status totalAmount } } }"
    body = json.dumps({"query": mutation, "variables": {"input": order}}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    headers = "-H 'content-type: application/json'"
    if shop.sign_in:
        headers += f" -H 'authorization: Bearer {emulator_token('hanako@example.com')}'"
    return f"  curl -s {shop.url} {headers} -d '{quoted}'"


if __name__ == "__main__":
    sys.exit(main())
