"""The contract of a store of dead letters, tested on PostgreSQL and in memory."""

import base64
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.dead_letters.failures import Cause, Failure, Trouble, describe_error
from shared.dead_letters.memory import MemoryDeadLetters
from shared.dead_letters.postgres import TROUBLES, PostgresDeadLetters
from shared.dead_letters.postgres_lists import claimed
from shared.dead_letters.postgres_lists import counted as counted_letters
from shared.dead_letters.postgres_lists import listed as listed_letters
from shared.dead_letters.protocol import (
    DeadLetter,
    DeadLetters,
    LetterDelivery,
    LetterFilter,
    Letters,
    decode_dead_letter,
    fingerprint,
    fingerprint_of,
    original_attributes,
)
from shared.messaging.envelope import ONLY_FOR, ForSubscription, Push, PushedMessage, decode_push
from shared.postgres.pool import Pool
from shared.postgres.slices import Slice

SOURCE = "project-orders.order-events"
NOW = datetime.now(UTC)
ALWAYS = NOW + timedelta(days=1)
ids = count(1)


@pytest.fixture(params=["memory", "postgres"])
def new_store(request: pytest.FixtureRequest) -> Callable[..., DeadLetters]:
    if request.param == "memory":
        return MemoryDeadLetters
    return partial(PostgresDeadLetters, request.getfixturevalue("command_pool"))


@pytest.fixture
def letters(new_store: Callable[..., DeadLetters]) -> DeadLetters:
    return new_store()


def pushed(
    attributes: Mapping[str, str] | None = None, data: str = "e30=", source: str = SOURCE, delivery: str = ""
) -> Push:
    """Return a push from a dead-letter topic; a new delivery unless its id is given."""
    added = {
        "CloudPubSubDeadLetterSourceSubscription": source,
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    }
    message = PushedMessage(delivery or f"{next(ids)}", data, {**(attributes or {}), **added})
    return Push(message, f"projects/p/subscriptions/record-dead-letter.{source}.dead")


def ours(**more: str) -> dict[str, str]:
    return {"ce-id": str(uuid7()), "ce-type": "OrderCreated", "ce-subject": "order-1", "correlation_id": "c", **more}


def recorded(letters: DeadLetters, attributes: Mapping[str, str], **more: str) -> DeadLetter:
    one = decode_dead_letter(pushed(attributes, **more), "order-events")
    letters.record(one)
    return loaded(letters, one)


def test_failures_are_counted_by_source_and_outlive_their_letters(letters: DeadLetters) -> None:
    assert letters.traffic(NOW, ALWAYS) == {}
    attributes = ours()
    first = recorded(letters, attributes, delivery="one")
    recorded(letters, attributes, delivery="one")  # the same failure, delivered again
    again = recorded(letters, attributes, delivery="two")
    other = recorded(letters, ours(), source="order-saga.order-events")
    assert letters.discard(first.id, "not needed", "ann")
    assert letters.forget_settled(ALWAYS, 10) == 1
    traffic = letters.traffic(NOW - timedelta(minutes=1), ALWAYS)
    assert {source: (one.count, one.last_at) for source, one in traffic.items()} == {
        SOURCE: (2, again.history[-1].at),
        "order-saga.order-events": (1, other.history[-1].at),
    }
    assert traffic["order-saga.order-events"].lately == 1
    assert letters.traffic(ALWAYS, ALWAYS)["order-saga.order-events"].lately == 0


def loaded(letters: DeadLetters, one: LetterDelivery | DeadLetter) -> DeadLetter:
    found = letters.load(one.id if isinstance(one, DeadLetter) else one.letter.id)
    assert found
    return found


def retried(letters: DeadLetters, one: DeadLetter) -> ForSubscription:
    """Retry a letter and return the message that is published."""
    (claimed,) = letters.claim(LetterFilter(one.id), 1)
    letters.settle([claimed], datetime.now(UTC), "ann")
    return message_of(claimed)


def message_of(letter: DeadLetter) -> ForSubscription:
    message = letter.for_its_subscription()
    assert message
    return message


def kinds(letters: DeadLetters, one: DeadLetter) -> list[str]:
    return [entry.kind for entry in loaded(letters, one).history]


