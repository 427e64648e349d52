"""``toptica-dlc-pro``: a tunable diode laser, whose power is set by its current and a calibration of this very laser.

Parameters are asked in an order in which neighbours have answers of different types, so an answer to the question
before is noticed; and each state is read twice.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel

from qnoded.errors import InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity
from qnoded.instruments.transport import SerialPort, Talk
from qnoded_drivers.calibration import DiodeSettings
from qnoded_drivers.diode_laser import DiodeLaser, Look
from qnoded_drivers.toptica_dlc_pro.codec import (
    BANNER,
    DARK,
    ENABLED,
    AnswerDecoder,
    Value,
    order,
    question,
    safe_order,
    value_of,
)

GREETING_S: Final = 0.1
CURRENT: Final = "laser1:dl:cc:current-set"
EMISSION: Final = "laser1:dl:cc:emission"

T = TypeVar("T", bool, int, float, str)


class DlcProSettings(DiodeSettings):
    """A laser and what was measured of it."""


class DlcPro(DiodeLaser[str]):
    """One laser head. Its limit of the current and its temperature are its owner's: they are looked at and not set."""

    Settings: ClassVar[type[BaseModel]] = DlcProSettings
    name = "Toptica DLC pro"
    port = SerialPort(115200)
    off = order(ENABLED, value=False)
    raw_order = safe_order()
    raw_confirmed = DARK
    tolerance_ma = 0.5
    tolerance_c = 0.1
    settle_s = GREETING_S

    def __init__(self, settings: Any) -> None:
        super().__init__(settings, AnswerDecoder)

    async def _introduced(self, talk: Talk[str]) -> tuple[str, Identity]:
        serial = await _ask(talk, "serial-number", str)
        model = await _ask(talk, "system-type", str)
        return f"{model} {serial}", Identity("Toptica", model, serial, await _ask(talk, "fw-ver", str))

    async def _set_up(self, talk: Talk[str]) -> None:
        self._check_limit(await _ask(talk, "laser1:dl:cc:current-clip", float))

    async def _check_ready(self, talk: Talk[str]) -> None:
        for name, wanted, remedy in (
            ("interlock-open", False, "close the interlock"),
            ("frontkey-locked", False, "turn the key at its front"),
            ("laser1:dl:tc:enabled", True, "switch its temperature control on and wait until it has settled"),
        ):
            # Between equal types stands another one: see the head of this file.
            await _ask(talk, "serial-number", str)
            if await _ask(talk, name, bool) is not wanted:
                problem = f"{self._line}: {name} is {not wanted}; {remedy}"
                raise InstrumentFault(problem)

    async def _set_current(self, talk: Talk[str], current_ma: float) -> None:
        status = await _order(talk, CURRENT, current_ma)
        accepted_ma = await _ask(talk, CURRENT, float)
        if status or abs(accepted_ma - current_ma) > self.tolerance_ma:
            problem = f"{self._line}: a current of {current_ma:.2f} mA was set, it takes {accepted_ma:.2f} mA"
            raise InstrumentFault(problem)

    async def _switch_on(self, talk: Talk[str], current_ma: float) -> None:
        del current_ma
        await _order(talk, ENABLED, value=True)

    async def _switch_off(self, talk: Talk[str]) -> None:
        await _order(talk, ENABLED, value=False)

    async def _is_on(self, talk: Talk[str]) -> bool:
        return await _ask(talk, ENABLED, bool)

    async def _look(self, talk: Talk[str]) -> Look:
        serial = await _ask(talk, "serial-number", str)
        emits = await _ask(talk, EMISSION, bool)
        set_ma = await _ask(talk, CURRENT, float)
        interlock_open = await _ask(talk, "interlock-open", bool)
        flowing_ma = await _ask(talk, "laser1:dl:cc:current-act", float)
        model = await _ask(talk, "system-type", str)
        temperature_c = await _ask(talk, "laser1:dl:tc:temp-act", float)
        return Look(f"{model} {serial}", emits, set_ma, flowing_ma, temperature_c, not interlock_open)


async def _ask(talk: Talk[str], name: str, kind: type[T]) -> T:
    """Return a parameter, which must be of this type."""
    return await _answered(talk, question(name), kind)


async def _order(talk: Talk[str], name: str, value: Value) -> int:
    """Set a parameter; return the status, 0 unless the value was changed."""
    return await _answered(talk, order(name, value), int)


async def _answered(talk: Talk[str], asked: bytes, kind: type[T]) -> T:
    def wanted(answer: str) -> Value | None:
        return None if BANNER in answer else value_of(answer, asked)

    value = await talk.ask(asked, wanted)
    # A number without decimals may be written like an integer; no other types stand for each other.
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        problem = f"the laser answered {asked.decode().strip()} with {value!r}, expected is a {kind.__name__}"
        raise InstrumentGarbled(problem)
    return value
