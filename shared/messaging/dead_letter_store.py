"""What keeps dead letters until somebody has dealt with them, whichever engine is below it; and the one in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from shared.domain.errors import ConcurrencyError, NotFound, Rejected
from shared.messaging.dead_letters import LEASE_SECONDS, SHOWN, Again, DeadLetter, Entry, GivenUp, Status
from shared.messaging.outbox import Publisher, Traffic, added_up


def refuse(letter: DeadLetter | None, wanted: Status) -> int:
    """Say why a letter could not be brought to a status, or 0 when it has it already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    raise ConcurrencyError("somebody is retrying it at this moment; look at it again in a few seconds", ("id",))


class Wanted(NamedTuple):
    """Which pending letters to claim. `without`: those that have had their turn."""

    id: UUID | None = None
    source: str | None = None
    without: Sequence[UUID] = ()


class Trouble(NamedTuple):
    """With one subscription. `pending`: its dead letters that wait for somebody. `at`: when an attempt last failed, of those
    that are not long ago, UTC; `error`: why, None when nobody could say."""

    pending: int = 0
    at: datetime | None = None
    error: str | None = None


class DeadLetters(Protocol):
    """All methods raise Unavailable or TimedOut when the engine doesn't answer."""

    def note_failure(self, subscription: str, message: str, error: str) -> None:
        """Keep why the last attempt to deliver a message failed. `message`: as `recognised` has it."""

    def record(self, given_up: GivenUp) -> None:
        """Keep it, pending, with the error that was noted: once, however often it is delivered. A letter that is there
        already gets one more failure."""

    def load(self, letter_id: UUID) -> DeadLetter | None: ...

    def latest(
        self, limit: int, offset: int = 0, status: Status | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        """The newest first, each with the beginning of its data."""

    def pending(self, source: str | None = None) -> int:
        """How many there are."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """What was recorded, by source, also what has been deleted since. Lately is after `since`, up to `until`."""

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]:
        """Of each."""

    def claim(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """Lease pending letters that nobody else has claimed, the oldest first."""

    def release(self, letters: Sequence[DeadLetter]) -> None: ...

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        """Claimed letters have been published. One that has been given up again since it was claimed stays pending."""

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        """Whether there was such a pending letter that nobody had claimed."""

    def forget_settled(self, before: datetime, limit: int) -> int:
        """Delete letters that were retried or discarded before; how many."""

    def forget_failures(self, before: datetime, limit: int) -> int:
        """Delete what was noted before; how many."""


def publish_again(
    letters: DeadLetters, publisher: Publisher, claimed: Sequence[DeadLetter], ready: Sequence[DeadLetter], by: str
) -> int:
    """Publish those of the claimed letters that are ready; how many were accepted. The others are pending again at once;
    all of them are, later, if this is killed."""
    at, accepted = datetime.now(UTC), set[UUID]()
    try:
        accepted |= {*publisher.publish([Again(letter) for letter in ready])}
        letters.settle([letter for letter in claimed if letter.id in accepted], at, by)
    finally:
        letters.release([letter for letter in claimed if letter.id not in accepted])
    return len(accepted)


_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass
class _Kept:
    letter: DeadLetter
    deliveries: set[str] = field(default_factory=set)
    leased_until: datetime = _LONG_AGO

    def free(self) -> bool:
        return self.letter.status == "PENDING" and self.leased_until < datetime.now(UTC)

    def change(self, *entries: Entry, **fields: Any) -> None:
        history = sorted((*self.letter.history, *entries), key=lambda entry: entry.at)
        self.letter = replace(self.letter, history=history, **fields)


class MemoryDeadLetters:
    def __init__(self) -> None:
        self._lock = RLock()
        self._kept: dict[UUID, _Kept] = {}
        self._failures: dict[tuple[str, str], tuple[datetime, str]] = {}
        self._recorded: list[tuple[str, datetime]] = []

    def note_failure(self, subscription: str, message: str, error: str) -> None:
        with self._lock:
            self._failures[subscription, message] = datetime.now(UTC), error

    def record(self, given_up: GivenUp) -> None:
        new, delivery, message = given_up
        with self._lock:
            kept = self._kept.setdefault(new.id, _Kept(replace(new, attempts=0, version=0)))
            if delivery in kept.deliveries:
                return
            kept.deliveries.add(delivery)
            self._recorded.append((new.source, new.updated_at))
            kept.leased_until = _LONG_AGO
            _, why = self._failures.pop((new.source, message), (None, None))
            version, attempts = kept.letter.version + 1, kept.letter.attempts + new.attempts
            entry = Entry("FAILED", new.updated_at, None, new.attempts, why)
            kept.change(
                entry, status="PENDING", error=why, version=version, attempts=attempts, updated_at=new.updated_at
            )

    def load(self, letter_id: UUID) -> DeadLetter | None:
        with self._lock:
            return self._kept[letter_id].letter if letter_id in self._kept else None

    def latest(
        self, limit: int, offset: int = 0, status: Status | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        newest = [kept.letter for kept in self._found(source) if status in (None, kept.letter.status)][::-1]
        return [replace(letter, data=letter.data[:SHOWN]) for letter in newest[offset : offset + limit]]

    def pending(self, source: str | None = None) -> int:
        return sum(kept.letter.status == "PENDING" for kept in self._found(source))

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        with self._lock:
            return added_up((source, Traffic.of_one(at, since, until)) for source, at in self._recorded)

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]:
        return {one: self._trouble(one) for one in subscriptions}

    def _trouble(self, subscription: str) -> Trouble:
        with self._lock:
            noted: list[tuple[datetime, str | None]] = [
                failure for (source, _), failure in self._failures.items() if source == subscription
            ]
            waiting = [k.letter for k in self._found(subscription) if k.letter.status == "PENDING"]
        noted += [(letter.updated_at, letter.error) for letter in waiting]
        return Trouble(len(waiting), *max(noted, key=lambda one: one[0], default=(None, None)))

    def claim(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        with self._lock:
            free = [k for k in self._found(wanted.source) if k.free() and k.letter.id not in wanted.without]
            claimed = [kept for kept in free if wanted.id in (None, kept.letter.id)][:limit]
            for kept in claimed:
                kept.leased_until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
            return [kept.letter for kept in claimed]

    def release(self, letters: Sequence[DeadLetter]) -> None:
        with self._lock:
            for letter in letters:
                self._kept[letter.id].leased_until = _LONG_AGO

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        with self._lock:
            for letter in letters:
                kept = self._kept[letter.id]
                kept.change(Entry("RETRIED", at, by))
                if (kept.letter.version, kept.letter.status) == (letter.version, "PENDING"):
                    kept.change(status="RETRIED", updated_at=datetime.now(UTC))

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        with self._lock:
            kept = self._kept.get(letter_id)
            if kept is None or not kept.free():
                return False
            now = datetime.now(UTC)
            kept.change(Entry("DISCARDED", now, by, None, reason), status="DISCARDED", updated_at=now)
            return True

    def forget_settled(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [k.letter for k in self._found(None) if k.letter.status != "PENDING" and k.letter.updated_at < before]
            for letter in old[:limit]:
                del self._kept[letter.id]
            return len(old[:limit])

    def forget_failures(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [key for key, (at, _) in self._failures.items() if at < before][:limit]
            for key in old:
                del self._failures[key]
            return len(old)

    def extent(self) -> tuple[int, datetime | None]:
        """How many letters there are, and when the last of them changed."""
        letters = [kept.letter for kept in self._found(None)]
        return len(letters), max((letter.updated_at for letter in letters), default=None)

    def _found(self, source: str | None) -> list[_Kept]:
        """The oldest first."""
        with self._lock:
            return [kept for kept in self._kept.values() if source in (None, kept.letter.source)]
