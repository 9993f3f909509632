"""The last run of each scheduled function."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.auth.identity import in_the_cloud
from shared.config.manifest import Function, manifest
from shared.monitoring.counts import ExecutionTotals, Tally
from shared.monitoring.executions import ExecutionFilter, Executions
from shared.monitoring.reports import age

_LATE_SECONDS = 60.0
"""How late a run is at least when it is reported."""


@dataclass(frozen=True)
class Run:
    """The runs of one scheduled function. `succeeded_at`: of the last success, `failed_at`: of the
    last failure, both UTC; None when there was none."""

    function: Function
    runs: int
    failures: int
    succeeded_at: datetime | None
    failed_at: datetime | None
    last_error: str | None

    @property
    def seconds(self) -> float:
        """Return the time between two runs."""
        assert self.function.schedule
        return self.function.schedule.seconds(in_the_cloud())

    @property
    def last_run_at(self) -> datetime | None:
        return max((at for at in (self.succeeded_at, self.failed_at) if at), default=None)

    def status(self, watching_since: datetime) -> Literal["OK", "FAILING", "LATE", "UNKNOWN"]:
        """`watching_since`: from when a run would have been seen."""
        if age(self.last_run_at or watching_since) > max(_LATE_SECONDS, 3 * self.seconds):
            return "LATE"
        if self.last_run_at is None:
            return "UNKNOWN"
        return "OK" if self.last_run_at == self.succeeded_at else "FAILING"


def runs(executions: Executions, executed: ExecutionTotals) -> list[Run]:
    """Return the runs of every scheduled function."""
    found = []
    for function in manifest().functions.values():
        if function.schedule:
            tally = executed.ever.get(("run", function.name), Tally())
            failed = executions.find(ExecutionFilter("run", function.name, limit=1)) if tally.errors else []
            failed_at, error = (failed[0].recorded_at, failed[0].error) if failed else (None, None)
            found.append(Run(function, tally.count, tally.errors, tally.succeeded_at, failed_at, error))
    return found
