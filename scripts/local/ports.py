"""The ports of one run: the client's port, and the other ports at fixed distances from it."""

import random
import socket
from dataclasses import dataclass

_SERVERS = range(10_000, 18_000)


@dataclass(frozen=True)
class Ports:
    client: int = 8080

    @property
    def command(self) -> int:
        return self.client + 1

    @property
    def query(self) -> int:
        return self.client + 2

    @property
    def debugger(self) -> int:
        return self.client + 3

    @property
    def traces(self) -> int:
        return self.client + 4

    @property
    def pubsub(self) -> int:
        return self.client + 5

    @property
    def firestore(self) -> int:
        return self.client + 6

    @property
    def prometheus(self) -> int:
        return self.client + 7

    @property
    def services(self) -> dict[str, int]:
        return {"client": self.client, "command": self.command, "query": self.query}

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"


def busy(ports: list[int]) -> list[int]:
    """Return the ports that another program listens on."""
    return [port for port in ports if _is_busy(port)]


def _is_busy(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def free_port() -> int:
    """Return a port on which nothing listens. It is none of those that the system gives to outgoing
    connections: one of these may be gone before a server has started on it."""
    return next(port for port in random.sample(_SERVERS, len(_SERVERS)) if not _is_busy(port))
