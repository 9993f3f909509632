"""The query database on Firestore. With FIRESTORE_EMULATOR_HOST set, the client libraries talk to the emulator."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.domain.errors import Unavailable
from shared.read_models.protocol import Change, Fields, Find

_DEADLINE = 10.0
_ATTEMPTS = 9
_DOWN = (
    exceptions.ServiceUnavailable,
    exceptions.DeadlineExceeded,
    exceptions.RetryError,
    exceptions.ResourceExhausted,
    exceptions.InternalServerError,
)


@contextmanager
def _unavailable_when_down() -> Iterator[None]:
    try:
        yield
    except _DOWN as error:
        raise Unavailable("the read models do not answer; try again in a moment") from error


class FirestoreReadModels:
    """The projections' side.

    A change is read, made, and written in one batch on condition that the document has not been written since. Unlike a
    transaction this takes no locks: two that meet cost one another attempt, where transactions wait for each other's
    locks for seconds.
    """

    def __init__(self, project_id: str) -> None:
        self._client = firestore.Client(project_id)

    def update(self, collection: str, key: str, change: Callable[[Fields | None], Change | None]) -> None:
        reference = self._client.collection(collection).document(key)
        for attempt in range(_ATTEMPTS):
            with _unavailable_when_down():
                snapshot = reference.get(timeout=_DEADLINE)
            made = change(snapshot.to_dict())
            if made is None or self._written(snapshot, made):
                return
            time.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise Unavailable(f"too many write {collection}/{key} at the same moment; try again")

    def _written(self, snapshot: firestore.DocumentSnapshot[Any], made: Change) -> bool:
        """Whether it is; False when somebody else wrote the document meanwhile."""
        batch = self._client.batch()
        if snapshot.exists:
            unchanged = self._client.write_option(last_update_time=snapshot.update_time)
            batch.update(snapshot.reference, made.fields, option=unchanged)
        else:
            batch.create(snapshot.reference, made.fields)
        for step in made.increments:
            other = self._client.collection(step.collection).document(step.key)
            batch.set(other, {step.field: firestore.Increment(step.amount)}, merge=True)
        try:
            with _unavailable_when_down():
                batch.commit(timeout=_DEADLINE)
        except (exceptions.AlreadyExists, exceptions.FailedPrecondition, exceptions.NotFound, exceptions.Aborted):
            return False
        return True


class FirestoreQueries:
    """The clients' side."""

    def __init__(self, project_id: str) -> None:
        self._client = firestore.AsyncClient(project_id)

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        references = [self._client.collection(collection).document(key) for key in keys]
        with _unavailable_when_down():
            snapshots = [snapshot async for snapshot in self._client.get_all(references, timeout=_DEADLINE)]
        return {snapshot.id: fields for snapshot in snapshots if (fields := snapshot.to_dict())}

    async def find(self, find: Find) -> Sequence[Fields]:
        query = self._client.collection(find.collection).limit(find.limit).offset(find.offset)
        for where in find.where:
            query = query.where(filter=FieldFilter(where.field, where.operator, where.value))
        direction = firestore.Query.DESCENDING if find.descending else firestore.Query.ASCENDING
        query = query.order_by(find.order_by, direction=direction)
        with _unavailable_when_down():
            return [snapshot.to_dict() or {} async for snapshot in query.stream(timeout=_DEADLINE)]
