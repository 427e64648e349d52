"""``s15-spdc``: the pump of an entangled-pair source, with the temperatures of its crystal and of its diode.

Answers carry nothing of their question, and are numbers. So between two numbers the board's name is asked for, which
shows an answer that is one off; and each state is read twice. The diode's current climbs as slowly as the maker's own
program lets it, while the driver goes on answering; off it goes at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity
from qnoded.instruments.reading import LaserReading
from qnoded.instruments.transport import Lane, SerialPort, Talk
from qnoded_drivers.calibration import DiodeSettings
from qnoded_drivers.diode_laser import DiodeLaser, Look
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.s15_spdc.codec import (
    DARK,
    NUMBER,
    OFF,
    SAFE_ORDER,
    Rail,
    Status,
    number_of,
    parts_of,
    status_of,
)

STEP_MA: Final = 1.0
"""The maker's program changes the current by so much"""
STEP_S: Final = 0.05
"""at this pace."""
STEPPING_S: Final = 0.5
"""For the questions of one step."""
TEMPERATURE_STEP_C: Final = 0.01
"""A temperature that was set may be read back rounded."""


class S15SpdcSettings(DiodeSettings):
    """A source: its pump diode, what was measured of that, and two temperatures."""

    crystal_c: float = Field(ge=20.0, le=100.0)
    """It decides the wavelengths of the pairs."""
    crystal_window_c: float = Field(default=0.2, gt=0.0, le=5.0)
    """There is light only within so much of it."""
    diode_c: float = Field(ge=20.0, le=50.0)
    diode_window_c: float = Field(default=0.5, gt=0.0, le=5.0)


