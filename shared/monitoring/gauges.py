"""Keep once a minute, for a day, what waits in the shop, so that people see since when it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.monitoring.metrics import Sample
from shared.read_models.documents import READ_MODELS


@dataclass(frozen=True)
class Gauges:
    """What waited in the minute that begins at `minute`, UTC. None: a store did not answer.

    `lag_seconds`, `lag_streams`: each the largest of all read models. `outbox_waiting`: messages in
    both outboxes. `sagas_started` and the others: sagas with this status. metrics.yaml says what
    the numbers mean.
    """

    minute: datetime
    lag_seconds: float | None = None
    lag_streams: int | None = None
    outbox_waiting: int | None = None
    sagas_started: int | None = None
    sagas_compensating: int | None = None
    sagas_stuck: int | None = None


def gauges(at: datetime, samples: Sequence[Sample]) -> Gauges:
    """Return the gauges of the minute of `at`. What is the largest or the sum of several numbers is
    None when one of them is missing."""
    seconds = _values(samples, "shop_projection_lag_seconds", len(READ_MODELS))
    streams = _values(samples, "shop_projection_lag_streams", len(READ_MODELS))
    waiting = _values(samples, "shop_outbox_messages", 2)
    sagas = {one.labels[0]: int(one.value) for one in samples if one.metric == "shop_sagas"}
    return Gauges(
        minute=at.replace(second=0, microsecond=0),
        lag_seconds=max(seconds) if seconds else None,
        lag_streams=int(max(streams)) if streams else None,
        outbox_waiting=int(sum(waiting)) if waiting else None,
        sagas_started=sagas.get("STARTED"),
        sagas_compensating=sagas.get("COMPENSATING"),
        sagas_stuck=sagas.get("STUCK"),
    )


def _values(samples: Sequence[Sample], metric: str, number: int) -> list[float]:
    """Return the values of all series of a metric; none unless there are `number`."""
    values = [one.value for one in samples if one.metric == metric]
    return values if len(values) == number else []


class GaugeHistory(Protocol):
    """All methods raise Unavailable and TimedOut."""

    def keep(self, gauges: Gauges) -> None:
        """Keep the gauges of a minute, unless there are some of that minute already."""

    def since(self, moment: datetime) -> Sequence[Gauges]:
        """Return the gauges of the minutes since a moment, the oldest first. A minute in which none
        were kept is missing."""

    def forget(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` older minutes; return how many were deleted."""
