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
from typing import TYPE_CHECKING

import httpx
import structlog

from scripts.local import observe, running
from scripts.local.emulators import Emulators, find_emulators, start_postgres, stop_left_over
from scripts.local.local_http import local_http
from scripts.local.ports import Ports, busy
from scripts.local.processes import CannotStart, Processes
from scripts.local.token import ADMIN_EMAIL, PROJECT
from shared.config.manifest import ROOT, manifest
from shared.config.settings import MalformedSetting, settings
from shared.observability import logs

if TYPE_CHECKING:
    from scripts.local.zero import Instances
    from shared.runtime.engines import Engines

_log = structlog.get_logger()

_STOP_SECONDS = 1.0  # for each server's requests under way; streams are cut off
DEBUGGED = "debugged"
ONE = "shop"
"""The process that runs all services where they share data in memory."""
HOME = ROOT / ".dev" / "data"
ALL = "all"  # scripts.local.services runs all services in one process
_START_SECONDS, _FOREVER = 60.0, 24 * 3600.0  # that a service may take, and while it waits for a debugger
_DEBUGGABLE = ["-Xfrozen_modules=off"]  # otherwise debugpy misses breakpoints in the standard library
_RESTARTS, _UNSTABLE_SECONDS = 3, 60.0  # so many restarts of a service within so many seconds; then the shop stops
CONSOLE = ROOT / ".dev" / "console"


