"""Run the client service in its own process, for tests that kill it; make events to write while it
runs."""

import time
from datetime import UTC, datetime
from pathlib import Path

from uuid_utils.compat import uuid7

from scripts.local.local_http import local_http
from shared.event_store.protocol import EventRecord
from shared.observability.context import fresh
from tests.forked_services import Services
from tests.ports import free_port


class ClientService:
    """The client service in its own process; it can be killed and started again at the same
    address."""

    def __init__(self, folder: Path, event_store_url: str, command_url: str, **more: str) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/graphql"
        self._metrics = self.url.replace("/graphql", "/metrics")
        environment = {
            "PROFILE": "postgres",
            "EVENT_STORE_URL": event_store_url,
            "COMMAND_DATABASE_URL": command_url,
            "RATE_LIMIT_SIGNED_IN": "0",
            "HEARTBEAT_SECONDS": "0.5",
            **more,
        }
        self._services = Services(environment, folder)

    def start(self) -> None:
        self._services.start("client", self._port)
        self._services.wait_for("client", self.url.replace("/graphql", "/health/live"))

    def wait_for(self, subscriptions: int) -> None:
        """Wait until this many subscriptions are open."""
        ends = time.monotonic() + 60
        while f"shop_subscriptions_open {subscriptions}.0\n" not in local_http().get(self._metrics).text:
            assert time.monotonic() < ends
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the process without warning, as when a machine is lost."""
        self._services.kill("client")

    def stop(self) -> None:
        self._services.stop()


def event(stream: str, version: int) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "StockAdjusted", 1, {}, fresh(), datetime.now(UTC))
