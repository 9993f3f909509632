"""Play simulated histories of the whole shop, and show those that break a promise.

Without options it plays 2,000 histories. Each has a seed; the same seed is the same history, on
every machine.
"""

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import inf
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from tests.simulation.coverage import never_hit, table
from tests.simulation.history import Outcome, garbage_kept, play
from tests.simulation.saved import Saved, Totals, commit, merged, read
from tests.simulation.shrink import shrink, story
from tests.simulation.tape import load, save

_BATCH = 25
"""Histories that a process plays before it reports."""
PARTS = 8
"""Of the 2,000 histories in the ordinary test run; part n has the seeds n, n + 8, n + 16, ..."""
_BATCHES = 40
"""Batches that a process plays before a new one takes its place: the garbage collector looks at all
that caches keep, so after 30,000 histories each took a third longer."""
LEAST = 25
"""Histories that are played of each part, even on a slow machine."""
_SECONDS = 30.0
"""Of processor, for each part: two minutes for all parts on two processors, in which all histories
are played where one takes 0.12 s."""


def play_batch(seeds: Sequence[int]) -> Totals:
    return _played(seeds, inf)


def _played(seeds: Sequence[int], seconds: float) -> Totals:
    """Play the histories of the seeds, as many as there are seconds of processor for. Collect the
    garbage of each while the processor's cache still has it, and what has outlived that after every
    batch."""
    totals = Totals()
    with garbage_kept(), warnings.catch_warnings():
        # A process that is killed leaves the coroutines that it has only made.
        warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
        for number, seed in enumerate(seeds):
            if totals.processor > seconds and number >= LEAST:
                break
            processor = time.process_time()
            outcome = play(seed)
            gc.collect(0 if (number + 1) % _BATCH else 2)
            broken = {seed: outcome.broken[0]} if outcome.broken else {}
            totals.add(Totals(1, broken, outcome.hits, outcome.marks, time.process_time() - processor))
    return totals


def play_part(part: int) -> Totals:
    """Play a part of the histories of the ordinary test run, as many as its seconds of processor
    allow."""
    return _played(range(part, 2000, PARTS), _SECONDS)


def play_all(seeds: Sequence[int], processes: int) -> Iterator[Totals]:
    """Play the histories of the seeds in several processes. Yield the totals of each batch."""
    batches = [seeds[start : start + _BATCH] for start in range(0, len(seeds), _BATCH)]
    if processes == 1:
        yield from map(play_batch, batches)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, max_tasks_per_child=_BATCHES) as pool:
        yield from pool.map(play_batch, batches)


def _begin() -> None:
    """Import all functions, and keep them out of garbage collections. End this process when its
    parent is killed; it would wait for work for ever."""
    play(None, {})
    gc.collect()
    gc.freeze()
    parent = parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def show(outcome: Outcome, file: Path, shrinking: bool) -> None:
    """Print the story of a history, made small if it is broken, and write its tape."""
    if shrinking and outcome.broken:
        outcome = shrink(outcome)
        save(outcome.choices, file)
        print(f"the tape, {len(outcome.choices)} choices, is in {file}; again: scripts/simulate --tape {file}")
    print("\n".join(story(outcome)))


def many(run: Saved, histories: int, processes: int, file: Path | None = None) -> None:
    """Play the histories that a run still lacks. `file`: where the run is saved after each
    batch."""
    played_by, before, began = commit(), run.wall, time.monotonic()
    for done in play_all(range(run.next, run.first + histories), processes):
        run.totals.add(done)
        run.wall = before + time.monotonic() - began
        run.totals.commits[played_by] += done.histories
        for seed, sentence in done.broken.items():
            print(f"seed {seed} is broken: {sentence}", flush=True)
        if file:
            run.write(file)
            if run.totals.histories % 1000 == 0:
                print(f"{time.strftime('%H:%M')} {summary(run)}", flush=True)


def summary(run: Saved) -> str:
    totals, each = run.totals, run.totals.processor / max(1, run.totals.histories)
    commits = " and ".join(totals.commits)
    return (
        f"{totals.histories:,} histories of {commits} in {run.wall:,.0f} s, {len(totals.broken)} broken, "
        f"{each:.3f} s of processor each"
    )


def report(run: Saved, cover: bool) -> int:
    """Print the run's result. Return 1 when a history is broken or, with `cover`, when something
    was never hit."""
    totals = run.totals
    print(f"{summary(run)}\n")
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
    what.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="add up saved runs of different seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the run after each batch, or go on with it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="(%(default)s)")
    parser.add_argument("--cover", action="store_true", help="fail when something of the coverage table was never hit")
    return parser.parse_args(given)


def main() -> int | str:
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
    try:
        if chosen.merge:
            return report(merged(chosen.merge), chosen.cover)
        run = read(chosen.save, chosen.first) if chosen.save else Saved(chosen.first)
    except ValueError as error:
        return f"simulate: {error}"
    many(run, chosen.histories, chosen.processes, chosen.save)
    return report(run, chosen.cover)


if __name__ == "__main__":
    sys.exit(main())
