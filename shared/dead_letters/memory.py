"""Dead letters in memory, for tests and for `scripts/dev --memory`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any
from uuid import UUID

from shared.dead_letters.failures import Cause, Failure, LetterCause, OpenBreaker, Trouble
from shared.dead_letters.protocol import (
    DeadLetter,
    LetterDelivery,
    LetterEntry,
    LetterFilter,
    Letters,
    LetterStatus,
    fingerprint_of,
    letter_id,
)
from shared.messaging.outbox import LEASE_SECONDS, Traffic, added_up
from shared.postgres.slices import Slice
from shared.resilience import clock

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass
class _Stored:
    letter: DeadLetter
    deliveries: set[str] = field(default_factory=set)
    leased_until: datetime = _LONG_AGO

    def is_claimable(self, wanted: LetterFilter) -> bool:
        if self.letter.status != "PENDING" or self.leased_until >= clock.now() or self.letter.id in wanted.without:
            return False
        return (
            wanted.id in (None, self.letter.id)
            and wanted.source in (None, self.letter.source)
            and wanted.cause in (None, _cause_of(self.letter))
        )

    def change(self, *entries: LetterEntry, **fields: Any) -> None:
        history = sorted((*self.letter.history, *entries), key=lambda entry: entry.at)
        self.letter = replace(self.letter, history=history, **fields)


class MemoryDeadLetters:
    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self._lease = timedelta(seconds=lease_seconds)
        self._lock = RLock()
        self._stored: dict[UUID, _Stored] = {}
        self._failures: dict[tuple[str, str], Failure] = {}
        self._recorded: list[tuple[str, datetime]] = []

    def note_failure(self, subscription: str, fingerprint: str, error: str, waits_for: str | None = None) -> None:
        now, key = clock.now(), (subscription, fingerprint)
        with self._lock:
            before = self._failures.get(key) or Failure(0, now, error, error)
            if waits_for:
                self._failures[key] = replace(before, at=now, waits_for=waits_for)
            else:
                first = before.first_error if before.attempts else error
                self._failures[key] = Failure(before.attempts + 1, now, error, first)

    def failures(self, messages: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure]:
        with self._lock:
            found = {
                one: self._failures.get((one[0], fingerprint_of(one[1]))) or self._failure(*one) for one in messages
            }
        return {one: failure for one, failure in found.items() if failure}

    def _failure(self, source: str, message_id: str) -> Failure | None:
        """Return the failure that a pending letter records."""
        letter = self.load(letter_id(source, message_id))
        if letter is None or letter.status != "PENDING":
            return None
        return Failure(letter.attempts, letter.updated_at, letter.error, letter.first_error, None, letter.id)

    def open_breakers(self, since: datetime) -> list[OpenBreaker]:
        waiting: dict[tuple[str, str], list[Failure]] = {}
        with self._lock:
            for (subscription, _), failure in self._failures.items():
                if failure.waits_for and failure.at > since:
                    waiting.setdefault((failure.waits_for, subscription), []).append(failure)
        return [_open_breaker(key, failures) for key, failures in sorted(waiting.items())]

    def pending_sources(self) -> list[str]:
        return sorted({cause.source for cause in self._by_cause()})

    def pending_by_cause(self, limit: int) -> list[LetterCause]:
        causes = [_together(letters) for letters in self._by_cause().values()]
        return sorted(causes, key=lambda one: (-one.count, one.source, one.type or "", one.error or ""))[:limit]

    def causes(self) -> int:
        return len(self._by_cause())

    def _by_cause(self) -> Mapping[Cause, Sequence[DeadLetter]]:
        alike: dict[Cause, list[DeadLetter]] = {}
        for letter in self._letters():
            if letter.status == "PENDING":
                alike.setdefault(_cause_of(letter), []).append(letter)
        return alike

    def record(self, delivery: LetterDelivery) -> None:
        new = delivery.letter
        with self._lock:
            stored = self._stored.setdefault(new.id, _Stored(replace(new, attempts=0, version=0)))
            if delivery.id in stored.deliveries:
                return
            stored.deliveries.add(delivery.id)
            self._recorded.append((new.source, new.updated_at))
            stored.leased_until = _LONG_AGO
            failure = self._failures.pop((new.source, delivery.fingerprint), None)
            error = failure.error if failure else None
            stored.change(
                LetterEntry("FAILED", new.updated_at, None, new.attempts, error),
                status="PENDING",
                error=error,
                first_error=stored.letter.first_error or (failure.first_error if failure else None),
                version=stored.letter.version + 1,
                attempts=stored.letter.attempts + new.attempts,
                updated_at=new.updated_at,
            )

    def load(self, letter_id: UUID) -> DeadLetter | None:
        stored = self._stored.get(letter_id)
        return stored.letter if stored else None

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        newest = [letter for letter in self._letters(source) if status in (None, letter.status)][::-1]
        return [letter.shortened() for letter in newest[offset : offset + limit]]

    def page(self, which: Letters, part: Slice) -> list[DeadLetter]:
        found = part.of(self._matching(which), lambda letter: (letter.recorded_at, letter.id))
        return [letter.shortened() for letter in found]

    def count(self, which: Letters) -> int:
        return len(self._matching(which))

    def _matching(self, which: Letters) -> list[DeadLetter]:
        names = ("status", "source", "topic", "type", "subject", "correlation_id")
        same = {name: value for name in names if (value := getattr(which, name)) is not None}
        return [
            letter
            for letter in self._letters()
            if all(getattr(letter, name) == value for name, value in same.items())
            and which.cause in (None, _cause_of(letter))
            and (which.recorded_after is None or which.recorded_after <= letter.recorded_at)
            and (which.recorded_before is None or letter.recorded_at < which.recorded_before)
        ]

    def pending(self, source: str | None = None) -> int:
        return sum(letter.status == "PENDING" for letter in self._letters(source))

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        with self._lock:
            return added_up((source, Traffic(1, int(since < at <= until), at)) for source, at in self._recorded)

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]:
        return {subscription: self._trouble(subscription) for subscription in subscriptions}

    def _trouble(self, subscription: str) -> Trouble:
        with self._lock:
            waiting = [letter for letter in self._letters(subscription) if letter.status == "PENDING"]
            failures = [(one.at, one.error) for (source, _), one in self._failures.items() if source == subscription]
        all_failures = [*failures, *((letter.updated_at, letter.error) for letter in waiting)]
        return Trouble(len(waiting), *max(all_failures, key=lambda failure: failure[0], default=(None, None)))

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        with self._lock:
            claimed = [stored for stored in self._stored.values() if stored.is_claimable(wanted)][:limit]
            for stored in claimed:
                stored.leased_until = clock.now() + self._lease
            return [stored.letter for stored in claimed]

    def release(self, letters: Sequence[DeadLetter]) -> None:
        with self._lock:
            for letter in letters:
                self._stored[letter.id].leased_until = _LONG_AGO

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        with self._lock:
            for letter in letters:
                stored = self._stored[letter.id]
                stored.change(LetterEntry("RETRIED", at, by))
                if (stored.letter.version, stored.letter.status) == (letter.version, "PENDING"):
                    stored.change(status="RETRIED", updated_at=clock.now())

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        with self._lock:
            stored = self._stored.get(letter_id)
            if stored is None or not stored.is_claimable(LetterFilter()):
                return False
            now = clock.now()
            stored.change(LetterEntry("DISCARDED", now, by, None, reason), status="DISCARDED", updated_at=now)
            return True

    def discard_oldest(self, wanted: LetterFilter, limit: int, reason: str, by: str) -> int:
        with self._lock:
            oldest = [one.letter.id for one in self._stored.values() if one.is_claimable(wanted)]
            return sum(self.discard(letter_id, reason, by) for letter_id in oldest[:limit])

    def forget_settled(self, before: datetime, limit: int) -> int:
        with self._lock:
            settled = [
                letter for letter in self._letters() if letter.status != "PENDING" and letter.updated_at < before
            ]
            for letter in settled[:limit]:
                del self._stored[letter.id]
            return len(settled[:limit])

    def forget_failures(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [key for key, failure in self._failures.items() if failure.at < before][:limit]
            for key in old:
                del self._failures[key]
            return len(old)

    def extent(self) -> tuple[int, datetime | None]:
        """Return how many letters there are, and when the last of them changed."""
        letters = self._letters()
        return len(letters), max((letter.updated_at for letter in letters), default=None)

    def _letters(self, source: str | None = None) -> list[DeadLetter]:
        """Return the letters, the oldest first."""
        with self._lock:
            return [stored.letter for stored in self._stored.values() if source in (None, stored.letter.source)]


def _cause_of(letter: DeadLetter) -> Cause:
    return Cause(letter.source, letter.type, letter.error)


def _open_breaker(key: tuple[str, str], failures: Sequence[Failure]) -> OpenBreaker:
    """Prefer the error of a failed attempt to that of a message that was never attempted."""
    telling = max(failures, key=lambda one: (one.attempts > 0, one.at))
    return OpenBreaker(*key, len(failures), max(one.at for one in failures), telling.error)


def _together(letters: Sequence[DeadLetter]) -> LetterCause:
    first, times = letters[0], [letter.recorded_at for letter in letters]
    attempts = sum(letter.attempts for letter in letters)
    return LetterCause(first.source, first.type, first.error, len(letters), min(times), max(times), attempts)