def test_a_letter_tells_its_message_its_source_and_its_error(letters: DeadLetters) -> None:
    push = pushed(ours(traceparent="00-1-2-01", colour="緑 🍵"))
    one = decode_dead_letter(push, "order-events")
    letters.note_failure(SOURCE, fingerprint(push.message), "no such product")
    letters.record(one)
    (found,) = letters.latest(10)
    assert (found.source, found.topic, found.type, found.subject) == (SOURCE, "order-events", "OrderCreated", "order-1")
    assert (found.attempts, found.error, found.status) == (10, "no such product", "PENDING")
    assert (found.traceparent, found.correlation_id, found.attributes["colour"]) == ("00-1-2-01", "c", "緑 🍵")
    assert found.data == "e30="
    assert abs(found.recorded_at - datetime.now(UTC)) < timedelta(minutes=5)
    (entry,) = found.history
    assert (entry.kind, entry.attempts, entry.reason, entry.by) == ("FAILED", 10, "no such product", None)


def test_the_same_delivery_counts_once(letters: DeadLetters) -> None:
    one = decode_dead_letter(pushed(ours()), "order-events")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: letters.record(one), range(8)))
    assert (letters.pending(), loaded(letters, one).attempts, len(loaded(letters, one).history)) == (1, 10, 1)


@pytest.mark.parametrize("attributes", [ours(), {"colour": "green"}, {}], ids=["ours", "foreign", "bare"])
def test_a_message_that_fails_again_after_a_retry_stays_one_letter_with_its_history(
    letters: DeadLetters, attributes: Mapping[str, str]
) -> None:
    first = pushed(attributes)
    letters.record(decode_dead_letter(first, "order-events"))
    (one,) = letters.latest(10)
    again = retried(letters, one)
    assert loaded(letters, one).status == "RETRIED"
    second = pushed(again.attributes())
    assert fingerprint(second.message) == fingerprint(first.message)
    letters.note_failure(SOURCE, fingerprint(second.message), "still down")
    letters.record(decode_dead_letter(second, "order-events"))
    letters.record(decode_dead_letter(first, "order-events"))  # late and twice
    (found,) = letters.latest(10)
    assert (found.id, found.status, found.attempts, found.error) == (one.id, "PENDING", 20, "still down")
    assert kinds(letters, one) == ["FAILED", "RETRIED", "FAILED"]
    assert found.attributes == attributes


def test_a_late_duplicate_of_the_first_failure_leaves_a_letter_retried(letters: DeadLetters) -> None:
    first = decode_dead_letter(pushed(ours()), "order-events")
    letters.record(first)
    retried(letters, loaded(letters, first))
    letters.record(first)
    assert (loaded(letters, first).status, loaded(letters, first).attempts) == ("RETRIED", 10)


def test_a_message_that_fails_again_before_its_retry_is_recorded_stays_pending(letters: DeadLetters) -> None:
    one = recorded(letters, ours())
    (claimed,) = letters.claim(LetterFilter(one.id), 1)
    at = datetime.now(UTC)
    letters.record(decode_dead_letter(pushed(message_of(claimed).attributes()), "order-events"))
    letters.settle([claimed], at, "ann")
    assert loaded(letters, one).status == "PENDING"
    assert sorted(kinds(letters, one)) == ["FAILED", "FAILED", "RETRIED"]


def test_one_message_has_a_letter_for_each_source(letters: DeadLetters) -> None:
    attributes = ours()
    a, b = recorded(letters, attributes), recorded(letters, attributes, source="order-saga.order-events")
    assert a.id != b.id
    assert {letter.source for letter in letters.latest(10)} == {SOURCE, "order-saga.order-events"}


def test_two_foreign_messages_that_are_alike_are_two_letters(letters: DeadLetters) -> None:
    assert recorded(letters, {}).id != recorded(letters, {}).id


def test_a_letter_is_published_as_before_and_for_one_subscription_only() -> None:
    given = ours(colour="green", topic="blue", retry="x")
    push = pushed(given, base64.b64encode(b"\x00\xff{").decode())
    again = message_of(decode_dead_letter(push, "order-events").letter)
    assert again.body() == b"\x00\xff{"
    assert again.attributes() == given | {ONLY_FOR: SOURCE, "dead-letter": str(again.id)}
    assert original_attributes(again.attributes()) == given


POISON = {
    "no base64": ("***", {}),
    "half base64": ("e30", {}),
    "null characters": ("\0", {"ce-id": "\0", "ce-type": "\0", "ce-subject": "a\0b", "\0": "\0", "traceparent": "\0"}),
    "long": ("", {"ce-type": "x" * 5000, "ce-id": "y" * 100_000}),
    "empty": ("", {"": ""}),
    "an endless number": ("", {"CloudPubSubDeadLetterSourceDeliveryCount": "9" * 5000}),
    "a letter that is none": ("", {"dead-letter": "nothing", ONLY_FOR: SOURCE}),
    "quotes": ("'", {"'; DROP TABLE dead_letters; --": "%s {} \\"}),
}


