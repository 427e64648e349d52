"""``swabian-timetagger``: a Time Tagger 20, Ultra or X on USB, or one that a server of the maker's program shares.

The library counts time from the moment in which the instrument was opened: every connection is a time axis of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from secrets import token_hex
from typing import Annotated, Any, ClassVar, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from qnoded.errors import DependencyMissing, InstrumentError, InstrumentFault, InstrumentUnavailable
from qnoded.formats.swabian import FALLING, LARGEST_INPUT
from qnoded.instruments.capability import Identity, TimeTaggerCapability
from qnoded.instruments.reading import TaggerReading
from qnoded.records import TagBlock
from qnoded_drivers.keeping import Keeper, Streaming
from qnoded_drivers.swabian_timetagger.codec import RESOLUTION_PS, EventDecoder, Events
from qnoded_drivers.swabian_timetagger.sdk import Sdk, Stream, Tagger, find_sdk

T = TypeVar("T")

OPEN_S: Final = 4.5
"""The library loads the instrument's logic when it opens it."""
CALL_S: Final = 1.5
"""For any other call; they take milliseconds."""
FETCH_S: Final = 0.02
BUFFER_EVENTS: Final = 2**22
"""Room in the library between two fetches, 64 MB: five times what comes at ``MAX_RATE_HZ``."""
MAX_RATE_HZ: Final = 4e7
"""What the maker states for one client."""
TOLERANCE_V: Final = 0.05
"""Between a trigger level that was set and the one that is read back: the steps of the converter."""
AVERAGED_PERIODS: Final = 1000
"""Of the external clock; the library's own default."""

InputNumber = Annotated[int, Field(ge=-LARGEST_INPUT, le=LARGEST_INPUT)]


class SwabianSettings(BaseModel):
    """Which instrument, and its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    serial: str = ""
    """Empty: the first one that is found on USB."""
    server: str | None = None
    """``HOST:PORT`` of the maker's server that shares the instrument, in the place of USB."""
    trigger_v: dict[InputNumber, Annotated[float, Field(ge=-2.5, le=2.5)]] = Field(min_length=1)
    """Input -> trigger level, V. Falling edges are negative inputs; their channel is 128 + number."""
    clock_input: Annotated[int, Field(ge=1, le=LARGEST_INPUT)] | None = None
    """Input with an external clock, to which all times are scaled."""
    clock_hz: Annotated[float, Field(gt=0)] = 1e7
    """Its frequency."""

    @field_validator("trigger_v")
    @classmethod
    def _no_input_zero(cls, trigger_v: dict[int, float]) -> dict[int, float]:
        if 0 in trigger_v:
            problem = "inputs are counted from 1, falling edges from -1"
            raise ValueError(problem)
        return trigger_v


