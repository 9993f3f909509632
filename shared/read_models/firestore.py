"""The query database on Firestore, or on its emulator with FIRESTORE_EMULATOR_HOST set."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from threading import Lock
from typing import Any, NamedTuple

from google.api_core import exceptions as errors
from google.cloud import firestore
from google.cloud.firestore_v1 import base_client
from google.cloud.firestore_v1.async_aggregation import AsyncAggregationQuery
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.domain.errors import Unavailable
from shared.read_models.firestore_calls import one_async_call, one_call, reading
from shared.read_models.firestore_encoding import created, decoded
from shared.read_models.protocol import Change, Extent, Fields, Find, Increment, MakeChange, Where
from shared.resilience import clock
from shared.resilience.breakers import Breaker
from shared.resilience.calls import RECONNECT

_ATTEMPTS = 9
_WRITERS, _BATCH = 4, 25  # commits at a time, and documents created in each
_WRITES = 500  # in one commit of documents and totals: the most that Firestore takes
_KEPT = 200  # documents that were written last
_CONFLICT = (errors.AlreadyExists, errors.FailedPrecondition, errors.NotFound, errors.Aborted)


def client(project_id: str) -> firestore.Client:
    _reconnect_soon()
    return firestore.Client(project_id)


def async_client(project_id: str) -> firestore.AsyncClient:
    _reconnect_soon()
    return firestore.AsyncClient(project_id)


def _reconnect_soon() -> None:
    """Bound gRPC's pause between two attempts to connect, which grows to two minutes.

    Firestore's library has no parameter for the options of its channels, only these lists.
    """
    for options in (base_client._DEFAULT_CHANNEL_OPTIONS, base_client._GRPC_MSG_SIZE_OPTIONS):
        if RECONNECT not in options:
            options.append(RECONNECT)


class _Stored(NamedTuple):
    """A document and when it was written; None and None: it does not exist."""

    fields: Fields | None
    written_at: Any


class FirestoreReadModels:
    """The side of the projections.

    A change is written in one batch, if the document has not been written since it was read. Unlike
    a transaction this takes no lock: of two writers one tries again, where transactions would wait
    for each other's locks for seconds.

    The documents that were written last are kept: the events of an order follow each other within a
    second, mostly in the same instance, and half of a delivery's processor time was the reading.
    """

    def __init__(self, client: firestore.Client, breaker: Breaker) -> None:
        self._client = client
        self._breaker = breaker
        self._written = OrderedDict[str, _Stored]()
        self._writing = Lock()

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        """Try again in a loop, not with tenacity: its waits bypass `clock`, and it is no
        shorter."""
        reference = self._client.collection(collection).document(key)
        known = self._known(reference, version)
        if known and (made := change(known.fields)) and self._write(reference, known, made):
            return
        for attempt in range(_ATTEMPTS):
            with one_call(self._breaker) as bounds:
                snapshot = reference.get(**bounds)
            stored = _Stored(snapshot.to_dict(), snapshot.update_time)
            made = change(stored.fields)
            if made is None or self._write(reference, stored, made):
                return
            clock.sleep(clock.uniform(0, 0.01 * 2**attempt))
        raise Unavailable(f"too many processes write {collection}/{key} at the same moment; try again")

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        """Commit several batches at a time, unless they add to the same totals: Firestore would
        abort some."""
        adding = any(made.increments for made in changes.values())
        batches = list(_batches(changes, _WRITES if adding else _BATCH))
        with clock.executor(1 if adding else _WRITERS, "creating") as threads:
            made = [threads.submit(copy_context().run, self._create, collection, batch) for batch in batches]
            return sum(one.result() for one in made)

    def _create(self, collection: str, changes: Mapping[str, Change]) -> int:
        """Create all in one commit, so that totals stay right. When a document exists, try with
        half of them."""
        batch = self._client.batch()
        batch._add_write_pbs(
            [
                created(self._client.collection(collection).document(key)._document_path, made.fields)
                for key, made in changes.items()
            ]
        )
        self._add(batch, [increment for made in changes.values() for increment in made.increments])
        with one_call(self._breaker) as bounds:
            try:
                batch.commit(**bounds)
            except _CONFLICT:
                pass
            else:
                return len(changes)
        keys, half = list(changes), len(changes) // 2
        parts = (keys[:half], keys[half:]) if half else ()
        return sum(self._create(collection, {key: changes[key] for key in part}) for part in parts)

    def delete(self, collection: str, limit: int) -> int:
        with one_call(self._breaker) as bounds:
            snapshots = list(self._client.collection(collection).select([]).limit(limit).get(**bounds))
        batch = self._client.batch()
        for snapshot in snapshots:
            batch.delete(snapshot.reference)
        if snapshots:
            with one_call(self._breaker) as bounds:
                batch.commit(**bounds)
        return len(snapshots)

    def _add(self, batch: firestore.WriteBatch, increments: Sequence[Increment]) -> None:
        """Add one write for each document, however many increments it gets."""
        amounts: dict[tuple[str, str], Counter[str]] = {}
        for one in increments:
            amounts.setdefault((one.collection, one.key), Counter()).update(one.amounts)
        about = {(one.collection, one.key): one.about for one in increments}
        for place, sums in amounts.items():
            document = self._client.collection(place[0]).document(place[1])
            added = {name: firestore.Increment(amount) for name, amount in sums.items()}
            batch.set(document, {**about[place], **added}, merge=True)

    def _known(self, reference: firestore.DocumentReference, version: int | None) -> "_Stored | None":
        """Return the document as it is stored, if it has this version: none, or the last one that
        was written here. It is forgotten until it is written again."""
        if version == 0:
            return _Stored(None, None)
        with self._writing:
            known = self._written.pop(reference.path, None)
        return known if known and known.fields and known.fields.get("version") == version else None

    def _write(self, reference: firestore.DocumentReference, stored: "_Stored", made: Change) -> bool:
        """Write a change; return False if the document has been written since it was read."""
        batch = self._client.batch()
        if stored.fields is None:
            batch.create(reference, made.fields)
        else:
            unchanged = self._client.write_option(last_update_time=stored.written_at)
            batch.update(reference, made.fields, option=unchanged)
        self._add(batch, made.increments)
        with one_call(self._breaker) as bounds:
            try:
                result, *_ = batch.commit(**bounds)
            except _CONFLICT:
                return False
        with self._writing:
            self._written[reference.path] = _Stored({**(stored.fields or {}), **made.fields}, result.update_time)
            while len(self._written) > _KEPT:
                self._written.popitem(last=False)
        return True


class FirestoreQueries:
    """The side of the clients. The client belongs to the event loop that uses it first."""

    def __init__(self, client: firestore.AsyncClient, breaker: Breaker) -> None:
        self._client = client
        self._breaker = breaker

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        references = [self._client.collection(collection).document(key) for key in keys]
        request, *_ = self._client._prep_get_all(references, list(only) or None)
        async with one_async_call(self._breaker) as bounds, reading(self._client, request, bounds) as answers:
            found = [answer._pb.found async for answer in answers]
        return {one.name.rpartition("/")[2]: fields for one in found if (fields := decoded(one.fields))}

    async def find(self, find: Find) -> Sequence[Fields]:
        query = _filtered(self._client.collection(find.collection), find.where).limit(find.limit).offset(find.offset)
        direction = firestore.Query.DESCENDING if find.descending else firestore.Query.ASCENDING
        query = query.order_by(find.order_by, direction=direction)
        if find.only:
            query = query.select(find.only)
        if find.after or find.before:
            query = query.order_by("__name__", direction=direction)
        if find.after:
            query = (query.start_at if find.closed else query.start_after)(self._place(find, find.after))
        if find.before:
            query = (query.end_at if find.closed else query.end_before)(self._place(find, find.before))
        found: list[Fields] = []
        request, *_ = query._prep_stream()
        one_scan = one_async_call(self._breaker, scans=True)
        async with one_scan as bounds, reading(self._client, request, bounds) as answers:
            async for answer in answers:
                if answer._pb.HasField("document"):  # an answer without one only tells the time
                    found.append(decoded(answer._pb.document.fields))
                    find.on_read(found[-1])
        return found

    def _place(self, find: Find, document: Fields) -> Fields:
        key = self._client.collection(find.collection).document(document["id"])
        return {find.order_by: document[find.order_by], "__name__": key}

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        query = _filtered(self._client.collection(collection), where)
        async with one_async_call(self._breaker, scans=True) as bounds:
            ((result,),) = await query.count(alias="documents").get(**bounds)
        return int(result.value)

    async def extent(self, collection: str) -> Extent:
        applied = self._client.collection(collection).where(filter=FieldFilter("version", ">=", 1))
        query = AsyncAggregationQuery(applied)
        query.count(alias="documents")
        query.sum("version", alias="events")
        async with one_async_call(self._breaker, scans=True) as bounds:
            (results,) = await query.get(**bounds)
        totals = {result.alias: int(result.value) for result in results}
        newest = await self.find(Find(collection, "updated_at", descending=True, limit=1))
        return Extent(totals["documents"], totals["events"], newest[0]["updated_at"] if newest else None)


def _batches(changes: Mapping[str, Change], size: int) -> Iterator[dict[str, Change]]:
    """Divide changes into commits of at most `size` writes, or of one change."""
    batch, writes = dict[str, Change](), 0
    for key, made in changes.items():
        more = 1 + len(made.increments)
        if batch and writes + more > size:
            yield batch
            batch, writes = {}, 0
        batch[key] = made
        writes += more
    if batch:
        yield batch


def _filtered(query: Any, wheres: Sequence[Where]) -> Any:
    for where in wheres:
        query = query.where(filter=FieldFilter(where.field, where.operator, where.value))
    return query
