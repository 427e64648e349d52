"""``s15-tdc1``: a time tagger of four inputs.

While it streams it answers nothing, so the stream holds the line, and what is known of it is what it sends. Every start
of a stream is a time axis of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from secrets import token_hex
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled, InstrumentUnavailable
from qnoded.instruments.capability import Identity, TimeTaggerCapability
from qnoded.instruments.reading import TaggerReading
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded.records import TagBlock
from qnoded_drivers.keeping import Keeper, Streaming
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.s15_tdc1.codec import (
    ABORT,
    INPUTS,
    OVERFLOW,
    RESOLUTION_PS,
    START,
    EventDecoder,
    number_of,
    status_of,
)

PORT: Final = SerialPort(115200)
ANSWER_S: Final = 0.8
"""For all questions of one turn; an answer takes some milliseconds."""
BLOCK_S: Final = 0.05
SILENT_S: Final = 1.0
"""Dummies come every 140 ms: a stream that is silent for longer is over."""
MAX_RATE_HZ: Final = 1e7
THRESHOLD_V: Final = 3.3
TIMESTAMP_MODE: Final = 3
REFERENCES: Final = {"auto": 0, "external": 1, "internal": 2}


class Tdc1Settings(Addressed):
    """A tagger and its inputs."""

    inputs: Literal["nim", "ttl"] | Annotated[float, Field(ge=-THRESHOLD_V, le=THRESHOLD_V)] = "nim"
    """Standard of the pulses, or threshold in V."""
    reference: Literal["auto", "external", "internal"] = "auto"
    """Clock."""


class Tdc1:
    """Four inputs, 2 ns."""

    Settings: ClassVar[type[BaseModel]] = Tdc1Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._line = Line("S-Fifteen TDC1", read_address(settings.address), PORT, LineDecoder, self._find_step)
        self._name: str | None = None
        self._streaming = Streaming()
        self.capability = TimeTaggerCapability(INPUTS, RESOLUTION_PS, MAX_RATE_HZ)
        self.stream_id = "none"

    async def connect(self) -> Identity:
        """Open the port, end a stream that a former owner left behind, and ask who is there."""
        await self._streaming.end()
        self._name = None
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, ANSWER_S, ABORT) as talk:
            name = await confirmed(lambda: talk.ask(b"*IDN?\r\n", _text), str.__eq__, "its identity")
        if "TDC1" not in name:
            self._line.close()
            problem = f"{self._line}: {name!r} answers, which is no TDC1; check the address"
            raise InstrumentFault(problem)
        self._name = name
        return Identity("S-Fifteen Instruments", "TDC1", name.split()[-1])

    async def configure(self) -> None:
        """End the stream, set inputs and clock, and choose the mode."""
        await self._streaming.end()
        reference = REFERENCES[self._settings.reference]
        async with self._line.turn(Lane.COMMAND, ANSWER_S, ABORT) as talk:
            for order in (self._inputs(), f"REFCLK {reference}", "TIME 0", "TIMESTAMP"):
                talk.send(f"{order}\r\n".encode())
            # Orders are silent: what they did is asked. Between two numbers stands an answer of another shape.
            for question, wanted in (("REFCLK?", reference), ("MODE?", TIMESTAMP_MODE), ("TIME?", 0)):
                await self._find_step(talk)
                found = await talk.ask(f"{question}\r\n".encode(), number_of)
                if found != wanted:
                    problem = f"{self._line}: {question} is {found} after {wanted} was set"
                    raise InstrumentFault(problem)

    def _inputs(self) -> str:
        inputs = self._settings.inputs
        if isinstance(inputs, str):
            return inputs.upper()
        return f"{'NEG' if inputs < 0 else 'POS'} {inputs:g}"

    async def stream(self) -> AsyncIterator[TagBlock]:
        """Start the stream anew and yield its tags."""
        keeper = await self._streaming.begin(self._pump, "tags of the TDC1")
        try:
            async for block in keeper.blocks():
                yield block
        finally:
            if await self._streaming.end(keeper):
                await self._abort(Lane.COMMAND)

    async def _pump(self, keeper: Keeper) -> None:
        """Fetch words as they come."""
        decoder, loop = EventDecoder(), asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "TDC1")
        try:
            async with self._line.turn(Lane.COMMAND, None, ABORT) as talk:
                self.stream_id = f"tdc1-{token_hex(8)}"
                talk.send(START)
                heard_s = loop.time()
                while loop.time() - heard_s < SILENT_S:
                    await asyncio.sleep(BLOCK_S)
                    data = talk.bytes_so_far()
                    if data:
                        heard_s = loop.time()
                        keeper.put(await loop.run_in_executor(thread, decoder.feed, data))
            problem = f"{self._line}: its stream has been silent for {SILENT_S:g} s; connect again"
            raise InstrumentUnavailable(problem)
        finally:
            thread.shutdown(wait=False)

    async def read(self) -> TaggerReading:
        """Return whether it streams and how often tags were lost; what the stream shows, while there is one."""
        keeper = self._streaming.keeper
        if keeper is not None:
            try:
                async with asyncio.timeout(SILENT_S):
                    # The first may have come before the question.
                    await keeper.next_sign()
                    await keeper.next_sign()
            except TimeoutError:
                problem = f"{self._line}: its stream is silent; connect again"
                raise InstrumentUnavailable(problem) from None
        if keeper is not None and keeper is self._streaming.keeper:
            return TaggerReading(running=True, overflows=keeper.overflows)
        async with self._line.turn(Lane.POLL, ANSWER_S) as talk:
            status = await confirmed(lambda: self._status(talk), int.__eq__, "its status")
        return TaggerReading(running=False, overflows=1 if status & OVERFLOW else 0)

    async def _status(self, talk: Talk[str]) -> int:
        await self._find_step(talk)
        return await talk.ask(b"STATUS?\r\n", status_of)

    async def make_safe(self) -> None:
        """Stop streaming."""
        await self._streaming.end()
        await self._abort(Lane.STOP)

    async def _abort(self, lane: Lane) -> None:
        with suppress(InstrumentError):
            async with self._line.turn(lane, STOP_S, ABORT) as talk:
                await self._find_step(talk)

    async def close(self) -> None:
        """Stop streaming and hang up."""
        await self.make_safe()
        self._line.close()

    async def _find_step(self, talk: Talk[str]) -> None:
        name = await talk.ask(b"*IDN?\r\n", _text)
        if self._name not in (None, name):
            problem = f"{name!r} was answered to *IDN? instead of {self._name!r}"
            raise InstrumentGarbled(problem)


def _text(line: str) -> str:
    return line
