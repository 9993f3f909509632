"""The services of a shop, each in a process of its own that a test can kill.

They are forks of one process that has loaded all code: loading it takes two seconds of processor
time, and the tests of kills start a service fifty times.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from scripts.local.local_http import answers
from scripts.local.processes import CannotStart
from scripts.local.services import server
from shared.read_models.generations import Pace
from shared.runtime.current import engines
from tests.victim import arm

_FORKING = get_context("forkserver")
_LOADED = ["google.cloud.firestore", "google.cloud.pubsub_v1", "firebase_admin.auth"]
"""What a service loads with its first requests, besides this module."""

PACE = Pace(known_seconds=0.5, settled_seconds=2.5)
"""A quarter of a rebuild's usual waits."""


class Services:
    """`environment`: of the services. `logs`: the folder of their logs."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self._environment, self._logs = {**os.environ, **environment}, logs
        self._running: dict[str, ForkServerProcess] = {}
        _FORKING.set_forkserver_preload([__name__, *_LOADED])

    def start(self, service: str, port: int, dying: Sequence[str] = ()) -> None:
        """Start the service. It does not answer yet. `dying`: the moment of a victim, and its
        subject."""
        arguments = (service, port, [*dying], self._environment, self._log_of(service))
        self._running[service] = _FORKING.Process(target=_run, args=arguments)
        self._running[service].start()

    def wait_for(self, service: str, url: str, seconds: float = 180) -> None:
        """Wait until the service answers. Raise CannotStart when it ends or hangs."""
        if not answers(url, seconds, lambda: self.died(service, 0) is None, pause=0.02):
            log = self._log_of(service)
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise CannotStart(f"{service} did not start (status {self.died(service, 0)}):\n{said[-4000:]}")

    def kill(self, service: str) -> None:
        """Kill the process without warning, as when a machine is lost."""
        self._running[service].kill()
        self._running[service].join()

    def died(self, service: str, seconds: float) -> int | None:
        """Wait for the service's end; return its exit status, None if it still runs."""
        self._running[service].join(seconds)
        return self._running[service].exitcode

    def _log_of(self, service: str) -> Path:
        return self._logs / f"{service}.log"

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for service, process in self._running.items():
            if self.died(service, 10) is None:
                process.kill()


def _run(service: str, port: int, dying: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: end with the test run
    with log.open("ab") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    engines().pace = PACE
    if dying:
        arm(*dying)
    server(service, port).run()
