"""``koheron-ctl``: a laser diode on a Koheron CTL, whose power is set by its current.

The echo before each answer tells which question it belongs to. A controller keeps what was saved in it, which may
include light a second after it is supplied: whoever connects switches it off first.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentFault
from qnoded.instruments.capability import Identity
from qnoded.instruments.transport import SerialPort, Talk
from qnoded_drivers.calibration import DiodeSettings
from qnoded_drivers.diode_laser import DiodeLaser, Look
from qnoded_drivers.koheron_ctl.codec import (
    DARK,
    INTERLOCK,
    OFF,
    AnswerDecoder,
    errors_of,
    number_of,
    ohm_of,
    temperature_of,
    value_of,
)

GREETING_S: Final = 0.1
RESISTANCE_STEP: Final = 1e-3
"""A resistance that was set may be read back rounded by this share."""
FLOWS_V: Final = 0.15
"""With less at the diode no current flows: one report has 0.01 V in the dark and 1.4 V at 200 mA."""


class KoheronCtlSettings(DiodeSettings):
    """A diode, what was measured of it, and its temperature."""

    thermistor_ohm: float = Field(default=10_000.0, gt=100.0, le=1e6)
    """Resistance of the diode's thermistor at 25 degrees Celsius."""
    beta_k: float = Field(ge=1000.0, le=10_000.0)
    """Its constant; on the diode's data sheet, 3400 to 3950 K for most."""
    temperature_c: float = Field(default=25.0, ge=0.0, le=60.0)
    window_c: float = Field(default=0.5, gt=0.0, le=5.0)
    """There is light only within so much of it."""
    protection_c: float = Field(default=5.0, gt=0.0, le=20.0)
    """The controller itself switches off beyond so much of it."""
    interlock: bool = True
    """Whether the interlock of the controller counts; false only where none is connected to it."""


class KoheronCtl(DiodeLaser[list[str]]):
    """One controller with its diode."""

    Settings: ClassVar[type[BaseModel]] = KoheronCtlSettings
    name = "Koheron CTL"
    port = SerialPort(115200)
    off = raw_order = OFF
    raw_confirmed = DARK
    tolerance_ma = 0.1
    settle_s = GREETING_S

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, AnswerDecoder)
        self._settings: KoheronCtlSettings = settings
        self._model = ""

    async def _introduced(self, talk: Talk[list[str]]) -> tuple[str, Identity]:
        self._model = await _ask(talk, "model")
        serial = await _ask(talk, "serial")
        return f"{self._model} {serial}", Identity("Koheron", self._model, serial, await _ask(talk, "version"))

    async def _set_up(self, talk: Talk[list[str]]) -> None:
        settings = self._settings
        if self._check_limit(await _number(talk, "ilmax")):
            await self._set(talk, "ilmax", settings.highest_ma, self.tolerance_ma, "mA")
        await self._set_switch(talk, "lckon", on=settings.interlock)
        # A thermistor has its least resistance where it is hottest.
        for command, off_c in (("rtmin", settings.protection_c), ("rtmax", -settings.protection_c), ("rtset", 0.0)):
            resistance_ohm = ohm_of(settings.temperature_c + off_c, settings.thermistor_ohm, settings.beta_k)
            await self._set(talk, command, resistance_ohm, RESISTANCE_STEP * resistance_ohm, "ohm")
        await self._set_switch(talk, "tecon", on=True)
        await self._check_settled(talk)
        # Only now: a diode that is still on its way would trip it.
        await self._set_switch(talk, "tprot", on=True)

    async def _check_ready(self, talk: Talk[list[str]]) -> None:
        for command in ("tecon", "tprot"):
            if await _number(talk, command) != 1.0:
                problem = f"{self._line}: {command} is off; connect again, which switches it on"
                raise InstrumentFault(problem)
        await self._check_settled(talk)
        if await self._errors(talk):
            # They stay until they are cleared; those that come back are present ones.
            await _ask(talk, "errclr")
            if errors := await self._errors(talk):
                problem = f"{self._line}: {', '.join(errors)}"
                raise InstrumentFault(problem)

    async def _check_settled(self, talk: Talk[list[str]]) -> None:
        self._check_temperature(
            "diode", await self._temperature_c(talk), self._settings.temperature_c, self._settings.window_c
        )

    async def _set_current(self, talk: Talk[list[str]], current_ma: float) -> None:
        await self._set(talk, "ilaser", current_ma, self.tolerance_ma, "mA")

    async def _switch_on(self, talk: Talk[list[str]], current_ma: float) -> None:
        del current_ma
        await _ask(talk, "lason 1")
        errors = await self._errors(talk)
        if not await self._is_on(talk):
            why = ", ".join(errors) or "and does not say why"
            problem = f"{self._line}: it was switched on and stays off: {why}"
            raise InstrumentFault(problem)

    async def _switch_off(self, talk: Talk[list[str]]) -> None:
        await _ask(talk, "lason 0")
        await _ask(talk, "err")

    async def _is_on(self, talk: Talk[list[str]]) -> bool:
        return await _number(talk, "lason") != 0.0

    async def _look(self, talk: Talk[list[str]]) -> Look:
        model, serial = await _ask(talk, "model"), await _ask(talk, "serial")
        emits = await self._is_on(talk)
        set_ma = await _number(talk, "ilaser")
        flows = await _number(talk, "vlaser") > FLOWS_V
        temperature_c = await self._temperature_c(talk)
        interlock_tripped = any(INTERLOCK in error for error in await self._errors(talk))
        return Look(
            f"{model} {serial}",
            emits,
            set_ma,
            set_ma if flows else None,
            temperature_c,
            False if interlock_tripped else None,
        )

    async def _temperature_c(self, talk: Talk[list[str]]) -> float:
        return temperature_of(await _number(talk, "rtact"), self._settings.thermistor_ohm, self._settings.beta_k)

    async def _errors(self, talk: Talk[list[str]]) -> list[str]:
        return errors_of(await _ask(talk, "err"), self._model)

    async def _set(self, talk: Talk[list[str]], command: str, value: float, tolerance: float, unit: str) -> None:
        """Set a quantity and read it back."""
        await _ask(talk, f"{command} {value:.3f}")
        accepted = await _number(talk, command)
        if abs(accepted - value) > tolerance:
            problem = f"{self._line}: {command} was set to {value:.3f} {unit}, it takes {accepted:.3f} {unit}"
            raise InstrumentFault(problem)

    async def _set_switch(self, talk: Talk[list[str]], command: str, *, on: bool) -> None:
        await _ask(talk, f"{command} {on:d}")
        if await _number(talk, command) != on:
            problem = f"{self._line}: {command} was set to {on:d} and is not; look at its errors"
            raise InstrumentFault(problem)


async def _ask(talk: Talk[list[str]], command: str) -> str:
    return await talk.ask(f"{command}\r\n".encode(), lambda answer: value_of(answer, command))


async def _number(talk: Talk[list[str]], command: str) -> float:
    return number_of(await _ask(talk, command), command)
