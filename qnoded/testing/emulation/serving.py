"""Wires for an emulation: a TCP port, or a pseudo-terminal that stands for a serial port."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from qnoded.errors import UsageError
from qnoded.testing.emulation.plugging import AWAY_S, Emulation, Wire

LARGEST_READ: Final = 1 << 16
MOST_UNSENT: Final = 1 << 18
"""Bytes that wait for a reader of the terminal; what an instrument says beyond is lost."""


class _Plug(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._wire: Wire | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        wire = Wire(transport.write, transport.abort)
        if self._emulation.plug(wire):
            self._wire = wire
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._wire is not None:
            self._emulation.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._wire is not None:
            self._emulation.unplug(self._wire)


@runtime_checkable
class OwnSockets(Protocol):
    """A device whose wire is more than bytes on one port."""

    def served(self, emulation: Emulation, host: str, port: int) -> AbstractAsyncContextManager[int]:
        """Serve, on this port among others; gives the port. ``emulation`` is alive meanwhile."""
        ...


@asynccontextmanager
async def on_tcp(emulation: Emulation, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve on a TCP port, one connection at a time, unless the device has sockets of its own; gives the port."""
    if isinstance(emulation.device, OwnSockets):
        async with emulation.device.served(emulation, host, port) as own:
            life = asyncio.create_task(emulation.live(), name="emulated instrument")
            try:
                yield own
            finally:
                await _ended(emulation, life)
        return
    server = await asyncio.get_running_loop().create_server(lambda: _Plug(emulation), host, port)
    life = asyncio.create_task(emulation.live(), name="emulated instrument")
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await _ended(emulation, life)


class _Pty:
    """A pseudo-terminal that can go away and come back under another name, as an adapter does that is replugged."""

    def __init__(self, emulation: Emulation, link: Path) -> None:
        self._emulation, self._link = emulation, link
        self._loop = asyncio.get_running_loop()
        self._near = self._far = -1
        self._unsent = bytearray()
        self._return: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Make it and let the link lead to it; later, if the port is away."""
        if self._emulation.away:
            self._return = self._loop.call_later(AWAY_S, self.open)
            return
        if self._link.exists() and not self._link.is_symlink():
            problem = f"{self._link} exists and is no link; choose another --pty"
            raise UsageError(problem)
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._far))
        self._loop.add_reader(self._near, self._fetch)
        self._emulation.plug(Wire(self._send, self._vanish))

    def close(self) -> None:
        """Take it away for good."""
        if self._return is not None:
            self._return.cancel()
        if self._near >= 0:
            self._loop.remove_reader(self._near)
            self._loop.remove_writer(self._near)
            self._unsent.clear()
            self._link.unlink(missing_ok=True)
            # The far end stays open here while there is a terminal: else each driver that closes it would end it.
            os.close(self._near)
            os.close(self._far)
            self._near = self._far = -1

    def _vanish(self) -> None:
        self.close()
        self._return = self._loop.call_later(AWAY_S, self.open)

    def _fetch(self) -> None:
        self._emulation.hear(os.read(self._near, LARGEST_READ))

    def _send(self, data: bytes) -> None:
        if len(self._unsent) + len(data) <= MOST_UNSENT:
            self._unsent += data
            self._pass_on()

    def _pass_on(self) -> None:
        """Write what the terminal takes now, and the rest once it takes more."""
        with suppress(BlockingIOError):
            del self._unsent[: os.write(self._near, self._unsent)]
        if self._unsent:
            self._loop.add_writer(self._near, self._pass_on)
        else:
            self._loop.remove_writer(self._near)


@asynccontextmanager
async def on_pty(emulation: Emulation, link: Path) -> AsyncIterator[Path]:
    """Serve on a pseudo-terminal to which ``link`` leads; gives the link.

    Raises
    ------
    UsageError
        If something else has that name, or the device has no serial port.
    """
    if isinstance(emulation.device, OwnSockets):
        problem = "this instrument has no serial port; use --tcp"
        raise UsageError(problem)
    terminal = _Pty(emulation, link)
    terminal.open()
    life = asyncio.create_task(emulation.live(), name="emulated instrument")
    try:
        yield link
    finally:
        await _ended(emulation, life)
        terminal.close()


async def _ended(emulation: Emulation, life: asyncio.Task[None]) -> None:
    emulation.end()
    life.cancel()
    await asyncio.wait({life})
