"""Follow the logs of the running shop, all functions together, until Ctrl-C."""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.local import running
from scripts.local.shop import HOME
from shared.config.manifest import manifest

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+)Z \[(\w+) *\] ?")
_FACT = re.compile(r" (\w+)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S*)")
_FIRST = ("status", "path", "command", "message", "schedule", "operation")
_LEFT_OUT = {"function", "correlation_id", "trace", "milliseconds", "method", "seconds", "subscription", "outcome"}
_PAUSE_SECONDS = 0.3


@dataclass
class Entry:
    """A line of a log with the lines that belong to it, such as a traceback. `facts`: its
    key=value pairs."""

    at: str
    level: str
    event: str
    facts: dict[str, str]
    more: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The entry for a reader: what happened first, ids last."""
        known = self.facts
        said = [known[key] for key in _FIRST if known.get(key, "/") != "/"]
        said += [f"{known['milliseconds']} ms"] if "milliseconds" in known else []
        obvious = {"code": "OK", "subject": f"order-{known.get('order')}"}
        facts = {key: value for key, value in known.items() if key not in {*_FIRST, *_LEFT_OUT}}
        said += [f"{key}={value}" for key, value in facts.items() if obvious.get(key) != value]
        level = "" if self.level == "info" else f"{self.level.upper()} "
        about = "" if self.event == "request" else f"{self.event} "
        line = f"{self.at[11:23]}  {known.get('function', '-'):20} {level}{about}{' '.join(said)}"
        return "\n".join([line.rstrip(), *self.more])


def parsed(lines: Iterator[str]) -> Iterator[Entry]:
    """Yield the entries of a log. Lines before the first one belong to none and are skipped."""
    entry: Entry | None = None
    for line in lines:
        if begins := _LINE.match(line):
            if entry:
                yield entry
            rest = line[begins.end() :].rstrip("\n")
            first = _FACT.search(rest)
            event = rest[: first.start()].strip() if first else rest.strip()
            entry = Entry(begins[1], begins[2], event, dict(_FACT.findall(rest[first.start() :] if first else "")))
        elif entry and line.strip():
            entry.more.append(line.rstrip("\n"))
    if entry:
        yield entry


@dataclass
class Wanted:
    """`order`: with all requests that it came from. `correlations`: of these, known so far."""

    function: str | None = None
    order: str | None = None
    schedules: bool = False
    correlations: set[str] = field(default_factory=set)

    def of(self, entries: list[Entry]) -> list[Entry]:
        """Return the wanted entries, by time."""
        if self.order:
            about = [one for one in entries if one.facts.get("order") == self.order]
            self.correlations |= {one.facts["correlation_id"] for one in about if "correlation_id" in one.facts}
        return sorted((one for one in entries if self._wants(one)), key=lambda one: one.at)

    def _wants(self, entry: Entry) -> bool:
        if self.function and entry.facts.get("function") != self.function:
            return False
        if self.order:
            ids = entry.facts.get("order"), entry.facts.get("correlation_id")
            return ids[0] == self.order or (ids[0] is None and ids[1] in self.correlations)
        return self.schedules or bool(self.function) or "schedule" not in entry.facts or entry.facts["code"] != "OK"


class Logs:
    """All logs of a folder. Each call of `new` returns what was written since the last one."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._read = folder, dict[Path, int]()

    def new(self) -> list[Entry]:
        return [entry for file in sorted(self._folder.glob("*.log")) for entry in parsed(iter(self._lines(file)))]

    def _lines(self, file: Path) -> list[str]:
        with file.open("rb") as log:
            log.seek(self._read.get(file, 0))
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]  # the last line may still be being written
        self._read[file] = self._read.get(file, 0) + len(whole)
        return whole.decode(errors="replace").splitlines()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/logs", description=__doc__)
    parser.add_argument("function", nargs="?", metavar="FUNCTION", help="only this function's lines")
    parser.add_argument("--order", metavar="ID", help="only what one order did, in all functions")
    parser.add_argument("--schedules", action="store_true", help="also the calls that succeed every few seconds")
    parser.add_argument("--no-follow", action="store_true", help="print what there is, and end")
    parser.add_argument("--lines", type=int, default=50, metavar="N", help="of the past at most so many (50)")
    parser.add_argument("--port", type=int, metavar="N", help="of the shop, if several run (found by itself)")
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"read the logs of a stopped shop ({HOME.name})")
    chosen = parser.parse_args()
    if chosen.function and chosen.function not in manifest().functions:
        parser.error(f"FUNCTION must be one of functions/manifest.yaml; got {chosen.function!r}")
    return chosen


def main() -> int:
    chosen = arguments()
    home = chosen.data or Path(running.found(chosen.port).data)
    logs, wanted = Logs(home / "logs"), Wanted(chosen.function, chosen.order, chosen.schedules)
    entries = wanted.of(logs.new())
    for entry in entries if chosen.order else entries[-chosen.lines :]:
        print(entry.text)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        while not chosen.no_follow:
            time.sleep(_PAUSE_SECONDS)
            for entry in wanted.of(logs.new()):
                print(entry.text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
