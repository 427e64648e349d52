"""For those who watch a world from outside: what is true, what happens, and a way to make something happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from qnoded.errors import RemoteProtocolError
from qnoded.sim.server import OBSERVER, VERSION
from qnoded.sim.wire import LARGEST_BODY, encode, read_address, read_frame


class Watcher:
    """An open connection to the world."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, question: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return header and body of the answer."""
        self._writer.write(encode(question))
        await self._writer.drain()
        return await self.hear()

    async def hear(self) -> tuple[dict[str, Any], bytes]:
        """Return what the world says next."""
        header, body = await read_frame(self._reader, LARGEST_BODY)
        if "error" in header:
            raise RemoteProtocolError(str(header["error"]))
        return header, body


@asynccontextmanager
async def watching(address: str, what: str) -> AsyncIterator[Watcher]:
    """Open a connection for ``truth``, ``events`` or ``script``.

    Raises
    ------
    OSError, EOFError
        If the world is not there or goes away.
    """
    reader, writer = await read_address(address).connect()
    try:
        watcher = Watcher(reader, writer)
        await watcher.ask({"world": VERSION, "node": OBSERVER, "device": what})
        yield watcher
    finally:
        writer.close()


async def truth(address: str) -> dict[str, Any]:
    """Return what was true so far."""
    async with watching(address, "truth") as watcher:
        _, body = await watcher.ask({})
        told: dict[str, Any] = json.loads(body)
        return told


async def happenings(address: str) -> AsyncIterator[dict[str, Any]]:
    """Yield ``event``, ``label``, ``state`` (``began`` or ``ended``), ``settings`` and ``true_s`` of what happens."""
    async with watching(address, "events") as watcher:
        while True:
            header, _ = await watcher.hear()
            yield header


async def inject(address: str, event: dict[str, Any]) -> float:
    """Let an event happen, keys as in a script; without ``at_s`` it begins now. Return when it begins, true time, s.

    Raises
    ------
    RemoteProtocolError
        If it is not valid; names key, value and what to write.
    """
    async with watching(address, "script") as watcher:
        header, _ = await watcher.ask(event)
        return float(header["at_s"])
