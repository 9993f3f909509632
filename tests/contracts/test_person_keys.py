"""The keys of persons, and an event store whose personal values are encrypted with them. The same
tests run on PostgreSQL and in memory."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from uuid_utils.compat import uuid7

from scripts.local import restore
from shared.config.settings import MalformedSetting, Settings
from shared.domain.errors import TimedOut, Unavailable
from shared.erasure.conversion import encrypt_orders, forget_copies
from shared.erasure.kms import CloudKms
from shared.erasure.memory import MemoryPersonKeys
from shared.erasure.postgres import PostgresPersonKeys, Unwrapped, person_keys
from shared.erasure.protocol import PersonKeys
from shared.erasure.sealed import SealedEventLog, SealedEventStore
from shared.event_store.aggregates import announced, announcement
from shared.event_store.log import PostgresEventLog
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord, EventStore, IdempotencyRecord, Snapshot
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.resilience import clock

CONTEXT = Context("correlation", "causation", "hanako")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Stores:
    """`raw`: what is at rest."""

    keys: PersonKeys
    raw: EventStore
    store: SealedEventStore
    log: SealedEventLog

    def at_rest(self) -> str:
        return repr(self.raw.read_all(Checkpoint(), 1000))

    def new_process(self) -> "Stores":
        return replace(self, store=SealedEventStore(self.raw, lambda: self.keys))


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        keys: PersonKeys = MemoryPersonKeys()
        raw = MemoryEventStore()
        yield _stores(keys, raw, MemoryEventLog(raw))
        return
    pool: Pool = request.getfixturevalue("event_store_pool")
    keys = PostgresPersonKeys(request.getfixturevalue("command_pool"), Unwrapped())
    yield _stores(keys, PostgresEventStore(pool), PostgresEventLog(pool))


def _stores(keys: PersonKeys, raw: Any, log: Any) -> Stores:
    return Stores(keys, raw, SealedEventStore(raw, lambda: keys), SealedEventLog(log, lambda: keys))


def record(stream: str, version: int, kind: str, **data: Any) -> EventRecord:
    return EventRecord(uuid7(), stream, version, kind, 1, data, CONTEXT, NOW)


def ordered(user_id: str = "花子", stream: str | None = None) -> EventRecord:
    return record(stream or f"order-{uuid7()}", 1, "OrderCreated", user_id=user_id, payment_method="card-7", total="5")


def test_what_is_written_is_read_back_and_is_not_readable_at_rest(stores: Stores) -> None:
    order = ordered()
    cancelled = record(order.stream, 2, "OrderCancellationRequested", reason="moving to 神戸")
    stores.store.append(Append([order]))
    stores.store.append(Append([cancelled]))
    assert stores.store.read([order.stream]) == {order.stream: [order, cancelled]}
    assert [one.event for one in stores.log.everything(0, 9)] == [order, cancelled]
    for word in ("花子", "\\u82b1", "card-7", "moving", "神戸", "hanako"):
        assert word not in stores.at_rest()


def test_other_streams_and_fields_stay_as_they_are(stores: Stores) -> None:
    adjusted = record("product-1", 1, "StockAdjusted", reason="found behind the shelf", delta=3)
    reserved = record("order-1", 1, "InventoryReserved", order_id="1")
    stores.store.append(Append([adjusted, reserved]))
    assert stores.raw.read(["product-1", "order-1"]) == {"product-1": [adjusted], "order-1": [reserved]}


def test_after_an_erasure_every_personal_value_reads_erased_for_every_process(stores: Stores) -> None:
    order, other = ordered(), ordered("taro")
    stores.store.append(Append([order, other]))
    assert stores.keys.destroy("花子", "ann", "asked for it")
    for process in (stores, stores.new_process()):
        (event,) = process.store.read([order.stream])[order.stream]
        assert event.data == {"user_id": "erased", "payment_method": "erased", "total": "5"}
        assert event.metadata.actor == "erased"
        assert process.store.read([other.stream]) == {other.stream: [other]}


def test_what_is_appended_after_an_erasure_is_not_stored_at_all(stores: Stores) -> None:
    order = ordered()
    stores.store.append(Append([order]))
    stores.keys.destroy("花子", "ann", "asked for it")
    for process, version in ((stores, 2), (stores.new_process(), 3)):
        process.store.append(Append([record(order.stream, version, "PaymentFailed", reason="card of 花子")]))
        assert "'text'" not in repr(stores.raw.read_stream(order.stream, version - 1, 1))
        (entry,) = process.store.read_stream(order.stream, version - 1, 1)
        assert entry.event.data == {"reason": "erased"}


def test_a_person_who_orders_again_has_a_new_key(stores: Stores) -> None:
    first, second = ordered(), ordered()
    stores.store.append(Append([first]))
    erasure = stores.keys.destroy("花子", "ann", "asked for it")
    stores.store.append(Append([second]))
    assert stores.store.read([second.stream]) == {second.stream: [second]}
    assert erasure and stores.log.of_key(erasure.key, 9) == [first.stream]


def test_an_erased_order_is_looked_for_no_more(stores: Stores) -> None:
    orders = [ordered(), ordered()]
    stores.store.append(Append(orders))
    erasure = stores.keys.destroy("花子", "ann", "asked for it")
    assert erasure and {*stores.log.of_key(erasure.key, 9)} == {one.stream for one in orders}
    stores.store.append(Append([record(orders[0].stream, 2, "OrderErased")]))
    assert stores.log.of_key(erasure.key, 9) == [orders[1].stream]
    assert [one.key for one in stores.keys.unfinished(9)] == [erasure.key]
    stores.keys.finish(erasure)
    assert stores.keys.unfinished(9) == []


def test_a_process_whose_clock_is_wrong_does_not_take_an_erasure_for_old(command_pool: Pool) -> None:
    """It would look no more for an order that is just being created."""

    class Ahead(clock.World):
        def now(self) -> datetime:
            return super().now() + timedelta(days=1)

    keys = PostgresPersonKeys(command_pool, Unwrapped())
    keys.current("花子")
    erasure = keys.destroy("花子", "ann", "asked for it")
    with clock.use(Ahead()):
        ages = [one.age for one in keys.unfinished(9) if erasure and one.key == erasure.key]
    assert [timedelta(0) <= age < timedelta(hours=12) for age in ages] == [True]


def test_destroying_twice_or_an_unknown_key_does_nothing(stores: Stores) -> None:
    stores.keys.current("花子")
    assert stores.keys.destroy("花子", "ann", "first")
    assert stores.keys.destroy("花子", "ann", "second") is None
    assert stores.keys.destroy("", "ann", "nobody") is None


def test_erasures_and_orders_at_once_leave_one_key_each(stores: Stores) -> None:
    with ThreadPoolExecutor(8) as pool:
        orders = [ordered() for _ in range(24)]
        appended = [pool.submit(stores.store.append, Append([one])) for one in orders]
        destroyed = [pool.submit(stores.keys.destroy, "花子", "ann", "again") for _ in range(8)]
        assert [one.result() for one in appended] == [None] * 24
        erasures = [erasure for one in destroyed if (erasure := one.result())]
    assert len({one.key for one in erasures}) == len(erasures)
    read = [stores.store.read([one.stream])[one.stream][0].data["user_id"] for one in orders]
    assert {*read} <= {"erased", "花子"}
    of_erased = {stream for erasure in erasures for stream in stores.log.of_key(erasure.key, 99)}
    assert of_erased == {one.stream for one, name in zip(orders, read, strict=True) if name == "erased"}


def test_a_stored_answer_is_the_same_again_and_erased_with_its_person(stores: Stores) -> None:
    order = ordered()
    answer: dict[str, Any] = {
        "stream": order.stream,
        "version": 1,
        "entity": {"user_id": "花子", "total": "5", "reason": None},
    }
    text = json.dumps(answer, ensure_ascii=False)
    stores.store.append(Append([order], record=IdempotencyRecord("k", "f", text)))
    assert stores.store.recorded("k") == IdempotencyRecord("k", "f", text)
    assert "花子" not in repr(stores.raw.recorded("k"))
    stores.keys.destroy("花子", "ann", "asked for it")
    again = stores.store.recorded("k")
    assert again and json.loads(again.result) == answer | {"entity": answer["entity"] | {"user_id": "erased"}}


def test_an_order_has_no_snapshot(stores: Stores) -> None:
    for stream in ("order-1", "product-1"):
        stores.store.save_snapshot(Snapshot(stream, 100, 1, {"user_id": "花子"}, NOW, NOW))
    assert {*stores.store.snapshots(["order-1", "product-1"], 1)} == {"product-1"}


def test_an_order_from_before_is_read_and_what_follows_is_encrypted(stores: Stores) -> None:
    order = ordered()
    stores.raw.append(Append([order]))
    failed = record(order.stream, 2, "PaymentFailed", reason="card of 花子")
    stores.store.append(Append([failed]))
    assert stores.store.read([order.stream]) == {order.stream: [order, failed]}
    assert "card of" not in repr(stores.raw.read_stream(order.stream, 1, 1))
    assert (stores.log.has_unsealed("花子"), stores.log.has_unsealed("taro")) == (True, False)


def test_a_text_opens_only_in_its_own_event(stores: Stores) -> None:
    mine, yours = ordered("taro"), ordered("taro")
    stores.store.append(Append([mine]))
    (entry,) = stores.raw.read_stream(mine.stream, 0, 1)
    stores.raw.append(Append([replace(yours, data=entry.event.data)]))
    with pytest.raises(Unavailable, match="was changed, or moved"):
        stores.store.read([yours.stream])


def test_a_lost_key_is_no_erasure(stores: Stores) -> None:
    order = ordered()
    stores.store.append(Append([order]))
    stores.keys = MemoryPersonKeys()  # as after a restore of the events alone
    with pytest.raises(Unavailable, match="no key"):
        stores.new_process().store.read([order.stream])


def test_a_process_that_forgets_the_keys_of_streams_while_it_appends_appends_all_the_same(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may have read so many streams meanwhile; here the other order is enough."""
    monkeypatch.setattr("shared.erasure.sealed._MAX_STREAMS", 1)
    orders = [ordered("花子"), ordered("taro")]
    stores.store.append(Append(orders))
    store = stores.new_process().store
    store.read([orders[0].stream])
    cancelled = [record(one.stream, 2, "OrderCancellationRequested", reason="moving") for one in orders]
    store.append(Append(cancelled))
    assert [store.read([one.stream])[one.stream][1] for one in orders] == cancelled