@pytest.mark.parametrize("name", POISON)
def test_a_poison_message_is_stored_and_listed(letters: DeadLetters, name: str) -> None:
    data, attributes = POISON[name]
    push = pushed(attributes, data)
    push = replace(push, message=replace(push.message, attributes={**push.message.attributes, **attributes}))
    letters.record(decode_dead_letter(push, "order-events"))
    (found,) = letters.latest(10)
    assert found.data == data
    assert found.attributes == original_attributes(attributes)
    assert loaded(letters, found).data == data
    assert letters.discard(found.id, "poison", "ann")


def test_a_lone_surrogate_can_be_received_stored_and_listed(letters: DeadLetters) -> None:
    message = rb'{"messageId": "1", "data": "\ud83c", "attributes": {"a": "\udf75 \ud83c\udf75"}}'
    body = b'{"message": ' + message + b', "subscription": "s"}'
    letters.record(decode_dead_letter(decode_push(body), "order-events"))
    (found,) = letters.latest(10)
    assert found.attributes == {"a": "? 🍵"}


def test_a_large_letter_is_shortened_in_lists_and_loaded_in_full(letters: DeadLetters) -> None:
    data = base64.b64encode(b"x" * 10_000_000).decode()
    one = recorded(letters, ours(), data=data)
    assert one.data == data
    assert letters.latest(1)[0].data == data[:10_000]


def test_letters_are_listed_newest_first_by_status_and_source_page_by_page(letters: DeadLetters) -> None:
    made = [recorded(letters, ours(), source=source) for source in (SOURCE, "b.c", SOURCE)]
    letters.discard(made[0].id, "old", "ann")
    newest = [one.id for one in made[::-1]]
    assert [one.id for one in letters.latest(10)] == newest
    assert [one.id for one in letters.latest(1, 1)] == newest[1:2]
    assert [one.id for one in letters.latest(10, source=SOURCE)] == [made[2].id, made[0].id]
    assert [one.id for one in letters.latest(10, status="DISCARDED", source=SOURCE)] == [made[0].id]
    assert letters.latest(0) == letters.latest(10, source="nothing") == []
    assert (letters.pending(), letters.pending(SOURCE)) == (2, 1)


def test_the_oldest_pending_letters_are_claimed_first_and_by_one_process_only(letters: DeadLetters) -> None:
    made = [recorded(letters, ours()) for _ in range(6)]
    letters.discard(made[0].id, "old", "ann")
    assert [one.id for one in letters.claim(LetterFilter(without=[made[1].id]), 2)] == [made[2].id, made[3].id]
    with ThreadPoolExecutor(4) as pool:
        claimed = [one.id for some in pool.map(lambda _: letters.claim(LetterFilter(), 2), range(4)) for one in some]
    assert sorted(claimed) == sorted([made[1].id, made[4].id, made[5].id])
    letters.release([made[1]])
    assert [one.id for one in letters.claim(LetterFilter(), 9)] == [made[1].id]


def test_a_letter_can_be_claimed_again_when_its_lease_has_ended(new_store: Callable[..., DeadLetters]) -> None:
    letters = new_store(lease_seconds=-1.0)
    one = recorded(letters, ours())
    assert [found.id for found in letters.claim(LetterFilter(), 1)] == [one.id]
    assert [found.id for found in letters.claim(LetterFilter(one.id), 1)] == [one.id]


def test_a_claimed_letter_cannot_be_discarded_nor_a_discarded_letter_claimed(letters: DeadLetters) -> None:
    one = recorded(letters, ours())
    letters.claim(LetterFilter(one.id), 1)
    assert not letters.discard(one.id, "old", "ann")
    letters.release([one])
    assert letters.discard(one.id, "古い", "ann")
    assert not letters.discard(one.id, "again", "bob")
    assert letters.claim(LetterFilter(one.id), 1) == []
    assert [(entry.kind, entry.by, entry.reason) for entry in loaded(letters, one).history][1:] == [
        ("DISCARDED", "ann", "古い")
    ]


