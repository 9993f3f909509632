"""Run one service, or all in one process: the functions of a group on one port, each under its own
path, made by the functions framework."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import cast

import functions_framework
import uvicorn
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scripts.local import keep
from scripts.local.detours import detoured
from scripts.local.ports import Ports
from scripts.local.replay import replay
from scripts.local.shop import ALL
from shared.config.manifest import Function, manifest
from shared.runtime.current import engines

_STOP_SECONDS = 1.0  # for each server's requests under way; streams are cut off
_THREADS = 16  # per function


MakeApp = Callable[[Function], ASGIApp]


def service_app(service: str, make: MakeApp | None = None) -> ASGIApp:
    """Return an app that serves each function at /its_name as its root; the graphql function at the
    root itself. `make`: makes a function's own app, by default as the framework does."""
    apps = {function.name: detoured(function, (make or app)(function)) for function in manifest().of_service(service)}

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        if "graphql" in apps:
            await apps["graphql"](scope, receive, send)
        elif name in apps:
            path = f"/{rest}"
            await apps[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)
        else:
            await PlainTextResponse(f"{service} has {', '.join(apps)}\n", 404)(scope, receive, send)

    return dispatch


def app(function: Function) -> ASGIApp:
    """Return the function's own app, as the framework makes it."""
    os.environ.pop("FUNCTION_SIGNATURE_TYPE", None)  # the framework leaves the previous function's value in it
    made = functions_framework.create_app(function.name, str(function.source))
    return made if isinstance(made, Starlette) else cast(ASGIApp, WSGIMiddleware(made, workers=_THREADS))


class Server(uvicorn.Server):
    """A server that can run in a thread of this process."""

    def start(self) -> None:
        self._thread = Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Answer the requests under way, for at most so long."""
        self.should_exit = True
        self._thread.join(seconds)


def server(service: str, port: int, make: MakeApp | None = None) -> Server:
    return server_of(service_app(service, make), port)


def server_of(app: ASGIApp, port: int) -> Server:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",  # as in the cloud; a client's mistakes are no warnings
        ws="none",  # as in the cloud, where no package for WebSockets is installed
        lifespan="off",
        proxy_headers=False,  # a client's claims about its own address are not trusted
        timeout_graceful_shutdown=int(_STOP_SECONDS),
    )
    return Server(config)


def serve_in_threads(ports: dict[str, int], make: MakeApp | None = None) -> list[Server]:
    """Start all services in this process, which the memory profile needs."""
    servers = [server(service, port, make) for service, port in ports.items()]
    for one in servers:
        one.start()
    return servers


def serve_all(ports: Ports, kept: Path) -> None:
    """Serve all services in this process until SIGTERM. SIGHUP ends it too, but first keeps the
    data of the stores in memory in the file `kept`, from which the next process takes it."""
    signals = SimpleQueue[int]()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: signals.put(received))
    servers = [server(service, port) for service, port in ports.services.items()]
    taken_over = _taken_over(kept)
    for one in servers:
        one.start()
    if not taken_over and engines().settings.profile != "memory":
        replay(engines().event_store, engines().publisher)
    received = signals.get()
    for one in servers:
        one.should_exit = True
    for one in servers:
        one.stop(_STOP_SECONDS)
    engines().close()
    if received == signal.SIGHUP:
        keep.save(engines(), kept)


def _taken_over(kept: Path) -> bool:
    """Return whether the data of the process before was taken over. A file that this code cannot
    read stays where it is."""
    if not kept.exists():
        return False
    try:
        keep.load(engines(), kept)
    except Exception as error:  # of any class of the changed code
        print(f"the data in memory cannot be taken over: {error!r}", file=sys.stderr)
        return False
    kept.unlink()
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=[*Ports().services, ALL])
    parser.add_argument("port", type=int, help="of the service; of all services the client's")
    parser.add_argument("--keep", type=Path, help="the file for the data in memory")
    parser.add_argument("--debugger", type=int, metavar="PORT", help="wait there for a debugger first")
    arguments = parser.parse_args()
    if arguments.debugger:
        wait_for_debugger(arguments.debugger, arguments.keep)
    if arguments.service == ALL:
        serve_all(Ports(arguments.port), arguments.keep)
    else:
        server(arguments.service, arguments.port).run()


def wait_for_debugger(port: int, kept: Path | None = None) -> None:
    """Listen for a debugger, and wait for it unless this process replaces another."""
    import debugpy  # changes how threads start

    debugpy.listen(("127.0.0.1", port))
    if not (kept and kept.exists()):
        debugpy.wait_for_client()


if __name__ == "__main__":
    main()
