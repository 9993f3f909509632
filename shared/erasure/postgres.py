"""The keys of persons in the command database, encrypted with one wrapping key, which Cloud KMS
encrypts in its turn: without the right to use KMS, a copy of the database opens nothing.

One wrapping key stands between KMS and the persons' keys so that a process asks KMS once, however
many persons' events it reads.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag

from shared.config.settings import MalformedSetting
from shared.domain.errors import Unavailable
from shared.erasure.cipher import decrypt, encrypt
from shared.erasure.protocol import Erasure, PersonKey
from shared.postgres.pool import Pool
from shared.resilience import clock

if TYPE_CHECKING:
    import httpx

_WHAT = "the command database"
_MAKE_WRAPPING_KEY = "INSERT INTO wrapping_keys (wrapped) VALUES (%s) ON CONFLICT DO NOTHING"
_MAKE = "INSERT INTO person_keys (person, id, wrapped) VALUES (%s, %s, %s) ON CONFLICT (person) DO NOTHING"
_OF = """
SELECT id, wrapped FROM person_keys WHERE id = ANY(%(ids)s)
UNION ALL SELECT key, NULL FROM erasures WHERE key = ANY(%(ids)s)
"""
_DESTROY = """
WITH destroyed AS (DELETE FROM person_keys WHERE person = %s RETURNING id)
INSERT INTO erasures (key, by, reason) SELECT id, %s, %s FROM destroyed RETURNING key, interval '0'
"""
_UNFINISHED = """
SELECT key, clock_timestamp() - erased_at FROM erasures WHERE finished_at IS NULL ORDER BY erased_at, key LIMIT %s
"""
_FINISH = "UPDATE erasures SET finished_at = clock_timestamp() WHERE key = %s AND finished_at IS NULL"


class Wrapping(Protocol):
    """Encrypts the wrapping key. Raises Unavailable and TimedOut."""

    def wrap(self, secret: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes) -> bytes: ...


class Unwrapped:
    """Leaves the wrapping key as it is, on a developer's machine."""

    def wrap(self, secret: bytes) -> bytes:
        return secret

    def unwrap(self, wrapped: bytes) -> bytes:
        return wrapped


def person_keys(pool: Pool, wrapping_key: str, client: "Callable[[], httpx.Client]") -> "PostgresPersonKeys":
    """`wrapping_key`: the setting. Raise MalformedSetting when it is missing in the cloud."""
    if not wrapping_key:
        if os.environ.get("K_SERVICE"):
            raise MalformedSetting("the environment variable WRAPPING_KEY must name a Cloud KMS key; Terraform sets it")
        return PostgresPersonKeys(pool, Unwrapped())
    from shared.erasure.kms import CloudKms, access_token

    return PostgresPersonKeys(pool, CloudKms(wrapping_key, client(), access_token))


class PostgresPersonKeys:
    def __init__(self, pool: Pool, wrapping: Wrapping) -> None:
        self._pool, self._wrapping = pool, wrapping
        self._unwrapped: bytes | None = None

    def current(self, person: str) -> PersonKey:
        while True:
            found = self._pool.rows(_WHAT, "SELECT id, wrapped FROM person_keys WHERE person = %s", (_hash(person),))
            for key_id, wrapped in found:
                return PersonKey(key_id, self._unwrap(key_id, wrapped))
            key_id = clock.new_id()
            wrapped = encrypt(self._wrapping_key, clock.secret(32), key_id.bytes)
            with self._pool.use(_WHAT) as connection:  # another process may be faster, so it is read again
                connection.writer.execute(_MAKE, (_hash(person), key_id, wrapped))

    def of(self, ids: Collection[UUID]) -> Mapping[UUID, PersonKey]:
        rows: dict[UUID, bytes | None] = dict(self._pool.rows(_WHAT, _OF, {"ids": [*ids]}))
        if missing := {*ids} - rows.keys():
            raise Unavailable(
                f"the command database has no key {min(missing)}: it is older than the events; restore both databases"
                " to one moment"
            )
        return {one: PersonKey(one, wrapped and self._unwrap(one, wrapped)) for one, wrapped in rows.items()}

    def destroy(self, person: str, by: str, reason: str) -> Erasure | None:
        with self._pool.use(_WHAT) as connection:
            row = connection.writer.execute(_DESTROY, (_hash(person), by, reason)).fetchone()
        return Erasure(*row) if row else None

    def unfinished(self, limit: int) -> list[Erasure]:
        return [Erasure(*row) for row in self._pool.rows(_WHAT, _UNFINISHED, (limit,))]

    def finish(self, erasure: Erasure) -> None:
        with self._pool.use(_WHAT) as connection:
            connection.writer.execute(_FINISH, (erasure.key,))

    def _unwrap(self, key_id: UUID, wrapped: bytes) -> bytes:
        try:
            return decrypt(self._wrapping_key, wrapped, key_id.bytes)
        except InvalidTag as error:
            raise Unavailable(f"the key {key_id} can't be decrypted: it was changed, or moved here") from error

    @property
    def _wrapping_key(self) -> bytes:
        """The wrapping key. Threads that begin together may each ask for it: no thread waits for a
        lock while KMS is unreachable."""
        if self._unwrapped is None:
            self._unwrapped = self._wrapping.unwrap(self._wrapped())
        return self._unwrapped

    def _wrapped(self) -> bytes:
        """Return the wrapping key as it is stored. The first process that needs it makes it for
        all."""
        while True:
            for (wrapped,) in self._pool.rows(_WHAT, "SELECT wrapped FROM wrapping_keys"):
                return bytes(wrapped)
            wrapped = self._wrapping.wrap(clock.secret(32))
            with self._pool.use(_WHAT) as connection:
                connection.writer.execute(_MAKE_WRAPPING_KEY, (wrapped,))


def _hash(person: str) -> bytes:
    """Return what stands for the person: of one length, and no name."""
    return hashlib.sha256(person.encode()).digest()
