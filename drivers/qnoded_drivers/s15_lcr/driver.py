"""``s15-lcr``: up to four liquid-crystal retarders, set in degrees through what was measured of each cell.

Orders are not answered, so amplitudes are read back. Answers carry neither number nor checksum: the name is asked
between two amplitudes, which cannot be taken for it, and everything is looked at twice.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field, field_validator

from qnoded.errors import InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, PolarizationControllerCapability
from qnoded.instruments.limits import angles
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.instruments.transport import Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.s15_lcr.codec import (
    ASK_NAME,
    CHANNELS,
    HIDE,
    MARK,
    SET_FREQUENCY,
    SWITCH_ON,
    amplitude_of,
    ask_amplitude,
    name_of,
    set_amplitude,
)
from qnoded_drivers.s15_lcr.curve import Cell

PORT: Final = SerialPort(115200)
LOOK_S: Final = 1.0
"""For two looks, each a name and an amplitude for every cell."""
TOLERANCE_V: Final = 0.01
"""Between an amplitude that was set and the one read back: how finely the board sets them is not told."""
NO_SERIAL: Final = "not told"


class LcrSettings(Addressed):
    """A driver board and its cells."""

    cells: tuple[Cell, ...] = Field(min_length=1, max_length=CHANNELS)
    """In the order in which light passes them."""
    settling_s: float = Field(default=0.2, ge=0.0, le=5.0)
    """From a new voltage until the crystals rest; they are slowest where the voltage falls."""

    @field_validator("cells")
    @classmethod
    def _fit_together(cls, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        if len({cell.channel for cell in cells}) < len(cells):
            problem = "two cells have the same channel"
            raise ValueError(problem)
        least_deg, most_deg = _common_deg(cells)
        if least_deg >= most_deg:
            problem = f"no retardance is within all calibrations: {least_deg:g} to {most_deg:g} deg is left"
            raise ValueError(problem)
        return cells


def _common_deg(cells: tuple[Cell, ...]) -> tuple[float, float]:
    """Return the retardances that every cell can have."""
    return max(cell.range_deg[0] for cell in cells), min(cell.range_deg[1] for cell in cells)


class Lcr:
    """Nothing moves but the crystals, which the board does not see: they count as moving for their settling time."""

    Settings: ClassVar[type[BaseModel]] = LcrSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._cells: tuple[Cell, ...] = settings.cells
        place = read_address(settings.address)
        self._line = Line("S-Fifteen LCD cell driver", place, PORT, LineDecoder, self._find_step)
        self._name: str | None = None
        self._requested_deg: tuple[float, ...] | None = None
        self._rests_at_s = 0.0
        names = tuple(f"retarder at {cell.axis_deg:g} deg (channel {cell.channel})" for cell in self._cells)
        self.capability = PolarizationControllerCapability(names, *_common_deg(self._cells), settings.settling_s)

    async def connect(self) -> Identity:
        """Open the line and ask who is there."""
        self._name = self._requested_deg = None
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            await self._looked(talk)
            self._name = await talk.ask(ASK_NAME, name_of)
        _, _, firmware = self._name.partition(MARK)
        return Identity("S-Fifteen", MARK, NO_SERIAL, firmware.strip(" ,"))

    async def configure(self) -> None:
        """Switch all voltages on, as they are, and its lamp off."""
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            for order in (SWITCH_ON, HIDE, SET_FREQUENCY):
                talk.send(order)
            await self._looked(talk)

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Set every cell to its retardance."""
        capability = self.capability
        wanted_deg = angles(settings_deg, capability.elements, capability.min_deg, capability.max_deg)
        wanted_v = tuple(round(cell.amplitude_v(one), 3) for cell, one in zip(self._cells, wanted_deg, strict=True))
        async with self._line.turn(Lane.COMMAND, 2 * LOOK_S) as talk:
            present_v = await self._looked(talk)
            self._requested_deg = wanted_deg
            for cell, wanted, present in zip(self._cells, wanted_v, present_v, strict=True):
                if abs(wanted - present) > TOLERANCE_V / 10:
                    talk.send(set_amplitude(cell.channel, wanted))
                    self._rests_at_s = _loop_s() + capability.settling_s
            # Of a board that was switched off and on meanwhile the voltages are off.
            talk.send(SWITCH_ON)
            arrived_v = await self._looked(talk)
        if any(abs(wanted - shown) > TOLERANCE_V for wanted, shown in zip(wanted_v, arrived_v, strict=True)):
            problem = f"{self._line}: {_volts(wanted_v)} were set, {_volts(arrived_v)} are read back"
            raise InstrumentFault(problem)

    async def read(self) -> PolarizationReading:
        """Return the retardances; unknown where an amplitude lies outside of what was measured."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            shown_v = await self._looked(talk)
        read_s = _loop_s()
        requested = self._requested_deg or (None,) * len(self._cells)
        settings = tuple(
            Setting(asked, _accepted_deg(cell, asked), cell.retardance_deg(shown, TOLERANCE_V), read_s)
            for cell, asked, shown in zip(self._cells, requested, shown_v, strict=True)
        )
        return PolarizationReading(read_s < self._rests_at_s, settings)

    async def make_safe(self) -> None:
        """Do nothing: no voltage that it can have harms anything, and the crystals want an alternating one."""

    async def close(self) -> None:
        """Hang up; the voltages stay."""
        await self._line.end()

    async def _look(self, talk: Talk[str]) -> tuple[float, ...]:
        """Return the amplitudes of all cells, V."""
        shown_v = []
        for cell in self._cells:
            await self._find_step(talk)
            shown_v.append(await talk.ask(ask_amplitude(cell.channel), amplitude_of))
        return tuple(shown_v)

    async def _looked(self, talk: Talk[str]) -> tuple[float, ...]:
        return await confirmed(partial(self._look, talk), tuple.__eq__, "its amplitudes")

    async def _find_step(self, talk: Talk[str]) -> None:
        name = await talk.ask(ASK_NAME, name_of)
        if self._name not in (None, name):
            problem = f"{name!r} was answered to *IDN? instead of {self._name!r}"
            raise InstrumentGarbled(problem)


def _accepted_deg(cell: Cell, asked_deg: float | None) -> float | None:
    """Return what steps of 1 mV make of a retardance."""
    return None if asked_deg is None else cell.retardance_deg(round(cell.amplitude_v(asked_deg), 3), TOLERANCE_V)


def _volts(amplitudes_v: tuple[float, ...]) -> str:
    return ", ".join(f"{one:.3f}" for one in amplitudes_v) + " V"


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
