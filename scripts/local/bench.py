"""Measure the shop on this machine."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from types import FrameType

from scripts.local.bench_append import CONTENDERS, OURS, PLAIN, Rates, measure, set_up
from scripts.local.emulators import start_postgres

GOAL = 0.7
"""Of the plain INSERT's rate: what we may lose to the outbox row, the version check and the encoding is three tenths."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    what = parser.add_subparsers(title="what can be measured", metavar="WHAT", required=True)
    text = f"appends per second, next to a plain INSERT and to eventsourcing; exit status 1 below {GOAL} of the INSERT"
    append = what.add_parser("append", help=text, description=text)
    append.add_argument("--seconds", type=float, default=3, metavar="S", help="each measurement, after a warm-up (3)")
    append.add_argument("--rounds", type=int, default=5, metavar="N", help="measurements of each, interleaved (5)")
    append.add_argument(
        "--clients", type=int, nargs="+", default=[1, 8], metavar="N", help="processes that append at once (1 8)"
    )
    append.set_defaults(run=bench_append)
    chosen = parser.parse_args()
    if min(chosen.seconds, chosen.rounds, *chosen.clients) <= 0:
        append.error("seconds, rounds and clients must be above 0")
    return chosen


def bench_append(chosen: argparse.Namespace) -> int:
    """0 when the goal is met with every number of clients, 1 when it isn't."""
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
    """To the plain INSERT of the same round: what disturbed the machine in that round has disturbed both."""
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
        print("\nA client died; its message above says why", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
