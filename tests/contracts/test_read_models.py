"""The contract of a query database, tested on Firestore's emulator and in memory."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient, Client
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from uuid_utils.compat import uuid7

from shared.domain.errors import Invalid
from shared.observability import context as tracing
from shared.read_models.firestore import FirestoreQueries, FirestoreReadModels
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Change, Extent, Fields, Find, Increment, Queries, ReadModels, Where
from shared.resilience.breakers import Breaker

PROJECT = "read-models"


class Engine:
    """Both sides of a query database, with collections of its own."""

    def __init__(self, models: ReadModels, queries: Any, another: Callable[[], ReadModels] | None = None) -> None:
        self.models, self._queries = models, queries
        self.another = another or (lambda: models)  # as another process writes
        self.collection = f"things-{uuid7().hex}"

    def put(self, document: str, **fields: Any) -> None:
        self.models.update(self.collection, document, lambda _: Change(fields))

    def get(self, *keys: str, only: Sequence[str] = ()) -> dict[str, Fields]:
        return dict(asyncio.run(self._ask().get_many(self.collection, keys, only)))

    def find(self, order_by: str = "name", where: Sequence[Where] = (), **page: Any) -> list[str]:
        find = Find(self.collection, order_by, where, **page)
        return [fields["key"] for fields in asyncio.run(self._ask().find(find))]

    def documents(self, order_by: str = "name", **page: Any) -> list[Fields]:
        return list(asyncio.run(self._ask().find(Find(self.collection, order_by, **page))))

    def count(self, *where: Where) -> int:
        return asyncio.run(self._ask().count(self.collection, where))

    def extent(self) -> Extent:
        return asyncio.run(self._ask().extent(self.collection))

    def _ask(self) -> Queries:
        queries: Queries = self._queries()  # an asynchronous client belongs to one event loop
        return queries


@pytest.fixture(params=["memory", "firestore"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "memory":
        memory = MemoryReadModels()
        return Engine(memory, lambda: memory)
    request.getfixturevalue("firestore")
    return Engine(
        FirestoreReadModels(Client(PROJECT), Breaker("Firestore", 10, 5)),
        lambda: FirestoreQueries(AsyncClient(PROJECT), Breaker("Firestore", 10, 5)),
        lambda: FirestoreReadModels(Client(PROJECT), Breaker("Firestore", 10, 5)),
    )


def test_a_later_write_replaces_its_own_fields_and_keeps_the_others(engine: Engine) -> None:
    engine.put("a", name="お茶 🍵", tags=["x", "y"], none=None, number=2**40)
    engine.put("a", name="tea")
    assert engine.get("a", "b") == {"a": {"name": "tea", "tags": ["x", "y"], "none": None, "number": 2**40}}


@pytest.mark.parametrize("descending", [False, True])
def test_a_list_goes_on_after_its_last_document(engine: Engine, descending: bool) -> None:
    """Also between documents with the same name, and when the last one has been deleted
    meanwhile."""
    for key, name in (("b", "x"), ("a", "x"), ("c", "x"), ("d", "w"), ("e", "y")):
        engine.put(key, id=key, key=key, name=name, n=1)
    everything = engine.find(descending=descending)
    assert everything == ([*"ecbad"] if descending else [*"dabce"])
    for number, key in enumerate(everything, 1):
        last = engine.get(key)[key]
        rest = engine.find(where=[Where("n", "==", 1)], descending=descending, after=last, limit=2)
        assert rest == everything[number : number + 2]
    gone = {"id": "bb", "name": "x"}
    assert engine.find(descending=descending, after=gone) == everything[everything.index("b" if descending else "c") :]


@pytest.mark.parametrize("descending", [False, True])
def test_a_list_is_read_between_two_documents(engine: Engine, descending: bool) -> None:
    """The two may be of the same name, and need not exist any more."""
    for key, name in (("b", "x"), ("a", "x"), ("c", "x"), ("d", "w"), ("e", "y"), ("f", "x")):
        engine.put(key, id=key, key=key, name=name)
    first, last = {"id": "a", "name": "x"}, {"id": "f", "name": "x"}
    ends: dict[str, Any] = {"after": last, "before": first} if descending else {"after": first, "before": last}
    between = [*"cb"] if descending else [*"bc"]
    assert engine.find(descending=descending, **ends) == between
    assert engine.find(descending=descending, **ends, closed=True) == [
        ends["after"]["id"],
        *between,
        ends["before"]["id"],
    ]
    assert engine.find(descending=descending, **ends, limit=1) == between[:1]
    assert engine.find(descending=descending, after=ends["before"], before=ends["after"]) == []
    gone = {"id": "bb", "name": "x"}
    assert engine.find(descending=descending, before=gone) == ([*"efc"] if descending else [*"dab"])
    assert engine.find(descending=descending, before=gone, closed=True) == ([*"efc"] if descending else [*"dab"])


@pytest.mark.parametrize("descending", [False, True])
def test_pages_are_complete_whatever_changes_meanwhile(engine: Engine, descending: bool) -> None:
    """Documents that are there all the time come once, in order; their key in the order never
    changes."""
    at = datetime(2026, 4, 1, tzinfo=UTC)
    keys = [f"{number:02}" for number in range(12)]
    for key in keys:
        engine.put(key, id=key, key=key, name="x", at=at)
    read: list[str] = []
    after: Fields | None = None
    while page := engine.find("at", after=after, descending=descending, limit=3):
        read += page
        after = {"id": page[-1], "at": at}
        if len(read) < 9:
            beyond = f"{page[-1]}x"
            engine.put(beyond, id=beyond, key=beyond, name="new", at=at)
            engine.put("05", name="changed")
        if len(read) == 3:
            engine.models.delete(engine.collection, 1)  # whichever
    stayed = set(engine.find("at", limit=100)) & set(keys)
    assert [key for key in read if key in stayed] == sorted(stayed, reverse=descending)


def test_pages_by_time_are_exact_to_the_microsecond(engine: Engine) -> None:
    times = [datetime(2026, 4, 1, 9, 0, 0, microsecond, tzinfo=UTC) for microsecond in (1, 1, 2, 999_999)]
    for key, at in zip("abcd", times, strict=True):
        engine.put(key, id=key, key=key, at=at)
    for number, (key, at) in enumerate(zip("abcd", times, strict=True), 1):
        assert engine.find("at", after={"id": key, "at": at}) == [*"abcd"][number:]
        assert engine.find("at", before={"id": key, "at": at}) == [*"abcd"][: number - 1]
    assert engine.find("at", [Where("at", ">=", times[2]), Where("at", "<", times[3])]) == ["c"]


def test_documents_are_counted_in_the_database(catalogue: Engine) -> None:
    assert catalogue.count() == 4
    assert catalogue.count(Where("active", "==", True)) == 3
    assert catalogue.count(Where("active", "==", True), Where("rank", ">=", 2), Where("rank", "<", 3)) == 1
    assert catalogue.count(Where("name", "==", "nothing")) == catalogue.count(Where("missing", "==", None)) == 0


def test_changing_nothing_writes_nothing(engine: Engine) -> None:
    engine.models.update(engine.collection, "a", lambda _: None)
    assert engine.get("a") == {}


def test_a_change_sees_the_stored_document(engine: Engine) -> None:
    seen: list[Fields | None] = []

    def change(stored: Fields | None) -> Change:
        seen.append(stored)
        return Change({"n": len(seen)})

    engine.models.update(engine.collection, "a", change)
    engine.models.update(engine.collection, "a", change)
    assert seen == [None, {"n": 1}]


def next_version(stored: Fields | None) -> Change:
    return Change({"version": (stored or {"version": 0})["version"] + 1})


@pytest.mark.parametrize("version", [None, 0, 1, 2, 3, 9])
@pytest.mark.parametrize("written_here", [True, False])
def test_the_version_that_a_caller_expects_changes_only_how_a_document_is_read(
    engine: Engine, version: int | None, written_here: bool
) -> None:
    """Here is version 2. Another process has written it, or this one, and then another a further
    field."""
    writer = engine.models if written_here else engine.another()
    for expected in (0, 1):
        writer.update(engine.collection, "a", next_version, expected)
    engine.another().update(engine.collection, "a", lambda _: Change({"name": "tea"}))
    engine.models.update(engine.collection, "a", next_version, version)
    assert engine.get("a") == {"a": {"version": 3, "name": "tea"}}


def test_a_document_that_is_gone_is_made_anew_whatever_was_written_here(engine: Engine) -> None:
    seen: list[Fields | None] = []

    def change(stored: Fields | None) -> Change:
        seen.append(stored)
        return next_version(stored)

    engine.models.update(engine.collection, "a", change, 0)
    engine.another().delete(engine.collection, 1)
    engine.models.update(engine.collection, "a", change, 1)
    assert seen[-1] is None
    assert engine.get("a") == {"a": {"version": 1}}


def test_nothing_to_change_is_only_believed_of_what_was_read(engine: Engine) -> None:
    engine.models.update(engine.collection, "a", next_version, 0)
    engine.another().delete(engine.collection, 1)
    engine.models.update(engine.collection, "a", lambda stored: None if stored else Change({"version": 7}), 1)
    assert engine.get("a") == {"a": {"version": 7}}


@pytest.mark.usefixtures("firestore")
def test_versions_that_follow_each_other_are_written_without_reading() -> None:
    models, exporter = FirestoreReadModels(Client(PROJECT), Breaker("Firestore", 10, 5)), InMemorySpanExporter()
    collection = f"things-{uuid7().hex}"
    tracing.configure(exporter, at_once=True)
    try:
        for version in range(5):
            models.update(collection, "a", next_version, version)
        assert len(exporter.get_finished_spans()) == 5  # calls of Firestore
    finally:
        tracing.configure(None)
    assert models.create(collection, {"a": Change({})}) == 0


def test_no_change_is_lost_when_many_change_one_document(engine: Engine) -> None:
    def add_one(_: int) -> None:
        engine.models.update(engine.collection, "a", lambda stored: Change({"n": (stored or {"n": 0})["n"] + 1}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(20)))
    assert engine.get("a") == {"a": {"n": 20}}


def test_increments_change_other_documents_and_create_missing_ones(engine: Engine) -> None:
    increment = Increment(engine.collection, "count", {"n": 2}, {"day": "2026-04-01"})
    for key in ("a", "b"):
        engine.models.update(engine.collection, key, lambda _: Change({"x": 1}, [increment]))
    assert engine.get("count") == {"count": {"n": 4, "day": "2026-04-01"}}


def test_a_change_that_fails_writes_nothing(engine: Engine) -> None:
    def fail(_: Fields | None) -> Change:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        engine.models.update(engine.collection, "a", fail)
    assert engine.get("a") == {}


@pytest.fixture
def catalogue(engine: Engine) -> Engine:
    rows = [("a", "pear", 3, True), ("b", "apple", 1, True), ("c", "fig", 2, False), ("d", "apple", 2, True)]
    for key, name, rank, active in rows:
        engine.put(key, key=key, name=name, rank=rank, active=active, grams=[name[:2]])
    return engine


def test_documents_are_sorted_and_equal_ones_follow_by_key(catalogue: Engine) -> None:
    assert catalogue.find() == ["b", "d", "c", "a"]
    assert catalogue.find(descending=True) == ["a", "c", "d", "b"]


def test_a_list_reads_only_the_wanted_fields_whatever_it_is_sorted_by(catalogue: Engine) -> None:
    some = catalogue.documents(only=("key", "rank"), limit=2)
    assert some == [{"key": "b", "rank": 1}, {"key": "d", "rank": 2}]
    assert {*catalogue.documents(limit=1)[0]} == {"key", "name", "rank", "active", "grams"}


def test_only_the_wanted_fields_of_documents_are_read(catalogue: Engine) -> None:
    assert catalogue.get("a", "none", only=["rank", "active", "no"]) == {"a": {"rank": 3, "active": True}}


def test_a_query_ends_with_the_error_about_a_document(catalogue: Engine) -> None:
    read: list[str] = []

    def refuse(fields: Fields) -> None:
        read.append(fields["key"])
        if len(read) == 2:
            raise Invalid("enough")

    with pytest.raises(Invalid, match="enough"):
        catalogue.find(on_read=refuse)
    assert read == ["b", "d"]
    assert catalogue.find(on_read=lambda _: None) == ["b", "d", "c", "a"]


def test_pages_do_not_overlap(catalogue: Engine) -> None:
    pages = [catalogue.find(limit=2, offset=offset) for offset in (0, 2, 4)]
    assert pages == [["b", "d"], ["c", "a"], []]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([Where("active", "==", True)], ["b", "d", "a"]),
        ([Where("rank", ">=", 2)], ["d", "c", "a"]),
        ([Where("rank", ">=", 2), Where("rank", "<=", 2), Where("active", "==", True)], ["d"]),
        ([Where("name", "in", ["fig", "pear"])], ["c", "a"]),
        ([Where("grams", "array_contains_any", ["ap"])], ["b", "d"]),
        ([Where("missing", "==", None)], []),
    ],
)
def test_all_conditions_of_a_query_must_hold(catalogue: Engine, where: list[Where], expected: list[str]) -> None:
    assert catalogue.find(where=where) == expected


def test_the_database_counts_documents_and_the_events_they_have_applied(engine: Engine) -> None:
    assert engine.extent() == Extent(0, 0, None)
    for number in range(1, 4):
        engine.put(f"{number}", version=number, updated_at=datetime(2026, 4, number, tzinfo=UTC))
    engine.put("only counted in", product_count=3)
    assert engine.extent() == Extent(3, 6, datetime(2026, 4, 3, tzinfo=UTC))
    engine.put("1", version=9)
    assert engine.extent().events == 14


def test_at_most_the_limit_of_documents_is_deleted_at_once(engine: Engine) -> None:
    for number in range(5):
        engine.put(f"{number}", key=f"{number}")
    assert [engine.models.delete(engine.collection, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert engine.get(*"01234") == {}


def test_a_collection_may_lie_below_a_document_that_does_not_exist(engine: Engine) -> None:
    top, engine.collection = engine.collection, f"generations/2/{engine.collection}"
    engine.put("a", key="a", version=1, updated_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert engine.find("key") == ["a"]
    assert engine.extent().documents == 1
    engine.collection = top
    assert (engine.find("key"), engine.extent().documents) == ([], 0)


def test_a_document_without_the_sort_field_is_not_found(catalogue: Engine) -> None:
    catalogue.put("e", key="e")
    assert "e" not in catalogue.find()


def counting(owner: str, collection: str) -> Change:
    return Change({"name": "new"}, [Increment(collection, owner, {"members": 1})])


def test_documents_are_created_together_with_their_counters(engine: Engine) -> None:
    keys = [f"k{n}" for n in range(250)]
    engine.put("k7", name="old")
    engine.put("k200", name="old")
    owners = f"{engine.collection}-owners"
    changes = {key: counting(f"o{n % 3}", owners) for n, key in enumerate(keys)}
    assert engine.models.create(engine.collection, changes) == 248
    found = engine.get(*keys)
    assert (len(found), found["k7"], found["k200"], found["k8"]) == (250, *[{"name": "old"}] * 2, {"name": "new"})
    engine.collection = owners
    assert sum(fields["members"] for fields in engine.get("o0", "o1", "o2").values()) == 248


def test_creating_again_or_nothing_changes_nothing(engine: Engine) -> None:
    owners = f"{engine.collection}-owners"
    changes = {key: counting("o", owners) for key in "abc"}
    assert [engine.models.create(engine.collection, changes) for _ in range(2)] == [3, 0]
    assert engine.models.create(engine.collection, {}) == 0
    engine.collection = owners
    assert engine.get("o") == {"o": {"members": 3}}


def test_of_several_that_create_the_same_documents_each_is_created_by_one(engine: Engine) -> None:
    owners = f"{engine.collection}-owners"
    changes = {f"k{n}": counting("o", owners) for n in range(40)}
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: engine.models.create(engine.collection, changes), range(4)))
    assert sum(made) == 40
    engine.collection = owners
    assert engine.get("o") == {"o": {"members": 40}}
