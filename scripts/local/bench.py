"""Measure the shop on this machine."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from types import FrameType

from scripts.local.bench_append import CONTENDERS, OURS, PLAIN, Rates, measure, set_up
from scripts.local.emulators import start_postgres

GOAL = 0.7
"""The wanted share of the plain INSERT's rate; the outbox row, the version check and the encoding
may cost the rest."""

READINGS, WARM_UP, GROWTH = 30, 0.4, 0.05
"""Readings of the memory during a soak, the share of them in which caches fill, and how much it may
grow afterwards."""

LITTLE, SLOWER = 1_000, 2.0
"""Events in the short history, and how many times longer a query may take with the long one."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    measurements = parser.add_subparsers(title="measurements", metavar="MEASUREMENT", required=True)
    text = f"appends per second, next to a plain INSERT and to eventsourcing; exit status 1 below {GOAL} of the INSERT"
    append = measurements.add_parser("append", help=text, description=text)
    append.add_argument("--seconds", type=float, default=3, metavar="S", help="seconds of each measurement (3)")
    append.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved measurements of each (5)")
    append.add_argument(
        "--clients",
        type=int,
        nargs="+",
        default=[1, 8],
        metavar="N",
        help="numbers of appending processes (1 8)",
    )
    append.set_defaults(run=bench_append)
    text = f"monitoring queries with a history of a thousand events and of N; exit status 1 above {SLOWER} times"
    monitoring = measurements.add_parser("monitoring", help=text, description=text)
    monitoring.add_argument("--events", type=int, default=1_000_000, metavar="N", help="the long history (1,000,000)")
    monitoring.add_argument(
        "--rounds", type=int, default=21, metavar="N", help="measurements of each query, interleaved (21)"
    )
    monitoring.set_defaults(run=bench_monitoring, seconds=1, clients=[1])
    text = f"memory under streams and a mixed load; exit status 1 when it grows by over {GROWTH:.0%} after the warm-up"
    soak = measurements.add_parser("soak", help=text.replace("%", "%%"), description=text.replace("%", "%%"))
    soak.add_argument("--seconds", type=float, default=300, metavar="S", help="seconds of load (300)")
    soak.add_argument("--streams", type=int, default=50, metavar="N", help="open subscriptions (50)")
    soak.add_argument("--clients", type=int, nargs=1, default=[6], metavar="N", help="clients that ask at a time (6)")
    soak.add_argument("--port", type=int, default=8180, metavar="N", help="N to N+7 are used (8180)")
    soak.add_argument("--memory", action="store_true", help="scripts/dev --memory: without databases and emulators")
    soak.set_defaults(run=bench_soak, rounds=1)
    text = "cold starts of all functions, next to functions of the plain libraries; exit status 1 when one is too slow"
    cold = measurements.add_parser("cold", help=text, description=text)
    cold.add_argument("--rounds", type=int, default=3, metavar="N", help="starts of each function (3)")
    cold.add_argument("--port", type=int, default=8280, metavar="N", help="N to N+149 are used (8280)")
    cold.add_argument("--imports", action="store_true", help="also print what each function imports, the top ten")
    cold.set_defaults(run=bench_cold, seconds=1, clients=[1])
    text = "filling a new generation of a read model, next to Firestore's BulkWriter; exit status 1 below 0.6 of it"
    rebuild = measurements.add_parser("rebuild", help=text, description=text)
    rebuild.add_argument("--streams", type=int, default=3000, metavar="N", help="products, rounded up to 100s (3,000)")
    rebuild.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="numbers of workers (1 2)")
    rebuild.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements of each (3)")
    rebuild.add_argument("--port", type=int, default=8480, metavar="N", help="N to N+7 are used (8480)")
    rebuild.set_defaults(run=bench_rebuild, seconds=1, clients=[1])
    text = "an order after all functions have stopped, with and without waking ahead; exit status 1 when more than 2.5"
    text += " cold starts follow one another with it"
    zero = measurements.add_parser("zero", help=text, description=text)
    zero.add_argument("--rounds", type=int, default=3, metavar="N", help="orders from zero of each kind (3)")
    zero.add_argument("--port", type=int, default=8680, metavar="N", help="N to N+7 are used (8680)")
    zero.set_defaults(run=bench_zero, seconds=1, clients=[1])
    chosen = parser.parse_args()
    if min(chosen.seconds, chosen.rounds, *chosen.clients) <= 0:
        parser.error("seconds, rounds and clients must be above 0")
    if getattr(chosen, "events", LITTLE) < LITTLE:
        parser.error(f"events must be {LITTLE} or more")
    return chosen


