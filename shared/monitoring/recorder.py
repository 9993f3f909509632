"""Record what was asked of the shop, and with what result, without delaying any request."""

import atexit
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock
from typing import Any, Literal

import structlog

from shared.domain.errors import ShopError
from shared.domain.personal import masked
from shared.monitoring.counts import Batch, Counts, Tallies, Tally
from shared.monitoring.executions import Execution, Executions, Kind, NotStorable
from shared.monitoring.metrics import count, label_values
from shared.observability.context import Context
from shared.observability.error_codes import status_and_code
from shared.resilience import clock
from shared.resilience.calls import Postponed

_log = structlog.get_logger()

_LONGEST = 5000  # characters of JSON that the history keeps of what the caller sent


@dataclass
class Watch:
    """What the handler finds out. `version`: of the subject's stream after a command. `results`:
    how many things a query answered with."""

    subject: str | None = None
    version: int | None = None
    results: int | None = None


@contextmanager
def watched(recorder: "Recorder", kind: Kind, name: str, context: Context, data: Mapping[str, Any]) -> Iterator[Watch]:
    """Record the result and the duration of the block, unless it is Postponed. `data`: what the
    caller sent."""
    watch, started = Watch(), clock.monotonic()
    status, reason, waits = "success", None, False
    try:
        yield watch
    except BaseException as error:
        status, waits = status_and_code(error)[1], isinstance(error, Postponed)
        reason = error.message if isinstance(error, ShopError) else type(error).__name__
        raise
    finally:
        took = round((clock.monotonic() - started) * 1000)
        if not waits and recorder.count(kind, name, status, took):
            about = _about(watch, context, masked(data)) | (_of_operation(context, data) if kind == "operation" else {})
            recorder.keep(Execution(kind, name, status, took, context.correlation_id, reason, watch.subject, about))


def _about(watch: Watch, context: Context, data: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"asked": _short(data), "causationId": context.causation_id}
    return asked | {"results": watch.results, "version": watch.version, "trace": context.trace_id}


