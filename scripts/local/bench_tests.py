"""Time the whole test run, and add up the processor time of all its processes by what they are."""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil

from scripts.local.processes import CannotStart
from shared.config.manifest import ROOT

GOALS: Mapping[str, float] = {"--quick": 1.0, "": 9.0}
"""Options of scripts/test, and the most minutes that it may take with them."""
_EVERY = 1.0
"""Seconds between two looks at the processes. What ends in between is counted up to the last
look."""

_KINDS = (
    ("PostgreSQL", r"postgres"),
    ("Google's emulators", r"java|gcloud"),
    ("the browser", r"chrom"),
    ("the console's build and checks", r"scripts\.local\.console|/node|esbuild|npm"),
    ("lint, types and layers", r"mypy|ruff|lint-imports"),
    ("the simulation", r"tests\.simulation"),
    ("the tests", r"pytest|execnet|exec\(eval"),
    ("the shop and its functions", r"python"),
)
"""What processes are, by the first expression that their command lines match."""


class Run(NamedTuple):
    """`seconds`: from start to end. `processor`: seconds of processor time by kind of process."""

    seconds: float
    processor: Mapping[str, float]


def kind_of(command_line: str) -> str:
    """Return what a process is."""
    return next((kind for kind, form in _KINDS if re.search(form, command_line)), "others")


def measure(options: Sequence[str]) -> Run:
    """Run scripts/test. Raise CannotStart when a check fails."""
    began, since = time.monotonic(), time.time()
    seen, alive = dict[psutil.Process, tuple[str, float]](), set[psutil.Process]()
    with subprocess.Popen([sys.executable, "-m", "scripts.local.check", *options], cwd=ROOT) as run:
        root = psutil.Process(run.pid)
        while run.poll() is None:
            found = alive.union([root], root.children(recursive=True), servers(since))
            alive = {one for one in found if _is_seen(one, seen)}
            time.sleep(_EVERY)
    if run.returncode:
        raise CannotStart(f"scripts/test {' '.join(options)} failed, see above")
    processor = defaultdict[str, float](float)
    for kind, seconds in seen.values():
        processor[kind] += seconds
    return Run(time.monotonic() - began, processor)


def servers(since: float) -> list[psutil.Process]:
    """Return PostgreSQL's processes that began after a moment, whoever started them: its servers
    leave the tree."""
    found = psutil.process_iter(["name", "create_time"])
    return [one for one in found if one.info["name"] == "postgres" and one.info["create_time"] >= since]


def _is_seen(process: psutil.Process, seen: dict[psutil.Process, tuple[str, float]]) -> bool:
    """Note what a process is and has used. Return False when it has ended."""
    try:
        times = process.cpu_times()
        kind = kind_of(" ".join(process.cmdline())) if process not in seen else seen[process][0]
    except psutil.NoSuchProcess:
        return False
    seen[process] = kind, times.user + times.system
    return True


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
