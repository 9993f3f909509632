"""What keeps dead letters until somebody has dealt with them, whichever engine is below it; and the one in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any
from uuid import UUID

from shared.dead_letters.protocol import (
    LEASE_SECONDS,
    SHOWN,
    DeadLetter,
    GivenUp,
    LetterEntry,
    LetterFilter,
    LetterStatus,
    Trouble,
)
from shared.messaging.outbox import Traffic, added_up
from shared.resilience import clock

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass
class _Kept:
    letter: DeadLetter
    deliveries: set[str] = field(default_factory=set)
    leased_until: datetime = _LONG_AGO

    def free(self) -> bool:
        return self.letter.status == "PENDING" and self.leased_until < clock.now()

    def change(self, *entries: LetterEntry, **fields: Any) -> None:
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
            self._failures[subscription, message] = clock.now(), error

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
            entry = LetterEntry("FAILED", new.updated_at, None, new.attempts, why)
            kept.change(
                entry, status="PENDING", error=why, version=version, attempts=attempts, updated_at=new.updated_at
            )

    def load(self, letter_id: UUID) -> DeadLetter | None:
        with self._lock:
            return self._kept[letter_id].letter if letter_id in self._kept else None

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
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

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        with self._lock:
            free = [k for k in self._found(wanted.source) if k.free() and k.letter.id not in wanted.without]
            claimed = [kept for kept in free if wanted.id in (None, kept.letter.id)][:limit]
            for kept in claimed:
                kept.leased_until = clock.now() + timedelta(seconds=LEASE_SECONDS)
            return [kept.letter for kept in claimed]

    def release(self, letters: Sequence[DeadLetter]) -> None:
        with self._lock:
            for letter in letters:
                self._kept[letter.id].leased_until = _LONG_AGO

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        with self._lock:
            for letter in letters:
                kept = self._kept[letter.id]
                kept.change(LetterEntry("RETRIED", at, by))
                if (kept.letter.version, kept.letter.status) == (letter.version, "PENDING"):
                    kept.change(status="RETRIED", updated_at=clock.now())

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        with self._lock:
            kept = self._kept.get(letter_id)
            if kept is None or not kept.free():
                return False
            now = clock.now()
            kept.change(LetterEntry("DISCARDED", now, by, None, reason), status="DISCARDED", updated_at=now)
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
