"""Ports for the servers of tests."""

import os
import socket

from scripts.local.ports import busy

_FIRST, _LAST = 18_000, 32_000  # below the ports that the system gives to outgoing connections
_ROOM = 10  # ports in a block, the last of which holds it

_holding: list[socket.socket] = []


def free_port(room: int = 1) -> int:
    """Return the first of `room` free ports in a row, at most nine. They are this process's until
    it ends: a server may start on them long after another process has looked for free ports."""
    blocks = range(_FIRST, _LAST, _ROOM)
    for number in range(len(blocks)):
        port = blocks[(os.getpid() + number) % len(blocks)]
        if _hold(port + _ROOM - 1) and not busy([*range(port, port + room)]):
            return port
    raise RuntimeError(f"no {room} free ports in a row between {_FIRST} and {_LAST}")


def _hold(port: int) -> bool:
    """Listen on the port until this process ends. Return whether no process listens there yet."""
    try:
        _holding.append(socket.create_server(("127.0.0.1", port)))
    except OSError:
        return False
    return True