class S15Spdc(DiodeLaser[str]):
    """One board; its power is that of the pump, its temperature that of the crystal."""

    Settings: ClassVar[type[BaseModel]] = S15SpdcSettings
    name = "S-Fifteen SPDC board"
    port = SerialPort(115200)
    off, raw_order, raw_confirmed = OFF, SAFE_ORDER, DARK
    tolerance_ma = 0.15
    tolerance_c = 0.1

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, LineDecoder)
        self._settings: S15SpdcSettings = settings
        self._target_ma = 0.0
        self._climbing: asyncio.Task[None] | None = None
        self._trouble: InstrumentError | None = None
        """What ended the climb; told with the next reading."""

    async def _introduced(self, talk: Talk[str]) -> tuple[str, Identity]:
        name = await self._ask_name(talk)
        model, serial, firmware = parts_of(name)
        await self._status(talk)
        return name, Identity("S-Fifteen", model, serial, firmware)

    async def _set_up(self, talk: Talk[str]) -> None:
        settings = self._settings
        self._trouble = None
        if self._check_limit(await self._number(talk, "LLIMIT?")):
            await self._set_ma(talk, "LLIMIT", settings.highest_ma)
        await self._set_c(talk, "HSETTEMP", settings.crystal_c)
        await self._set_c(talk, "PSETTEMP", settings.diode_c)
        await self._set(talk, "HLOOP", 1)
        await self._set(talk, "PLOOP", 1)
        await self._set(talk, "POWER", Rail.TEMPERATURES)
        await self._check_settled(talk)

    async def _check_ready(self, talk: Talk[str]) -> None:
        needed = Status.HEATER | Status.COOLER | Status.TEMPERATURE_RAIL
        if await self._status(talk) & needed != needed:
            problem = f"{self._line}: its temperature controls are off; connect again, which switches them on"
            raise InstrumentFault(problem)
        await self._check_settled(talk)

    async def _check_settled(self, talk: Talk[str]) -> None:
        settings = self._settings
        for what, question, wanted_c, window_c in (
            ("crystal", "HTEMP?", settings.crystal_c, settings.crystal_window_c),
            ("diode", "PTEMP?", settings.diode_c, settings.diode_window_c),
        ):
            self._check_temperature(what, await self._number(talk, question), wanted_c, window_c)

    async def _set_current(self, talk: Talk[str], current_ma: float) -> None:
        """Look whether it can be had; it is set step by step, once the output is on."""
        limit_ma = await self._number(talk, "LLIMIT?")
        if current_ma > limit_ma + self.tolerance_ma:
            problem = f"{self._line}: its current is limited to {limit_ma:g} mA, {current_ma:.2f} mA are wanted"
            raise InstrumentFault(problem)

    async def _switch_on(self, talk: Talk[str], current_ma: float) -> None:
        self._target_ma = current_ma
        lit = Status.ON | Status.LASER_RAIL
        if await self._status(talk) & lit != lit:
            await self._set_ma(talk, "LCURRENT", 0.0)
            await self._set(talk, "POWER", Rail.TEMPERATURES | Rail.LASER)
            talk.send(b"ON;")
            if await self._status(talk) & lit != lit:
                problem = f"{self._line}: it was switched on and says that it is off; look at its supply"
                raise InstrumentFault(problem)
        if self._climbing is None or self._climbing.done():
            self._climbing = asyncio.create_task(self._climb(self._stops), name="current of the pump")

    async def _climb(self, stops: int) -> None:
        """Bring the current to its target as long as there is a permit, and nobody wants it dark."""
        try:
            while True:
                async with self._line.turn(Lane.COMMAND, STEPPING_S) as talk:
                    if self._stops != stops or not self._dead_man.holds:
                        return
                    current_ma = await self._number(talk, "LCURRENT?")
                    missing_ma = self._target_ma - current_ma
                    if abs(missing_ma) <= self.tolerance_ma:
                        return
                    next_ma = current_ma + max(-STEP_MA, min(missing_ma, STEP_MA))
                    await self._set_ma(talk, "LCURRENT", next_ma)
                await asyncio.sleep(STEP_S)
        except InstrumentError as error:
            self._trouble = error
            await self.make_safe()

    async def _switch_off(self, talk: Talk[str]) -> None:
        talk.send(OFF)
        status = await self._status(talk)
        if status & Status.LASER_RAIL:
            talk.send(b"POWER %d;" % (Rail.TEMPERATURES if status & Status.TEMPERATURE_RAIL else 0))

    async def _is_on(self, talk: Talk[str]) -> bool:
        return bool(await self._status(talk) & (Status.ON | Status.LASER_RAIL))

    async def _look(self, talk: Talk[str]) -> Look:
        name = await self._ask_name(talk)
        emits = bool(status_of(await _ask(talk, "STATUS?")) & Status.ON)
        current_ma = await self._number(talk, "LCURRENT?")
        crystal_c = await self._number(talk, "HTEMP?")
        climbs = self._climbing is not None and not self._climbing.done()
        set_ma = self._target_ma if climbs else current_ma
        return Look(name, emits, set_ma, None if climbs else current_ma, crystal_c, None)

    async def read(self) -> LaserReading:
        """Return what the board says of itself; none is left on without a permit."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return await super().read()

    async def close(self) -> None:
        """Switch off and hang up; the temperatures are kept, so that there is no wait when it comes back."""
        await super().close()
        if self._climbing is not None:
            self._climbing.cancel()
            await asyncio.wait({self._climbing})

    async def _status(self, talk: Talk[str]) -> Status:
        await self._ask_name(talk)
        return status_of(await _ask(talk, "STATUS?"))

    async def _number(self, talk: Talk[str], question: str) -> float:
        await self._ask_name(talk)
        return number_of(await _ask(talk, question), question)

    async def _set_ma(self, talk: Talk[str], what: str, current_ma: float) -> None:
        await self._set(talk, what, current_ma, self.tolerance_ma, " mA")

    async def _set_c(self, talk: Talk[str], what: str, temperature_c: float) -> None:
        await self._set(talk, what, temperature_c, TEMPERATURE_STEP_C, " C")

    async def _set(self, talk: Talk[str], what: str, value: float, tolerance: float = 0.0, unit: str = "") -> None:
        """Set a quantity or switches, and read them back."""
        talk.send(f"{what} {value:g};".encode())
        accepted = await self._number(talk, f"{what}?")
        if abs(accepted - value) > tolerance:
            problem = f"{self._line}: {what} was set to {value:g}{unit}, it takes {accepted:g}{unit}"
            raise InstrumentFault(problem)

    async def _ask_name(self, talk: Talk[str]) -> str:
        """Return the board's name; a line of text that comes before it is a complaint about a command."""
        complaints: list[str] = []

        def wanted(line: str) -> str | None:
            if NUMBER.fullmatch(line):
                problem = f"*IDN? was answered with {line!r}, which is no name"
                raise InstrumentGarbled(problem)
            if "SPDC" in line:
                return line
            complaints.append(line)
            return None

        name = await talk.ask(b"*IDN?;", wanted)
        if complaints:
            problem = f"{self._line}: it says {complaints[0]!r}"
            raise InstrumentFault(problem)
        return name


async def _ask(talk: Talk[str], question: str) -> str:
    return await talk.ask(f"{question};".encode(), lambda line: line)