def test_only_settled_letters_are_deleted_and_at_most_the_limit(letters: DeadLetters) -> None:
    made = [recorded(letters, ours()) for _ in range(4)]
    for one in made[:3]:
        letters.discard(one.id, "old", "ann")
    assert letters.forget_settled(NOW - timedelta(days=1), 10) == 0
    assert letters.forget_settled(ALWAYS, 2) == 2
    assert letters.forget_settled(ALWAYS, 2) == 1
    assert [one.id for one in letters.latest(10)] == [made[3].id]


def test_a_letter_gets_the_last_noted_error_and_no_letter_gets_it_again(letters: DeadLetters) -> None:
    push = pushed(ours())
    for error in ("first", "last"):
        letters.note_failure(SOURCE, fingerprint(push.message), error)
    letters.note_failure("another.order-events", fingerprint(push.message), "another's")
    letters.record(decode_dead_letter(push, "order-events"))
    (one,) = letters.latest(10)
    assert one.error == "last"
    retried(letters, one)
    letters.record(decode_dead_letter(replace(push, message=replace(push.message, message_id="later")), "order-events"))
    assert loaded(letters, one).error is None


def test_old_noted_failures_are_deleted(letters: DeadLetters) -> None:
    for n in range(3):
        letters.note_failure(SOURCE, f"{n}", "down")
    assert letters.forget_failures(NOW - timedelta(days=1), 10) == 0
    assert letters.forget_failures(ALWAYS, 2) == 2
    assert letters.forget_failures(ALWAYS, 2) == 1


def test_an_unknown_letter_is_neither_loaded_nor_discarded(letters: DeadLetters) -> None:
    assert letters.load(uuid7()) is None
    assert not letters.discard(uuid7(), "old", "ann")


def test_an_error_is_described_in_at_most_a_thousand_storable_characters() -> None:
    assert describe_error(ValueError("a\0b \ud800")) == "ValueError: a\ufffdb ?"
    assert len(describe_error(ValueError("x" * 5000))) == 1000


def test_a_subscription_reports_its_last_error_and_its_pending_letters(letters: DeadLetters) -> None:
    other = "order-saga.order-events"
    assert letters.troubles([SOURCE, other]) == {SOURCE: Trouble(), other: Trouble()}
    push = pushed(ours())
    letters.note_failure(SOURCE, "first", "no product")
    letters.note_failure(SOURCE, fingerprint(push.message), "no price")
    noted = letters.troubles([SOURCE, other])
    assert (noted[SOURCE].pending, noted[SOURCE].error, noted[other]) == (0, "no price", Trouble())
    failed_at = noted[SOURCE].at
    assert failed_at and abs(datetime.now(UTC) - failed_at) < timedelta(minutes=1)
    letters.record(decode_dead_letter(push, "order-events"))
    given = letters.troubles([SOURCE])[SOURCE]
    assert (given.pending, given.error) == (1, "no price")  # the letter has it now
    assert given.at and given.at >= failed_at
    (letter,) = letters.latest(1)
    letters.discard(letter.id, "no use", "ann")
    assert letters.troubles([SOURCE])[SOURCE][::2] == (0, "no product")


def test_a_letter_without_a_noted_error_still_counts_as_a_failure(letters: DeadLetters) -> None:
    recorded(letters, ours())
    trouble = letters.troubles([SOURCE])[SOURCE]
    assert (trouble.pending, trouble.error) == (1, None)
    assert trouble.at is not None


def test_reading_the_last_failure_does_not_read_the_others(
    command_connection: psycopg.Connection[TupleRow], command_pool: Pool
) -> None:
    command_connection.execute(
        """INSERT INTO delivery_failures (subscription, message, error, last_at)
           SELECT 'worker.' || n % 4, n::text, 'no', now() - make_interval(secs => n)
           FROM generate_series(1, 50000) AS n"""
    )
    command_connection.execute(
        """INSERT INTO dead_letters (id, source, topic, attributes, data, status, updated_at)
           SELECT gen_random_uuid(), 'worker.' || n % 4, 't', '{}', '',
               CASE WHEN n % 1000 < 4 THEN 'PENDING' ELSE 'DISCARDED' END, now() - make_interval(secs => n)
           FROM generate_series(1, 50000) AS n"""
    )
    command_connection.execute("VACUUM ANALYZE")
    values = {"subscriptions": [f"worker.{n}" for n in range(8)]}
    row = command_connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {TROUBLES}".encode(), values).fetchone()
    assert row is not None
    assert looked_at(row[0][0]["Plan"]) < 1000, json.dumps(row[0], indent=1)
    found = PostgresDeadLetters(command_pool).troubles(values["subscriptions"])
    assert [found[f"worker.{n}"].pending for n in (0, 3, 4)] == [50, 50, 0]


