"""Measure the shop on this machine."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

from scripts.local.bench_append import CONTENDERS, OURS, PLAIN, Rates, measure, set_up
from scripts.local.emulators import start_postgres
from scripts.local.figures import Figure, table_of, verdict
from scripts.local.processes import CannotStart

GOAL = 0.75
"""The wanted share of the plain INSERT's rate; the outbox row, the version check and the encoding
may cost the rest."""

READINGS, WARM_UP, GROWTH = 30, 0.4, 0.05
"""Readings of the memory during a soak, the share of them in which caches fill, and how much it may
grow afterwards."""

WITH_BASELINE = ("append", "cold", "order", "read", "rebuild", "zero")
"""The measurements that compare with something else in the same run."""

LITTLE, SLOWER = 1_000, 2.0
"""Events in the short history, and how many times longer a query may take with the long one."""


_ABOVE_ZERO = ("seconds", "rounds", "clients", "streams", "workers", "orders")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    measurements = parser.add_subparsers(title="measurements", metavar="MEASUREMENT", required=True)
    for name, (run, what, options) in MEASUREMENTS.items():
        measurement = measurements.add_parser(name, help=what.replace("%", "%%"), description=what)
        measurement.set_defaults(run=run)
        for option, (default, meaning) in options.items():
            _add(measurement, option, default, meaning)
    chosen = parser.parse_args(given)
    numbers = [number for name in _ABOVE_ZERO if (number := getattr(chosen, name, None)) is not None]
    if any(min(number if isinstance(number, list) else [number]) <= 0 for number in numbers):
        parser.error(f"{', '.join(_ABOVE_ZERO)} must be above 0")
    if getattr(chosen, "events", LITTLE) < LITTLE:
        parser.error(f"events must be {LITTLE} or more")
    return chosen


def _add(measurement: argparse.ArgumentParser, option: str, default: Any, meaning: str) -> None:
    """Add an option of its default's type."""
    if default is False:
        measurement.add_argument(f"--{option}", action="store_true", help=meaning)
    elif isinstance(default, list):
        shown = " ".join(map(str, default))
        measurement.add_argument(
            f"--{option}", type=int, nargs="+", default=default, metavar="N", help=f"{meaning} ({shown})"
        )
    else:
        shown = f"{meaning} ({default:,})" if option != "port" else f"{meaning} ({default})"
        measurement.add_argument(f"--{option}", type=type(default), default=default, metavar="N", help=shown)


def bench_monitoring(chosen: argparse.Namespace) -> list[Figure]:
    """Time every monitoring query with a short and with a long history."""
    from scripts.local.bench_monitoring import EVENTS, QUERIES, answered, shop

    print(
        f"  ... {LITTLE:,} and {chosen.events:,} events, with their sagas and executions", file=sys.stderr, flush=True
    )
    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        shop(Path(folder) / "little", LITTLE // EVENTS) as little,
        shop(Path(folder) / "much", chosen.events // EVENTS) as much,
    ):
        ratios = {}
        print(f"{'':30}{LITTLE:>12,}{chosen.events:>14,}{'times':>8}")
        for name, query in QUERIES.items():
            answered(little, query), answered(much, query)  # warm up connections, statements and caches
            times = [(answered(little, query), answered(much, query)) for _ in range(chosen.rounds)]
            before, after = (median(column) for column in zip(*times, strict=True))
            ratios[name] = after / before
            print(f"{name:30}{before:9.1f} ms{after:11.1f} ms{ratios[name]:8.2f}", flush=True)
    slowest = max(ratios, key=lambda name: ratios[name])
    return [
        Figure(
            f"the slowest monitoring query, {slowest}", ratios[slowest], SLOWER, f"with {LITTLE:,} events", most=True
        )
    ]


def bench_soak(chosen: argparse.Namespace) -> list[Figure]:
    """Keep a shop under load and read its memory. Raise CannotStart."""
    from scripts.local.bench_soak import growth, running_shop, soak

    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        running_shop(Path(folder), chosen.port, chosen.memory) as url,
    ):
        readings = asyncio.run(soak(url, chosen.seconds, chosen.streams, chosen.clients[0], READINGS))
    return [Figure("memory under load", 1 + growth(readings, WARM_UP), 1 + GROWTH, "after the warm-up", most=True)]


