"""What was asked of the shop and how it went: a history for people, written on the side.

Nothing waits for it and nothing depends on it: entries are collected in the process and written in batches by a thread of
their own; when they come faster than they can be written, the rest is dropped and counted. How many there were is written
likewise, of all, kept or not, and again until it is taken.
"""

import atexit
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from threading import Event, Lock
from typing import Any

import structlog

from shared.config.manifest import manifest
from shared.domain.errors import ShopError
from shared.monitoring.counts import Batch, Counts, Tally
from shared.monitoring.executions import Execution, Executions, Kind
from shared.observability.context import Context, classify
from shared.resilience import clock

_log = structlog.get_logger()

_LONGEST = 5000  # characters of what was asked


@dataclass
class Watch:
    """What is found out meanwhile. `version`: of the subject's stream after a command. `results`: how many things a query
    answered with."""

    subject: str | None = None
    version: int | None = None
    results: int | None = None


@contextmanager
def watched(recorder: "Recorder", kind: Kind, name: str, context: Context, data: Mapping[str, Any]) -> Iterator[Watch]:
    """Record how what is done inside went, and how long it took."""
    watch, started = Watch(), clock.monotonic()
    status, why = "success", None
    try:
        yield watch
    except BaseException as error:
        status = classify(error)[1]
        why = error.message if isinstance(error, ShopError) else type(error).__name__
        raise
    finally:
        took = round((clock.monotonic() - started) * 1000)
        about = {
            "asked": _short(data),
            "causationId": context.causation_id,
            "results": watch.results,
            "version": watch.version,
        }
        recorder.record(Execution(kind, name, status, took, context.correlation_id, why, watch.subject, about))


def _short(data: Mapping[str, Any]) -> Any:
    """A history is no place for what could be megabytes."""
    written = json.dumps(data, default=str)
    return json.loads(written) if len(written) <= _LONGEST else None


_SUBSCRIPTIONS = {one.name for one in manifest().all_subscriptions}


def _foreseen(execution: Execution) -> str:
    """The name, unless it was chosen by who pushes."""
    return execution.name if execution.kind != "delivery" or execution.name in _SUBSCRIPTIONS else "other"


class Recorder:
    """`sample`: how many of all executions are kept, from 0 to 1. Failures are always kept. `every`: seconds between two
    writes. `room`: for executions that wait to be written."""

    def __init__(
        self, executions: Executions, counts: Counts, sample: float = 1.0, every: float = 1.0, room: int = 5000
    ) -> None:
        self._executions = executions
        self._counts = counts
        self._tallies: dict[tuple[Kind, str], Tally] = {}
        self._tallying = Lock()
        self._unsent = Batch(clock.new_id(), 0, {})
        self._sample = sample
        self._every = every
        self._waiting: Queue[Execution] = Queue(room)
        self._dropped = 0
        self._closing = Event()
        self._writing = Lock()
        self._thread: clock.Joinable | None = None

    def record(self, execution: Execution) -> None:
        """Never waits, never fails."""
        what = execution.kind, _foreseen(execution)
        with self._tallying:
            one = Tally(1, int(execution.status != "success"), execution.milliseconds)
            self._tallies[what] = self._tallies.get(what, Tally()) + one
        if self._thread is None:
            self._start()
        if execution.status == "success" and clock.random() >= self._sample:
            return
        try:
            self._waiting.put_nowait(execution)
        except Full:
            self._dropped += 1

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = clock.thread(self._run, "executions")
                atexit.register(self.close)

    def flush(self) -> None:
        """Write what is there. Executions that can't be written are given up and logged."""
        with self._writing:
            self._write_executions()
            self._write_counts()

    def _write_executions(self) -> None:
        while batch := self._batch():
            try:
                self._executions.write(batch)
            except ShopError as error:
                self._dropped += len(batch)
                _log.warning("executions were not kept", count=self._dropped, reason=error.message)
                return

    def _write_counts(self) -> None:
        """The same batch until it is taken, which may have been before and only the answer was lost."""
        while self._unsent.tallies or self._begun():
            try:
                self._counts.add(self._unsent)
                self._unsent = replace(self._unsent, tallies={})
            except ShopError as error:
                _log.warning("counts are written later", reason=error.message)
                return

    def _begun(self) -> bool:
        """Whether there is a next batch."""
        with self._tallying:
            if self._tallies:
                self._unsent = Batch(self._unsent.counter, self._unsent.number + 1, self._tallies)
                self._tallies = {}
            return bool(self._unsent.tallies)

    def close(self) -> None:
        self._closing.set()
        if self._thread:
            self._thread.join(5)
            atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self._flush_whatever_happens()
        self._flush_whatever_happens()

    def _flush_whatever_happens(self) -> None:
        try:
            self.flush()
        except Exception:
            _log.exception("executions were not kept")

    def _batch(self, most: int = 500) -> list[Execution]:
        batch: list[Execution] = []
        try:
            while len(batch) < most:
                batch.append(self._waiting.get_nowait())
        except Empty:
            return batch
        return batch