def looked_at(plan: dict[str, Any]) -> float:
    """Return how many rows the scans of both tables have looked at."""
    own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    inner = sum(looked_at(child) for child in plan.get("Plans", ()))
    return float(inner + (own if plan.get("Relation Name") in ("delivery_failures", "dead_letters") else 0))


def test_the_first_error_is_kept_beside_the_last(letters: DeadLetters) -> None:
    delivery = decode_dead_letter(pushed(ours(**{"ce-id": "m1"})), "order-events")
    for error in ("no route", "no price", "no stock"):
        letters.note_failure(SOURCE, delivery.fingerprint, error)
    letters.record(delivery)
    letter = letters.load(delivery.letter.id)
    assert letter and (letter.first_error, letter.error) == ("no route", "no stock")


def test_waiting_for_a_breaker_is_no_attempt_and_keeps_the_error(letters: DeadLetters) -> None:
    def noted() -> Failure:
        return letters.failures([(SOURCE, "m1")])[SOURCE, "m1"]

    letters.note_failure(SOURCE, fingerprint_of("m1"), "the provider keeps failing", waits_for="the provider")
    assert (noted().attempts, noted().waits_for) == (0, "the provider")
    letters.note_failure(SOURCE, fingerprint_of("m1"), "no answer")
    assert (noted().attempts, noted().error, noted().first_error, noted().waits_for) == (
        1,
        "no answer",
        "no answer",
        None,
    )
    letters.note_failure(SOURCE, fingerprint_of("m1"), "the provider keeps failing", waits_for="the provider")
    assert (noted().attempts, noted().error, noted().waits_for) == (1, "no answer", "the provider")
    (waiting,) = letters.open_breakers(NOW)
    assert (waiting.dependency, waiting.subscription, waiting.messages, waiting.error) == (
        "the provider",
        SOURCE,
        1,
        "no answer",
    )
    assert letters.open_breakers(ALWAYS) == []


def test_the_failure_of_a_dead_letter_names_the_letter_while_it_is_pending(letters: DeadLetters) -> None:
    delivery = decode_dead_letter(pushed(ours(**{"ce-id": "m1"})), "order-events")
    letters.note_failure(SOURCE, delivery.fingerprint, "no route")
    letters.record(delivery)
    message_id = delivery.letter.attributes.get("ce-id", "m1")
    (failure,) = letters.failures([(SOURCE, message_id), (SOURCE, "unknown")]).values()
    assert (failure.letter, failure.error, failure.attempts) == (
        delivery.letter.id,
        "no route",
        delivery.letter.attempts,
    )
    letters.discard(delivery.letter.id, "not needed", "ann")
    assert letters.failures([(SOURCE, message_id)]) == {}


def test_the_subscriptions_that_have_pending_letters_are_known(letters: DeadLetters) -> None:
    for name, source in (("m1", SOURCE), ("m2", SOURCE), ("m3", "a.b"), ("m4", "c.d")):
        letters.record(decode_dead_letter(pushed(ours(**{"ce-id": name}), source=source), "order-events"))
    discarded = letters.latest(1, source="c.d")[0]
    letters.discard(discarded.id, "not needed", "ann")
    assert letters.pending_sources() == ["a.b", SOURCE]


def test_pending_letters_are_counted_by_their_cause_the_most_frequent_first(letters: DeadLetters) -> None:
    found = [("m1", SOURCE), ("m2", SOURCE), ("m3", "a.b"), ("m4", "a.b"), ("m5", "a.b")]
    deliveries = [decode_dead_letter(pushed(ours(**{"ce-id": name}), source=of), "order-events") for name, of in found]
    for delivery, error in zip(deliveries, ("no route", "no route", "late", "late", None), strict=True):
        if error:
            letters.note_failure(delivery.letter.source, delivery.fingerprint, error)
        letters.record(delivery)
    letters.discard(deliveries[3].letter.id, "not needed", "ann")
    first, *others = letters.pending_by_cause(9)
    assert (first.source, first.error, first.count, first.attempts) == (SOURCE, "no route", 2, 20)
    assert first.first_recorded_at <= first.last_recorded_at <= datetime.now(UTC)
    assert {(one.source, one.error, one.count) for one in others} == {("a.b", "late", 1), ("a.b", None, 1)}
    assert (letters.pending_by_cause(1), letters.causes()) == ([first], 3)


