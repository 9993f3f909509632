"""The result of a long run in a file, so that a run which was killed goes on where it stopped, and
runs of several machines are added up."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.config.manifest import ROOT


@dataclass
class Totals:
    """What histories have shown. `broken`: the seeds of broken histories, each with its first
    sentence. `processor`: seconds of processor. `commits`: how many histories each commit of the
    code has played."""

    histories: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    processor: float = 0.0
    commits: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Totals") -> None:
        self.histories += other.histories
        self.broken |= other.broken
        self.hits.update(other.hits)
        self.marks.update(other.marks)
        self.processor += other.processor
        self.commits.update(other.commits)


@dataclass
class Saved:
    """A run whose seeds begin with `first` and follow each other. `wall`: seconds on the clock."""

    first: int
    totals: Totals = field(default_factory=Totals)
    wall: float = 0.0

    @property
    def next(self) -> int:
        """Return the first seed that has not been played."""
        return self.first + self.totals.histories

    def write(self, file: Path) -> None:
        """Replace the file at once, so that a process that is killed leaves a whole one."""
        totals = self.totals
        fields = {
            "first": self.first,
            "histories": totals.histories,
            "processor_seconds": round(totals.processor, 1),
            "wall_seconds": round(self.wall, 1),
            "commits": totals.commits,
            "broken": totals.broken,
            "hits": sorted([port, way, times] for (port, way), times in totals.hits.items()),
            "marks": dict(sorted(totals.marks.items())),
        }
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps(fields, indent=1) + "\n")
        os.replace(new, file)


def read(file: Path, first: int = 0) -> Saved:
    """Return the run in the file, or a new one without a file. Raise ValueError when the file's run
    begins with another seed than `first`."""
    if not file.exists():
        return Saved(first)
    saved = _read(file)
    if saved.first != first:
        raise ValueError(f"{file} begins with seed {saved.first}, not {first}; pass --first {saved.first}")
    return saved


def merged(files: Sequence[Path]) -> Saved:
    """Return the sum of the runs. Raise ValueError when two of them have played the same seed."""
    runs = sorted((_read(file) for file in files), key=lambda run: run.first)
    total = Saved(runs[0].first)
    for before, run in zip([None, *runs], runs, strict=False):
        if before and run.first < before.next:
            raise ValueError(f"seed {run.first} was played by two of the runs; merge runs of different seeds")
        total.totals.add(run.totals)
        total.wall += run.wall
    return total


def _read(file: Path) -> Saved:
    fields = json.loads(file.read_text())
    totals = Totals(
        fields["histories"],
        {int(seed): sentence for seed, sentence in fields["broken"].items()},
        Counter({(port, way): times for port, way, times in fields["hits"]}),
        Counter(fields["marks"]),
        fields["processor_seconds"],
        Counter(fields["commits"]),
    )
    return Saved(fields["first"], totals, fields["wall_seconds"])


def commit() -> str:
    """Return the commit of this code, with `+` when files differ from it."""
    described = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    done = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
