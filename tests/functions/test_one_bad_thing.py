"""One failure does not hold up other work, and a failure after a commit does not undo it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import NoReturn
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from shared.domain.errors import Unavailable
from shared.domain.order import ORDER
from shared.event_store.memory import MemoryEventStore
from shared.event_store.protocol import Append, EventRecord
from shared.messaging.envelope import Message, Publishable
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Backlog, publish_after_commit, relay
from shared.observability.context import Context, fresh, stored_context
from shared.resilience.calls import attempt_all
from shared.runtime.current import engines, using
from shared.runtime.engines import Engines
from shared.sagas.coordinate import Coordinator
from shared.sagas.definition import Progress
from shared.sagas.memory import MemorySagaStore
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.shop_in_memory import PATIENCE, ShopInMemory


class PickyPublisher:
    """Accepts every message except those of one topic."""

    def __init__(self, refused: str, error: Exception) -> None:
        self._refused, self._error = refused, error
        self.published: list[UUID] = []

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        if any(message.topic == self._refused for message in messages):
            raise self._error
        self.published += [message.id for message in messages]
        return [message.id for message in messages]

    def has_topic(self, topic: str) -> bool:
        return topic != self._refused


def message(topic: str) -> Message:
    return Message(topic, "Happened", "thing-1", {}, Context("correlation", "causation"))


def test_a_refused_message_does_not_hold_up_the_messages_behind_it() -> None:
    bad, good = message("deleted"), message("things")
    outbox, publisher = LeasedOutbox([bad, good]), PickyPublisher("deleted", Unavailable("no such topic"))
    with pytest.raises(Unavailable, match="no such topic"):
        relay(outbox, publisher, batch=1)
    assert publisher.published == outbox.deleted == [good.id]


class LeasedOutbox:
    """An outbox whose leases outlast the run."""

    def __init__(self, messages: list[Message]) -> None:
        self._left = messages
        self.deleted: list[UUID] = []

    def claim(self, limit: int) -> list[Message]:
        taken, self._left = self._left[:limit], self._left[limit:]
        return taken

    def delete(self, ids: Sequence[UUID]) -> None:
        self.deleted += ids

    def backlog(self) -> Backlog:
        return Backlog(len(self._left), min((message.time for message in self._left), default=None))

    def about(self, subject: str) -> list[Message]:
        return [message for message in self._left if message.subject == subject]


@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError("a bug"), ValueError("too large")])
def test_committed_events_stay_when_publishing_fails(error: Exception) -> None:
    outbox = MemoryOutbox(lease_seconds=-1)
    store = MemoryEventStore(outbox, publish_after_commit(outbox, lambda: PickyPublisher("thing-events", error)))
    event = EventRecord(uuid7(), "thing-1", 1, "Happened", 1, {}, fresh(), datetime.now(UTC))
    store.append(Append([event]))
    assert store.read(["thing-1"]) == {"thing-1": [event]}
    assert [left.id for left in outbox.claim(10)] == [event.id]


def test_a_saga_that_cannot_be_swept_does_not_hold_up_the_others() -> None:
    events, sagas = MemoryEventStore(), MemorySagaStore()
    bad, good = uuid7(), uuid7()
    past = datetime.now(UTC) - timedelta(minutes=1)
    for saga_id, deadline in ((bad, past - timedelta(minutes=1)), (good, past)):
        sagas.save(StoredSaga("OrderSaga", Progress(saga_id, deadline_at=deadline, attempts=1), 0, "c"), [], [])
    unreadable = EventRecord(uuid7(), ORDER.stream(bad), 1, "FromTheFuture", 1, {}, fresh(), past)
    events.append(Append([unreadable]))
    with pytest.raises(ExceptionGroup, match=f"1 of 2 failed, the first is {bad}"):
        Coordinator(ORDER_FULFILMENT, ORDER, events, sagas).sweep(datetime.now(UTC))
    moved = sagas.load(good)
    assert moved is not None
    assert (moved.version, moved.progress.status, moved.progress.attempts) == (2, SagaStatus.STARTED, 2)
    untouched = sagas.load(bad)
    assert untouched is not None
    assert untouched.version == 1


def test_first_requests_that_arrive_together_share_their_engines(shop: ShopInMemory) -> None:
    made: list[Engines] = []
    together = Barrier(8)

    def make() -> Engines:
        made.append(Engines(replace(shop.engines.settings), subscriptions=[]))
        return made[-1]

    def first_request(_: int) -> tuple[Engines, object]:
        together.wait(PATIENCE)
        return engines(), engines().recorder

    with using(make), ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first_request, range(8)))) == 1
    assert len(made) == 1
    made[0].close()


def test_closing_engines_closes_what_was_made_and_makes_nothing(shop: ShopInMemory) -> None:
    unused = Engines(replace(shop.engines.settings, profile="engines"))
    before = set(vars(unused))
    unused.close()
    assert set(vars(unused)) == before
    used = Engines(replace(shop.engines.settings), subscriptions=[])
    http = used.http
    used.close()
    assert http.is_closed


@pytest.mark.parametrize(
    ("errors", "status", "code"),
    [
        ([Unavailable("down", retry_after=7), RuntimeError("a bug")], 503, "SERVICE_UNAVAILABLE"),
        ([RuntimeError("hunter2"), Unavailable("down")], 500, "INTERNAL_ERROR"),
    ],
)
def test_a_group_of_errors_is_answered_like_its_first(
    shop: ShopInMemory, errors: list[Exception], status: int, code: str
) -> None:
    for outbox, error in zip(shop.engines.outboxes, errors, strict=True):
        outbox.delete = outbox.claim = raising(error)  # type: ignore[method-assign]
    response = shop.call("relay_outbox")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers.get("Retry-After") == ("7" if status == 503 else None)
    assert "hunter2" not in response.text


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def test_every_task_runs_and_the_failures_are_raised_together() -> None:
    done: list[str] = []

    def task(name: str) -> int:
        done.append(name)
        if name == "second":
            raise Unavailable("down")
        return 2

    tasks = {name: partial(task, name) for name in ("first", "second", "third")}
    with pytest.raises(ExceptionGroup, match="1 of 3 failed, the first is second") as failed:
        attempt_all("tasks", tasks)
    assert [type(error) for error in failed.value.exceptions] == [Unavailable]
    assert done == [*tasks]
    del tasks["second"]
    assert attempt_all("tasks", tasks) == 4


def test_a_503_is_retried_under_the_same_key(shop: ShopInMemory) -> None:
    """The command may have been recorded before the database went away."""
    working, keys = shop.engines.command_http, []

    async def fail_once(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        response = await working.post(request.url, content=request.content, headers=request.headers)
        if len(keys) == 1:
            return httpx.Response(503, json={"code": "SERVICE_UNAVAILABLE", "message": "gone", "field": []})
        return httpx.Response(response.status_code, content=response.content)

    shop.engines.command_http = httpx.AsyncClient(transport=httpx.MockTransport(fail_once))
    made = shop.ask('mutation { createCategory(input: {name: "Tea"}) { id } }')["createCategory"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [event.stream for event in shop.log()] == [f"category-{made['id']}"]


def test_metadata_of_a_newer_version_can_be_read() -> None:
    stored = vars(Context("correlation", "causation", "hanako")) | {"tenant": "kyoto"}
    assert stored_context(stored) == Context("correlation", "causation", "hanako")


def test_a_repeated_command_that_changed_nothing_gets_the_same_answer(shop: ShopInMemory) -> None:
    product_id, key = shop.new_product(), {"Idempotency-Key": str(uuid7())}
    body = {"productId": product_id, "stockQuantity": 100}
    first = shop.command("update_product", body, key)
    shop.command("adjust_stock", {"productId": product_id, "delta": -1})
    again = shop.command("update_product", body, key)
    assert again.content == first.content
    assert [event.type for event in shop.log()][-1] == "StockAdjusted"
    assert len(shop.log()) == 3
