"""``oz-epc400``: four fibre squeezers, set by voltages that stand for retardance after one measured constant.

The unit has no word for who it is: an EPC-400 is recognised by how it answers, and one is like another. Its answers
carry no checksum and its orders no number, so voltages and mode are asked in turn, twice, and must agree.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentError, InstrumentFault
from qnoded.instruments.capability import Identity, PolarizationControllerCapability
from qnoded.instruments.limits import angles
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.oz_epc400.codec import (
    ASK_MODE,
    ASK_VOLTAGES,
    CHANNELS,
    HOLD,
    LARGEST_MV,
    Block,
    BlockDecoder,
    Mode,
    mode_of,
    set_voltage,
    voltages_of,
)

PORT: Final = SerialPort(9600)
LOOK_S: Final = 2.0
"""For two looks of two answers; the unit is slow."""
MOVE_S: Final = 3.5
"""For two looks and five orders."""
SETTLING_S: Final = 0.5
NO_SERIAL: Final = "not told"
TURN_DEG: Final = 360.0


class Epc400Settings(Addressed):
    """A unit and what was measured of it."""

    volts_per_turn: float = Field(ge=0.5, le=10.0)
    """Voltage that turns the retardance of a squeezer by 360 degrees at the wavelength in use; some volts."""
    squeezers: int = Field(default=CHANNELS, ge=1, le=CHANNELS)
    """How many are in use, from channel 1 on; three reach every polarization. The others rest at 0 V."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the unit says at one moment."""

    mode: Mode
    voltages_mv: tuple[int, ...]


class Epc400:
    """Up to four squeezers. Nothing moves: a setting is there as soon as its voltage is."""

    Settings: ClassVar[type[BaseModel]] = Epc400Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._mv_per_deg: float = settings.volts_per_turn * 1000.0 / TURN_DEG
        self._line = Line("OZ Optics EPC-400", read_address(settings.address), PORT, BlockDecoder, _look)
        self._requested_deg: tuple[float, ...] | None = None
        largest_deg = LARGEST_MV / self._mv_per_deg
        self._squeezers: int = settings.squeezers
        names = tuple(f"squeezer at channel {channel}" for channel in range(1, self._squeezers + 1))
        self.capability = PolarizationControllerCapability(names, -largest_deg, largest_deg, SETTLING_S)

    async def connect(self) -> Identity:
        """Open the line and see whether an EPC-400 answers."""
        self._requested_deg = None
        await self._line.open()
        try:
            async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
                await _looked(talk)
        except InstrumentError:
            self._line.close()
            raise
        return Identity("OZ Optics", "EPC-400", NO_SERIAL)

    async def configure(self) -> None:
        """Hold the voltages as they are."""
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            await _hold(talk)

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Set every squeezer to its retardance."""
        capability = self.capability
        wanted_deg = angles(settings_deg, capability.elements, capability.min_deg, capability.max_deg)
        wanted_mv = (*map(self._voltage_mv, wanted_deg), *[0] * (CHANNELS - self._squeezers))
        async with self._line.turn(Lane.COMMAND, MOVE_S) as talk:
            look = await _look(talk)
            self._requested_deg = wanted_deg
            for channel, (wanted, present) in enumerate(zip(wanted_mv, look.voltages_mv, strict=True), start=1):
                if wanted != present:
                    await _order(talk, set_voltage(channel, wanted))
            if look.mode is not Mode.HOLDS:
                await _order(talk, HOLD)
            arrived = await _looked(talk)
        if arrived != Look(Mode.HOLDS, wanted_mv):
            problem = f"{self._line}: {wanted_mv} mV were set, {arrived.voltages_mv} mV ({arrived.mode}) are read back"
            raise InstrumentFault(problem)

    async def read(self) -> PolarizationReading:
        """Return the retardances; a unit that scrambles counts as moving."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            look = await _looked(talk)
        read_s = asyncio.get_running_loop().time()
        requested = self._requested_deg or (None,) * self._squeezers
        settings = tuple(
            Setting(asked, self._accepted_deg(asked), shown / self._mv_per_deg, read_s)
            for asked, shown in zip(requested, look.voltages_mv[: self._squeezers], strict=True)
        )
        return PolarizationReading(look.mode is Mode.SCRAMBLES, settings)

    async def make_safe(self) -> None:
        """Hold the voltages: no voltage that it can have harms anything."""
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S) as talk:
                await _hold(talk)

    async def close(self) -> None:
        """Hold the voltages and hang up."""
        await self.make_safe()
        self._line.close()

    def _accepted_deg(self, asked_deg: float | None) -> float | None:
        """Return what the unit's steps of 1 mV make of a setting."""
        return None if asked_deg is None else self._voltage_mv(asked_deg) / self._mv_per_deg

    def _voltage_mv(self, setting_deg: float) -> int:
        return round(setting_deg * self._mv_per_deg)


async def _look(talk: Talk[Block]) -> Look:
    mode = await talk.ask(ASK_MODE, lambda block: mode_of(_granted(block)))
    return Look(mode, await talk.ask(ASK_VOLTAGES, lambda block: voltages_of(_granted(block))))


async def _looked(talk: Talk[Block]) -> Look:
    return await confirmed(partial(_look, talk), Look.__eq__, "its state")


async def _hold(talk: Talk[Block]) -> None:
    """Let it not scramble."""
    await _order(talk, HOLD)
    look = await _looked(talk)
    if look.mode is not Mode.HOLDS:
        problem = "the unit was told to hold its voltages and goes on scrambling; switch it off and on"
        raise InstrumentFault(problem)


async def _order(talk: Talk[Block], order: bytes) -> None:
    """Send an order once. Its answer says only that there is one; whether it was obeyed is read back."""

    def taken(block: Block) -> Block | None:
        is_other = mode_of(block) is not None or voltages_of(block) is not None
        return None if is_other else _granted(block)

    await talk.ask(order, taken)


def _granted(block: Block) -> Block:
    if block.refused:
        problem = f"the unit answers with an error: {', '.join(block.lines) or 'it does not say which'}"
        raise InstrumentFault(problem)
    return block
