"""Start, watch and stop the processes of one run."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from scripts.local.local_http import answers

# Ask Linux for a signal when the parent is killed, so that no process is left behind; then become
# the given command.
WITH_PARENT = (
    sys.executable,
    "-c",
    """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.execvp(sys.argv[1], sys.argv[1:])
""",
)


class CannotStart(RuntimeError):
    """The shop cannot start; the message says why and what to do."""


class Processes:
    """The running processes by name. `logs`: the folder with one log file for each process."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[Sequence[str | Path], Mapping[str, str] | None]] = {}
        self._begins: dict[str, int] = {}  # of the last start's part of the log

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._commands[name] = command, environment
        with self.log_of(name).open("ab") as log:
            self._begins[name] = log.tell()
            self.running[name] = subprocess.Popen(
                [*WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches only this process, which stops the others in order
            )

    @property
    def names(self) -> list[str]:
        """All processes that were ever started."""
        return [*self._commands]

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def replace(self, name: str, number: signal.Signals) -> None:
        """End the process with a signal and start it again; kill it when that takes over ten
        seconds."""
        if name in self.running:
            self.stop_one(name, number)
        self.start_again(name)

    def forget(self, names: Iterable[str]) -> None:
        """End the processes, which are not missed then."""
        for name in [one for one in names if one in self.running]:
            self.stop_one(name)

    def processor_seconds(self, name: str) -> float:
        """Return the processor time of a process and its children so far."""
        server = psutil.Process(self.running[name].pid)
        times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def stopped(self) -> str | None:
        """Return the name of a process that has ended by itself, or None."""
        return next((name for name, process in self.running.items() if process.poll() is not None), None)

    def start_again(self, name: str) -> None:
        """Start a process that has ended as it was started before."""
        self.start(name, *self._commands[name])

    def end_of(self, name: str) -> str:
        """Return how a process has ended: `was killed by SIGKILL` or `exited with status 1`."""
        status = self.running[name].wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"

    def stop(self) -> None:
        """Stop all processes with their children, the last started first; kill those that take over
        ten seconds."""
        for process in reversed(self.running.values()):
            _signal(process, signal.SIGTERM)
        for name in reversed([*self.running]):
            self.stop_one(name)

    def stop_one(self, name: str, number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """Stop one process with its children; kill it when that takes longer than `seconds`."""
        process = self.running.pop(name)
        _signal(process, number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()

    def wait_for(self, name: str, url: str, seconds: float = 60) -> None:
        """Wait until the URL answers. Raise CannotStart with the end of the log when the process
        ends or hangs."""
        if not answers(url, seconds, lambda: name not in self.running or self.running[name].poll() is None):
            raise CannotStart(f"{name} did not start; the end of its log:\n{self.tail(name)}")

    def wait_until_listening(self, name: str, port: int, seconds: float = 60) -> None:
        """Wait until the port takes connections. Raise CannotStart when the process ends or
        hangs."""
        deadline, process = time.monotonic() + seconds, self.running[name]
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.01)
        raise CannotStart(f"{name} did not start; the end of its log:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 20) -> str:
        """Return the end of what the process has written since its last start."""
        if name not in self._begins:
            return ""
        with self.log_of(name).open("rb") as log:
            log.seek(self._begins[name])
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send the signal to the process's whole group: an emulator is a shell script around Java."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