def test_an_announcement_says_nothing_personal() -> None:
    order = ordered()
    message = announcement(order)
    assert "花子" not in repr(message) and "hanako" not in repr(message)
    assert (announced(message).id, announced(message).version) == (order.id, 1)


def kms(handle: Any) -> CloudKms:
    client = httpx.Client(transport=httpx.MockTransport(handle))
    return CloudKms("projects/p/locations/l/keyRings/r/cryptoKeys/k", client, lambda: "token")


def reversing(request: httpx.Request) -> httpx.Response:
    """Answer like Cloud KMS, whose cipher turns the text around."""
    assert request.headers["Authorization"] == "Bearer token"
    body, method = json.loads(request.content), request.url.path.partition(":")[2]
    given, name = ("plaintext", "ciphertext") if method == "encrypt" else ("ciphertext", "plaintext")
    turned = base64.b64decode(body[given])[::-1]
    return httpx.Response(200, json={name: base64.b64encode(turned).decode()})


def test_cloud_kms_protects_the_keys_and_is_asked_once_by_each_process(command_pool: Pool) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return reversing(request)

    first, second = (PostgresPersonKeys(command_pool, kms(handle)) for _ in "ab")
    made = [first.current(f"person {number}") for number in range(5)]
    assert [second.current(f"person {number}") for number in range(5)] == made
    assert [path.partition(":")[2] for path in asked] == ["encrypt", "decrypt", "decrypt"]
    ((wrapped,),) = command_pool.rows("keys", "SELECT wrapped FROM wrapping_keys")
    stored = b"".join(row[0] for row in command_pool.rows("keys", "SELECT wrapped FROM person_keys"))
    assert len(wrapped) == 32 and not any(key.secret and key.secret in stored for key in made)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(403), Unavailable),
        (httpx.Response(200, json={}), Unavailable),
        (httpx.Response(200, text="no JSON"), Unavailable),
        (httpx.ConnectError("down"), Unavailable),
        (httpx.ReadTimeout("slow"), TimedOut),
    ],
    ids=["forbidden", "empty", "malformed", "down", "slow"],
)
def test_without_cloud_kms_nothing_is_written(
    command_pool: Pool, answer: httpx.Response | Exception, error: type[Exception]
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    raw = MemoryEventStore()
    keys = PostgresPersonKeys(command_pool, kms(handle))
    with pytest.raises(error):
        SealedEventStore(raw, lambda: keys).append(Append([ordered()]))
    assert raw.read_all(Checkpoint(), 9) == []


def test_the_cloud_needs_cloud_kms(command_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "create-order")
    with pytest.raises(MalformedSetting, match="WRAPPING_KEY"):
        person_keys(command_pool, "", httpx.Client)


def test_what_was_erased_after_a_backup_is_erased_again(command_url: str, command_pool: Pool, tmp_path: Path) -> None:
    keys, settings = PostgresPersonKeys(command_pool, Unwrapped()), Settings(command_database_url=command_url)
    kept, early, late = (keys.current(name).id for name in ("taro", "花子", "次郎"))
    keys.destroy("花子", "ann", "before the backup")
    backup = command_pool.rows("keys", "SELECT person, id, wrapped FROM person_keys")
    newer = keys.current("恵").id
    for name in ("次郎", "恵"):
        keys.destroy(name, "ann", "after the backup")
    assert restore.erasures(settings, tmp_path / "erasures.txt") == 3
    with psycopg.connect(command_url, autocommit=True) as connection:
        connection.execute("TRUNCATE person_keys")
        connection.execute("DELETE FROM erasures WHERE key = ANY(%s)", ([late, newer],))
        connection.cursor().executemany("INSERT INTO person_keys (person, id, wrapped) VALUES (%s, %s, %s)", backup)
    (damaged := tmp_path / "damaged.txt").write_text(f"{late}\n{str(early)[:20]}\n")
    with pytest.raises(restore.Refused, match=r"line 2 of .*damaged.txt is no key: .*scripts/restore erasures"):
        restore.erase_again(settings, damaged)
    assert keys.of([late])[late].secret
    assert [restore.erase_again(settings, tmp_path / "erasures.txt") for _ in "ab"] == [1, 0]
    assert [bool(key.secret) for key in keys.of([kept, early, late]).values()].count(True) == 1
    assert {late, newer} <= {erasure.key for erasure in keys.unfinished(9)}


def test_orders_from_before_are_encrypted_once(
    event_store_pool: Pool, event_store_url: str, command_pool: Pool, command_url: str
) -> None:
    raw, keys = PostgresEventStore(event_store_pool), PostgresPersonKeys(command_pool, Unwrapped())
    store, log = (
        SealedEventStore(raw, lambda: keys),
        SealedEventLog(PostgresEventLog(event_store_pool), lambda: keys),
    )
    orders = [ordered("花子"), ordered("taro")]
    cancelled = record(orders[0].stream, 2, "OrderCancellationRequested", reason="moving to 神戸")
    late = record(orders[1].stream, 2, "PaymentFailed", reason="card of taro")
    raw.append(Append([record("product-1", 1, "StockAdjusted", reason="found", delta=3), *orders, cancelled]))
    raw.save_snapshot(Snapshot(orders[0].stream, 2, 2, {"user_id": "花子"}, NOW, NOW))
    before, places = store.read_all(Checkpoint(), 99), [one.checkpoint for one in raw.read_all(Checkpoint(), 99)]
    with psycopg.connect(event_store_url, autocommit=True) as connection:
        assert encrypt_orders(connection, keys) == 3
        assert store.read_all(Checkpoint(), 99) == before
        assert [one.checkpoint for one in raw.read_all(Checkpoint(), 99)] == places
        assert encrypt_orders(connection, keys) == 0
        raw.append(Append([late]))  # by a function of the release before
        assert encrypt_orders(connection, keys) == 1
    at_rest = repr(raw.read_all(Checkpoint(), 99)) + repr(raw.snapshots([one.stream for one in orders], 2))
    assert not [word for word in ("花子", "taro", "moving", "hanako") if word in at_rest.replace("'hanako'", "", 1)]
    assert not log.has_unsealed("花子")
    assert keys.destroy("taro", "ann", "asked for it")
    assert [one.data.get("reason") for one in store.read([orders[1].stream])[orders[1].stream]] == [None, "erased"]
    with psycopg.connect(command_url, autocommit=True) as connection:
        forget_copies(connection)
