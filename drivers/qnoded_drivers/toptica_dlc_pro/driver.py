"""``toptica-dlc-pro``: a tunable diode laser, whose power is set by its current and a calibration of this very laser.

Parameters are asked in an order in which neighbours have answers of different types, so an answer to the question
before is noticed; and each state is read twice.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log10
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, Field, field_validator

from qnoded.errors import EmissionRefused, InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, LaserCapability
from qnoded.instruments.dead_man import DeadMan
from qnoded.instruments.limits import within
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.raw_safe import RawSafe
from qnoded.instruments.reading import LaserReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded.units import from_db
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

PORT: Final = SerialPort(115200)
ANSWER_S: Final = 0.6
"""For all questions of one turn; an answer takes some milliseconds."""
GREETING_S: Final = 0.1
LONGEST_PERMIT_S: Final = 5.0
CURRENT_TOLERANCE_MA: Final = 0.5
"""Between the current set, the current that flows, and two readings of it."""
TEMPERATURE_TOLERANCE_C: Final = 0.1
"""Between two readings."""
CURRENT: Final = "laser1:dl:cc:current-set"
EMISSION: Final = "laser1:dl:cc:emission"
OFF: Final = order(ENABLED, value=False)

T = TypeVar("T", bool, int, float, str)


class DlcProSettings(Addressed):
    """A laser and what was measured of it."""

    wavelength_nm: float = Field(ge=300.0, le=3000.0)
    calibration: tuple[tuple[float, float], ...] = Field(min_length=2)
    """Pairs of current, mA, and optical power at the fibre, dBm, both rising; between them power is linear in mW."""

    @field_validator("calibration")
    @classmethod
    def _rises(cls, pairs: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if not all(0.0 < one[0] < other[0] and one[1] < other[1] for one, other in pairwise(pairs)):
            problem = "currents (mA) and powers (dBm) must both rise from pair to pair"
            raise ValueError(problem)
        return pairs


@dataclass(frozen=True, slots=True)
class State:
    """What the laser says of itself at one moment."""

    serial: str
    emitting: bool
    current_ma: float
    interlock_open: bool
    temperature_c: float

    def agrees(self, other: State) -> bool:
        """Whether another look a moment later saw the same."""
        return (
            (self.serial, self.emitting, self.interlock_open) == (other.serial, other.emitting, other.interlock_open)
            and abs(self.current_ma - other.current_ma) <= CURRENT_TOLERANCE_MA
            and abs(self.temperature_c - other.temperature_c) <= TEMPERATURE_TOLERANCE_C
        )


class DlcPro:
    """Emits while its current is on. It has no watchdog: the driver's dead man's switch holds the permit."""

    Settings: ClassVar[type[BaseModel]] = DlcProSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._calibration: tuple[tuple[float, float], ...] = settings.calibration
        self.capability = LaserCapability(
            settings.wavelength_nm, self._calibration[0][1], self._calibration[-1][1], LONGEST_PERMIT_S
        )
        place = read_address(settings.address)
        self._line = Line("Toptica DLC pro", place, PORT, AnswerDecoder, self._find_step, parting=OFF)
        self._serial: str | None = None
        self._requested_dbm: float | None = None
        self._dead_man = DeadMan(self.make_safe)
        self._stops = 0
        """How often it was made dark: an order to emit from before that is void."""

    @classmethod
    def raw_safe(cls, settings: Any) -> tuple[RawSafe, ...]:
        """Return what makes it dark without this driver."""
        return (RawSafe(settings.address, PORT.baud, safe_order(), DARK),)

    async def connect(self) -> Identity:
        """Open the line and ask who is there."""
        self._serial = self._requested_dbm = None
        await self._line.open(GREETING_S)

        async def who() -> tuple[str, str, str]:
            return (
                await _ask(talk, "serial-number", str),
                await _ask(talk, "system-type", str),
                await _ask(talk, "fw-ver", str),
            )

        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            serial, model, firmware = await confirmed(who, tuple.__eq__, "its identity")
        self._serial = serial
        return Identity("Toptica", model, serial, firmware)

    async def configure(self) -> None:
        """Make it dark, and check that it can be given the current that the calibration ends with."""
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            await self._darken(talk)
            clip_ma = await _ask(talk, "laser1:dl:cc:current-clip", float)
        highest_ma = self._calibration[-1][0]
        if clip_ma < highest_ma:
            problem = f"{self._line}: its current is limited to {clip_ma:g} mA, calibrated are up to {highest_ma:g} mA"
            raise InstrumentFault(problem)

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        """Switch on, or change the power, under a permit."""
        permit.check(power_dbm, _loop_s())
        capability = self.capability
        within("power_dbm", power_dbm, capability.min_power_dbm, capability.max_power_dbm, "dBm")
        stops = self._stops
        try:
            async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
                await self._check_locks(talk)
                await self._set_current(talk, self._current_ma(power_dbm))
                permit.check(power_dbm, _loop_s())
                if self._stops != stops:
                    problem = "the laser was made dark after it had been told to emit; tell it again"
                    raise EmissionRefused(problem)
                self._dead_man.hold(permit, LONGEST_PERMIT_S)
                await _order(talk, ENABLED, value=True)
                self._requested_dbm = power_dbm
        except Exception:
            # Whether it emits now is not known. Of a cancelled call the dead man's switch takes care.
            await self.make_safe()
            raise

    async def _check_locks(self, talk: Talk[str]) -> None:
        """Raise if a person has to do something before there can be light."""
        for name, wanted, remedy in (
            ("interlock-open", False, "close the interlock"),
            ("frontkey-locked", False, "turn the key at its front"),
            ("laser1:dl:tc:enabled", True, "switch its temperature control on and wait until it has settled"),
        ):
            # Between equal types stands another one: see the head of this file.
            await self._find_step(talk)
            if await _ask(talk, name, bool) is not wanted:
                problem = f"{self._line}: {name} is {not wanted}; {remedy}"
                raise InstrumentFault(problem)

    async def _set_current(self, talk: Talk[str], current_ma: float) -> None:
        status = await _order(talk, CURRENT, current_ma)
        accepted_ma = await _ask(talk, CURRENT, float)
        if status or abs(accepted_ma - current_ma) > CURRENT_TOLERANCE_MA:
            problem = f"{self._line}: a current of {current_ma:.2f} mA was set, it takes {accepted_ma:.2f} mA"
            raise InstrumentFault(problem)

    async def renew(self, permit: EmissionPermit) -> None:
        """Go on emitting under a new permit."""
        power_dbm = self.capability.min_power_dbm if self._requested_dbm is None else self._requested_dbm
        permit.check(power_dbm, _loop_s())
        self._dead_man.renew(permit, LONGEST_PERMIT_S)

    async def read(self) -> LaserReading:
        """Return what the laser says of itself."""
        async with self._line.turn(Lane.POLL, ANSWER_S) as talk:
            state = await confirmed(partial(_state, talk), State.agrees, "its state")
        if state.serial != self._serial:
            problem = f"{self._line}: serial number {state.serial} instead of {self._serial}; connect again"
            raise InstrumentGarbled(problem)
        shown_dbm = self._power_dbm(state.current_ma) if state.emitting else None
        power = Setting(self._requested_dbm, None, shown_dbm, _loop_s())
        return LaserReading(state.emitting, power, state.temperature_c, not state.interlock_open)

    async def make_safe(self) -> None:
        """Make it dark: the order goes out whatever else is under way."""
        self._stops += 1
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S, OFF) as talk:
                await self._darken(talk)

    async def _darken(self, talk: Talk[str]) -> None:
        await _order(talk, ENABLED, value=False)
        if await _ask(talk, ENABLED, bool):
            problem = f"{self._line}: it was switched off and says that it is on; switch it off by its key"
            raise InstrumentFault(problem)
        await self._dead_man.release()

    async def close(self) -> None:
        """Make it dark and hang up."""
        await self.make_safe()
        await self._dead_man.release()
        self._line.close()

    async def _find_step(self, talk: Talk[str]) -> None:
        serial = await _ask(talk, "serial-number", str)
        if serial != self._serial:
            problem = f"serial number {serial} answers instead of {self._serial}"
            raise InstrumentGarbled(problem)

    def _current_ma(self, power_dbm: float) -> float:
        """Return the current for a power within the calibration."""
        for (low_ma, low_dbm), (high_ma, high_dbm) in pairwise(self._calibration):
            if power_dbm <= high_dbm:
                share = (from_db(power_dbm) - from_db(low_dbm)) / (from_db(high_dbm) - from_db(low_dbm))
                return low_ma + share * (high_ma - low_ma)
        return self._calibration[-1][0]

    def _power_dbm(self, current_ma: float) -> float | None:
        """Return the power at a current; None where nothing was measured."""
        for (low_ma, low_dbm), (high_ma, high_dbm) in pairwise(self._calibration):
            if low_ma - CURRENT_TOLERANCE_MA <= current_ma <= high_ma + CURRENT_TOLERANCE_MA:
                share = min(max((current_ma - low_ma) / (high_ma - low_ma), 0.0), 1.0)
                return 10.0 * log10(from_db(low_dbm) + share * (from_db(high_dbm) - from_db(low_dbm)))
        return None


async def _state(talk: Talk[str]) -> State:
    return State(
        await _ask(talk, "serial-number", str),
        await _ask(talk, EMISSION, bool),
        await _ask(talk, "laser1:dl:cc:current-act", float),
        await _ask(talk, "interlock-open", bool),
        await _ask(talk, "laser1:dl:tc:temp-act", float),
    )


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


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
