"""``sim-tagger``: the time tagger of a simulated node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from qnoded.errors import InstrumentError, InstrumentGarbled
from qnoded.instruments.capability import Identity, TimeTaggerCapability
from qnoded.instruments.reading import TaggerReading
from qnoded.records import TagBlock
from qnoded.sim.devices.cable import Cable, CableSettings
from qnoded.sim.devices.instrument import SimulatedInstrument
from qnoded.sim.feed import unpack
from qnoded.sim.wire import LARGEST_BODY

MAX_RATE_HZ: Final = 1e7
"""Tags per second and tagger that a usual machine simulates and carries."""
LAST_FIRST_INPUT: Final = 252
"""With it the fourth input is the last one that a block of tags can name."""


class SimTaggerSettings(CableSettings):
    """Where the world is, and how the inputs are counted."""

    first_input: int = Field(default=0, ge=0, le=LAST_FIRST_INPUT)
    """Number of the input at which H is, V D A follow; 1 where it stands in for an instrument that counts from 1."""


class SimTagger(SimulatedInstrument):
    """Pulls tags block by block over a connection of their own, so that the other questions never wait for photons."""

    Settings: ClassVar[type[CableSettings]] = SimTaggerSettings
    device: ClassVar[str] = "tagger"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._tags: Cable | None = None
        self._first: int = settings.first_input
        self.capability = TimeTaggerCapability(tuple(range(self._first, self._first + 4)), Fraction(1), MAX_RATE_HZ)
        self.stream_id = ""

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = TimeTaggerCapability(
            tuple(self._first + int(channel) for channel in capability["channels"]),
            Fraction(capability["resolution_ps"]),
            MAX_RATE_HZ,
            int(capability["dead_time_ps"]),
        )
        self.stream_id = str(capability["stream_id"])

    async def connect(self) -> Identity:
        """Open the connection and ask who is there; a stream that is open ends."""
        self._hang_up()
        return await super().connect()

    async def configure(self) -> None:
        """Stop streaming: there is nothing to set."""
        self._hang_up()
        await super().configure()

    async def stream(self) -> AsyncIterator[TagBlock]:
        """Yield the tags of each 50 ms as they come; what the world had to drop is a ``Gap``."""
        # Also says clearly that there is no connection.
        await self.read()
        self._hang_up()
        tags = self._tags = Cable(self._settings, "tags")
        try:
            with self._told():
                self.stream_id = str((await tags.open())["stream_id"])
            while self._tags is tags:
                try:
                    answer, body = await tags.ask({}, LARGEST_BODY)
                except InstrumentError:
                    if self._tags is not tags:
                        return
                    raise
                if not answer:
                    # A sign of life: no tags are due yet.
                    continue
                try:
                    block = unpack(answer, body)
                except ValueError as error:
                    problem = f"{tags}: {error}"
                    raise InstrumentGarbled(problem) from None
                yield TagBlock(block.channel + np.uint8(self._first), block.tag_ps, block.gaps)
        finally:
            tags.close()
            if self._tags is tags:
                self._tags = None

    def _hang_up(self) -> None:
        """End the stream quietly."""
        if self._tags is not None:
            tags, self._tags = self._tags, None
            tags.close()

    async def read(self) -> TaggerReading:
        """Return whether tags flow and how often some were lost."""
        answer = await self._ask("read")
        with self._told():
            return TaggerReading(bool(answer["running"]), int(answer["overflows"]))

    async def make_safe(self) -> None:
        """Stop streaming."""
        self._hang_up()
        await super().make_safe()
