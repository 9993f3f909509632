"""Processes that belong to one run: started together, watched, and stopped together, only those."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

# Becomes the command it is given, after asking Linux to be told when the run is killed, so that nothing is left behind.
_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.execvp(sys.argv[1], sys.argv[1:])
"""


class CannotStart(RuntimeError):
    """What keeps the shop from starting, and what to do about it."""


class Processes:
    """`logs`: a folder with one file per process."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-c", _WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches only us, and we stop the rest in order
            )

    def stopped(self) -> str | None:
        """The name of a process that has ended by itself."""
        return next((name for name, process in self._running.items() if process.poll() is not None), None)

    def stop(self) -> None:
        """The last started first; each with its own children; by force after ten seconds."""
        for process in reversed(self._running.values()):
            _signal(process, signal.SIGTERM)
        for process in reversed(self._running.values()):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()
        self._running.clear()

    def wait_for(self, name: str, url: str, seconds: float = 60) -> None:
        """Until something answers at the URL. Raises CannotStart with the end of the log when the process ends or hangs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (name not in self._running or self._running[name].poll() is None):
            try:
                httpx.get(url, timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        raise CannotStart(f"{name} did not start; the end of its log:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 20) -> str:
        log = self._logs / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the whole group: an emulator is a shell script around Java."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
