"""What a driver holds of its instrument: a connection with one owner, deadlines, and a way back into step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from qnoded.errors import EmissionRefused, InstrumentFault, InstrumentGarbled, InstrumentUnavailable, UsageError
from qnoded.instruments.protocols import SAFE_S
from qnoded.instruments.transport.stream import Address, ByteStream, SerialPort, open_stream
from qnoded.instruments.transport.turns import Lane, Turns

T = TypeVar("T")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

OPEN_S: Final = 1.5
"""Longest time to open a connection; instruments stand in the same laboratory."""
QUIET_S: Final = 0.05
"""An instrument that has sent nothing for so long has nothing left to say: 50 characters at 9600 baud."""
STOP_PATIENCE_S: Final = 0.1
"""A turn that is under way when a stop comes has so much time to end properly."""
RESYNC_S: Final = 1.0
"""Longest time to find back into step."""
STOP_S: Final = SAFE_S - STOP_PATIENCE_S - RESYNC_S - QUIET_S
"""What that leaves a stop for its own talk."""


class Decoder(Protocol[M_co]):
    """Turns bytes into messages, however they are cut; a codec's job, free of any I/O."""

    def feed(self, data: bytes) -> Iterable[M_co]:
        """Return the messages that are complete now; ``InstrumentGarbled`` if there can be none."""
        ...


class Talk(Generic[M]):
    """One turn with the instrument; made by ``Line.turn`` and void after it."""

    def __init__(self, stream: ByteStream, decoder: Decoder[M], overheard: Callable[[M], None]) -> None:
        self._stream, self._decoder, self._overheard = stream, decoder, overheard
        self._unread: list[M] = []

    def send(self, data: bytes) -> None:
        """Write, for a message that has no answer."""
        self._stream.write(data)

    async def receive(self, wanted: Callable[[M], T | None]) -> T:
        """Return what ``wanted`` makes of the first message that it does not call None; others are overheard."""
        while True:
            while self._unread:
                message = self._unread.pop(0)
                found = wanted(message)
                if found is not None:
                    return found
                self._overheard(message)
            self._unread.extend(self._decoder.feed(await self._stream.read()))

    async def ask(self, question: bytes, wanted: Callable[[M], T | None]) -> T:
        """Write a question and return its answer; what had arrived before it is only overheard."""
        earlier = self._stream.drain()
        for message in (*self._unread, *self._decoder.feed(earlier)):
            self._overheard(message)
        self._unread.clear()
        self._stream.write(question)
        return await self.receive(wanted)

    def bytes_so_far(self) -> bytes:
        """Return what has arrived as it is, for a stream that is no sequence of messages; ``OSError`` at its end."""
        self._stream.check()
        return self._stream.drain()

    async def quiet(self) -> None:
        """Throw away what still comes, until nothing does."""
        while True:
            self._stream.drain()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._stream.read()
            except TimeoutError:
                return


@dataclass(slots=True)
class _Connection(Generic[M]):
    """One connection from its opening to its loss."""

    stream: ByteStream
    decoder: Decoder[M]
    in_step: bool = True
    """Whether the next bytes that come answer the next question."""


