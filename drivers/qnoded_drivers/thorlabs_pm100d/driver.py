"""``thorlabs-pm100d``: an optical power meter.

One reading is three questions whose answers cannot be taken for each other: the wavelength that was set, the power,
and the error queue.
"""

from __future__ import annotations

from math import log10
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, PowerMeterCapability
from qnoded.instruments.reading import PowerReading
from qnoded.instruments.transport import Addressed, Lane, Line, SerialPort, Talk, read_address
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.thorlabs_pm100d.codec import OVER_RANGE_W, error_of, number_of

PORT: Final = SerialPort(115200)
ANSWER_S: Final = 1.5
"""For all questions of one turn; the slowest is an average."""
MOST_AVERAGES: Final = 1000
"""Of 0.3 ms each."""
MW_PER_W: Final = 1e3
DARK_W: Final = 1e-15
"""Noise may read as no power or less: shown as this much, -120 dBm."""
WAVELENGTH_TOLERANCE_NM: Final = 0.5
OVERRANGE: Final = 1.5
"""A meter shows somewhat more than its highest range; a wavelength in nm is far more."""
WAVELENGTH: Final = "SENS:CORR:WAV"


class Pm100dSettings(Addressed):
    """A meter and what it measures."""

    wavelength_nm: float = Field(ge=100.0, le=20_000.0)
    """Of the light, for the sensor's calibration."""
    averages: int = Field(default=300, ge=1, le=MOST_AVERAGES)
    min_dbm: float = -60.0
    """Lowest power that the sensor tells from none; on its data sheet."""


class Pm100d:
    """Only reads."""

    Settings: ClassVar[type[BaseModel]] = Pm100dSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._line = Line("Thorlabs PM100D", read_address(settings.address), PORT, LineDecoder, self._find_step)
        self._name: str | None = None
        self._highest_w = 0.0
        self._wavelength_nm: float | None = None
        """What was set; None before that."""
        self.capability = PowerMeterCapability(settings.min_dbm, settings.min_dbm, (0.0, 0.0))

    async def connect(self) -> Identity:
        """Open the line, and ask which meter and sensor are there."""
        self._name = self._wavelength_nm = None
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            name = await _ask(talk, "*IDN?")
            maker, model, serial, firmware = _parts(name)
            shortest_nm = await _number(talk, f"{WAVELENGTH}? MIN")
            await self._check(talk, "its range")
            longest_nm = await _number(talk, f"{WAVELENGTH}? MAX")
            await self._check(talk, "its range")
            self._highest_w = await _number(talk, "SENS:POW:RANG? MAX")
            if await _ask(talk, "*IDN?") != name or not 0.0 < self._highest_w < shortest_nm < longest_nm:
                problem = f"{self._line}: a meter from {shortest_nm} to {longest_nm} nm, up to {self._highest_w} W?"
                raise InstrumentGarbled(problem)
        self._name = name
        highest_dbm = 10.0 * log10(self._highest_w * MW_PER_W)
        self.capability = PowerMeterCapability(self._settings.min_dbm, highest_dbm, (shortest_nm, longest_nm))
        return Identity(maker, model, serial, firmware)

    async def configure(self) -> None:
        """Set wavelength, unit, range and averages."""
        wavelength_nm = self._settings.wavelength_nm
        shortest_nm, longest_nm = self.capability.wavelength_nm
        if not shortest_nm <= wavelength_nm <= longest_nm:
            problem = f"{self._line}: its sensor knows {shortest_nm:g} to {longest_nm:g} nm, not {wavelength_nm:g} nm"
            raise InstrumentFault(problem)
        orders = (
            f"{WAVELENGTH} {wavelength_nm:g}",
            "SENS:POW:UNIT W",
            "SENS:POW:RANG:AUTO 1",
            f"SENS:AVER:COUN {self._settings.averages}",
        )
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            for order in orders:
                talk.send(f"{order}\n".encode())
                await self._check(talk, order)
                await self._find_step(talk)
            self._wavelength_nm = wavelength_nm
            await self._wavelength(talk)

    async def read(self) -> PowerReading:
        """Return the power."""
        async with self._line.turn(Lane.POLL, ANSWER_S) as talk:
            wavelength_nm = await self._wavelength(talk)
            power_w = await _number(talk, "MEAS:POW?")
            await self._check(talk, "measuring")
            if power_w > OVER_RANGE_W:
                problem = f"{self._line}: more light than it can measure ({self._highest_w:g} W)"
                raise InstrumentFault(problem)
            if power_w > OVERRANGE * self._highest_w:
                problem = f"{self._line}: {power_w} W cannot be, its highest range is {self._highest_w:g} W"
                raise InstrumentGarbled(problem)
        return PowerReading(10.0 * log10(max(power_w, DARK_W) * MW_PER_W), wavelength_nm)

    async def _wavelength(self, talk: Talk[str]) -> float:
        found_nm = await _number(talk, f"{WAVELENGTH}?")
        wanted_nm = found_nm if self._wavelength_nm is None else self._wavelength_nm
        shortest_nm, longest_nm = self.capability.wavelength_nm
        if not shortest_nm <= found_nm <= longest_nm or abs(found_nm - wanted_nm) > WAVELENGTH_TOLERANCE_NM:
            problem = f"{self._line}: its wavelength is {found_nm:g} nm instead of {wanted_nm:g} nm; connect again"
            raise InstrumentGarbled(problem)
        return found_nm

    async def _check(self, talk: Talk[str], what: str) -> None:
        """Raise what the error queue holds."""
        error = error_of(await _ask(talk, "SYST:ERR?"))
        if error is not None:
            problem = f"{self._line}: {what}: {error}"
            raise InstrumentFault(problem)

    async def make_safe(self) -> None:
        """Do nothing: it only measures."""

    async def close(self) -> None:
        """Hang up."""
        await self._line.end()

    async def _find_step(self, talk: Talk[str]) -> None:
        name = await _ask(talk, "*IDN?")
        if self._name not in (None, name):
            problem = f"{name!r} was answered to *IDN? instead of {self._name!r}"
            raise InstrumentGarbled(problem)


def _parts(name: str) -> tuple[str, str, str, str]:
    """Return maker, model, serial number and firmware."""
    parts = [part.strip() for part in name.split(",")]
    if len(parts) != len(("maker", "model", "serial", "firmware")) or not all(parts[:3]):
        problem = f"*IDN? was answered with {name!r}; is this a Thorlabs power meter?"
        raise InstrumentGarbled(problem)
    return parts[0], parts[1], parts[2], parts[3]


async def _ask(talk: Talk[str], question: str) -> str:
    return await talk.ask(f"{question}\n".encode(), lambda line: line)


async def _number(talk: Talk[str], question: str) -> float:
    return number_of(await _ask(talk, question), question)
