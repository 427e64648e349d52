"""Making an instrument safe by bytes alone: no driver, no event loop, and no library beyond Python's own.

But for instruments behind VISA that the kernel has no driver of its own for (``usbtmc``): their library is imported
(``prepare``) before there is anything to make safe.
"""

from __future__ import annotations

import os
import re
import select
import socket
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from qnoded.hil.usbtmc import UsbTmc, node_of

AGAIN_S: Final = 0.25
"""An order that was not confirmed is sent anew: half a message that a dead daemon left behind is forgotten by then."""
OPEN_S: Final = 0.5
"""Longest time to connect; instruments stand in the same laboratory."""
REST_S: Final = 0.05
"""Between two attempts to open what cannot be opened."""
LARGEST_READ: Final = 4096
LONGEST_ANSWER: Final = 1 << 16
MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """One instrument; the plain form of ``qnoded.instruments.raw_safe.RawSafe``."""

    device: str
    """Its name in the rig."""
    address: str
    """``tcp://HOST:PORT``, the path of a serial port, or the name of a VISA resource."""
    baud: int
    order: bytes
    confirmed: bytes
    """Regular expression of an answer that says that it is safe."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it; bytes in hexadecimal."""
        return {
            "device": self.device,
            "address": self.address,
            "baud": self.baud,
            "order": self.order.hex(),
            "confirmed": self.confirmed.hex(),
        }


def target_of(document: dict[str, Any]) -> Target:
    """Return the target of a JSON document; ``KeyError``, ``TypeError`` or ``ValueError`` if it is none."""
    return Target(
        document["device"],
        document["address"],
        int(document["baud"]),
        bytes.fromhex(document["order"]),
        bytes.fromhex(document["confirmed"]),
    )


@dataclass(frozen=True, slots=True)
class Safed:
    """What became of one instrument."""

    device: str
    confirmed: bool
    """Whether it said itself that it is safe."""
    took_s: float
    said: str
    """For people: what it answered, or why it did not."""


class _Channel(Protocol):
    def send(self, data: bytes) -> None:
        """Send, or raise."""

    def receive(self, within_s: float) -> bytes:
        """Return what comes, nothing if nothing does; raise at the end of the connection."""
        ...

    def close(self) -> None: ...


def prepare(targets: Sequence[Target]) -> None:
    """Import what these targets need: later it could be too late, or take too long."""
    if any(_is_visa(target.address) for target in targets):
        import pyvisa  # noqa: F401 - see above


def _is_visa(address: str) -> bool:
    return "::" in address and not address.startswith(("/", "tcp://"))


def make_all_safe(targets: Sequence[Target], patience_s: float) -> list[Safed]:
    """Make instruments safe, all at once; each is given up only after ``patience_s``. Never raises."""
    if not targets:
        return []
    with ThreadPoolExecutor(len(targets), "safing") as threads:
        return list(threads.map(lambda target: make_safe(target, patience_s), targets))


def make_safe(target: Target, patience_s: float) -> Safed:
    """Send one instrument's order until it confirms, or until ``patience_s`` have passed; never raises."""
    began_s = time.monotonic()
    until_s = began_s + patience_s
    said = "there was no time"
    while time.monotonic() < until_s:
        try:
            with _opened(target) as channel:
                heard = _ordered(target, channel, until_s)
        except Exception as error:
            # Whatever it is: the next attempt may be better, and the other instruments must not wait.
            said = f"{target.address}: {getattr(error, 'strerror', None) or error}"
            time.sleep(REST_S)
            continue
        if heard is not None:
            return Safed(target.device, True, time.monotonic() - began_s, repr(heard))
        said = f"{target.address}: it was told, and did not say that it is safe"
    return Safed(target.device, False, time.monotonic() - began_s, said)


def _ordered(target: Target, channel: _Channel, until_s: float) -> bytes | None:
    """Send the order until it is confirmed; return the answer, or None if the time is over."""
    heard = b""
    while (now_s := time.monotonic()) < until_s:
        channel.send(target.order)
        again_s = min(now_s + AGAIN_S, until_s)
        while (left_s := again_s - time.monotonic()) > 0.0:
            heard = (heard + channel.receive(left_s))[-LONGEST_ANSWER:]
            if found := re.search(target.confirmed, heard, re.DOTALL):
                return found[0]
    return None


@contextmanager
def _opened(target: Target) -> Iterator[_Channel]:
    channel: _Channel
    if target.address.startswith("tcp://"):
        channel = _Tcp(target.address)
    elif (node := node_of(target.address)) is not None:
        channel = UsbTmc(node)
    elif _is_visa(target.address):
        channel = _Visa(target.address)
    else:
        channel = _Serial(target.address, target.baud)
    try:
        yield channel
    finally:
        channel.close()


class _Tcp:
    """A TCP connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self._socket = socket.create_connection((host.strip("[]"), int(port)), OPEN_S)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, within_s: float) -> bytes:
        if not select.select([self._socket], [], [], within_s)[0]:
            return b""
        if data := self._socket.recv(LARGEST_READ):
            return data
        problem = "the other end has hung up"
        raise ConnectionError(problem)

    def close(self) -> None:
        self._socket.close()


class _Serial:
    """A serial port, taken also where another process has it locked: whoever holds it is dead or hangs."""

    def __init__(self, path: str, baud: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            tty.setraw(self._file)
            settings = termios.tcgetattr(self._file)
            speed = getattr(termios, f"B{baud}", None)
            if speed is not None:
                settings[4] = settings[5] = speed
            settings[2] |= termios.CLOCAL | termios.CREAD
            termios.tcsetattr(self._file, termios.TCSANOW, settings)
            termios.tcflush(self._file, termios.TCIFLUSH)
        except BaseException:
            os.close(self._file)
            raise

    def send(self, data: bytes) -> None:
        with suppress(BlockingIOError):
            os.write(self._file, data)

    def receive(self, within_s: float) -> bytes:
        if not select.select([self._file], [], [], within_s)[0]:
            return b""
        if data := os.read(self._file, LARGEST_READ):
            return data
        problem = "the port has gone"
        raise ConnectionError(problem)

    def close(self) -> None:
        os.close(self._file)


class _Visa:
    """A session with an instrument behind VISA: a message at a time, and each question's answer before the next one.

    A second question would throw the answer to the first away (IEEE 488.2, 6.3.2.3, "query interrupted").
    """

    def __init__(self, name: str) -> None:
        import pyvisa

        library = pyvisa.ResourceManager("@py")
        self._resource = cast(Any, library.open_resource(name, open_timeout=int(OPEN_S * MS_PER_S)))
        self._resource.read_termination = "\n"
        self._heard = b""

    def send(self, data: bytes) -> None:
        for message in data.splitlines(keepends=True):
            self._resource.write_raw(message)
            if b"?" in message:
                self._heard += self._answer(AGAIN_S)

    def receive(self, within_s: float) -> bytes:
        heard, self._heard = self._heard, b""
        # What comes now is an answer that was late; there may be none, and a reading is an error then.
        return heard or self._answer(within_s)

    def _answer(self, within_s: float) -> bytes:
        from pyvisa.errors import VisaIOError

        self._resource.timeout = within_s * MS_PER_S
        try:
            return bytes(self._resource.read_raw())
        except VisaIOError as error:
            if error.abbreviation == "VI_ERROR_TMO":
                return b""
            raise

    def close(self) -> None:
        self._resource.close()
