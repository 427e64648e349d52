"""The recorder: stands between a driver and its instrument, carries every byte, and writes it into a transcript.

It looks like an instrument to the driver, so it listens wherever an emulated one does: TCP or a serial port of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from sys import modules
from typing import Final, TextIO

from qnoded.errors import InstrumentUnavailable, UsageError
from qnoded.hil.rig import RigDevice
from qnoded.hil.transcript import Speaker, Utterance, head
from qnoded.instruments.protocols import DEADLINE_S
from qnoded.instruments.transport import SerialPort, read_address
from qnoded.instruments.transport.stream import ByteStream, open_stream
from qnoded.node.driver_call import bounded
from qnoded.testing.emulation import Device, Emulation, on_tcp

OPEN_S: Final = 2.0
READINGS: Final = 3
"""Of the standard session."""
READ_PAUSE_S: Final = 0.2
USUAL_BAUD: Final = 9600
"""Of serial ports whose driver does not say."""


class Tee(Device):
    """An instrument whose inside is the real one."""

    serial = ""
    """Stands in what it says."""

    def __init__(self, far: ByteStream, file: TextIO) -> None:
        self._far, self._file = far, file
        self._began_s: float | None = None
        self.lost: str | None = None
        """Why the instrument says nothing more; None while it may."""

    def switch_on(self, now_s: float) -> None:
        """Begin; the real one has its own switch."""
        self._began_s = now_s

    def greet(self) -> list[bytes]:
        """Note a connection; what the instrument says to it comes by itself."""
        self._note(asyncio.get_running_loop().time(), "connect", b"")
        return []

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Carry bytes to the instrument."""
        self._note(now_s, "host", data)
        try:
            self._far.write(data)
        except OSError as error:
            self.lost = error.strerror or str(error)
        return []

    def tick(self, now_s: float) -> list[bytes]:
        """Carry bytes from the instrument."""
        if self.lost is not None:
            return []
        try:
            data = self._far.drain()
        except OSError as error:
            self.lost = error.strerror or str(error)
            return []
        if not data:
            return []
        self._note(now_s, "instrument", data)
        return [data]

    def _note(self, now_s: float, speaker: Speaker, data: bytes) -> None:
        at_s = 0.0 if self._began_s is None else now_s - self._began_s
        self._file.write(f"{Utterance(at_s, speaker, data).line()}\n")


@asynccontextmanager
async def teed(address: str, port: SerialPort, file: Path) -> AsyncIterator[Emulation]:
    """Open an instrument's line and give what stands for it; serve that on TCP or a serial port.

    Parameters
    ----------
    address
        Of the instrument.
    port
        How its serial port is set, where it is one.
    file
        Gets the transcript.

    Raises
    ------
    InstrumentUnavailable
        If it cannot be reached.
    """
    try:
        async with asyncio.timeout(OPEN_S):
            far = await open_stream(read_address(address), port)
    except (OSError, TimeoutError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or error
        problem = f"{address} cannot be opened: {why}; check its power, its cable and the address"
        raise InstrumentUnavailable(problem) from None
    try:
        with file.open("w", encoding="utf-8") as out:
            utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            out.write(f"{head(address, utc)}\n")
            yield Emulation(Tee(far, out))
    finally:
        far.close()
        await far.ended()


async def record_session(device: RigDevice, file: Path) -> str:
    """Record the standard session with a device of a rig: connect, configure, read, end; return who answered.

    It leaves the instrument safe and lights nothing.

    Raises
    ------
    UsageError
        If the device has not just one address.
    InstrumentError
        If the instrument does not take part.
    """
    address = device.rig.settings.get("address")
    if not isinstance(address, str):
        problem = f"{device.name} has no single address; record its parts with --tcp or --pty, one at a time"
        raise UsageError(problem)
    async with teed(address, port_of(device), file) as tee, on_tcp(tee) as port:
        here = device.at(dict(device.rig.settings) | {"address": f"tcp://127.0.0.1:{port}"})
        return await session(here)


async def session(device: RigDevice) -> str:
    """Connect, configure, read and end; return who answered. The same calls in the same order each time."""
    instrument = device.binding.instrument()
    try:
        identity = await bounded(instrument.connect(), f"{device.name}: connect", DEADLINE_S)
        await bounded(instrument.configure(), f"{device.name}: configure", DEADLINE_S)
        for _ in range(READINGS):
            await bounded(instrument.read(), f"{device.name}: read", DEADLINE_S)
            await asyncio.sleep(READ_PAUSE_S)
    finally:
        await instrument.close()
    return str(identity)


def port_of(device: RigDevice) -> SerialPort:
    """Return how a device's serial port is set: as its driver does, whose module or settings say it."""
    own = getattr(modules[device.binding.driver_class.__module__], "PORT", None)
    if isinstance(own, SerialPort):
        return own
    return SerialPort(getattr(device.binding.settings, "baud", USUAL_BAUD))
