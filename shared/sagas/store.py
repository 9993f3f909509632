"""Saga stores and the log of all sagas. One contract suite runs on every implementation.

A save stores progress, history and outgoing commands together, guarded by the saga's version.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from shared.domain.commands import wire_command
from shared.event_store.protocol import Checkpoint, Moment
from shared.messaging.envelope import Message
from shared.messaging.outbox import Traffic
from shared.postgres.slices import Slice
from shared.sagas.definition import Progress
from shared.sagas.status import SagaGroup, SagaStatus


@dataclass(frozen=True)
class StoredSaga:
    """`version`: 0 before the saga is first saved."""

    type: str
    progress: Progress
    version: int
    correlation_id: str


@dataclass(frozen=True)
class HistoryEntry:
    """`message`: the id of the message that carries a command. `note`: a step that was given up. An
    event has no data here: it may be personal, and the event store has it."""

    kind: Literal["event", "command", "timer", "retry", "note"]
    name: str
    data: dict[str, Any]
    message: UUID | None = None


@dataclass(frozen=True)
class SagaBacklog:
    """`overdue`: sagas whose deadline was not fired. `stuck`: sagas that wait for an admin."""

    overdue: int
    stuck: int


@dataclass(frozen=True)
class HeldUp:
    """How many sagas `held_up` has in all. `overdue`, `repeating`: those that are not `stuck`;
    `repeating` have sent their command again, and their deadline has not passed."""

    stuck: int
    overdue: int
    repeating: int


@dataclass(frozen=True)
class StepCount:
    """How many unfinished sagas have this in their progress."""

    version: int
    steps: tuple[str, ...]
    step: int
    status: SagaStatus
    sagas: int


@dataclass(frozen=True)
class SagaCount:
    """`oldest`: when the oldest of these sagas was first saved, UTC."""

    sagas: int
    oldest: datetime


@dataclass(frozen=True)
class SagaExtent:
    """`statuses`: sagas by status; COMPENSATED is FAILED with steps undone. `entries`: in all."""

    statuses: Mapping[str, int]
    entries: int
    updated_at: datetime | None


@dataclass(frozen=True)
class Sagas:
    """The sagas to list; None matches everything. `started_before`: exclusive. `step`: the command
    of the step that unfinished sagas are at."""

    status: SagaStatus | SagaGroup | None = None
    type: str | None = None
    id: UUID | None = None
    correlation_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    step: str | None = None


ALL = Sagas()


@dataclass(frozen=True)
class ListedSaga:
    """`history`: each entry and when it was saved. Events have no data here: it may be personal."""

    saga: StoredSaga
    created_at: datetime
    updated_at: datetime
    history: Sequence[tuple[datetime, HistoryEntry]]


@dataclass(frozen=True)
class SagaEntry:
    """`saga`: as it was then, on each version's last entry. Entries of events have no data."""

    checkpoint: Checkpoint
    saga_id: UUID
    at: datetime
    entry: HistoryEntry
    saga: ListedSaga | None = None


class SagaStore(Protocol):
    """Every method raises Unavailable when the engine does not answer."""

    def load(self, saga_id: UUID) -> StoredSaga | None: ...

    def load_many(self, saga_ids: Collection[UUID]) -> Mapping[UUID, StoredSaga]:
        """Return the stored sagas among these ids, by id."""

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        """Save version `saga.version + 1`, then hand the messages over for publishing.

        Raise ConcurrencyError when another process has saved that version.
        """

    def postpone(self, message: Message, seconds: float) -> None:
        """Store a message in the saga outbox, to be published by relay_outbox after `seconds`. It
        replaces the one that has its place (see Postponed)."""

    def due(self, now: datetime, limit: int) -> list[UUID]:
        """Return the sagas whose deadline has passed, longest overdue first."""

    def backlog(self, since: datetime) -> SagaBacklog:
        """Count a saga as overdue when its deadline passed at `since` or before."""

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        """Count the sagas of each status; a status without sagas is left out."""

    def history(self, saga_id: UUID) -> list[HistoryEntry]: ...

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]: ...

    def page(self, which: Sagas, part: Slice) -> list[ListedSaga]:
        """Return a slice of the sagas by the time of their start and id."""

    def count(self, which: Sagas) -> int: ...

    def listed(self, saga_id: UUID) -> ListedSaga | None: ...

    def held_up(self, since: datetime, limit: int) -> list[ListedSaga]:
        """Return the sagas that do not go on as they should, those first that moved longest ago.

        These are stuck, or have a deadline that passed at `since` or before and was not fired, or
        have sent their command again: at most `limit` of each.
        """

    def count_held_up(self, since: datetime) -> HeldUp: ...

    def at_steps(self) -> list[StepCount]:
        """Count the unfinished sagas by the step that they are at."""

    def forget_histories(self, before: datetime, limit: int) -> int:
        """Delete history entries of sagas that ended before a moment and return how many.

        The sagas themselves stay, so that a late message does not start one anew.
        """


@wire_command
class RetrySaga:
    id: UUID


@wire_command
class RestartSaga:
    id: UUID
    from_step: str


class SagaLog(Protocol):
    """The histories of all sagas as one log. Every method raises Unavailable and TimedOut."""

    def read_all(self, after: Checkpoint, limit: int) -> list[SagaEntry]:
        """Return the entries after a checkpoint, each saga's versions in their order.

        The order never changes, and no entry is ever added before one that was read, however many
        sagas move at once.
        """

    def end(self) -> Checkpoint:
        """Return the place of the last entry, even if forgotten; Checkpoint() if there was none."""

    def sent(self, commands: Sequence[str], after: Moment | None, limit: int) -> list[SagaEntry]:
        """Return these commands, newest first; with `after`, those sent later, oldest first."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """Count the sent messages of each command; `lately`: after `since`, up to `until`."""
