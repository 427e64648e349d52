"""A TCP cable that can be pulled, or be long: between a driver and its emulator, or between two ends of a link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

CHUNK_BYTES: Final = 1 << 16
MOST_ON_THE_WAY: Final = 1024
"""Chunks that a direction holds back; then whoever sends has to wait, as on any network."""


class Relay:
    """Carries connections from a port of its own to a server, until it is cut; made by ``relay``."""

    def __init__(self, host: str, port: int, delay_s: float) -> None:
        self.delay_s = delay_s
        """How late bytes arrive, each way; a change holds for what is sent from then on."""
        self._host, self._port = host, port
        self._whole = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Port on 127.0.0.1 that stands for the server's."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def cut(self) -> None:
        """Break all connections; new ones are ended at once."""
        self._whole = False
        for task in self._carrying:
            task.cancel()
        if self._carrying:
            await asyncio.wait(self._carrying)

    def hold(self) -> None:
        """Carry nothing more, without a word to either end; what is sent meanwhile arrives after ``restore``."""
        self._flowing.clear()

    async def restore(self) -> None:
        """Carry again: new connections after ``cut``, all that waited after ``hold``."""
        self._whole = True
        self._flowing.set()

    async def listen(self) -> None:
        """Begin to take connections, on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer), name="relay")
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if self._whole:
                far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
                writers.append(far_writer)
                await _until_one_ends(self._copy(reader, far_writer), self._copy(far_reader, writer))
        except OSError:
            # Nobody listens there: the near side sees its connection end, as behind any cable.
            pass
        finally:
            for each in writers:
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction: in order, each chunk when its delay has passed."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_ON_THE_WAY)

        async def collect() -> None:
            while True:
                chunk = await _read(reader)
                await on_the_way.put((loop.time() + self.delay_s, chunk))
                if not chunk:
                    return

        collecting = asyncio.ensure_future(collect())
        try:
            with suppress(OSError):
                while True:
                    due_s, chunk = await on_the_way.get()
                    await asyncio.sleep(due_s - loop.time())
                    await self._flowing.wait()
                    if not chunk:
                        return
                    writer.write(chunk)
                    await writer.drain()
        finally:
            collecting.cancel()
            await asyncio.wait({collecting})


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return what has come; nothing once the connection is over."""
    with suppress(OSError):
        return await reader.read(CHUNK_BYTES)
    return b""


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def relay(host: str, port: int, delay_s: float = 0.0) -> AsyncIterator[Relay]:
    """Carry connections to a server for as long as the context lasts, all bytes ``delay_s`` late each way."""
    carrier = Relay(host, port, delay_s)
    await carrier.listen()
    try:
        yield carrier
    finally:
        await carrier.close()