def bench_monitoring(chosen: argparse.Namespace) -> int:
    """Return 0 when no query takes over SLOWER times as long with the long history, else 1."""
    from scripts.local.bench_monitoring import EVENTS, QUERIES, answered, shop

    print(
        f"  ... {LITTLE:,} and {chosen.events:,} events, with their sagas and executions", file=sys.stderr, flush=True
    )
    with (
        tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
        shop(Path(folder) / "little", LITTLE // EVENTS) as little,
        shop(Path(folder) / "much", chosen.events // EVENTS) as much,
    ):
        slow = []
        print(f"{'':30}{LITTLE:>12,}{chosen.events:>14,}{'times':>8}")
        for name, query in QUERIES.items():
            answered(little, query), answered(much, query)  # warm up connections, statements and caches
            times = [(answered(little, query), answered(much, query)) for _ in range(chosen.rounds)]
            before, after = (median(column) for column in zip(*times, strict=True))
            ratio = after / before
            slow += [name] if ratio > SLOWER else []
            print(f"{name:30}{before:9.1f} ms{after:11.1f} ms{ratio:8.2f}", flush=True)
    print(f"\nNone takes more than {SLOWER} times as long: {'missed by ' + ', '.join(slow) if slow else 'met'}")
    return 1 if slow else 0


def bench_soak(chosen: argparse.Namespace) -> int:
    """Return 0 when the memory stays as it is after the warm-up, else 1; 2 when the shop does not
    start."""
    from scripts.local.bench_soak import growth, running_shop, soak
    from scripts.local.processes import CannotStart

    try:
        with (
            tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
            running_shop(Path(folder), chosen.port, chosen.memory) as url,
        ):
            readings = asyncio.run(soak(url, chosen.seconds, chosen.streams, chosen.clients[0], READINGS))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    grown = growth(readings, WARM_UP)
    print(
        f"\nIt grows by less than {GROWTH:.0%} after the warm-up: {grown:+.1%}, {'met' if grown < GROWTH else 'missed'}"
    )
    return 0 if grown < GROWTH else 1


def bench_cold(chosen: argparse.Namespace) -> int:
    """Return 0 when every function starts as fast as wanted, else 1; 2 when the engines do not
    start."""
    from scripts.local import bench_cold as cold
    from scripts.local.ports import Ports
    from scripts.local.processes import CannotStart

    rounds: list[dict[str, tuple[cold.Start, cold.Start]]] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
            cold.engines(Path(folder), Ports(chosen.port)),
        ):
            broker = cold.PullingBroker()
            for number in range(1, chosen.rounds + 1):
                print(f"  ... round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
                rounds.append(cold.measure(broker, Path(folder) / "functions", chosen.port + 20))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'':22}{'seconds':>9}{'plain':>8}{'times':>7}{'processor':>11}{'plain':>8}{'times':>7}")
    slow = []
    for name in rounds[0]:
        ours, plain, times = cold.medians([starts[name] for starts in rounds])
        slow += [name] if times.wall > cold.GOALS.get(name, cold.GOAL) else []
        print(
            f"{name:22}{ours.wall:9.2f}{plain.wall:8.2f}{times.wall:7.2f}"
            f"{ours.processor:11.2f}{plain.processor:8.2f}{times.processor:7.2f}"
        )
        if chosen.imports:
            took = ", ".join(f"{package} {ms:.0f}" for package, ms in cold.imports(name))
            print(f"{'':4}imports, ms: {took}")
    print(f"\nAt most {cold.GOAL} times as long as the plain function ({cold.GOALS}): ", end="")
    print(f"missed by {', '.join(slow)}" if slow else "met")
    return 1 if slow else 0


def bench_rebuild(chosen: argparse.Namespace) -> int:
    """Return 0 when each number of workers is as fast as wanted, else 1; 2 when the engines do not
    start."""
    from scripts.local import bench_rebuild as rebuild
    from scripts.local.bench_cold import engines
    from scripts.local.ports import Ports
    from scripts.local.processes import CannotStart

    found: dict[int, list[rebuild.Rates]] = {workers: [] for workers in chosen.workers}
    try:
        with tempfile.TemporaryDirectory(prefix="shop-bench-") as folder, engines(Path(folder), Ports(chosen.port)):
            streams = rebuild.record_products(chosen.streams)
            for number in range(1, chosen.rounds + 1):
                print(f"  ... round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
                for workers, rates in found.items():
                    rates.append(rebuild.measure(streams, workers))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'workers':>8}{'documents/s':>13}{'BulkWriter':>12}{'share':>8}")
    slow = []
    for workers, rates in found.items():
        share = median(one.ours / one.bulk_writer for one in rates)
        slow += [str(workers)] if share < rebuild.GOAL else []
        ours, bulk = median(one.ours for one in rates), median(one.bulk_writer for one in rates)
        print(f"{workers:8}{ours:13,.0f}{bulk:12,.0f}{share:8.2f}")
    print(f"\nAt least {rebuild.GOAL} of BulkWriter: {'missed with ' + ', '.join(slow) if slow else 'met'}")
    return 1 if slow else 0


def bench_zero(chosen: argparse.Namespace) -> int:
    """Return 0 when an order from zero waits for few enough cold starts, else 1; 2 when the shop
    does not start."""
    from scripts.local import bench_zero as zero
    from scripts.local.processes import CannotStart

    found: dict[bool, list[zero.Zero]] = {True: [], False: []}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="shop-bench-") as folder,
            zero.shop_at_zero(Path(folder), chosen.port) as (shop, instances, products),
        ):
            for number in range(1, chosen.rounds + 1):
                print(f"  ... round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
                for wake_ahead, orders in found.items():
                    orders.append(zero.measure(shop, instances, products[0], wake_ahead))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'':14}{'from zero':>11}{'warm':>8}{'one start':>11}{'times':>7}{'in a row':>10}{'starts':>8}")
    for wake_ahead, orders in found.items():
        one = zero.Zero(*(median(column) for column in zip(*orders, strict=True)))
        times = median(order.times for order in orders)
        print(
            f"{'wake ahead' if wake_ahead else 'without':14}{one.from_zero:9.2f} s{one.warm:6.2f} s"
            f"{one.one_start:9.2f} s{times:7.1f}{one.in_a_row:10.0f}{one.started:8.0f}"
        )
    row = median(order.in_a_row for order in found[True])
    print(f"\nAt most {zero.GOAL} cold starts in a row with waking ahead: {'met' if row <= zero.GOAL else 'missed'}")
    return 0 if row <= zero.GOAL else 1


def bench_append(chosen: argparse.Namespace) -> int:
    """Return 0 when the goal is met with every number of clients, else 1."""
    cells = [(contender, clients) for clients in chosen.clients for contender in CONTENDERS]
    rates: Rates = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as folder:
        url, _, stop = start_postgres(Path(folder) / "data")
        try:
            set_up(url)
            for number in range(1, chosen.rounds + 1):
                print(f"  ... round {number} of {chosen.rounds}", file=sys.stderr, flush=True)
                for contender, clients in cells:
                    rates[contender, clients].append(measure(url, contender, clients, chosen.seconds))
        finally:
            stop()
    print(table(rates))
    return _verdict({clients: median(ratios(rates, OURS, clients)) for clients in chosen.clients})


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


def _verdict(reached: dict[int, float]) -> int:
    missed = [f"{ratio:.2f} with {clients}" for clients, ratio in reached.items() if ratio < GOAL]
    outcome = f"missed ({', '.join(missed)})" if missed else "met"
    print(f"\n{OURS} reaches {GOAL} of the plain INSERT with the same clients: {outcome}")
    return 1 if missed else 0


def main() -> int:
    chosen = arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = chosen.run(chosen)
        return status
    except EOFError:
        print("\nA client process died; its message above says why", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