def bench_cold(chosen: argparse.Namespace) -> list[Figure]:
    """Start every function beside one of the plain libraries. Raise CannotStart."""
    from scripts.local import bench_cold as cold
    from scripts.local.ports import Ports

    rounds: list[dict[str, tuple[cold.Start, cold.Start]]] = []
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as folder, cold.engines(Path(folder), Ports(chosen.port)):
        broker, python = cold.PullingBroker(), cold.python_of_the_image(Path(folder) / "image")
        for _ in _rounds(chosen):
            rounds.append(cold.measure(broker, Path(folder) / "functions", chosen.port + 20, python))
        spent = {name: cold.imports(python, name) for name in rounds[0]} if chosen.imports else {}
    print(f"{'':22}{'seconds':>9}{'plain':>8}{'times':>7}{'processor':>11}{'plain':>8}{'times':>7}")
    figures = []
    for name in rounds[0]:
        ours, plain, times = cold.medians([starts[name] for starts in rounds])
        print(
            f"{name:22}{ours.wall:9.2f}{plain.wall:8.2f}{times.wall:7.2f}"
            f"{ours.processor:11.2f}{plain.processor:8.2f}{times.processor:7.2f}"
        )
        beside, goal = f"plain libraries: {plain.processor:.2f} s", cold.GOALS.get(name, cold.GOAL)
        figures.append(Figure(f"cold start of {name}, processor time", times.processor, goal, beside, most=True))
        if name in spent:
            took = ", ".join(f"{package} {ms:.0f}" for package, ms in spent[name])
            print(f"{'':4}imports, ms: {took}")
    return figures


def bench_read(chosen: argparse.Namespace) -> list[Figure]:
    """Send queries beside a function without GraphQL. Raise CannotStart."""
    from scripts.local import bench_read as read

    turns: dict[str, list[tuple[read.Turn, read.Turn]]] = {query: [] for query in read.QUERIES}
    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        read.reading_functions(Path(folder), chosen.port) as functions,
    ):
        for _ in _rounds(chosen):
            for query, found in turns.items():
                found.append(read.measure(functions, query, chosen.seconds))
    print(f"{'':66}{'requests/s':>12}{'bare':>8}{'share':>7}{'processor':>14}{'bare':>10}{'share':>7}")
    figures = []
    for query, found in turns.items():
        ours, plain, share = read.shares(found)
        print(
            f"{query:66}{ours.rate:12,.0f}{plain.rate:8,.0f}{share.rate:7.2f}"
            f"{ours.processor * 1000:11.2f} ms{plain.processor * 1000:7.2f} ms{share.processor:7.2f}"
        )
        beside = f"a bare ASGI function: {plain.processor * 1000:.2f} ms of processor"
        figures.append(Figure(query, share.processor, read.QUERIES[query], beside))
    return figures


def bench_order(chosen: argparse.Namespace) -> list[Figure]:
    """Place orders and add up the processor time of all functions. Raise CannotStart."""
    from scripts.local import bench_order as order

    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        order.warm_shop(Path(folder), chosen.port) as shop,
    ):
        rounds = [order.measure(shop, chosen.orders) for _ in _rounds(chosen)]
        parts = order.parts(shop, chosen.orders)
    by_function, plain = order.medians(rounds)
    whole = sum(by_function.values())
    for title, shares in (("function", by_function), ("part", {name: whole * one for name, one in parts.items()})):
        print(f"\n{title:34}{'ms per order':>14}{'share':>8}")
        for name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
            print(f"{name:34}{seconds * 1000:14.1f}{seconds / whole:8.0%}")
    beside = f"{whole / plain:.0f} calls of a plain function, each {plain * 1000:.1f} ms"
    return [Figure("one order, processor seconds of all functions", whole, order.GOAL, beside, most=True)]


def bench_rebuild(chosen: argparse.Namespace) -> list[Figure]:
    """Fill a new generation beside BulkWriter. Raise CannotStart."""
    from scripts.local import bench_rebuild as rebuild
    from scripts.local import bench_rebuild_paper as paper
    from scripts.local.bench_cold import engines
    from scripts.local.ports import Ports

    found: dict[int, list[rebuild.Rates]] = {workers: [] for workers in chosen.workers}
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as folder, engines(Path(folder), Ports(chosen.port)):
        streams = rebuild.record_products(chosen.streams)
        for _ in _rounds(chosen):
            for workers, rates in found.items():
                rates.append(rebuild.measure(streams, workers))
    print(f"{'workers':>8}{'documents/s':>13}{'BulkWriter':>12}{'share':>8}")
    figures = []
    for workers, rates in found.items():
        share = median(one.ours / one.bulk_writer for one in rates)
        ours, bulk = median(one.ours for one in rates), median(one.bulk_writer for one in rates)
        print(f"{workers:8}{ours:13,.0f}{bulk:12,.0f}{share:8.2f}")
        what = f"rebuild with {workers} worker{'s' if workers > 1 else ''}"
        figures.append(Figure(what, share, rebuild.GOAL, f"BulkWriter: {bulk:,.0f} documents/s"))
    fewest = min(found)
    per_worker = median(one.ours for one in found[fewest]) / fewest
    print(f"\nOn paper, {paper.ORDERS:,} orders at {per_worker:,.0f} documents/s of an instance:")
    print(f"{'instances':>10}{'documents/s':>13}{'minutes':>9}{'US$':>8}  bound by")
    for one in paper.on_paper(per_worker):
        print(f"{one.instances:10}{one.rate:13,.0f}{one.seconds / 60:9.0f}{one.dollars:8.2f}  {one.bound}")
    return figures


