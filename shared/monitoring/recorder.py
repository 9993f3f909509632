"""Record what was asked of the shop, and with what result, without delaying any request."""

import atexit
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
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

_LONGEST = 5000  # characters of JSON that the history keeps of what the caller sent


@dataclass
class Watch:
    """What the handler finds out. `version`: of the subject's stream after a command. `results`: how
    many things a query answered with."""

    subject: str | None = None
    version: int | None = None
    results: int | None = None


@contextmanager
def watched(recorder: "Recorder", kind: Kind, name: str, context: Context, data: Mapping[str, Any]) -> Iterator[Watch]:
    """Record the result and the duration of the block. `data`: what the caller sent."""
    watch, started = Watch(), clock.monotonic()
    status, reason = "success", None
    try:
        yield watch
    except BaseException as error:
        status = classify(error)[1]
        reason = error.message if isinstance(error, ShopError) else type(error).__name__
        raise
    finally:
        took = round((clock.monotonic() - started) * 1000)
        about = {"asked": _short(data), "causationId": context.causation_id}
        about |= {"results": watch.results, "version": watch.version}
        recorder.record(Execution(kind, name, status, took, context.correlation_id, reason, watch.subject, about))


def _short(data: Mapping[str, Any]) -> Any:
    """Return the data as JSON; None when it is too long for a history."""
    written = json.dumps(data, default=str)
    return json.loads(written) if len(written) <= _LONGEST else None


@cache
def _subscriptions() -> set[str]:
    return {subscription.name for subscription in manifest().all_subscriptions}


def _counted_name(execution: Execution) -> str:
    """Return the execution's name; `other` for a subscription that only the caller made up."""
    return execution.name if execution.kind != "delivery" or execution.name in _subscriptions() else "other"


class Recorder:
    """Collects executions in memory and writes them in batches from a thread of its own.

    - No request waits for it and no request fails because of it.
    - The history is lossy: successes are sampled, and an execution is dropped, and the dropped ones
      are counted and logged, when the queue is full or the store fails.
    - The counts are exact: every execution is counted, in the history or not, and a batch of counts
      is sent again until the store has it. Only a process that is killed loses its last second.
    - Memory is bounded: at most `queue_size` executions, and one tally per kind and known name.

    `sample`: the share of successes that are written, from 0 to 1; failures always are. `every`:
    seconds between two writes.
    """

    def __init__(
        self, executions: Executions, counts: Counts, sample: float = 1.0, every: float = 1.0, queue_size: int = 5000
    ) -> None:
        self._executions = executions
        self._counts = counts
        self._tallies: dict[tuple[Kind, str], Tally] = {}
        self._tallying = Lock()
        self._unsent = Batch(clock.new_id(), 0, {})
        self._sample = sample
        self._every = every
        self._queue: Queue[Execution] = Queue(queue_size)
        self._dropped = 0
        self._closing = Event()
        self._writing = Lock()
        self._thread: clock.Joinable | None = None

    def record(self, execution: Execution) -> None:
        """Count an execution and queue it for the history. Never wait, never fail."""
        key = execution.kind, _counted_name(execution)
        with self._tallying:
            tally = Tally(1, int(execution.status != "success"), execution.milliseconds)
            self._tallies[key] = self._tallies.get(key, Tally()) + tally
        if self._thread is None:
            self._start()
        if execution.status == "success" and clock.random() >= self._sample:
            return
        try:
            self._queue.put_nowait(execution)
        except Full:
            self._dropped += 1

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = clock.thread(self._run, "executions")
                atexit.register(self.close)

    def flush(self) -> None:
        """Write what is queued and counted. Executions that can't be written are dropped and logged."""
        with self._writing:
            self._write_executions()
            self._write_counts()

    def _write_executions(self) -> None:
        while batch := self._next_executions():
            try:
                self._executions.write(batch)
            except ShopError as error:
                self._dropped += len(batch)
                _log.warning("executions were not kept", count=self._dropped, reason=error.message)
                return

    def _next_executions(self, most: int = 500) -> list[Execution]:
        batch: list[Execution] = []
        with suppress(Empty):
            while len(batch) < most:
                batch.append(self._queue.get_nowait())
        return batch

    def _write_counts(self) -> None:
        """Send the same batch until the store has confirmed it: perhaps only the answer was lost."""
        while self._has_unsent():
            try:
                self._counts.add(self._unsent)
                self._unsent = replace(self._unsent, tallies={})
            except ShopError as error:
                _log.warning("counts are written later", reason=error.message)
                return

    def _has_unsent(self) -> bool:
        """Return whether there is a batch to send, beginning the next one if necessary."""
        with self._tallying:
            if self._tallies and not self._unsent.tallies:
                self._unsent = Batch(self._unsent.counter, self._unsent.number + 1, self._tallies)
                self._tallies = {}
            return bool(self._unsent.tallies)

    def close(self) -> None:
        """Write what is left, within 5 seconds."""
        self._closing.set()
        if self._thread:
            self._thread.join(5)
            atexit.unregister(self.close)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._every)
            try:
                self.flush()
            except Exception:
                _log.exception("executions were not kept")
