"""The query database on Firestore. With FIRESTORE_EMULATOR_HOST set, the client libraries talk to the emulator."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import AsyncRetry, Retry, if_transient_error
from google.cloud import firestore
from google.cloud.firestore_v1.async_aggregation import AsyncAggregationQuery
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.domain.errors import TimedOut, Unavailable
from shared.observability.context import SpanKind, span
from shared.read_models.protocol import Change, Extent, Fields, Find
from shared.resilience import clock
from shared.resilience.breakers import Breaker
from shared.resilience.calls import time_left

_DEADLINE = 10.0
"""Seconds for one call."""
_RETRYING = 2.0
"""Seconds in which a call that fails at once is tried again."""
_ATTEMPTS = 9
_DOWN = (
    exceptions.ServiceUnavailable,
    exceptions.RetryError,
    exceptions.ResourceExhausted,
    exceptions.InternalServerError,
)


@contextmanager
def _one_call(breaker: Breaker) -> Iterator[dict[str, Any]]:
    """Yields the arguments of a call that bound it. Raises Unavailable and TimedOut."""
    with breaker.guard(), span("the read models", SpanKind.CLIENT, {"db.system.name": "gcp.firestore"}):
        try:
            left = time_left(_DEADLINE)
            yield {"timeout": left, "retry": Retry(if_transient_error, timeout=min(left, _RETRYING))}
        except (exceptions.DeadlineExceeded, TimeoutError) as error:
            raise TimedOut("the read models did not answer in time") from error
        except _DOWN as error:
            raise Unavailable("the read models do not answer; try again in a moment") from error


@asynccontextmanager
async def _one_async_call(breaker: Breaker) -> AsyncIterator[dict[str, Any]]:
    with _one_call(breaker) as bounds:
        async with asyncio.timeout(bounds["timeout"]):
            yield bounds | {"retry": AsyncRetry(if_transient_error, timeout=bounds["retry"].timeout)}


class FirestoreReadModels:
    """The projections' side.

    A change is read, made, and written in one batch on condition that the document has not been written since. Unlike a
    transaction this takes no locks: two that meet cost one another attempt, where transactions wait for each other's
    locks for seconds.
    """

    def __init__(self, client: firestore.Client, breaker: Breaker) -> None:
        self._client = client
        self._breaker = breaker

    def update(self, collection: str, key: str, change: Callable[[Fields | None], Change | None]) -> None:
        reference = self._client.collection(collection).document(key)
        for attempt in range(_ATTEMPTS):
            with _one_call(self._breaker) as bounds:
                snapshot = reference.get(**bounds)
            made = change(snapshot.to_dict())
            if made is None or self._written(snapshot, made):
                return
            clock.sleep(clock.uniform(0, 0.01 * 2**attempt))
        raise Unavailable(f"too many write {collection}/{key} at the same moment; try again")

    def delete(self, collection: str, limit: int) -> int:
        with _one_call(self._breaker) as bounds:
            doomed = [
                one.reference for one in self._client.collection(collection).select([]).limit(limit).get(**bounds)
            ]
        batch = self._client.batch()
        for reference in doomed:
            batch.delete(reference)
        if doomed:
            with _one_call(self._breaker) as bounds:
                batch.commit(**bounds)
        return len(doomed)

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
        with _one_call(self._breaker) as bounds:
            try:
                batch.commit(**bounds)
            except (
                exceptions.AlreadyExists,
                exceptions.FailedPrecondition,
                exceptions.NotFound,
                exceptions.Aborted,
            ):
                return False
        return True


class FirestoreQueries:
    """The clients' side."""

    def __init__(self, client: firestore.AsyncClient, breaker: Breaker) -> None:
        self._client = client
        self._breaker = breaker

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        references = [self._client.collection(collection).document(key) for key in keys]
        async with _one_async_call(self._breaker) as bounds:
            snapshots = [snapshot async for snapshot in self._client.get_all(references, **bounds)]
        return {snapshot.id: fields for snapshot in snapshots if (fields := snapshot.to_dict())}

    async def find(self, find: Find) -> Sequence[Fields]:
        query = self._client.collection(find.collection).limit(find.limit).offset(find.offset)
        for where in find.where:
            query = query.where(filter=FieldFilter(where.field, where.operator, where.value))
        direction = firestore.Query.DESCENDING if find.descending else firestore.Query.ASCENDING
        query = query.order_by(find.order_by, direction=direction)
        async with _one_async_call(self._breaker) as bounds:
            return [snapshot.to_dict() or {} async for snapshot in query.stream(**bounds)]

    async def extent(self, collection: str) -> Extent:
        applied = self._client.collection(collection).where(filter=FieldFilter("version", ">=", 1))
        query = AsyncAggregationQuery(applied)
        query.count(alias="documents")
        query.sum("version", alias="events")
        async with _one_async_call(self._breaker) as bounds:
            (results,) = await query.get(**bounds)
        found = {one.alias: int(one.value) for one in results}
        newest = await self.find(Find(collection, "updated_at", descending=True, limit=1))
        return Extent(found["documents"], found["events"], newest[0]["updated_at"] if newest else None)