class SwabianTimeTagger:
    """A Time Tagger."""

    Settings: ClassVar[type[BaseModel]] = SwabianSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._thread: ThreadPoolExecutor | None = None
        """Makes all calls of the library; there is one as long as the instrument is connected."""
        self._open: tuple[Sdk, Tagger] | None = None
        self._lost = False
        """Whether the library has said that something is wrong since it was opened."""
        self._streaming = Streaming()
        channels = tuple(FALLING - number if number < 0 else number for number in settings.trigger_v)
        self.capability = TimeTaggerCapability(channels, RESOLUTION_PS, MAX_RATE_HZ)
        self.stream_id = "none"

    def __str__(self) -> str:
        return f"Time Tagger {self._settings.server or self._settings.serial or '(any on USB)'}"

    async def connect(self) -> Identity:
        """Open the instrument and ask who it is."""
        await self.close()
        try:
            sdk = find_sdk()
        except DependencyMissing as error:
            raise InstrumentUnavailable(str(error)) from None
        thread = self._thread = ThreadPoolExecutor(1, "Swabian")
        self._lost = False

        def opened() -> Identity:
            settings = self._settings
            if settings.server is None:
                tagger = sdk.createTimeTagger(settings.serial)
            else:
                tagger = sdk.createTimeTaggerNetwork(settings.server)
            if self._thread is not thread:
                # Given up meanwhile: an instrument that stays open belongs to nobody else until the process ends.
                sdk.freeTimeTagger(tagger)
            else:
                self._open = sdk, tagger
            return Identity("Swabian Instruments", tagger.getModel(), tagger.getSerial(), tagger.getFirmwareVersion())

        try:
            identity = await self._in_thread(opened, OPEN_S)
        except BaseException:
            await self.close()
            raise
        self.stream_id = f"swabian-{token_hex(8)}"
        return identity

    async def configure(self) -> None:
        """End the stream, set trigger levels and clock, and read the levels back."""
        await self._streaming.end()
        _, tagger = self._demand_open()
        await self._in_thread(lambda: self._set(tagger))

    def _set(self, tagger: Tagger) -> None:
        settings = self._settings
        there = set(tagger.getChannelList())
        for number, trigger_v in settings.trigger_v.items():
            if number not in there:
                problem = f"{self}: there is no input {number}; it has {', '.join(map(str, sorted(there)))}"
                raise InstrumentFault(problem)
            # Whoever tried it out before may have left it on: its pulses would be taken for photons.
            tagger.setTestSignal(number, False)
            tagger.setTriggerLevel(number, trigger_v)
            shown_v = tagger.getTriggerLevel(number)
            if abs(shown_v - trigger_v) > TOLERANCE_V:
                problem = f"{self}: input {number} triggers at {shown_v:.3f} V after {trigger_v:.3f} V was set"
                raise InstrumentFault(problem)
        if settings.clock_input is not None:
            # Until it is locked the instrument says that it loses tags, which is told as gaps.
            tagger.setSoftwareClock(settings.clock_input, settings.clock_hz, AVERAGED_PERIODS, False)

    async def stream(self) -> AsyncIterator[TagBlock]:
        """Yield the tags from now on."""
        self._demand_open()
        keeper = await self._streaming.begin(self._fetch, "tags of the Time Tagger")
        try:
            async for block in keeper.blocks():
                yield block
        finally:
            await self._streaming.end(keeper)

    async def _fetch(self, keeper: Keeper) -> None:
        """Fetch tags as they come."""
        decoder = EventDecoder()
        sdk, tagger = self._demand_open()
        inputs = list(self._settings.trigger_v)
        stream = await self._in_thread(lambda: sdk.TimeTagStream(tagger, BUFFER_EVENTS, inputs))
        try:
            while True:
                keeper.put(await self._in_thread(lambda: fetched(stream, decoder)))
                await asyncio.sleep(FETCH_S)
        finally:
            if self._thread is not None:
                self._thread.submit(stream.stop)

    async def read(self) -> TaggerReading:
        """Return whether it streams and how often it lost tags."""
        _, tagger = self._demand_open()
        overflows = await self._in_thread(tagger.getOverflows)
        return TaggerReading(self._streaming.keeper is not None, max(0, int(overflows)))

    async def make_safe(self) -> None:
        """Stop streaming."""
        await self._streaming.end()

    async def close(self) -> None:
        """Stop streaming and let go of the instrument."""
        await self._streaming.end()
        thread, opened = self._thread, self._open
        self._thread = self._open = None
        if thread is None:
            return
        if opened is not None:
            sdk, tagger = opened
            freeing = asyncio.get_running_loop().run_in_executor(thread, sdk.freeTimeTagger, tagger)
            # The library has lost it already, or does not come back: there is nothing else to do for it.
            with suppress(Exception):
                await asyncio.wait_for(freeing, CALL_S)
        thread.shutdown(wait=False)

    def _demand_open(self) -> tuple[Sdk, Tagger]:
        if self._open is None or self._lost:
            problem = f"{self}: not connected; connect first"
            raise InstrumentUnavailable(problem)
        return self._open

    async def _in_thread(self, work: Callable[[], T], limit_s: float = CALL_S) -> T:
        """Call the library; what it says against it means that the instrument is lost."""
        thread = self._thread
        if thread is None:
            problem = f"{self}: not connected; connect first"
            raise InstrumentUnavailable(problem)
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.get_running_loop().run_in_executor(thread, work)
        except InstrumentError:
            raise
        except TimeoutError:
            why = f"the library has not come back within {limit_s:g} s"
        except Exception as error:  # the library raises bare RuntimeErrors and more
            why = f"the library says: {str(error)[:200]}"
        self._lost = True
        problem = f"{self}: {why}; connect again"
        raise InstrumentUnavailable(problem)


def fetched(stream: Stream, decoder: EventDecoder) -> TagBlock:
    """Return the tags that have come since the last call, which blocks."""
    data = stream.getData()
    events = Events(
        np.asarray(data.getEventTypes(), np.uint8),
        np.asarray(data.getMissedEvents(), np.uint16),
        np.asarray(data.getChannels(), np.int32),
        np.asarray(data.getTimestamps(), np.int64),
    )
    return decoder.feed(events, full=events.kind.size >= BUFFER_EVENTS)
