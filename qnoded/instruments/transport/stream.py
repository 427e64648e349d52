"""Bytes to and from one instrument, over TCP or a serial port; the event loop does the waiting, no thread."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from dataclasses import dataclass
from typing import Final, Protocol

import serial

from qnoded.errors import UsageError
from qnoded.instruments.transport.arrivals import Arrivals

LARGEST_READ: Final = 1 << 16
VISA_NAME: Final = re.compile(r"(?:USB|TCPIP|GPIB|VXI)\d*::[ -~]+::(?:INSTR|SOCKET)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instrument is: ``tcp://HOST:PORT``, the path of a serial port, or the name of a VISA resource."""

    host: str = ""
    port: int = 0
    path: str = ""
    """Of a serial port."""
    resource: str = ""
    """VISA's name for it."""

    def __str__(self) -> str:
        return self.path or self.resource or f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SerialPort:
    """How a serial port is set, where the instrument is on one."""

    baud: int
    rts_cts: bool = False
    """Flow control by the RTS and CTS lines."""
    levels_high: bool = True
    """DTR and RTS while the port is open; set before it is opened, since some instruments act on a change."""


def read_address(text: str) -> Address:
    """Read an address.

    Raises
    ------
    UsageError
        If it is none.
    """
    scheme, separator, rest = text.partition("://")
    if not separator and text.startswith("/"):
        return Address(path=text)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and int(port) < 2**16:
        return Address(host.strip("[]"), int(port))
    if VISA_NAME.fullmatch(text):
        return Address(resource=text)
    problem = f"{text!r} is no address; write tcp://192.0.2.17:1998, /dev/serial/by-id/... or USB0::...::INSTR"
    raise UsageError(problem)


class ByteStream(Protocol):
    """An open connection."""

    def write(self, data: bytes) -> None:
        """Send, or raise ``OSError``."""
        ...

    async def read(self) -> bytes:
        """Return what has arrived, waiting for the first byte; ``OSError`` if the connection is lost."""
        ...

    def drain(self) -> bytes:
        """Return what has arrived without waiting; ``OSError`` if there is nothing and the connection is lost."""
        ...

    def check(self) -> None:
        """Raise ``OSError`` if the connection is lost, whatever has arrived before."""
        ...

    def close(self) -> None:
        """Release it; whoever waits in ``read`` gets an ``OSError``."""
        ...

    async def ended(self) -> None:
        """Return once all that it held is released, after ``close``."""
        ...


class TcpStream(asyncio.Protocol):
    """A ``ByteStream`` over TCP."""

    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; the event loop calls it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came; the event loop calls it."""
        self._arrivals.put(data)
        if self._arrivals.too_many and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember the end; the event loop calls it."""
        self._arrivals.end(str(exc or "the other end has hung up"))
        self._transport = None

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is None or self._transport.is_closing():
            problem = "the connection is closed"
            raise ConnectionError(problem)
        self._transport.write(data)

    async def read(self) -> bytes:
        """Return what has arrived."""
        await self._arrivals.wait()
        return self.drain()

    def drain(self) -> bytes:
        """Return what has arrived without waiting."""
        data = self._arrivals.take()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    def check(self) -> None:
        """Raise ``OSError`` if the connection is lost."""
        self._arrivals.check()

    async def ended(self) -> None:
        """Return: ``close`` leaves nothing behind."""

    def close(self) -> None:
        """Hang up."""
        self._arrivals.end("the connection was closed here")
        if self._transport is not None:
            # What was written last is a stop, as a rule: it is still sent, by the operating system if need be.
            self._transport.close()


class SerialStream:
    """A ``ByteStream`` over a serial port or pseudo-terminal."""

    def __init__(self, path: str, settings: SerialPort) -> None:
        """Open the port for this process alone; ``OSError`` if that fails."""
        self._port = serial.Serial(
            baudrate=settings.baud, rtscts=settings.rts_cts, timeout=0, write_timeout=0, exclusive=True
        )
        self._port.port = path
        self._port.dtr = self._port.rts = settings.levels_high
        try:
            self._port.open()
        except serial.SerialException as error:
            # Its own text repeats the path and the number of the error.
            taken = error.errno in (errno.EAGAIN, errno.EBUSY)
            why = "another program has it open" if taken else os.strerror(error.errno or errno.EIO)
            raise OSError(error.errno or errno.EIO, why) from None
        self._file: int = self._port.fileno()
        self._arrivals = Arrivals()
        self._loop = asyncio.get_running_loop()
        self._listening = False
        self._listen()

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._port.is_open:
            problem = "the port is closed"
            raise ConnectionError(problem)
        if os.write(self._file, data) != len(data):
            problem = "the port takes no more bytes; is flow control right?"
            raise ConnectionError(problem)

    async def read(self) -> bytes:
        """Return what has arrived."""
        await self._arrivals.wait()
        return self.drain()

    def drain(self) -> bytes:
        """Return what has arrived without waiting."""
        data = self._arrivals.take()
        self._listen()
        return data

    def check(self) -> None:
        """Raise ``OSError`` if the port is lost."""
        self._arrivals.check()

    async def ended(self) -> None:
        """Return: ``close`` leaves nothing behind."""

    def close(self) -> None:
        """Release the port."""
        self._arrivals.end("the port was closed here")
        if self._port.is_open:
            self._deafen()
            self._port.close()

    def _listen(self) -> None:
        if not self._listening and self._port.is_open:
            self._loop.add_reader(self._file, self._fetch)
            self._listening = True

    def _deafen(self) -> None:
        if self._listening:
            self._loop.remove_reader(self._file)
            self._listening = False

    def _fetch(self) -> None:
        try:
            data = os.read(self._file, LARGEST_READ)
            why = "the port has gone"
        except BlockingIOError:
            return
        except OSError as error:
            data, why = b"", error.strerror or str(error)
        if data:
            self._arrivals.put(data)
        else:
            self._arrivals.end(why)
        if not data or self._arrivals.too_many:
            self._deafen()


async def open_stream(address: Address, port: SerialPort) -> ByteStream:
    """Open a connection; ``OSError`` if that fails.

    Parameters
    ----------
    address
        Where the instrument is.
    port
        How the port is set, if it is a serial one.
    """
    if address.path:
        return SerialStream(address.path, port)
    if address.resource:
        # Takes a quarter of a second to import, and few instruments need it.
        from qnoded.instruments.transport.visa import open_visa

        return await open_visa(address.resource)
    _, stream = await asyncio.get_running_loop().create_connection(TcpStream, address.host, address.port)
    return stream
