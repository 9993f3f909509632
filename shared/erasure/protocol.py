"""The keys of persons: everything that events say about a person is encrypted with the person's own
key. Destroying the key erases it, in every copy and backup of the events."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

SETTLED = timedelta(minutes=2)
"""How long after an erasure a request that began before it may still write: each ends within a
minute."""


@dataclass(frozen=True)
class PersonKey:
    """`secret`: 256 random bits; None once the key is destroyed."""

    id: UUID
    secret: bytes | None


@dataclass(frozen=True)
class Erasure:
    """The record of a destroyed key. It does not tell whose key it was. `age`: by the database's
    clock, when it answered."""

    key: UUID
    age: timedelta


class PersonKeys(Protocol):
    """All methods raise Unavailable and TimedOut."""

    def current(self, person: str) -> PersonKey:
        """Return the person's key. Make it at the first use, and at the first after an erasure."""

    def of(self, ids: Collection[UUID]) -> Mapping[UUID, PersonKey]:
        """Return the keys with these ids.

        Raise Unavailable for a key that is neither there nor recorded as destroyed: the database is
        older than the events.
        """

    def destroy(self, person: str, by: str, reason: str) -> Erasure | None:
        """Destroy the person's key and record who did it and why. Return None when the person has
        no key."""

    def unfinished(self, limit: int) -> list[Erasure]:
        """Return erasures, oldest first, after which orders may still be without an OrderErased."""

    def finish(self, erasure: Erasure) -> None: ...
