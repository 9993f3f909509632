"""What a comparison of two generations with the events has found, as far as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Side:
    """One generation, or what the events make, in a comparison: its documents, the events that they
    have applied, and their digest. `different`: how many documents, totals included, are not what
    the events make; `unknown` of these belong to no stream."""

    documents: int = 0
    events: int = 0
    digest: str = ""
    different: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Comparison:
    """The comparison of both generations with what the events make.

    - `run`: its number. `since`, `ended`: when it began and ended, UTC.
    - `places`: the position of the last event whose stream is in a partition, by aggregate.
    - `partitions`: how many there are. `rounds`: how often those that differed have been compared
      again, because a delivery may have been late.
    - `streams`, `fold`, `live`, `other`: what it found. `found_in`: how many documents the live and
      the other generation had when it began, None before.
    - `not_compared`: partitions without a result. `totals`: whether totals were compared, too.
    """

    run: int
    since: datetime
    ended: datetime | None = None
    places: Mapping[str, int] = field(default_factory=dict)
    partitions: int = 0
    rounds: int = 0
    streams: int = 0
    fold: Side = Side()
    live: Side = Side()
    other: Side = Side()
    found_in: tuple[int, int] | None = None
    not_compared: int = 0
    totals: bool = True

    @property
    def is_equal(self) -> bool:
        """Return whether the other generation is what the events make."""
        return bool(self.ended and self.totals and not (self.other.different or self.not_compared))