def bench_zero(chosen: argparse.Namespace) -> list[Figure]:
    """Place orders after all functions have stopped. Raise CannotStart."""
    from scripts.local import bench_zero as zero

    found: dict[bool, list[zero.Zero]] = {True: [], False: []}
    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        zero.shop_at_zero(Path(folder), chosen.port) as (shop, instances, products),
    ):
        for _ in _rounds(chosen):
            for wake_ahead, orders in found.items():
                orders.append(zero.measure(shop, instances, products[-1], wake_ahead))
    print(f"{'':14}{'from zero':>11}{'warm':>8}{'one start':>11}{'times':>7}{'in a row':>10}{'starts':>8}")
    for wake_ahead, orders in found.items():
        one = zero.Zero(*(median(column) for column in zip(*orders, strict=True)))
        times = median(order.times for order in orders)
        print(
            f"{'wake ahead' if wake_ahead else 'without':14}{one.from_zero:9.2f} s{one.warm:6.2f} s"
            f"{one.one_start:9.2f} s{times:7.1f}{one.in_a_row:10.0f}{one.started:8.0f}"
        )
    row, start = (median(column) for column in zip(*((o.in_a_row, o.one_start) for o in found[True]), strict=True))
    return [
        Figure("cold starts in a row of an order from zero", row, zero.GOAL, f"one start: {start:.2f} s", most=True)
    ]


def bench_tests(chosen: argparse.Namespace) -> list[Figure]:
    """Time scripts/test and scripts/test --quick. Raise CannotStart when a check fails."""
    from scripts.local import bench_tests as tests

    figures = []
    for options, goal in tests.GOALS.items():
        if options or not chosen.quick:
            run = tests.measure(options.split())
            whole = sum(run.processor.values())
            print(f"\n{'processes of':34}{'processor s':>14}{'share':>8}")
            for kind, seconds in sorted(run.processor.items(), key=lambda item: -item[1]):
                print(f"{kind:34}{seconds:14,.0f}{seconds / whole:8.0%}")
            least = whole / tests.processors() / 60
            beside = f"all {tests.processors()} processors busy with nothing else: {least:.1f} minutes"
            figures.append(
                Figure(f"scripts/test {options}".strip() + ", minutes", run.seconds / 60, goal, beside, most=True)
            )
    return figures