ERRORS = ["no route", None, "", "no", "x" * 1000, "在庫がありません" * 120]


def of_causes(letters: DeadLetters) -> list[Cause]:
    """Record two letters of each cause, the causes in turn; some differ only in where the type ends
    and the error begins."""
    names = [(SOURCE, kind, error) for kind in ("OrderCreated", "OrderCreatedno", None) for error in ERRORS]
    causes = [Cause(*name) for name in (*names, ("a.b", "OrderCreated", "no route"))]
    for number, cause in enumerate(causes * 2):
        attributes = ours(**{"ce-id": f"m{number}"}) | ({"ce-type": cause.type} if cause.type else {})
        if cause.type is None:
            del attributes["ce-type"]
        delivery = decode_dead_letter(pushed(attributes, source=cause.source), "order-events")
        if cause.error is not None:
            letters.note_failure(cause.source, delivery.fingerprint, cause.error)
        letters.record(delivery)
    return causes


def test_a_cause_selects_exactly_what_is_counted_together(letters: DeadLetters) -> None:
    causes = of_causes(letters)
    counted = {Cause(one.source, one.type, one.error): one.count for one in letters.pending_by_cause(99)}
    assert counted == dict.fromkeys(causes, 2)
    for cause in causes:
        found = letters.page(Letters("PENDING", cause=cause), Slice(9))
        assert [Cause(one.source, one.type, one.error) for one in found] == [cause] * 2
        assert letters.count(Letters("PENDING", cause=cause)) == 2
    assert letters.count(Letters(cause=Cause("nothing"))) == 0


def test_what_has_one_cause_is_claimed_or_discarded_and_nothing_else(letters: DeadLetters) -> None:
    first, second, third, *_ = of_causes(letters)
    oldest, newer = letters.page(Letters(cause=first), Slice(9))
    assert [one.id for one in letters.claim(LetterFilter(cause=first), 1)] == [oldest.id]
    assert [one.id for one in letters.claim(LetterFilter(cause=first), 9)] == [newer.id]
    assert letters.claim(LetterFilter(source="a.b", cause=first), 9) == []
    assert letters.discard_oldest(LetterFilter(cause=second), 1, "rebuilt", "ann") == 1
    assert letters.count(Letters("DISCARDED", cause=second)) == letters.count(Letters("PENDING", cause=second)) == 1
    assert letters.count(Letters("PENDING", cause=third)) == 2


def test_what_one_cause_selects_is_found_among_many_letters_by_an_index(
    command_connection: psycopg.Connection[TupleRow],
) -> None:
    cause = Cause("worker.1", "T", "error 17")
    command_connection.execute(
        """INSERT INTO dead_letters (id, source, topic, type, attributes, data, error, status, recorded_at)
           SELECT gen_random_uuid(), 'worker.1', 't', 'T', '{}', '', 'error ' || n % 500,
               CASE WHEN n % 5 = 0 THEN 'PENDING' ELSE 'RETRIED' END, now() - make_interval(secs => n)
           FROM generate_series(1, 50000) AS n"""
    )
    command_connection.execute("UPDATE dead_letters SET status = 'PENDING' WHERE error = 'error 17'")
    command_connection.execute("VACUUM ANALYZE dead_letters")
    claim, values = claimed(LetterFilter(cause=cause), 10)
    for query, given in (
        (claim, values | {"lease": 60}),
        counted_letters(Letters("PENDING", cause=cause)),
        listed_letters(Letters("PENDING", cause=cause), Slice(50, descending=True)),
    ):
        row = command_connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), given).fetchone()
        assert row is not None
        assert looked_at(row[0][0]["Plan"]) < 1000, json.dumps(row[0], indent=1)


def test_the_oldest_letters_are_discarded_up_to_a_limit_with_the_reason(letters: DeadLetters) -> None:
    for name in ("m1", "m2", "m3"):
        letters.record(decode_dead_letter(pushed(ours(**{"ce-id": name})), "order-events"))
    assert letters.discard_oldest(LetterFilter(source=SOURCE), 2, "rebuilt", "ann") == 2
    assert letters.discard_oldest(LetterFilter(source="another"), 9, "rebuilt", "ann") == 0
    assert letters.pending(SOURCE) == 1
    discarded = letters.latest(9, 0, "DISCARDED")
    assert {(one.history[-1].by, one.history[-1].reason) for one in discarded} == {("ann", "rebuilt")}
