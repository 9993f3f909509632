"""Where sagas are kept: progress, history and outgoing commands in one transaction, guarded by the saga's version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from pydantic import TypeAdapter

from shared.domain.commands import wire_command
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import Message
from shared.messaging.outbox import Traffic
from shared.sagas.definition import Progress, SagaStatus

_PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True)
class StoredSaga:
    """`version`: 0 for one that has never been saved."""

    type: str
    progress: Progress
    version: int
    correlation_id: str


@dataclass(frozen=True)
class HistoryEntry:
    """`message`: the id of the message that carries a command."""

    kind: Literal["event", "command", "timer", "retry"]
    name: str
    data: dict[str, Any]
    message: UUID | None = None


@dataclass(frozen=True)
class SagaBacklog:
    """`overdue`: sagas whose deadline nobody has fired. `stuck`: those that wait for a person."""

    overdue: int
    stuck: int


@dataclass(frozen=True)
class SagaCount:
    """`oldest`: when the one that began first was saved first, UTC."""

    sagas: int
    oldest: datetime


@dataclass(frozen=True)
class SagaExtent:
    """`statuses`: how many sagas have each, a FAILED one that had something to undo as COMPENSATED. `entries`: of all their
    histories."""

    statuses: Mapping[str, int]
    entries: int
    updated_at: datetime | None


ENTRIES = TypeAdapter(list[tuple[datetime, HistoryEntry]])


class Sagas(NamedTuple):
    """Which to list; None: whatever it is."""

    status: SagaStatus | None = None
    type: str | None = None


ALL = Sagas()


@dataclass(frozen=True)
class ListedSaga:
    """`history`: what it saw and sent, and when; of events only the names."""

    saga: StoredSaga
    created_at: datetime
    updated_at: datetime
    history: Sequence[tuple[datetime, HistoryEntry]]


@dataclass(frozen=True)
class SagaEntry:
    """One entry of the log of all sagas. `saga`: what it had come to, where this is the last entry of a version. Of events
    only the names."""

    checkpoint: Checkpoint
    saga_id: UUID
    at: datetime
    entry: HistoryEntry
    saga: ListedSaga | None = None


class SagaStore(Protocol):
    def load(self, saga_id: UUID) -> StoredSaga | None: ...

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        """Save as the version after `saga.version`, then hand the messages over for publishing.

        Raises ConcurrencyError when it has been saved meanwhile, Unavailable when the engine doesn't answer.
        """

    def due(self, now: datetime, limit: int) -> list[UUID]:
        """Sagas whose deadline has passed, longest overdue first."""

    def backlog(self, since: datetime) -> SagaBacklog:
        """`since`: a deadline that passed before it is overdue. Raises Unavailable."""

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        """Of each status that any has. Raises Unavailable."""

    def history(self, saga_id: UUID) -> list[HistoryEntry]: ...

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]: ...

    def listed(self, saga_id: UUID) -> ListedSaga | None: ...

    def forget_histories(self, before: datetime, limit: int) -> int:
        """Delete entries of sagas that ended before; how many. The sagas stay, so that no late message starts one anew."""


@wire_command
class RetrySaga:
    id: UUID


class SagaLog(Protocol):
    """Raises Unavailable and TimedOut."""

    def read_all(self, after: Checkpoint, limit: int) -> list[SagaEntry]:
        """What comes after a checkpoint, in an order that never changes and to which nothing is ever added behind what has
        been read, however many sagas move at once. A saga's versions come in their order."""

    def end(self) -> Checkpoint:
        """The place of the last entry that read_all gives at this moment, or gave before it was forgotten; where there was
        none, before all."""

    def sent(self, commands: Sequence[str], after: datetime | None, limit: int) -> list[SagaEntry]:
        """Of these commands by when they were sent: the newest first, or after a moment the oldest first."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """By command. Lately is after `since`, up to `until`."""
