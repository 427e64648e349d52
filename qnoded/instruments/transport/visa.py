"""Bytes to and from an instrument that is reached through VISA: USB test-and-measurement class, GPIB, VXI-11, sockets.

Such links carry whole messages, and an instrument must be read once per question and never otherwise. So each question
(a message that ends with "?" or has one) is followed by one reading. The library blocks: a thread of its own does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from typing import Final, TypeVar

import pyvisa
from pyvisa.constants import StatusCode
from pyvisa.errors import Error, VisaIOError
from pyvisa.resources import MessageBasedResource

from qnoded.instruments.transport.arrivals import Arrivals

T = TypeVar("T")

LIBRARY: Final = "@py"
"""The one that is written in Python and comes with qnoded; a vendor's needs no installation here."""
ANSWER_MS: Final = 500
"""Longest wait for one answer. Whoever is later is lost: his answer would be taken for that to the next question."""
END: Final = b"\n"


class VisaStream:
    """A ``ByteStream`` over VISA; made by ``open_visa``."""

    def __init__(self, resource: MessageBasedResource, thread: ThreadPoolExecutor) -> None:
        self._resource, self._thread = resource, thread
        self._loop = asyncio.get_running_loop()
        self._arrivals = Arrivals()
        self._closing: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Send a message, and read what it asks for."""
        if self._closing is not None:
            problem = "the session is closed"
            raise ConnectionError(problem)
        self._thread.submit(self._exchange, data)

    def _exchange(self, data: bytes) -> None:
        """Do so, in the thread."""
        try:
            for message in data.splitlines(keepends=True):
                self._resource.write_raw(message)
                if b"?" in message:
                    self._tell(self._arrivals.put, self._resource.read_raw())
        except (Error, OSError) as error:
            late = isinstance(error, VisaIOError) and error.error_code == StatusCode.error_timeout
            self._tell(self._arrivals.end, "no answer in time" if late else str(error))

    def _tell(self, what: Callable[[T], None], value: T) -> None:
        # The loop may have ended while the thread was waiting for the instrument: nobody is left to be told.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, value)

    async def read(self) -> bytes:
        """Return what has arrived."""
        await self._arrivals.wait()
        return self._arrivals.take()

    def drain(self) -> bytes:
        """Return what has arrived without waiting."""
        return self._arrivals.take()

    def check(self) -> None:
        """Raise ``OSError`` if the session is lost."""
        self._arrivals.check()

    def close(self) -> None:
        """End the session, after the message that is under way."""
        if self._closing is None:
            self._arrivals.end("the session was closed here")
            self._closing = self._thread.submit(_close, self._resource)
            self._thread.shutdown(wait=False)

    async def ended(self) -> None:
        """Return once the thread has no more to do: half a second at most, if the instrument does not answer."""
        if self._closing is not None:
            await asyncio.wrap_future(self._closing)
            # It has nothing left to do: this waits for its last step only, and no thread outlives the session.
            self._thread.shutdown()


async def open_visa(name: str) -> VisaStream:
    """Open a session with the instrument of this resource name; ``OSError`` if that fails."""
    thread = ThreadPoolExecutor(1, "VISA")
    opening = thread.submit(_open, name)
    try:
        resource = await asyncio.wrap_future(opening)
    except BaseException as error:
        # Given up while the library is still trying: what it opens is closed by the same thread.
        opening.add_done_callback(_close_opened)
        thread.shutdown(wait=opening.done())
        if isinstance(error, Error | ValueError):
            raise OSError(str(error)) from None
        raise
    return VisaStream(resource, thread)


def _open(name: str) -> MessageBasedResource:
    if name.startswith("USB") and find_spec("usb") is None:
        problem = 'VISA over USB needs pyusb, which is not installed: pip install "qnoded[usb]"'
        raise ValueError(problem)
    resource = pyvisa.ResourceManager(LIBRARY).open_resource(name, open_timeout=ANSWER_MS)
    if not isinstance(resource, MessageBasedResource):
        resource.close()
        problem = f"{name} takes no messages"
        raise ValueError(problem)
    resource.timeout = ANSWER_MS
    resource.read_termination = END.decode()
    return resource


def _close(resource: MessageBasedResource) -> None:
    with suppress(Error, OSError):
        resource.close()


def _close_opened(opening: Future[MessageBasedResource]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        _close(opening.result())