def _rounds(chosen: argparse.Namespace) -> Iterator[int]:
    for number in range(1, chosen.rounds + 1):
        print(f"  ... round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
        yield number


def bench_append(chosen: argparse.Namespace) -> list[Figure]:
    """Append beside a plain INSERT and beside eventsourcing."""
    cells = [(contender, clients) for clients in chosen.clients for contender in CONTENDERS]
    rates: Rates = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as folder:
        url, _, stop = start_postgres(Path(folder) / "data")
        try:
            set_up(url)
            for _ in _rounds(chosen):
                for contender, clients in cells:
                    rates[contender, clients].append(measure(url, contender, clients, chosen.seconds))
        finally:
            stop()
    print(table(rates))
    figures = []
    for clients in chosen.clients:
        beside = f"a plain INSERT: {median(rates[PLAIN, clients]):,.0f}/s"
        what = f"append with {clients} client{'s' if clients > 1 else ''}"
        figures.append(Figure(what, median(ratios(rates, OURS, clients)), GOAL, beside))
    return figures


def ratios(rates: Rates, contender: str, clients: int) -> list[float]:
    """Return the rates relative to the plain INSERT of the same round, which other programs
    disturbed as much."""
    pairs = zip(rates[contender, clients], rates[PLAIN, clients], strict=True)
    return [rate / plain for rate, plain in pairs]


def table(rates: Rates) -> str:
    lines = [f"{'':30}{'clients':>8}{'appends/s':>11}{'(min - max)':>18}{'of the INSERT':>15}{'(min - max)':>15}"]
    for (contender, clients), found in rates.items():
        to_plain = ratios(rates, contender, clients)
        spread, spread_of_ratios = (
            f"({min(found):,.0f} - {max(found):,.0f})",
            f"({min(to_plain):.2f} - {max(to_plain):.2f})",
        )
        lines.append(
            f"{contender:30}{clients:8}{median(found):11,.0f}{spread:>18}{median(to_plain):15.2f}{spread_of_ratios:>15}"
        )
    return "\n".join(lines)


def bench_all(chosen: argparse.Namespace) -> list[Figure]:
    """Run the measurements that have a baseline, one after another, each with its defaults and in a
    process of its own: what one has opened and closed is of no use to the next."""
    figures = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for name in WITH_BASELINE:
            print(f"\nscripts/bench {name}", flush=True)
            figures += processes.submit(measured, name).result()
    return figures


def measured(name: str) -> list[Figure]:
    chosen = arguments([name])
    figures: list[Figure] = chosen.run(chosen)
    return figures


Measurement = tuple[Callable[[argparse.Namespace], list[Figure]], str, Mapping[str, tuple[Any, str]]]
"""What runs it, what it measures, and its options with their defaults and meanings."""

MEASUREMENTS: Mapping[str, Measurement] = {
    "all": (bench_all, f"all that have a baseline: {', '.join(WITH_BASELINE)}; also without a MEASUREMENT", {}),
    "append": (
        bench_append,
        f"appends per second, next to a plain INSERT and to eventsourcing; exit status 1 below {GOAL} of the INSERT",
        {
            "seconds": (3.0, "seconds of each measurement"),
            "rounds": (5, "interleaved measurements of each"),
            "clients": ([1, 8], "numbers of appending processes"),
        },
    ),
    "cold": (
        bench_cold,
        "cold starts of all functions, next to functions of the plain libraries; exit status 1 when one is too slow",
        {
            "rounds": (3, "starts of each function"),
            "port": (8280, "N to N+149 are used"),
            "imports": (False, "also print what each function imports, the top ten"),
        },
    ),
    "order": (
        bench_order,
        "processor time of all functions for an order, by function and by part; exit status 1 above 0.13 seconds",
        {
            "orders": (20, "orders of each measurement"),
            "rounds": (3, "measurements"),
            "port": (8780, "N to N+9 are used"),
        },
    ),
    "read": (
        bench_read,
        "queries, next to a bare ASGI function that gives the same answers; exit status 1 when one takes too long",
        {
            "seconds": (8.0, "seconds of each measurement"),
            "rounds": (5, "interleaved measurements of each"),
            "port": (8880, "N to N+49 are used"),
        },
    ),
    "rebuild": (
        bench_rebuild,
        "filling a new generation of a read model, next to Firestore's BulkWriter; exit status 1 below 0.6 of it",
        {
            "streams": (3000, "products, rounded up to 100s"),
            "workers": ([1, 2], "numbers of workers"),
            "rounds": (3, "measurements of each"),
            "port": (8480, "N to N+7 are used"),
        },
    ),
    "zero": (
        bench_zero,
        "an order after all functions have stopped, with and without waking ahead; exit status 1 when more than 2.5"
        " cold starts follow one another with it",
        {"rounds": (3, "orders from zero of each kind"), "port": (8680, "N to N+7 are used")},
    ),
    "tests": (
        bench_tests,
        "scripts/test --quick and scripts/test, and the processor time of their processes; exit status 1 above 1 minute"
        " and above 9",
        {"quick": (False, "only scripts/test --quick")},
    ),
    "monitoring": (
        bench_monitoring,
        f"monitoring queries with a history of a thousand events and of N; exit status 1 above {SLOWER} times",
        {"events": (1_000_000, "the long history"), "rounds": (21, "measurements of each query, interleaved")},
    ),
    "soak": (
        bench_soak,
        f"memory under streams and a mixed load; exit status 1 when it grows by over {GROWTH:.0%} after the warm-up",
        {
            "seconds": (300.0, "seconds of load"),
            "streams": (50, "open subscriptions"),
            "clients": ([6], "clients that ask at a time"),
            "port": (8180, "N to N+7 are used"),
            "memory": (False, "scripts/dev --memory: without databases and emulators"),
        },
    ),
}


def main() -> int:
    chosen = arguments(sys.argv[1:] or ["all"])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        figures: list[Figure] = chosen.run(chosen)
        print(f"\n{table_of(figures)}")
        return verdict(figures)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    except EOFError:
        print("\nA client process died; its message above says why", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
