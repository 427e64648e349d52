"""Questions over ZeroMQ: one at a time, each with a deadline, and a new socket after an answer that did not come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import zmq
import zmq.asyncio

from qnoded.errors import InstrumentUnavailable
from qnoded.instruments.transport import Lane, Turns, read_address

ANSWER_S: Final = 0.7
"""Answers take milliseconds."""
PROBE_S: Final = 0.5
LARGEST_ANSWER_BYTES: Final = 1 << 20


class Asker:
    """A REQ socket; made for one address.

    ZeroMQ connects by itself, whenever and for ever, and a REQ socket without an answer can never ask again. So a plain
    TCP connection is tried first, and a socket whose answer is missing is thrown away; the next question opens another,
    and if that does not find the same one again, the connection counts as lost.

    Parameters
    ----------
    name
        For messages.
    address
        ``tcp://HOST:PORT``.
    greeting
        A harmless question, asked first on every socket.
    constant
        Whether its answer must always be the same until the next ``open``.
    """

    def __init__(self, name: str, address: str, greeting: str, *, constant: bool) -> None:
        self._name, self._address, self._greeting, self._constant = name, read_address(address), greeting, constant
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._known: str | None = None
        self._turns = Turns()

    def __str__(self) -> str:
        return f"{self._name} at {self._address}"

    async def open(self) -> str:
        """Connect anew and return the answer to the greeting.

        Raises
        ------
        InstrumentUnavailable
            If nobody answers.
        """
        self.close()
        self._context = zmq.asyncio.Context()
        async with self._turns.turn(Lane.COMMAND):
            self._known = await self._greeted(None)
        return self._known

    async def _greeted(self, known: str | None) -> str:
        context = self._context
        try:
            async with asyncio.timeout(PROBE_S):
                _, writer = await asyncio.open_connection(self._address.host, self._address.port)
        except (OSError, TimeoutError) as error:
            self.close()
            problem = f"{self} cannot be reached: {error or 'no answer in time'}; check its power, cable and address"
            raise InstrumentUnavailable(problem) from None
        writer.close()
        if context is None or context.closed:
            problem = f"{self}: the connection was closed here"
            raise InstrumentUnavailable(problem)
        socket = self._socket = context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        # Answers carry the number of their question: a stray one is not taken for the next.
        socket.setsockopt(zmq.REQ_CORRELATE, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_ANSWER_BYTES)
        socket.connect(str(self._address))
        try:
            answer = await self._exchanged(socket, self._greeting)
        except InstrumentUnavailable:
            self.close()
            raise
        if self._constant and known not in (None, answer):
            self.close()
            problem = f"{self}: {answer[:80]!r} answers where {known!r} did; connect again"
            raise InstrumentUnavailable(problem)
        return answer

    async def ask(self, question: str, lane: Lane = Lane.COMMAND) -> str:
        """Return the answer.

        Raises
        ------
        InstrumentUnavailable
            If there is no connection or no answer in time.
        """
        async with self._turns.turn(lane):
            if self._known is None:
                problem = f"{self}: not connected; connect first"
                raise InstrumentUnavailable(problem)
            if self._socket is None:
                await self._greeted(self._known)
            assert self._socket is not None
            return await self._exchanged(self._socket, question)

    async def _exchanged(self, socket: zmq.asyncio.Socket, question: str) -> str:
        answered = False
        try:
            async with asyncio.timeout(ANSWER_S):
                await socket.send_string(question)
                answer = await socket.recv()
            answered = True
        except TimeoutError:
            problem = f"{self}: no answer to {question!r} within {ANSWER_S:g} s"
            raise InstrumentUnavailable(problem) from None
        except (zmq.ZMQError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and (not socket.closed or (task and task.cancelling())):
                raise
            problem = f"{self}: the connection was closed here"
            raise InstrumentUnavailable(problem) from None
        finally:
            if not answered:
                socket.close()
                if self._socket is socket:
                    self._socket = None
        return bytes(answer).decode("utf-8", "replace")

    def close(self) -> None:
        """Hang up; whoever waits for an answer gets ``InstrumentUnavailable``."""
        self._known = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._context is not None:
            with suppress(zmq.ZMQError):
                self._context.destroy(linger=0)
            self._context = None

    @property
    def is_open(self) -> bool:
        """Whether it counts as connected."""
        return self._known is not None

    @property
    def context(self) -> zmq.asyncio.Context:
        """Of all sockets of this connection.

        Raises
        ------
        InstrumentUnavailable
            If there is none.
        """
        if self._context is None:
            problem = f"{self}: not connected; connect first"
            raise InstrumentUnavailable(problem)
        return self._context
