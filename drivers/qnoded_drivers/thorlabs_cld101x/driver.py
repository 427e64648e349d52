"""``thorlabs-cld101x``: a laser diode on a CLD101x or ITC4000, whose power is set by its current.

Neighbouring questions have answers of different shapes (a name, a switch, a number, an entry of the error queue), so
an answer to the question before is noticed; and each state is read twice.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentFault
from qnoded.instruments.capability import Identity
from qnoded.instruments.transport import SerialPort, Talk
from qnoded_drivers.calibration import DiodeSettings
from qnoded_drivers.diode_laser import DiodeLaser, Look
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.thorlabs_cld101x.codec import DARK, OFF, SAFE_ORDER, error_of, number_of, parts_of, switch_of

MA_PER_A: Final = 1e3
MOST_ERRORS: Final = 20
"""Entries of its queue that are taken out before it is believed to be endless."""
TEMPERATURE_STEP_C: Final = 0.02
"""A temperature that was set may be read back rounded."""
LOCKS: Final = (
    ("OUTP:PROT:INTL:TRIP?", "its interlock is open; close it"),
    ("OUTP:PROT:KEYL:TRIP?", "its key is turned off; turn it on"),
    ("OUTP:PROT:OTEM:TRIP?", "it is too hot; look at its cooling"),
)
"""What keeps it dark until a person comes."""


class Cld101xSettings(DiodeSettings):
    """A diode, what was measured of it, and its temperature."""

    temperature_c: float = Field(default=25.0, ge=-20.0, le=80.0)
    window_c: float = Field(default=0.5, gt=0.0, le=10.0)
    """There is light only within so much of it."""


class Cld101x(DiodeLaser[str]):
    """One controller with its diode."""

    Settings: ClassVar[type[BaseModel]] = Cld101xSettings
    name = "Thorlabs CLD101x"
    port = SerialPort(115200)
    off, raw_order, raw_confirmed = OFF, SAFE_ORDER, DARK
    tolerance_ma = 0.5

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, LineDecoder)
        self._settings: Cld101xSettings = settings

    async def _introduced(self, talk: Talk[str]) -> tuple[str, Identity]:
        name = await _ask(talk, "*IDN?")
        identity = Identity(*parts_of(name))
        await _next_error(talk)
        return name, identity

    async def _set_up(self, talk: Talk[str]) -> None:
        # What somebody did at its front before is not the fault of what comes now.
        talk.send(b"*CLS\n")
        await self._check(talk, "*CLS")
        limit_ma = MA_PER_A * await _number(talk, "SOUR:CURR:LIM:AMPL?")
        if self._check_limit(limit_ma):
            await self._set_a(talk, "SOUR:CURR:LIM:AMPL", self._settings.highest_ma)
        await self._order(talk, "SOUR:FUNC:MODE CURR")
        await self._order(talk, "SOUR:AM:STAT 0")
        await self._set(talk, "SOUR2:TEMP", self._settings.temperature_c, TEMPERATURE_STEP_C, "C")
        await self._order(talk, "OUTP2:STAT 1")
        await self._check_settled(talk)

    async def _check_ready(self, talk: Talk[str]) -> None:
        for question, reason in LOCKS:
            if await _switch(talk, question):
                problem = f"{self._line}: {reason}"
                raise InstrumentFault(problem)
            await _next_error(talk)
        await self._check_settled(talk)

    async def _check_settled(self, talk: Talk[str]) -> None:
        if not await _switch(talk, "OUTP2:STAT?"):
            problem = f"{self._line}: its temperature control is off; connect again, which switches it on"
            raise InstrumentFault(problem)
        found_c = await _number(talk, "MEAS:TEMP?")
        self._check_temperature("diode", found_c, self._settings.temperature_c, self._settings.window_c)

    async def _set_current(self, talk: Talk[str], current_ma: float) -> None:
        await self._set_a(talk, "SOUR:CURR", current_ma)

    async def _switch_on(self, talk: Talk[str], current_ma: float) -> None:
        del current_ma
        await self._order(talk, "OUTP1:STAT 1")
        if not await self._is_on(talk):
            problem = f"{self._line}: it was switched on and says that it is off; look at its display"
            raise InstrumentFault(problem)

    async def _switch_off(self, talk: Talk[str]) -> None:
        talk.send(OFF)
        await _next_error(talk)

    async def _is_on(self, talk: Talk[str]) -> bool:
        return await _switch(talk, "OUTP1:STAT?")

    async def _look(self, talk: Talk[str]) -> Look:
        name = await _ask(talk, "*IDN?")
        emits = await _switch(talk, "OUTP1:STAT?")
        set_ma = MA_PER_A * await _number(talk, "SOUR:CURR?")
        interlock_open = await _switch(talk, "OUTP:PROT:INTL:TRIP?")
        flowing_ma = MA_PER_A * await _number(talk, "MEAS:CURR?")
        await _next_error(talk)
        temperature_c = await _number(talk, "MEAS:TEMP?")
        return Look(name, emits, set_ma, flowing_ma, temperature_c, not interlock_open)

    async def _set_a(self, talk: Talk[str], what: str, current_ma: float) -> None:
        await self._set(talk, what, current_ma / MA_PER_A, self.tolerance_ma / MA_PER_A, "A")

    async def _set(self, talk: Talk[str], what: str, value: float, tolerance: float, unit: str) -> None:
        """Set a quantity and read it back."""
        await self._order(talk, f"{what} {value:.6f}")
        accepted = await _number(talk, f"{what}?")
        if abs(accepted - value) > tolerance:
            problem = f"{self._line}: {what} was set to {value:.6g} {unit}, it takes {accepted:.6g} {unit}"
            raise InstrumentFault(problem)

    async def _order(self, talk: Talk[str], order: str) -> None:
        talk.send(f"{order}\n".encode())
        await self._check(talk, order)

    async def _check(self, talk: Talk[str], what: str) -> None:
        """Empty the error queue, and raise the first of what it held."""
        first = error = await _next_error(talk)
        for _ in range(MOST_ERRORS):
            if error is None:
                break
            # The same question is never asked twice in a row.
            await _ask(talk, "*IDN?")
            error = await _next_error(talk)
        if first is not None:
            problem = f"{self._line}: {what}: {first}"
            raise InstrumentFault(problem)


async def _ask(talk: Talk[str], question: str) -> str:
    return await talk.ask(f"{question}\n".encode(), lambda line: line)


async def _number(talk: Talk[str], question: str) -> float:
    return number_of(await _ask(talk, question), question)


async def _switch(talk: Talk[str], question: str) -> bool:
    return switch_of(await _ask(talk, question), question)


async def _next_error(talk: Talk[str]) -> str | None:
    return error_of(await _ask(talk, "SYST:ERR?"))
