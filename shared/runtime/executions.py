"""What was asked of the shop and how it went: a history for people, written on the side.

Nothing waits for it and nothing depends on it: entries are collected in the process and written in batches by a thread of
their own; when they come faster than they can be written, the rest is dropped and counted.
"""

import atexit
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any

import structlog

from shared.domain.errors import ShopError, classify
from shared.observability.context import Context
from shared.runtime.execution_store import Execution, Executions, Kind

_log = structlog.get_logger()

_LONGEST = 5000  # characters of what was asked


@dataclass
class Watch:
    """What is found out meanwhile. `results`: how many things a query answered with."""

    subject: str | None = None
    results: int | None = None


@contextmanager
def watched(recorder: "Recorder", kind: Kind, name: str, context: Context, data: Mapping[str, Any]) -> Iterator[Watch]:
    """Record how what is done inside went, and how long it took."""
    watch, started = Watch(), time.perf_counter()
    status, why = "success", None
    try:
        yield watch
    except BaseException as error:
        status = classify(error)[1]
        why = error.message if isinstance(error, ShopError) else type(error).__name__
        raise
    finally:
        took = round((time.perf_counter() - started) * 1000)
        about = {"asked": _short(data), "causationId": context.causation_id, "results": watch.results}
        recorder.record(Execution(kind, name, status, took, context.correlation_id, why, watch.subject, about))


def _short(data: Mapping[str, Any]) -> Any:
    """A history is no place for what could be megabytes."""
    written = json.dumps(data, default=str)
    return json.loads(written) if len(written) <= _LONGEST else None


class Recorder:
    """`sample`: how many of all executions are kept, from 0 to 1. Failures are always kept."""

    def __init__(self, executions: Executions, sample: float = 1.0, every: float = 1.0, room: int = 5000) -> None:
        self._executions = executions
        self._sample = sample
        self._every = every
        self._waiting: Queue[Execution] = Queue(room)
        self._dropped = 0
        self._closing = Event()
        self._writing = Lock()
        self._thread: Thread | None = None

    def record(self, execution: Execution) -> None:
        """Never waits, never fails."""
        if execution.status == "success" and random.random() >= self._sample:
            return
        if self._thread is None:
            self._start()
        try:
            self._waiting.put_nowait(execution)
        except Full:
            self._dropped += 1

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="executions", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def flush(self) -> None:
        """Write what is there. What can't be written is given up and logged."""
        with self._writing:
            while batch := self._batch():
                try:
                    self._executions.write(batch)
                except ShopError as error:
                    self._dropped += len(batch)
                    _log.warning("executions were not kept", count=self._dropped, reason=error.message)
                    return

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
