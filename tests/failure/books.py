"""Read a shop's state from its engines, and list every promise that it has broken once it is at
rest."""

import time
from collections import defaultdict
from decimal import Decimal
from typing import Any

from google.cloud import firestore

from scripts.local.local_http import local_http
from scripts.local.token import PROJECT
from shared.domain.order import ORDER
from shared.domain.personal import ERASED
from shared.erasure.postgres import person_keys
from shared.erasure.sealed import SealedEventStore
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Checkpoint, EventRecord
from shared.postgres.pool import connect
from shared.read_models.documents import COLLECTIONS
from shared.read_models.generations import GENERATIONS, stored_in
from shared.sagas.status import SagaStatus
from tests.failure.breakable_shop import BreakableShop
from tests.simulation.invariants import Books, Deed, broken

Fields = dict[str, Any]

_ENDED = {SagaStatus.COMPLETED.value, SagaStatus.FAILED.value}

Place = tuple[str, dict[str, Fields]]


def open_books(shop: BreakableShop) -> Books:
    """Read everything that the checks of a simulated history look at."""
    payments, shipments = (_ledger(shop, kind) for kind in ("payments", "shipments"))
    streams = read_log(shop)
    erased = frozenset(
        str(ORDER.id_of(stream))
        for stream, events in streams.items()
        if stream.startswith("order-") and events[0].data["user_id"] == ERASED
    )
    return Books(streams, payments, shipments, shop.sagas(), *_read_models(), erased=erased)


def read_log(shop: BreakableShop) -> dict[str, list[EventRecord]]:
    streams: dict[str, list[EventRecord]] = defaultdict(list)
    with connect(shop.event_store, 1) as pool, connect(shop.command_database, 1) as keys:
        store = SealedEventStore(PostgresEventStore(pool), lambda: person_keys(keys, "", local_http))
        for entry in store.read_all(Checkpoint(), 1_000_000):
            streams[entry.event.stream].append(entry.event)
    return streams


def faults(shop: BreakableShop) -> list[str]:
    """Return every inconsistency as a sentence; empty when the shop is at rest and consistent."""
    left = [f"{row} is left in an outbox" for row in shop.outbox()]
    lost = [f"{letter} became a dead letter" for letter in shop.dead_letters()]
    return [*left, *lost, *broken(open_books(shop))]


def comes_to_rest(shop: BreakableShop, seconds: float = 180) -> None:
    """Wait until the shop is at rest and assert that it is consistent."""
    until = time.monotonic() + seconds
    while (wrong := _under_way(shop) or faults(shop)) and time.monotonic() < until:
        time.sleep(0.5)
    assert not wrong, "\n".join(wrong)


def _under_way(shop: BreakableShop) -> list[str]:
    """Return what shows, without reading all books, that the shop is not at rest."""
    left = [f"{row} is left in an outbox" for row in shop.outbox()]
    return left + [f"saga {key} is {status}" for key, status in shop.sagas().items() if status not in _ENDED]


def _ledger(shop: BreakableShop, kind: str) -> dict[str, Deed]:
    entries = local_http().get(f"{shop.ports.url('command')}/sandbox_provider/{kind}", timeout=30).json()
    return {one["key"]: Deed(one["status"], Decimal(one["amount"]), one["reference"]) for one in entries}


def _read_models() -> tuple[list[Place], list[Place]]:
    """Return the documents of each collection's live and kept generations, and the sales."""
    client: Any = firestore.Client(PROJECT)
    found, sales = list[Place](), list[Place]()
    for read_model, collection in [*((one.read_model, one.name) for one in COLLECTIONS), ("sales", "sales")]:
        now = client.collection(GENERATIONS).document(read_model).get().to_dict() or {}
        kept = [now["other"]] if now.get("state") == "KEPT" else []
        for place in (stored_in(collection, number) for number in (now.get("live", 1), *kept)):
            documents = {one.id: one.to_dict() for one in client.collection(place).stream()}
            if collection == "sales":
                sales.append((place, documents))
            else:
                found.append((place, {key: fields for key, fields in documents.items() if "version" in fields}))
    client.close()
    return found, sales
