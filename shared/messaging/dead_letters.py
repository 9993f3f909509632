"""Messages that no attempt could deliver, kept until a person has dealt with them, and why the attempts failed."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any, Literal, LiteralString, NamedTuple, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from shared.domain.decoding import adapter
from shared.domain.errors import ConcurrencyError, NotFound, Rejected, ShopError
from shared.messaging.envelope import ONLY_FOR, Push, PushedMessage
from shared.resilience.postgres import unavailable_when_down

Status = Literal["PENDING", "RETRIED", "DISCARDED"]

LETTER = "dead-letter"
"""The attribute of a message that is published again: the id of its letter."""
LEASE_SECONDS = 15.0
"""How long whoever claimed a letter has to publish it before others may."""
SHOWN = 10_000
"""Characters of the data in a list."""

_BY_PUBSUB = "CloudPubSubDeadLetter"


@dataclass(frozen=True)
class Entry:
    """What happened to a letter. `by`: the admin's id. `reason`: the error of a failure, or why it was discarded."""

    kind: Literal["FAILED", "RETRIED", "DISCARDED"]
    at: datetime
    by: str | None = None
    attempts: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """What one subscription, `source`, gave up. `attributes` and `data` (base64): exactly as they were published.
    `attempts`: all that there were. `version`: how often it was given up."""

    id: UUID
    source: str
    topic: str
    type: str | None
    subject: str | None
    attributes: Mapping[str, str]
    data: str
    attempts: int
    error: str | None
    traceparent: str | None
    correlation_id: str | None
    status: Status
    version: int
    recorded_at: datetime
    updated_at: datetime
    history: Sequence[Entry] = ()

    @property
    def publishable(self) -> bool:
        """False for what can never have been a message's data."""
        try:
            return base64.b64decode(self.data, validate=True) is not None
        except ValueError:
            return False


@dataclass(frozen=True)
class Again:
    """A letter on its way back to the one subscription that gave it up: as it was, and saying whom it is for."""

    letter: DeadLetter

    @property
    def id(self) -> UUID:
        return self.letter.id

    @property
    def topic(self) -> str:
        return self.letter.topic

    def body(self) -> bytes:
        return base64.b64decode(self.letter.data, validate=True)

    def attributes(self) -> dict[str, str]:
        return {**self.letter.attributes, LETTER: str(self.id), ONLY_FOR: self.letter.source}


class GivenUp(NamedTuple):
    """`delivery`: the dead-letter topic's own id, the same when it comes again. `message`: as `recognised` has it."""

    letter: DeadLetter
    delivery: str
    message: str


def source_of(push: Push) -> str:
    """The subscription that gave up, which Pub/Sub wrote into the attributes."""
    return push.message.attributes.get(f"{_BY_PUBSUB}SourceSubscription", push.subscription_id)


def given_up(push: Push, topic: str) -> GivenUp:
    """What a dead-letter topic's subscription pushes. `topic`: where the message was published.

    A message has one letter for each source. It is recognised by the id of its CloudEvent, a foreign one by Pub/Sub's; one
    that was published again names its letter."""
    given, now = push.message.attributes, datetime.now(UTC)
    source, own = storable(source_of(push)), original(given)
    attempts = given.get(f"{_BY_PUBSUB}SourceDeliveryCount", "")
    name = f"{source}\n{own.get('ce-id', push.message.message_id)}"
    text = {key: storable(own[key])[:1000] if key in own else None for key in ("ce-type", "ce-subject", "traceparent")}
    letter = DeadLetter(
        id=_named(given) or uuid5(NAMESPACE_OID, name),
        source=source,
        topic=storable(topic),
        type=text["ce-type"],
        subject=text["ce-subject"],
        attributes=own,
        data=push.message.data,
        attempts=int(attempts) if attempts.isdecimal() and len(attempts) < 6 else 0,
        error=None,
        traceparent=text["traceparent"],
        correlation_id=storable(own["correlation_id"])[:1000] if "correlation_id" in own else None,
        status="PENDING",
        version=1,
        recorded_at=now,
        updated_at=now,
    )
    return GivenUp(letter, storable(push.message.message_id)[:300], recognised(push.message))


def _named(attributes: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(attributes[LETTER]) if attributes.get(ONLY_FOR) else None
    except (KeyError, ValueError):
        return None


def original(attributes: Mapping[str, str]) -> dict[str, str]:
    """Without those that Pub/Sub or an earlier retry has added."""
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith(_BY_PUBSUB) and name not in (LETTER, ONLY_FOR)
    }


def recognised(message: PushedMessage) -> str:
    """The same for every delivery of a message, also in the dead-letter topic, where Pub/Sub gives it another id."""
    own = original(message.attributes)
    what = own["ce-id"] if "ce-id" in own else json.dumps([message.data, sorted(own.items())])
    return hashlib.sha256(what.encode()).hexdigest()


def described(error: Exception) -> str:
    """An error in up to 1000 characters."""
    return storable(error.message if isinstance(error, ShopError) else f"{type(error).__name__}: {error}")[:1000]


def storable(text: str) -> str:
    """Without what PostgreSQL's text can't hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def refuse(letter: DeadLetter | None, wanted: Status) -> int:
    """Say why a letter could not be brought to a status, or 0 when it has it already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    if not letter.publishable:
        raise Rejected("its data is not base64, so it can't be published again; discard it", ("id",))
    raise ConcurrencyError("somebody is retrying it at this moment; look at it again in a few seconds", ("id",))


class Wanted(NamedTuple):
    """Which pending letters to claim. `without`: those that have had their turn."""

    id: UUID | None = None
    source: str | None = None
    without: Sequence[UUID] = ()


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