def _of_operation(context: Context, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return which admin did it, and what with: the reason is the admin's, not a customer's."""
    reason = {"reason": data["reason"]} if "reason" in data else {}
    return {"by": context.actor, "asked": _short(masked(data) | reason)}


def _short(data: Mapping[str, Any]) -> Any:
    """Return the data as JSON; None when it is too long for a history."""
    written = json.dumps(data, default=str, ensure_ascii=False)
    return json.loads(written) if len(written) <= _LONGEST else None


class Recorder:
    """Collects executions in memory and writes them in batches from a thread of its own.

    - No request waits for it and no request fails because of it.
    - The history is lossy: successes are sampled, and executions are dropped, and counted as such,
      when the queue is full, the store fails or the store cannot hold them.
    - The counts are exact: every execution is counted, in the history or not, and a batch of counts
      is sent again until the store has it. Only a process that is killed loses its last second.
    - A batch with a value that the store cannot hold is taken apart, so only that entry is dropped.
    - Memory is bounded: at most `queue_size` executions, and one tally per kind and known name.

    `stores`: makes them at the first write, in the recorder's thread, so that no first answer waits
    for a database. `sample`: the share of successes that are written, from 0 to 1; failures always
    are, and successful runs of scheduled functions never: there is one every few seconds, and they
    are counted. `every`: seconds between two writes.
    """

    def __init__(
        self,
        stores: Callable[[], tuple[Executions, Counts]],
        sample: float = 1.0,
        every: float = 1.0,
        queue_size: int = 5000,
    ) -> None:
        self._make_stores = stores
        self._sample, self._every = sample, every
        self._queue, self._queue_size = deque[Execution](), queue_size
        self._unwritten: list[list[Execution]] = []
        self._tallies: dict[tuple[Kind, str], Tally] = {}
        self._tallying = Lock()
        self._refused = 0
        self._counter, self._batches = clock.new_id(), itertools.count(1)
        self._unsent: list[Batch] = []
        self._closing = Event()
        self._writing = Lock()
        self._thread: clock.Joinable | None = None

    def record(self, execution: Execution) -> None:
        """Count an execution and queue it for the history. Never wait, never fail."""
        if self.count(execution.kind, execution.name, execution.status, execution.milliseconds):
            self.keep(execution)

    def count(self, kind: Kind, name: str, status: str, milliseconds: int) -> bool:
        """Count an execution. Return whether it belongs in the history. Never wait, never fail."""
        made_up = kind == "delivery" and name not in label_values()["subscription"]
        key = kind, "other" if made_up else name  # a caller may make up subscriptions
        with self._tallying:
            tally = Tally(1, int(status != "success"), milliseconds)
            self._tallies[key] = self._tallies.get(key, Tally()) + tally
        if self._thread is None:
            self._start()
        return status != "success" or not (kind == "run" or self._leaves_out(kind))

    def keep(self, execution: Execution) -> None:
        """Queue an execution for the history. Never wait, never fail."""
        if len(self._queue) < self._queue_size:
            self._queue.append(execution)
        else:
            with self._tallying:
                self._refused += 1

    def _leaves_out(self, kind: Kind) -> bool:
        """Return whether the sample leaves a success out; an admin's operation is always
        recorded."""
        return kind != "operation" and clock.random() >= self._sample

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = clock.thread(self._run, "executions")
                atexit.register(self.close)

    @cached_property
    def _stores(self) -> tuple[Executions, Counts]:
        made = self._make_stores()
        atexit.unregister(self.close)
        atexit.register(self.close)  # runs before what closes the stores, which was registered just now
        return made

    def flush(self) -> None:
        """Write what is queued and counted."""
        with self._writing:
            self._report_refused()
            self._write_executions()
            self._write_counts()

    def _report_refused(self) -> None:
        """Count and log the executions that the full queue refused, in one line: there may be
        thousands in a second."""
        with self._tallying:
            refused, self._refused = self._refused, 0
        if refused:
            _count_lost("history", "FULL", refused)

    def _write_executions(self) -> None:
        while batches := self._unwritten or self._next_executions():
            batch = batches.pop(0)
            try:
                self._stores[0].write(batch)
            except NotStorable as error:
                if len(batch) > 1:
                    half = len(batch) // 2
                    batches += [batch[:half], batch[half:]]
                else:
                    _drop("history", 1, error)
            except Exception as error:  # the next executions are tried at the next write
                _drop("history", len(batch), error)
                return

    def _next_executions(self, most: int = 500) -> list[list[Execution]]:
        batch = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        self._unwritten = [batch] if batch else []
        return self._unwritten

    def _write_counts(self) -> None:
        """Send the same batch until the store has confirmed it: perhaps only the answer was
        lost."""
        while batches := self._unsent or self._next_counts():
            tallies = batches[0].tallies
            try:
                self._stores[1].add(batches[0])
                del batches[0]
            except NotStorable as error:
                del batches[0]
                if len(tallies) > 1:
                    batches += [self._batch({key: tally}) for key, tally in tallies.items()]
                else:
                    _drop("counts", sum(tally.count for tally in tallies.values()), error)
            except Exception as error:  # the counts stay until the store has them
                _log.warning("counts are written later", reason=repr(error))
                return

    def _next_counts(self) -> list[Batch]:
        with self._tallying:
            self._unsent = [self._batch(self._tallies)] if self._tallies else []
            self._tallies = {}
        return self._unsent

    def _batch(self, tallies: Tallies) -> Batch:
        return Batch(self._counter, next(self._batches), tallies)

    def close(self) -> None:
        """Write what is left, within 5 seconds."""
        self._closing.set()
        if self._thread:
            self._thread.join(5)
            atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self.flush()
        self.flush()


def _drop(part: Literal["history", "counts"], number: int, error: Exception) -> None:
    """Count the executions that are lost, and log why."""
    reason = (
        "MALFORMED" if isinstance(error, NotStorable) else "UNAVAILABLE" if isinstance(error, ShopError) else "FAILED"
    )
    _count_lost(part, reason, number, error=repr(error))


def _count_lost(part: Literal["history", "counts"], reason: str, number: int, **more: str) -> None:
    count("shop_executions_dropped_total", part, reason, by=number)
    _log.warning("executions are lost", part=part, reason=reason, count=number, **more)
