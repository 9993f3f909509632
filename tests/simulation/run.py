"""Play simulated histories of the whole shop, and show those that break a promise.

Without options it plays 2,000 histories. Each has a seed; the same seed is the same history, on
every machine.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.coverage import never_hit, table
from tests.simulation.history import Outcome, play
from tests.simulation.shrink import shrink, story
from tests.simulation.tape import load, save

_BATCH = 25
"""Histories that a process plays before it reports."""
PARTS = 8
"""Of the 2,000 histories in the ordinary test run; part n has the seeds n, n + 8, n + 16, ..."""
LEAST = 25
"""Histories that are played of each part, even on a slow machine."""
_SECONDS = 25.0
"""For each part; a machine with two idle processors of 2024 plays all its histories meanwhile."""


@dataclass
class Totals:
    """`broken`: the seeds of broken histories, each with its first sentence."""

    histories: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Totals") -> None:
        self.histories += other.histories
        self.broken |= other.broken
        self.hits += other.hits
        self.marks += other.marks


def play_batch(seeds: Sequence[int]) -> Totals:
    totals = Totals()
    for seed in seeds:
        outcome = play(seed)
        broken = {seed: outcome.broken[0]} if outcome.broken else {}
        totals.add(Totals(1, broken, outcome.hits, outcome.marks))
    return totals


def play_part(part: int) -> Totals:
    """Play a part of the histories of the ordinary test run, as many as there is time for."""
    began, totals = time.monotonic(), Totals()
    for seed in range(part, 2000, PARTS):
        if time.monotonic() - began > _SECONDS and totals.histories >= LEAST:
            break
        totals.add(play_batch([seed]))
    return totals


def play_all(seeds: Sequence[int], processes: int) -> Iterator[Totals]:
    """Play the histories of the seeds in several processes. Yield the totals of each batch."""
    batches = [seeds[start : start + _BATCH] for start in range(0, len(seeds), _BATCH)]
    if processes == 1:
        yield from map(play_batch, batches)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(play_batch, batches)


def show(outcome: Outcome, file: Path, shrinking: bool) -> None:
    """Print the story of a history, made small if it is broken, and write its tape."""
    if shrinking and outcome.broken:
        outcome = shrink(outcome)
        save(outcome.choices, file)
        print(f"the tape, {len(outcome.choices)} choices, is in {file}; again: scripts/simulate --tape {file}")
    print("\n".join(story(outcome)))


def many(first: int, histories: int, processes: int, cover: bool) -> int:
    """Play histories; return 1 when one is broken or, with `cover`, when a mark was never hit."""
    began, totals = time.monotonic(), Totals()
    for done in play_all(range(first, first + histories), processes):
        totals.add(done)
        for seed, sentence in done.broken.items():
            print(f"seed {seed} is broken: {sentence}", flush=True)
    seconds = time.monotonic() - began
    print(f"{totals.histories:,} histories in {seconds:.0f} s, {len(totals.broken)} broken\n")
    print("\n".join(table(totals.hits, totals.marks)))
    missing = never_hit(totals.hits, totals.marks) if cover else []
    if missing:
        print(f"\nnever hit: {', '.join(missing)}")
    if totals.broken:
        seed = min(totals.broken)
        show(play(seed), Path(f"simulation-{seed}.json"), shrinking=True)
    return 1 if totals.broken or missing else 0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/simulate", description=__doc__.split("\n\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seed", type=int, help="tell the history of this seed, made small if it is broken")
    what.add_argument("--tape", type=Path, help="tell the history of a tape")
    what.add_argument("--histories", type=int, default=2000, help="how many to play (%(default)s)")
    what.add_argument("--mutant", metavar="NAME", help="plant this fault and tell the first history that it breaks")
    what.add_argument("--mutants", action="store_true", help="prove that each planted fault is found")
    parser.add_argument("--first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="(%(default)s)")
    parser.add_argument("--cover", action="store_true", help="fail when something of the coverage table was never hit")
    return parser.parse_args(given)


def main() -> int:
    chosen = arguments()
    if chosen.mutant is not None:
        from tests.simulation.mutants import tell

        return tell(chosen.mutant)
    if chosen.mutants:
        from tests.simulation.mutants import prove_all

        return prove_all(chosen.processes)
    if chosen.tape or chosen.seed is not None:
        outcome = play(None, load(chosen.tape)) if chosen.tape else play(chosen.seed)
        show(outcome, Path(f"simulation-{chosen.seed}.json"), shrinking=not chosen.tape)
        return 1 if outcome.broken else 0
    return many(chosen.first, chosen.histories, chosen.processes, chosen.cover)


if __name__ == "__main__":
    sys.exit(main())
