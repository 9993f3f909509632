"""A TCP connection that can be cut and can hang, put between the shop and one of its engines."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from typing import Any

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class Proxy:
    """`target`: `host:port`, or the path of a Unix socket."""

    def __init__(self, target: str) -> None:
        self._place = socket.socket()  # bound and never listening: it keeps the port ours while the connection is cut
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]
        self._target = target
        self._open: set[StreamWriter] = set()
        self._stranded: list[asyncio.Event] = []
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset open connections and refuse new ones."""
        self._do(self._cut())

    def hang(self) -> None:
        """Accept all bytes and forward none."""
        self._do(self._flow(False))

    def strand(self) -> None:
        """Forget the connections without closing them, as a fail-over to another machine does;
        serve new ones."""
        self._do(self._strand())

    def point_at(self, target: str) -> None:
        """Connect new connections to another target."""
        self._target = target

    def restore(self) -> None:
        self._do(self._flow(True))

    def close(self) -> None:
        self._do(self._cut())
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._is_cut = False
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_port=True)

    async def _flow(self, flowing: bool) -> None:
        if not self._server.is_serving():
            await self._start()
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _strand(self) -> None:
        self._flowing.clear()
        self._stranded.append(self._flowing)
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _cut(self) -> None:
        self._is_cut = True
        self._server.close()
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._open.clear()

    async def _end(self) -> None:
        for flowing in (self._flowing, *self._stranded):
            flowing.set()
        if rest := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(rest, timeout=5)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._is_cut:  # since the connection was accepted
            writer.transport.abort()
            return
        self._open.add(writer)
        flowing = self._flowing
        await flowing.wait()
        if writer.is_closing():
            return
        try:
            there = await self._connect()
        except OSError:
            self._open.discard(writer)
            writer.close()
            return
        self._open.add(there[1])
        with suppress(OSError):
            await asyncio.gather(self._forward(reader, there[1], flowing), self._forward(there[0], writer, flowing))

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target)
        host, port = self._target.split(":")
        return await asyncio.open_connection(host, int(port))

    async def _forward(self, reader: StreamReader, writer: StreamWriter, flowing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await flowing.wait()
                writer.write(data)
                await writer.drain()
        await flowing.wait()
        self._open.discard(writer)
        writer.close()