_SELECT: LiteralString = """
SELECT id, source, topic, type, subject, attributes, substring(data FROM 1 FOR %(shown)s) AS data, attempts, error,
    traceparent, correlation_id, status, version, recorded_at, updated_at, (
        SELECT json_agg(json_build_object(
            'kind', kind, 'at', at, 'by', by, 'attempts', h.attempts, 'reason', reason
        ) ORDER BY at, number) FROM dead_letter_history h WHERE letter_id = l.id
    ) AS history
FROM dead_letters l
"""
_LATEST = f"""{_SELECT}
WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(source)s::text IS NULL OR source = %(source)s)
ORDER BY recorded_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
"""
_CLAIM = """
UPDATE dead_letters SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id IN (
    SELECT id FROM dead_letters WHERE status = 'PENDING' AND leased_until < clock_timestamp()
        AND (%(id)s::uuid IS NULL OR id = %(id)s) AND (%(source)s::text IS NULL OR source = %(source)s)
        AND id <> ALL (%(without)s::uuid[])
    ORDER BY recorded_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING id
"""
_CLAIMED = f"{_SELECT} WHERE id = ANY (%(ids)s) ORDER BY recorded_at, id"
_DISCARD = """
WITH discarded AS (
    UPDATE dead_letters SET status = 'DISCARDED', updated_at = clock_timestamp()
    WHERE id = %s AND status = 'PENDING' AND leased_until < clock_timestamp() RETURNING id
)
INSERT INTO dead_letter_history (letter_id, kind, reason, by) SELECT id, 'DISCARDED', %s, %s FROM discarded
"""
_NOTE = """
INSERT INTO delivery_failures (subscription, message, error) VALUES (%s, %s, %s)
ON CONFLICT (subscription, message) DO UPDATE SET error = excluded.error, count = delivery_failures.count + 1,
    last_at = clock_timestamp()
"""
_FORGET_SETTLED = """
DELETE FROM dead_letters WHERE status <> 'PENDING' AND updated_at < %(before)s AND id IN (
    SELECT id FROM dead_letters WHERE status <> 'PENDING' AND updated_at < %(before)s
    ORDER BY updated_at LIMIT %(limit)s
)
"""
_FORGET_FAILURES = """
DELETE FROM delivery_failures WHERE last_at < %(before)s AND (subscription, message) IN (
    SELECT subscription, message FROM delivery_failures WHERE last_at < %(before)s
    ORDER BY last_at LIMIT %(limit)s
)
"""
_ALL = 2**31 - 1


class PostgresDeadLetters:
    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def note_failure(self, subscription: str, message: str, error: str) -> None:
        self._execute(_NOTE, (storable(subscription), message, error))

    def record(self, given_up: GivenUp) -> None:
        letter, delivery, message = given_up
        plain = ("source", "topic", "type", "subject", "attempts", "traceparent", "correlation_id")
        row = {name: getattr(letter, name) for name in plain}
        row |= {"id": str(letter.id), "delivery": delivery, "message": message}
        values = (json.dumps(row), json.dumps(dict(letter.attributes)), letter.data.encode())
        self._execute("SELECT record_dead_letter(%s, %s, %s)", values)

    def load(self, letter_id: UUID) -> DeadLetter | None:
        return next(iter(self._letters(f"{_SELECT} WHERE id = %(id)s", {"id": letter_id, "shown": _ALL})), None)

    def latest(
        self, limit: int, offset: int = 0, status: Status | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        page = {"limit": limit, "offset": offset, "status": status, "source": source, "shown": SHOWN}
        return self._letters(_LATEST, page)

    def pending(self, source: str | None = None) -> int:
        query = """SELECT count(*) FROM dead_letters
                   WHERE status = 'PENDING' AND (%(source)s::text IS NULL OR source = %(source)s)"""
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            row = connection.execute(query, {"source": source}).fetchone()
            return row[0] if row else 0

    def claim(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        given = {**wanted._asdict(), "without": list(wanted.without), "limit": limit, "lease": LEASE_SECONDS}
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            ids = [row[0] for row in connection.execute(_CLAIM, given)]
        return self._letters(_CLAIMED, {"ids": ids, "shown": _ALL})

    def release(self, letters: Sequence[DeadLetter]) -> None:
        ids = [letter.id for letter in letters]
        self._execute("UPDATE dead_letters SET leased_until = '-infinity' WHERE id = ANY (%s)", (ids,))

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        ids, versions = [letter.id for letter in letters], [letter.version for letter in letters]
        self._execute("SELECT settle_retried(%s, %s, %s, %s)", (ids, versions, at, by))

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        return self._execute(_DISCARD, (letter_id, reason, by)) > 0

    def forget_settled(self, before: datetime, limit: int) -> int:
        return self._execute(_FORGET_SETTLED, {"before": before, "limit": limit})

    def forget_failures(self, before: datetime, limit: int) -> int:
        return self._execute(_FORGET_FAILURES, {"before": before, "limit": limit})

    def _execute(self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]) -> int:
        """How many rows it met."""
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            return connection.execute(statement, values).rowcount

    def _letters(self, query: LiteralString, values: Mapping[str, Any]) -> list[DeadLetter]:
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            return [_letter(row) for row in connection.cursor(row_factory=dict_row).execute(query, values)]


def _letter(row: DictRow) -> DeadLetter:
    history = adapter(list[Entry]).validate_python(row["history"] or [])
    return DeadLetter(**row | {"data": row["data"].decode(errors="replace"), "history": history})


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

    def _found(self, source: str | None) -> list[_Kept]:
        """The oldest first."""
        with self._lock:
            return [kept for kept in self._kept.values() if source in (None, kept.letter.source)]
