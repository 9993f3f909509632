"""Run the shop on this machine: its databases, its three services, its schedules."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import httpx
import structlog

from scripts.local import observe
from scripts.local.emulators import Emulators, find_emulators, start_postgres
from scripts.local.migrate import migrate_all
from scripts.local.ports import Ports, busy
from scripts.local.processes import CannotStart, Processes
from scripts.local.replay import replay
from scripts.local.services import serve_in_threads
from scripts.local.token import ADMIN_EMAIL, PROJECT
from scripts.local.zero import Instances
from shared.config.manifest import ROOT, manifest
from shared.config.settings import MalformedSetting, settings
from shared.event_store.protocol import Checkpoint
from shared.observability import logs
from shared.postgres.migrations import ChangedMigration
from shared.runtime.engines import engines

_log = structlog.get_logger()

_STOP_SECONDS = 1.0  # for each server's requests under way; streams are cut off
HOME = ROOT / ".dev" / "data"
_RESTARTS, _UNSTABLE_SECONDS = 3, 60.0  # so many restarts of a service within so many seconds; then the shop stops
CONSOLE = ROOT / ".dev" / "console"


@dataclass
class Shop:
    """`home`: the folder for data and logs. `say`: reports progress. `observed`: whether Prometheus
    runs too. `idle_seconds`: every function runs in a process of its own, which ends when it has
    been idle for so long; None: a service's functions share a process, which stays."""

    ports: Ports
    home: Path
    say: Callable[[str], None]
    memory: bool = False
    sign_in: bool = False
    observed: bool = False
    idle_seconds: float | None = None
    instances: Instances | None = None
    engines: dict[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _ended: dict[str, list[float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.ports.client}/graphql"

    def claim(self) -> None:
        """Reserve the ports and the data. Raise CannotStart when another program or run uses
        them."""
        emulators = [] if self.memory else [self.ports.pubsub, self.ports.firestore]
        wanted = [*self.ports.services.values(), *emulators, *([self.ports.prometheus] if self.observed else [])]
        if in_use := busy(wanted):
            ports = ", ".join(map(str, in_use))
            raise CannotStart(f"Port {ports} is in use by another program. Stop it, or start with --port N.")
        if self.memory:
            return
        self.home.parent.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context(self.home.with_suffix(".lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"Another scripts/dev uses {self.home}. Stop it, or start with --data DIR or --memory."
            ) from None

    def erase(self) -> None:
        """Delete the data of earlier runs, and no other file in the folder."""
        if self.memory:
            return
        for folder in ("postgres", "runtime", "logs", "prometheus"):
            shutil.rmtree(self.home / folder, ignore_errors=True)
        (self.home / "sandbox.sqlite").unlink(missing_ok=True)

    def start(self) -> None:
        """Start everything. Raise CannotStart when a part does not start."""
        emulators, missing = (None, "") if self.memory else find_emulators()
        self._configure("memory" if self.memory else "engines" if emulators else "postgres")
        self.processes = Processes(self.home / "logs")
        self._stack.callback(self.processes.stop)
        if not self.memory:
            self._start_postgres()
        if emulators:
            self._start_emulators(emulators)
            self._start_services()
        elif self.idle_seconds:
            raise CannotStart(f"--scale-to-zero needs the emulators: {missing}")
        else:
            self._describe_memory(missing)
            self._serve_here()
        self._replay()
        self._start_clock()
        if self.observed:
            self.say("Prometheus")
            self.engines["metrics"] = observe.start(self.processes, self.ports, self.home, in_one_process=not emulators)

    def stop(self) -> None:
        self._stack.close()

    def failed(self) -> str | None:
        """Start a service that has ended again; return why that is not possible, or None.

        A service holds no data, so it can be killed to see what happens then. An emulator's data
        would be lost, and a service that ends again and again at its start has a fault.
        """
        name = self.processes.stopped()
        if name is None:
            return None
        ended, now = f"{name} {self.processes.end_of(name)}", time.monotonic()
        lately = [at for at in self._ended.get(name, []) if now - at < _UNSTABLE_SECONDS]
        self._ended[name] = [*lately, now]
        if name not in self.ports.services or len(lately) == _RESTARTS:
            return f"{ended}; the end of its log:\n{self.processes.tail(name)}"
        self.say(f"{ended}; starting it again")
        self.processes.start_again(name)
        return None

    def is_new(self) -> bool:
        """Return whether the event store is empty."""
        return not engines().event_store.read_all(after=Checkpoint(), limit=1)

    def _configure(self, profile: str) -> None:
        os.environ |= {
            "PROFILE": profile,
            "PROJECT_ID": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIREBASE_AUTH_EMULATOR_HOST": os.environ.get("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
            "SAGA_PACE": os.environ.get("SAGA_PACE", "0.3"),  # the relay runs every two seconds here
            "SIGN_IN_REQUIRED": str(self.sign_in).lower(),
            "ADMIN_EMAIL": os.environ.get("ADMIN_EMAIL", ADMIN_EMAIL),
            "COMMAND_URL": self.ports.url("command") + "/{function}",
            "QUERY_URL": self.ports.url("query") + "/{function}",
            "PAYMENT_URL": self.ports.url("command") + "/sandbox_provider/payments",
            "SHIPPING_URL": self.ports.url("command") + "/sandbox_provider/shipments",
            "NOTIFICATION_URL": self.ports.url("command") + "/sandbox_provider/notifications",
            "SANDBOX_DATABASE": ":memory:" if self.memory else str(self.home / "sandbox.sqlite"),
            "CONSOLE_DIRECTORY": str(CONSOLE),
            "WAKE_AHEAD_SECONDS": os.environ.get("WAKE_AHEAD_SECONDS", str(self.idle_seconds or 0)),
        }
        self.home.mkdir(parents=True, exist_ok=True)
        settings.cache_clear()
        try:
            settings()
        except MalformedSetting as error:
            raise CannotStart(f"The shop does not start: {error}.") from error

    def _log_to_a_file(self) -> None:
        """Send this process's log to a file beside the others: an order writes twenty lines, too
        many for the screen."""
        engines()  # before, because it configures the log as in the cloud
        logs.configure(PROJECT, (self.home / "logs" / "dev.log").open("a"))  # until this process ends

    def _start_postgres(self) -> None:
        self.say("PostgreSQL")
        event_store, command_database, stop = start_postgres(self.home / "postgres")
        self._stack.callback(stop)
        os.environ |= {"EVENT_STORE_URL": event_store, "COMMAND_DATABASE_URL": command_database}
        settings.cache_clear()
        try:
            migrate_all(settings())
        except ChangedMigration as error:
            raise CannotStart(f"The data is from another version ({error}). Start with --reset.") from error
        self.engines["events, sagas"] = f"PostgreSQL, {self.home / 'postgres'}"

    def _start_emulators(self, emulators: Emulators) -> None:
        self.say("Pub/Sub and Firestore emulators")
        pubsub = emulators.start_pubsub(self.processes, self.ports.pubsub)
        firestore = emulators.start_firestore(self.processes, self.ports.firestore)
        os.environ |= {"PUBSUB_EMULATOR_HOST": pubsub, "FIRESTORE_EMULATOR_HOST": firestore}
        self.processes.wait_for("pubsub", f"http://{pubsub}")
        self.processes.wait_for("firestore", f"http://{firestore}")
        from scripts.local.topology import create_topology  # loads Google's libraries, which take a second

        subscriptions = manifest().all_subscriptions
        create_topology(PROJECT, subscriptions, lambda one: f"{self.ports.url(one.service)}/{one.endpoint}")
        counted = f"{len(manifest().topics)} topics, {len(subscriptions)} subscriptions"
        self.engines["messages"] = f"Pub/Sub emulator, {pubsub} ({counted})"
        self.engines["read models"] = f"Firestore emulator, {firestore}"

    def _start_services(self) -> None:
        if self.idle_seconds:
            self._scale_to_zero(self.idle_seconds)
            return
        self.say("the three services")
        for service, port in self.ports.services.items():
            self.processes.start(service, [sys.executable, "-m", "scripts.local.services", service, str(port)])
        self._wait_for_services()
        self._log_to_a_file()

    def _scale_to_zero(self, idle_seconds: float) -> None:
        self.say(f"the three services; a function starts with its first request and ends after {idle_seconds:g} s")
        self.instances = Instances(self.home / "logs", idle_seconds)
        self._stack.callback(self.instances.stop_all)
        self._log_to_a_file()
        for server in serve_in_threads(self.ports.services, self.instances.app):
            self._stack.callback(server.stop, _STOP_SECONDS)
            while not server.started:
                time.sleep(0.05)

    def _describe_memory(self, missing: str) -> None:
        if self.memory:
            self.engines["everything"] = "in memory, in this process; gone when it stops"
        else:
            self.engines["messages, read models"] = f"in memory, in this process ({missing})"

    def _serve_here(self) -> None:
        self.say("the three services, in this process")
        settings.cache_clear()
        self._log_to_a_file()
        for server in serve_in_threads(self.ports.services):
            self._stack.callback(server.stop, _STOP_SECONDS)
        self._stack.callback(engines().close)  # before its functions, so that no message is pushed to a stopped one
        self._wait_for_services()

    def _wait_for_services(self) -> None:
        for service in self.ports.services:
            self.processes.wait_for(service, self.ports.url(service))

    def _replay(self) -> None:
        if not self.memory and (streams := replay(engines().event_store, engines().publisher)):
            self.say(f"read models, from {streams} streams of events")

    def _start_clock(self) -> None:
        """Call scheduled functions, as Cloud Scheduler does in the cloud."""
        stopping = Event()
        self._stack.callback(stopping.set)
        for function in manifest().functions.values():
            if function.schedule:
                url = f"{self.ports.url(function.service)}/{function.name}"
                seconds = function.schedule.seconds(in_the_cloud=self.idle_seconds is not None)
                arguments = (url, seconds, stopping)
                Thread(target=_call_regularly, args=arguments, daemon=True).start()


def _call_regularly(url: str, seconds: float, stopping: Event) -> None:
    while not stopping.wait(seconds):
        try:
            httpx.post(url, timeout=60).raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("a scheduled call failed", url=url, reason=str(error))