class Line(Generic[M]):
    """The connection of one driver to one instrument.

    Parameters
    ----------
    name : str
        Of the instrument, for messages.
    address, port
        Where it is, and how the port is set if it is a serial one.
    decoder
        Makes a new decoder of the instrument's messages.
    find_step
        Asks something harmless whose answer is known, and raises if another one comes.
    overheard
        Gets the messages that nobody asked for.
    parting
        Goes out before a connection is given up, whether the instrument can be understood or not: what makes it safe.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        port: SerialPort,
        decoder: Callable[[], Decoder[M]],
        find_step: Callable[[Talk[M]], Awaitable[object]],
        overheard: Callable[[M], None] = lambda _: None,
        parting: bytes = b"",
    ) -> None:
        self._name, self._address, self._port = name, address, port
        self._make_decoder, self._find_step, self._overheard = decoder, find_step, overheard
        self._parting = parting
        self._connection: _Connection[M] | None = None
        self._why = ""
        """Why there is no connection any more; empty before the first, and while there is one."""
        self._latest: ByteStream | None = None
        """Of the present or the last connection."""
        self._turns = Turns()
        self._running: asyncio.Timeout | None = None
        """Deadline of the turn that is under way, unless that is a stop itself."""

    def __str__(self) -> str:
        return f"{self._name} at {self._address}"

    async def open(self, settle_s: float = 0.0) -> None:
        """Open the connection anew, wait, and throw away what comes meanwhile.

        Raises
        ------
        InstrumentUnavailable
            If nobody is there.
        """
        await self.end()
        try:
            async with asyncio.timeout(OPEN_S):
                stream = self._latest = await open_stream(self._address, self._port)
        except (OSError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or error
            problem = f"{self} cannot be opened: {why}; check its power, its cable and the address"
            raise InstrumentUnavailable(problem) from None
        connection = self._connection = _Connection(stream, self._make_decoder())
        self._why = ""
        await asyncio.sleep(settle_s)
        try:
            stream.drain()
        except OSError as error:
            raise self._lost(connection, str(error)) from None

    def close(self) -> None:
        """Hang up; whoever is talking gets ``InstrumentUnavailable``."""
        if self._connection is not None:
            self._connection.stream.close()
            self._connection = None

    async def end(self) -> None:
        """Hang up, and return once nothing is left of the connection."""
        self.close()
        if self._latest is not None:
            await self._latest.ended()

    @asynccontextmanager
    async def turn(self, lane: Lane, limit_s: float | None, first: bytes = b"") -> AsyncIterator[Talk[M]]:
        """Wait for a turn and talk.

        Parameters
        ----------
        lane
            How urgent it is; a stop also shortens the turn that is under way.
        limit_s
            Longest time for the talk itself; None for a stream, which lasts until it is cancelled or a stop comes.
        first
            Bytes that have to reach the instrument whatever state the line is in, such as those that switch light off.

        Raises
        ------
        InstrumentUnavailable
            If there is no connection, it breaks, or an answer is missing; the next turn finds back into step or closes.
        InstrumentGarbled
            If nonsense arrives.
        """
        if lane is Lane.STOP:
            self._hurry()
        async with self._turns.turn(lane):
            connection = self._connection
            if connection is None:
                # Whoever asks next is told why as well: it may be the only one that is heard.
                raise InstrumentUnavailable(self._why or f"{self}: not connected; connect first")
            try:
                if first:
                    connection.stream.write(first)
                    connection.in_step = False
                longest_s = limit_s if limit_s is None or connection.in_step else limit_s + RESYNC_S
                async with asyncio.timeout(longest_s) as deadline:
                    self._running = None if lane is Lane.STOP else deadline
                    if not connection.in_step:
                        await self._find_back(connection)
                    connection.in_step = False
                    yield Talk(connection.stream, connection.decoder, self._overheard)
                connection.in_step = True
            except (UsageError, InstrumentFault, EmissionRefused):
                # Said by the instrument in an answer, or by the driver between two: nothing is on its way.
                connection.in_step = True
                raise
            except TimeoutError:
                problem = f"{self}: no answer in time; the next question finds back into step"
                raise InstrumentUnavailable(problem) from None
            except OSError as error:
                raise self._lost(connection, error.strerror or str(error)) from None
            finally:
                self._running = None

    def _hurry(self) -> None:
        if self._running is not None:
            soon = asyncio.get_running_loop().time() + STOP_PATIENCE_S
            until = self._running.when()
            if not self._running.expired() and (until is None or soon < until):
                self._running.reschedule(soon)

    async def _find_back(self, connection: _Connection[M]) -> None:
        connection.decoder = self._make_decoder()
        talk = Talk(connection.stream, connection.decoder, self._overheard)
        try:
            async with asyncio.timeout(RESYNC_S):
                await talk.quiet()
                await self._find_step(talk)
        except (TimeoutError, InstrumentGarbled, InstrumentFault) as error:
            why = "it does not answer" if isinstance(error, TimeoutError) else str(error)
            raise self._lost(connection, why) from None

    def _lost(self, connection: _Connection[M], why: str) -> InstrumentUnavailable:
        if self._parting:
            with suppress(OSError):
                connection.stream.write(self._parting)
        connection.stream.close()
        if self._connection is connection:
            self._connection = None
        self._why = f"{self}: the connection is lost: {why}; check its power and its cable"
        return InstrumentUnavailable(self._why)


async def confirmed(look: Callable[[], Awaitable[T]], agree: Callable[[T, T], bool], what: str) -> T:
    """Look twice and return the second if both agree: the links have no checksum.

    Raises
    ------
    InstrumentGarbled
        If they do not.
    """
    first = await look()
    second = await look()
    if not agree(first, second):
        problem = f"{what} was read as {first}, then as {second}: one of them arrived damaged"
        raise InstrumentGarbled(problem)
    return second
