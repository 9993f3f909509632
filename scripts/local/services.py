"""Run one service: the functions of a group on one port, each under its own path, made by the
functions framework."""

import argparse
import asyncio
import os
from collections.abc import Callable
from threading import Thread
from typing import cast

import functions_framework
import uvicorn
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.config.manifest import Function, manifest

_THREADS = 16  # per function


MakeApp = Callable[[Function], ASGIApp]


def service_app(service: str, make: MakeApp | None = None) -> ASGIApp:
    """Return an app that serves each function at /its_name as its root; the graphql function at the
    root itself. `make`: makes a function's own app, by default as the framework does."""
    apps = {function.name: (make or _app)(function) for function in manifest().of_service(service)}

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


def _app(function: Function) -> ASGIApp:
    os.environ.pop("FUNCTION_SIGNATURE_TYPE", None)  # the framework leaves the previous function's value in it
    app = functions_framework.create_app(function.name, str(function.source))
    return app if isinstance(app, Starlette) else cast(ASGIApp, WSGIMiddleware(app, workers=_THREADS))


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
    config = uvicorn.Config(
        service_app(service, make),
        host="127.0.0.1",
        port=port,
        log_level="error",  # as in the cloud; a client's mistakes are no warnings
        ws="none",  # as in the cloud, where no package for WebSockets is installed
        lifespan="off",
        proxy_headers=False,  # a client's claims about its own address are not trusted
        timeout_graceful_shutdown=5,
    )
    return Server(config)


def serve_in_threads(ports: dict[str, int], make: MakeApp | None = None) -> list[Server]:
    """Start all services in this process, which the memory profile needs."""
    servers = [server(service, port, make) for service, port in ports.items()]
    for one in servers:
        one.start()
    return servers


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("service")
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    server(arguments.service, arguments.port).run()
