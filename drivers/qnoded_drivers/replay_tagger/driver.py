"""``replay-tagger``: plays a recording as a live tagger, in its own time, faster, or as fast as it is asked.

It is marked as simulated: whatever was recorded, and whoever recorded it, its keys are those of a simulation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from fractions import Fraction
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from qnoded.errors import (
    DependencyMissing,
    FormatError,
    InstrumentFault,
    InstrumentUnavailable,
    UsageError,
)
from qnoded.formats import FORMATS, Recording, open_recording
from qnoded.instruments.capability import Identity, TimeTaggerCapability
from qnoded.instruments.reading import TaggerReading
from qnoded.records import RecordingInfo, TagBlock
from qnoded.units import seconds
from qnoded_drivers.keeping import AWAKE_S, Keeper, Streaming
from qnoded_drivers.replay_tagger.codec import pieces

T = TypeVar("T")

CHANNELS: Final = tuple(range(256))
"""A recording tells its inputs only once it has been read to the end."""
MAX_RATE_HZ: Final = 5e7
"""Tags per second that a usual machine reads and carries."""
FASTEST: Final = 1000.0
LONGEST_NAME: Final = 40
"""Characters of the file's name in the name of the time axis."""


class ReplaySettings(BaseModel):
    """A recording, and how it is played."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    """The recording, in any format that ``qnoded analyze`` reads."""
    format: str | None = None
    """Name of its format; without it the content decides."""
    tick_ps: Annotated[float, Field(gt=0)] | None = None
    """Length of its time unit, for formats that do not tell."""
    columns: str | None = None
    """For text: what each column is, such as ``"channel,time"``."""
    pace: Annotated[float, Field(gt=0, le=FASTEST)] | Literal["as asked"] = 1.0
    """Its seconds per second. ``"as asked"``: a piece each time somebody asks, and nothing is ever dropped."""
    loop: bool = False
    """Begin again at the end; otherwise it falls silent there."""

    @field_validator("format")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in FORMATS:
            problem = f"format {name!r} is unknown; use one of {', '.join(FORMATS)}"
            raise ValueError(problem)
        return name


class ReplayTagger:
    """A recording in the place of a tagger."""

    Settings: ClassVar[type[BaseModel]] = ReplaySettings
    simulated: ClassVar[bool] = True

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._thread: ThreadPoolExecutor | None = None
        """Reads the file; there is one as long as it is connected."""
        self._streaming = Streaming()
        self.capability = TimeTaggerCapability(CHANNELS, Fraction(1), MAX_RATE_HZ)
        self.stream_id = "none"

    async def connect(self) -> Identity:
        """Read the recording's header, and let go of it again."""
        await self.close()
        self._thread = ThreadPoolExecutor(1, "replay")
        try:
            info = await self._in_thread(self._info)
        except BaseException:
            await self.close()
            raise
        self.capability = TimeTaggerCapability(CHANNELS, info.tick_ps, MAX_RATE_HZ)
        return Identity("replay", f"recording in format {info.format}", self._settings.file.name)

    def _info(self) -> RecordingInfo:
        with self._opened() as recording:
            return recording.info

    def _opened(self) -> Recording:
        settings = self._settings
        tick_ps = None if settings.tick_ps is None else Fraction(str(settings.tick_ps))
        try:
            return open_recording(settings.file, format=settings.format, tick_ps=tick_ps, columns=settings.columns)
        except (FormatError, DependencyMissing, UsageError) as error:
            raise InstrumentUnavailable(str(error)) from None

    async def configure(self) -> None:
        """Stop playing: there is nothing to set."""
        await self._streaming.end()
        self._demand_connected()

    async def stream(self) -> AsyncGenerator[TagBlock, None]:
        """Play the recording from its beginning; every start is a time axis of its own."""
        self._demand_connected()
        as_asked = self._settings.pace == "as asked"
        keeper = await self._streaming.begin(None if as_asked else self._play, "replay")
        self.stream_id = f"replay-{self._settings.file.name[:LONGEST_NAME]}-{token_hex(4)}"
        source = self._as_asked() if as_asked else keeper.blocks()
        try:
            async with aclosing(source):
                async for block in source:
                    if self._streaming.keeper is not keeper:
                        return
                    yield block
        finally:
            await self._streaming.end(keeper)

    async def _as_asked(self) -> AsyncGenerator[TagBlock, None]:
        async with aclosing(self._pieces()) as held:
            async for piece in held:
                yield piece
        while True:
            yield _nothing()
            await asyncio.sleep(AWAKE_S)

    async def _play(self, keeper: Keeper) -> None:
        """Hand over each piece in its time."""
        loop = asyncio.get_running_loop()
        began_s, first_ps = loop.time(), None
        async with aclosing(self._pieces()) as held:
            async for piece in held:
                if len(piece):
                    first_ps = int(piece.tag_ps[0]) if first_ps is None else first_ps
                    due_s = began_s + seconds(int(piece.tag_ps[-1]) - first_ps) / self._settings.pace
                    await asyncio.sleep(due_s - loop.time())
                keeper.put(piece)

    async def _pieces(self) -> AsyncGenerator[TagBlock, None]:
        """Yield what the recording holds, read in the thread.

        Raises
        ------
        InstrumentUnavailable, InstrumentFault
            If the file has gone, or breaks its format's promises.
        """
        thread, held = self._demand_connected(), self._held()
        try:
            while (piece := await self._in_thread(lambda: _next(held))) is not None:
                yield piece
        finally:
            # After the reading that may be under way there; a thread that was ended has none.
            try:
                thread.submit(held.close)
            except RuntimeError:
                held.close()

    def _held(self) -> Generator[TagBlock, None, None]:
        with self._opened() as recording:
            yield from pieces(recording, loop=self._settings.loop)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._demand_connected(), work)

    def _demand_connected(self) -> ThreadPoolExecutor:
        if self._thread is None:
            problem = f"the recording {self._settings.file} is not connected; connect first"
            raise InstrumentUnavailable(problem)
        return self._thread

    async def read(self) -> TaggerReading:
        """Return whether it plays, and how often its tags were lost, when it was recorded or here."""
        self._demand_connected()
        keeper = self._streaming.keeper
        return TaggerReading(keeper is not None, 0 if keeper is None else keeper.overflows)

    async def make_safe(self) -> None:
        """Stop playing."""
        await self._streaming.end()

    async def close(self) -> None:
        """Stop playing and let go of the file."""
        await self._streaming.end()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.shutdown(wait=False)


def _next(held: Iterator[TagBlock]) -> TagBlock | None:
    try:
        return next(held, None)
    except (FormatError, DependencyMissing) as error:
        raise InstrumentFault(str(error)) from None
    except OSError as error:
        problem = f"the recording cannot be read any further: {error.strerror or error}; look at its disk"
        raise InstrumentUnavailable(problem) from None


def _nothing() -> TagBlock:
    return TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))
