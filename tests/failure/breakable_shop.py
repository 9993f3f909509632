"""The shop on real engines, each behind a connection that can be broken, its services in processes
that can be killed.

`scripts/dev` stops when one of its processes dies; here, as on Cloud Run, it is started again.
"""

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scripts.local.emulators import Emulators, start_postgres
from scripts.local.local_http import local_http
from scripts.local.ports import Ports
from scripts.local.processes import CannotStart, Processes
from scripts.local.token import ADMIN_EMAIL, PROJECT
from scripts.local.topology import create_topology
from shared.config.manifest import SQL_FOLDERS, manifest
from shared.postgres.migrations import migrate
from tests.end_to_end.running_shop import Client, Fields
from tests.failure.proxy import Proxy
from tests.forked_services import Services
from tests.ports import free_port


class BreakableShop(Client):
    """`engines`: the proxies of the engines, by name. `event_store`, `command_database`: URLs past
    those connections."""

    def __init__(self, home: Path, emulators: Emulators, **environment: str) -> None:
        self.port = free_port(7)
        self.ports = Ports(self.port)
        self.home = home
        self.engines: dict[str, Proxy] = {}
        self._stack = ExitStack()
        with self._stack:
            self.processes = Processes(home / "logs")
            self._stack.callback(self.processes.stop)
            self._start_postgres()
            self._start_emulators(emulators)
            self._start_clock()
            self._services = Services(self._settings() | environment, home / "logs")
            self._stack.callback(self._services.stop)  # first, or the clock would wait for their answers
            self.start(*self.ports.services)
            self._stack = self._stack.pop_all()  # only if all of it has started is it left running

    def close(self) -> None:
        self._stack.close()

    def start(self, *services: str, dying: Sequence[str] = ()) -> None:
        """Start the services, or start them again. `dying`: the victim's moment and its subject."""
        for service in services:
            self._services.start(service, self.ports.services[service], dying)
        for service in services:
            try:
                self._services.wait_for(service, self.ports.url(service))
            except CannotStart:  # a victim may meet its moment before it is seen to answer: the clock calls it too
                if not dying or self.died(service, 0) != -signal.SIGKILL:
                    raise

    def kill(self, service: str) -> None:
        self._services.kill(service)
        assert self.died(service) == -signal.SIGKILL

    def died(self, service: str, seconds: float = 60) -> int | None:
        """Wait for the victim's end; return its exit status, None if it still runs."""
        return self._services.died(service, seconds)

    def command(self, function: str, body: Fields, key: str) -> httpx.Response:
        """Call a command function as the graphql function does."""
        url = f"{self.ports.url('command')}/{function}"
        return local_http().post(url, json=body, headers={"Idempotency-Key": key}, timeout=60)

    def outbox(self) -> list[tuple[Any, ...]]:
        """Return the unpublished messages of both databases."""
        return [
            *_rows(self.event_store, "SELECT position FROM event_outbox"),
            *_rows(self.command_database, "SELECT id FROM saga_outbox"),
        ]

    def end_leases(self) -> None:
        """End every lease on an outbox message, as if its time had passed."""
        for url, table in ((self.event_store, "event_outbox"), (self.command_database, "saga_outbox")):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"UPDATE {table} SET leased_until = 'epoch'".encode())

    def sagas(self) -> Mapping[str, str]:
        """Return each saga's status by its id."""
        return {str(row[0]): row[1] for row in _rows(self.command_database, "SELECT id, status FROM sagas")}

    def dead_letters(self) -> list[tuple[Any, ...]]:
        return _rows(self.command_database, "SELECT source, type, error FROM dead_letters")

    def _start_postgres(self) -> None:
        self.event_store, self.command_database, stop = start_postgres(self.home / "postgres")
        self._stack.callback(stop)
        migrate(self.event_store, SQL_FOLDERS["event_store"])
        migrate(self.command_database, SQL_FOLDERS["command_database"])
        folder = conninfo_to_dict(self.event_store)["host"]
        self._break("PostgreSQL", f"{folder}/.s.PGSQL.5432")

    def _start_emulators(self, emulators: Emulators) -> None:
        self.firestore = emulators.start_firestore(self.processes, self.ports.firestore)
        self.pubsub = emulators.start_pubsub(self.processes, self.ports.pubsub)
        self.processes.wait_for("pubsub", f"http://{self.pubsub}", 180)
        self.processes.wait_for("firestore", f"http://{self.firestore}", 180)
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PUBSUB_EMULATOR_HOST", self.pubsub)
        patch.setenv("FIRESTORE_EMULATOR_HOST", self.firestore)
        create_topology(
            PROJECT,
            # The emulator has no backoff: an outage of half a minute would use up the attempts of
            # nine.
            [replace(one, max_attempts=60) for one in manifest().all_subscriptions],
            lambda one: f"{self.ports.url(one.service)}/{one.endpoint}",
        )
        self._break("Pub/Sub", self.pubsub)
        self._break("Firestore", self.firestore)

    def _break(self, name: str, target: str) -> None:
        self.engines[name] = Proxy(target)
        self._stack.callback(self.engines[name].close)

    def _settings(self) -> dict[str, str]:
        command, query = self.ports.url("command"), self.ports.url("query")
        postgres = {"host": "127.0.0.1", "port": str(self.engines["PostgreSQL"].port)}
        return {
            "PROJECT_ID": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099",
            "ADMIN_EMAIL": ADMIN_EMAIL,
            "SAGA_PACE": "0.3",
            "RATE_LIMIT_SIGNED_IN": "0",
            "COMMAND_URL": f"{command}/{{function}}",
            "QUERY_URL": f"{query}/{{function}}",
            "PAYMENT_URL": f"{command}/sandbox_provider/payments",
            "SHIPPING_URL": f"{command}/sandbox_provider/shipments",
            "NOTIFICATION_URL": f"{command}/sandbox_provider/notifications",
            "SANDBOX_DATABASE": str(self.home / "sandbox.sqlite"),
            "EVENT_STORE_URL": make_conninfo(self.event_store, **postgres),
            "COMMAND_DATABASE_URL": make_conninfo(self.command_database, **postgres),
            "PUBSUB_EMULATOR_HOST": self.engines["Pub/Sub"].address,
            "FIRESTORE_EMULATOR_HOST": self.engines["Firestore"].address,
        }

    def _start_clock(self) -> None:
        stopping = Event()
        for function in manifest().functions.values():
            if function.schedule:
                arguments = (
                    f"{self.ports.url(function.service)}/{function.name}",
                    function.schedule.local_seconds,
                    stopping,
                )
                thread = Thread(target=_call_regularly, args=arguments, daemon=True)
                thread.start()
                self._stack.callback(thread.join)
        self._stack.callback(stopping.set)


def _call_regularly(url: str, seconds: float, stopping: Event) -> None:
    while not stopping.wait(seconds):
        with suppress(httpx.HTTPError):  # as Cloud Scheduler: the next time is soon
            local_http().post(url, timeout=60)


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return list(connection.execute(query.encode()).fetchall())