@dataclass
class Shop:
    """`home`: the folder for data and logs. `say`: reports progress. `observed`: whether Prometheus
    runs too. `idle_seconds`: every function runs in a process of its own, which ends when it has
    been idle for so long; None: a service's functions share a process, which stays. `debugged`: the
    function that waits for a debugger. `traced`: spans are collected and shown."""

    ports: Ports
    home: Path
    say: Callable[[str], None]
    memory: bool = False
    sign_in: bool = False
    observed: bool = False
    idle_seconds: float | None = None
    debugged: str | None = None
    traced: bool = False
    instances: "Instances | None" = None
    engines: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _schedules: Event = field(default_factory=Event)
    _has_engines: bool = False
    _ended: dict[str, list[float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.ports.client}/graphql"

    @property
    def admin_email(self) -> str:
        return os.environ.get("ADMIN_EMAIL", ADMIN_EMAIL)

    def claim(self) -> None:
        """Reserve the ports and the data. Raise CannotStart when another program or run uses
        them."""
        emulators = [] if self.memory else [self.ports.pubsub, self.ports.firestore]
        wanted = [*self.ports.services.values(), *emulators, *([self.ports.prometheus] if self.observed else [])]
        wanted += [self.ports.debugger] if self.debugged else []
        wanted += [self.ports.traces] if self.traced else []
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
        stop_left_over(self.home / "postgres")
        for folder in ("postgres", "runtime", "logs", "prometheus"):
            shutil.rmtree(self.home / folder, ignore_errors=True)
        (self.home / "sandbox.sqlite").unlink(missing_ok=True)

    def start(self) -> None:
        """Start everything. Raise CannotStart when a part does not start."""
        emulators, missing = (None, "") if self.memory else find_emulators()
        self._configure("memory" if self.memory else "engines" if emulators else "postgres")
        self.processes = Processes(self.home / "logs")
        self._stack.callback(self.processes.stop)
        if self.traced:
            self._start_traces()
        if emulators:
            self._launch_emulators(emulators)  # Java takes seconds, in which PostgreSQL starts
        if not self.memory:
            self._start_postgres()
        if emulators:
            self._start_services()
        elif self.idle_seconds:
            raise CannotStart(f"--scale-to-zero needs the emulators: {missing}")
        else:
            self._describe_memory(missing)
            self._start_one_process()
        if emulators:
            self._replay()
        self.start_clock()
        if self.debugged and emulators:
            self._start_debugged(self.debugged)
        if self.observed:
            self.say("Prometheus")
            self.engines["metrics"] = observe.start(self.processes, self.ports, self.home, in_one_process=not emulators)

    def stop(self) -> None:
        self.stop_clock()
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
        if name == DEBUGGED:
            self.processes.running.pop(name)
            self.say(f"{ended}, the debugged {self.debugged}; its service runs it again")
            return None
        if name not in self.ports.services or len(lately) == _RESTARTS:
            return f"{ended}; the end of its log:\n{self.processes.tail(name)}"
        self.say(f"{ended}; starting it again")
        self.processes.start_again(name)
        return None

    def is_new(self) -> bool:
        """Return whether the event store is empty."""
        from shared.event_store.protocol import Checkpoint

        return self.memory or not self._engines().event_store.read_all(after=Checkpoint(), limit=1)

    def _engines(self) -> "Engines":
        """Return this process's own engines, which are closed before PostgreSQL stops: the pool
        would wait for it."""
        from shared.runtime.current import engines

        if not self._has_engines:
            self._has_engines = True
            self._stack.callback(engines().close)
            self._log_to_a_file()  # again: making them configured the log as in the cloud
        return engines()

    @property
    def in_memory(self) -> Path:
        """The folder for what a process in memory leaves to the next one."""
        return self.home / "memory" / str(self.ports.client)

    @property
    def kept(self) -> Path:
        return self.in_memory / "kept.pickle"

    def _export(self, variables: dict[str, str]) -> None:
        """Set environment variables for the functions."""
        self.environment |= variables
        os.environ |= variables
        settings.cache_clear()

    def _configure(self, profile: str) -> None:
        variables = {
            "PROFILE": profile,
            "PROJECT_ID": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIREBASE_AUTH_EMULATOR_HOST": os.environ.get("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
            "SAGA_PACE": os.environ.get("SAGA_PACE", "0.3"),  # the relay runs every two seconds here
            "SIGN_IN_REQUIRED": str(self.sign_in).lower(),
            "ADMIN_EMAIL": self.admin_email,
            "COMMAND_URL": self.ports.url("command") + "/{function}",
            "QUERY_URL": self.ports.url("query") + "/{function}",
            "PAYMENT_URL": self.ports.url("command") + "/sandbox_provider/payments",
            "SHIPPING_URL": self.ports.url("command") + "/sandbox_provider/shipments",
            "NOTIFICATION_URL": self.ports.url("command") + "/sandbox_provider/notifications",
            "SANDBOX_DATABASE": str((self.in_memory if self.memory else self.home) / "sandbox.sqlite"),
            running.DETOURS: str(running.detours(self.ports.client)),
            "CONSOLE_DIRECTORY": str(CONSOLE),
            "LOG_FOLDER": str(self.home / "logs"),
            "WAKE_AHEAD_SECONDS": os.environ.get("WAKE_AHEAD_SECONDS", str(self.idle_seconds or 0)),
        }
        self._export(variables)
        for folder in (self.home, self.in_memory):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            settings()
        except MalformedSetting as error:
            raise CannotStart(f"The shop does not start: {error}.") from error

    def _log_to_a_file(self) -> None:
        """Send this process's log to a file beside the others: an order writes twenty lines, too
        many for the screen."""
        logs.configure(PROJECT, (self.home / "logs" / "dev.log").open("a"))  # until this process ends

    def _start_traces(self) -> None:
        """Start the viewer, to which the functions that start later send their spans."""
        address = f"http://127.0.0.1:{self.ports.traces}"
        self.processes.start("traces", [sys.executable, "-m", "scripts.local.traces", str(self.ports.traces)])
        self.processes.wait_for("traces", address)
        self._export({"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "500"})
        self._export({"TRACES_URL": f"http://localhost:{self.ports.traces}/order/{{order}}"})
        self.engines["traces"] = f"{address}  (an order's page in the console links to its trace)"

    def _start_postgres(self) -> None:
        self.say("PostgreSQL")
        event_store, command_database, stop = start_postgres(self.home / "postgres")
        self._stack.callback(stop)
        self._export({"EVENT_STORE_URL": event_store, "COMMAND_DATABASE_URL": command_database})
        self.migrate()
        self.engines["events, sagas"] = f"PostgreSQL, {self.home / 'postgres'}"

    def migrate(self) -> None:
        """Bring both databases up to date. Raise CannotStart when the data is from another
        version."""
        from scripts.local.migrate import migrate_all
        from shared.postgres.migrations import ChangedMigration

        try:
            migrate_all(settings())
        except ChangedMigration as error:
            raise CannotStart(f"The data is from another version ({error}). Start with --reset.") from error

    def _launch_emulators(self, emulators: Emulators) -> None:
        pubsub = emulators.start_pubsub(self.processes, self.ports.pubsub)
        firestore = emulators.start_firestore(self.processes, self.ports.firestore)
        self._export({"PUBSUB_EMULATOR_HOST": pubsub, "FIRESTORE_EMULATOR_HOST": firestore})

    def _wait_for_emulators(self) -> None:
        self.say("Pub/Sub and Firestore emulators")
        pubsub, firestore = os.environ["PUBSUB_EMULATOR_HOST"], os.environ["FIRESTORE_EMULATOR_HOST"]
        self.processes.wait_for("pubsub", f"http://{pubsub}")
        self.processes.wait_for("firestore", f"http://{firestore}")
        self._create_topology()
        counted = f"{len(manifest().topics)} topics, {len(manifest().all_subscriptions)} subscriptions"
        self.engines["messages"] = f"Pub/Sub emulator, {pubsub} ({counted})"
        self.engines["read models"] = f"Firestore emulator, {firestore}"

    def _create_topology(self) -> None:
        """Create the topics and subscriptions that are missing."""
        from scripts.local.topology import create_topology  # loads Google's libraries, which take a second

        subscriptions = manifest().all_subscriptions
        create_topology(PROJECT, subscriptions, lambda one: f"{self.ports.url(one.service)}/{one.endpoint}")

    def use_manifest(self) -> None:
        """Create the topics and subscriptions of the changed manifest."""
        if "PUBSUB_EMULATOR_HOST" in self.environment:
            self._create_topology()

    def prepare_next_start(self) -> None:
        """Make the next start of the emulators faster. This takes some seconds, once."""
        emulators, _ = (None, "") if self.memory else find_emulators()
        try:
            if emulators:
                emulators.make_archives()
        except CannotStart as error:
            print(f"The next start will not be faster: {error}", file=sys.stderr)

    def log_of(self, process: str) -> Path:
        return self.processes.log_of(process)

    def _start_services(self) -> None:
        if self.idle_seconds:
            self._wait_for_emulators()
            self._scale_to_zero(self.idle_seconds)
            return
        for service, port in self.ports.services.items():
            self.processes.start(service, [sys.executable, "-m", "scripts.local.services", service, str(port)])
        self._wait_for_emulators()
        self.say("the three services")
        for service in self.ports.services:
            self.wait_for(service)
        self._log_to_a_file()

    def _scale_to_zero(self, idle_seconds: float) -> None:
        from scripts.local.services import serve_in_threads
        from scripts.local.zero import Instances

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
            self.engines["everything"] = "in memory; gone when the shop stops"
        else:
            self.engines["messages, read models"] = f"in memory ({missing})"

    def _start_one_process(self) -> None:
        self.say("the three services, in one process")
        self._stack.callback(shutil.rmtree, self.in_memory, ignore_errors=True)
        self.kept.unlink(missing_ok=True)  # of a shop that was killed while it started again
        python = [sys.executable, *(_DEBUGGABLE if self.debugged else [])]
        command = [*python, "-m", "scripts.local.services", ALL, str(self.ports.client), f"--keep={self.kept}"]
        self.processes.start(ONE, command + self._debugger())
        self.wait_for(ONE)
        self._log_to_a_file()

    def _start_debugged(self, function: str) -> None:
        """Run the function in a process of its own, which waits for a debugger."""
        command = [sys.executable, *_DEBUGGABLE, "-m", "scripts.local.only", function, str(self.ports.client)]
        self.processes.start(DEBUGGED, [*command, f"--debugger={self.ports.debugger}"])
        self.processes.wait_until_listening(DEBUGGED, self.ports.debugger)

    def _debugger(self) -> list[str]:
        """Return the option for the process that shares its memory with the debugged function."""
        if not self.debugged:
            return []
        self.say(f"your debugger, which may attach to 127.0.0.1:{self.ports.debugger}")
        return [f"--debugger={self.ports.debugger}"]

    def wait_for(self, process: str) -> None:
        """Wait until the process answers on all its ports. Raise CannotStart."""
        patience = _FOREVER if self.debugged else _START_SECONDS
        for service in self.ports.services if process == ONE else [process]:
            self.processes.wait_for(process, self.ports.url(service), patience)

    def _replay(self) -> None:
        from scripts.local.replay import replay

        if streams := replay(self._engines().event_store, self._engines().publisher):
            self.say(f"read models, from {streams} streams of events")

    def stop_clock(self) -> None:
        self._schedules.set()

    def start_clock(self) -> None:
        """Call the manifest's scheduled functions, as Cloud Scheduler does in the cloud."""
        self._schedules = Event()
        for function in manifest().functions.values():
            if function.schedule:
                url = f"{self.ports.url(function.service)}/{function.name}"
                seconds = function.schedule.seconds(in_the_cloud=self.idle_seconds is not None)
                arguments = (url, seconds, self._schedules)
                Thread(target=_call_regularly, args=arguments, daemon=True).start()


def _call_regularly(url: str, seconds: float, stopping: Event) -> None:
    while not stopping.wait(seconds):
        try:
            local_http().post(url).raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("a scheduled call failed", url=url, reason=str(error))
