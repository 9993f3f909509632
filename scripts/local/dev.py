"""Run the whole shop on this machine until Ctrl-C."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from scripts.local import observe, running
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
        "--memory", action="store_true", help="keep everything in one process; the data is gone when it stops"
    )
    parser.add_argument(
        "--port", type=int, default=8080, metavar="N", help="GraphQL's port; N+1 to N+7 are used too (8080)"
    )
    parser.add_argument("--reset", action="store_true", help="delete the data of earlier runs first")
    parser.add_argument(
        "--data", type=Path, default=HOME, metavar="DIR", help="the folder for data and logs (.dev/data)"
    )
    parser.add_argument("--sign-in", action="store_true", help="require sign-in, as in the cloud")
    parser.add_argument("--observe", action="store_true", help="also start Prometheus, if it is installed")
    parser.add_argument(
        "--scale-to-zero",
        type=float,
        nargs="?",
        const=60,
        metavar="SECONDS",
        help="run each function in a process of its own, which its first request starts and which ends when idle for"
        " so long (60)",
    )
    parser.add_argument("--no-seed", action="store_true", help="start without the example catalogue")
    chosen = parser.parse_args()
    if not 1024 <= chosen.port <= 65_000:
        parser.error(f"--port must be from 1024 to 65000; got {chosen.port}")
    if chosen.scale_to_zero is not None and not 1 <= chosen.scale_to_zero <= 86_400:
        parser.error(f"--scale-to-zero must be from 1 to 86400 seconds; got {chosen.scale_to_zero:g}")
    if chosen.scale_to_zero and chosen.memory:
        parser.error("--scale-to-zero needs processes with a common store; leave out --memory")
    return chosen


def say(step: str) -> None:
    print(f"  ... {step}", flush=True)


def main() -> int:
    chosen = arguments()
    ports = Ports(chosen.port)
    observed = chosen.observe and observe.found(say)
    shop = Shop(ports, chosen.data.resolve(), say, chosen.memory, chosen.sign_in, observed, chosen.scale_to_zero)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for what it starts in the background
        signal.signal(number, _interrupt)
    try:
        shop.claim()
        if chosen.reset:
            shop.erase()
        print("Starting the shop", flush=True)
        build_console(CONSOLE, say)
        with running.announced(_announcement(shop, chosen)) as announcement:
            shop.start()
            if shop.is_new() and not chosen.no_seed:
                say("the example catalogue")
                seed(shop.url)
            announcement.tell(is_open=True)
            print(screen(shop), flush=True)
            return _watch(shop)
    except CannotStart as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        shop.stop()


def _announcement(shop: Shop, chosen: argparse.Namespace) -> running.Running:
    modes = {"--memory": chosen.memory, "--sign-in": chosen.sign_in, "--scale-to-zero": chosen.scale_to_zero}
    mode = " ".join(option for option, given in modes.items() if given)
    return running.Running(shop.ports.client, os.getpid(), mode, str(shop.home), shop.admin_email, time.time())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(shop: Shop) -> int:
    while not (why := shop.failed()):
        time.sleep(0.5)
    print(f"\n{why}", file=sys.stderr)
    return 1


def screen(shop: Shop) -> str:
    """Return the text of the screen: the address of each part, and an order to try."""
    functions = {service: len(manifest().of_service(service)) for service in shop.ports.services}
    services = "\n".join(
        f"  {service:22}{shop.ports.url(service)}  (functions: {functions[service]})" for service in shop.ports.services
    )
    engines = "\n".join(f"  {part:22}{where}" for part, where in shop.engines.items())
    return f"""
The shop is open.

  {"console":22}{shop.url.removesuffix("graphql")}
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


if __name__ == "__main__":
    sys.exit(main())
