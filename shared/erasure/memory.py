"""The keys of persons in memory."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from itertools import islice
from threading import RLock
from uuid import UUID

from shared.domain.errors import Unavailable
from shared.erasure.protocol import Erasure, PersonKey
from shared.resilience import clock


class MemoryPersonKeys:
    def __init__(self) -> None:
        self._lock = RLock()
        self._current: dict[str, UUID] = {}
        self._keys: dict[UUID, PersonKey] = {}
        self._unfinished: dict[UUID, datetime] = {}  # and when each key was destroyed

    def current(self, person: str) -> PersonKey:
        with self._lock:
            if person not in self._current:
                key = PersonKey(clock.new_id(), clock.secret(32))
                self._current[person], self._keys[key.id] = key.id, key
            return self._keys[self._current[person]]

    def of(self, ids: Collection[UUID]) -> Mapping[UUID, PersonKey]:
        with self._lock:
            if missing := {*ids} - self._keys.keys():
                raise Unavailable(f"there is no key {min(missing)}")
            return {one: self._keys[one] for one in ids}

    def destroy(self, person: str, by: str, reason: str) -> Erasure | None:
        with self._lock:
            if (key := self._current.pop(person, None)) is None:
                return None
            self._keys[key] = PersonKey(key, None)
            self._unfinished[key] = clock.now()
            return Erasure(key, timedelta(0))

    def unfinished(self, limit: int) -> list[Erasure]:
        with self._lock:
            now, found = clock.now(), islice(self._unfinished.items(), limit)
            return [Erasure(key, now - erased_at) for key, erased_at in found]

    def finish(self, erasure: Erasure) -> None:
        with self._lock:
            self._unfinished.pop(erasure.key, None)
