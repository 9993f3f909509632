"""Servers of several test processes start on one machine."""

import subprocess
import sys

_ASKS = "from tests.ports import free_port; print(*[free_port(7) for _ in range(3)], flush=True); input()"


def test_test_processes_get_ports_of_their_own_before_any_server_has_started() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _ASKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)  # with neighbouring numbers, from which they begin to look
    ]

    answers = [process.stdout.readline().split() for process in processes if process.stdout]
    for process in processes:
        process.communicate("\n")

    ports = {int(port) for answer in answers for port in answer}
    assert len(ports) == 6
    assert min(abs(one - other) for one in ports for other in ports if one != other) > 7
