"""Laser diodes on a current source: how the power follows the current, and the order of things around light.

A driver of such an instrument says how it is spoken to; what has to come before light, and what ends it, is the same
for all of them and stands here once. A person's limit at the instrument is never raised, a temperature has settled
before there is light, and light that nobody holds a permit for is switched off by whoever sees it first.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel

from qnoded.errors import EmissionRefused, InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, LaserCapability
from qnoded.instruments.dead_man import DeadMan
from qnoded.instruments.limits import within
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.raw_safe import RawSafe
from qnoded.instruments.reading import LaserReading, Setting
from qnoded.instruments.transport import STOP_S, Decoder, Lane, Line, SerialPort, Talk, read_address
from qnoded_drivers.calibration import DiodeSettings

M = TypeVar("M")

COMMAND_S: Final = 0.8
"""For all questions of one command: the node gives up a laser that takes longer than 1 s to be switched on."""
SET_UP_S: Final = 1.4
"""For all questions of the settings; with finding back into step and ``make_safe`` it stays within the limit."""
LOOK_S: Final = 1.0
LONGEST_PERMIT_S: Final = 5.0
RETRY_S: Final = 0.03
"""Between two looks at an output that was switched off and has not fallen yet."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the instrument says of itself at one moment."""

    who: str
    """What it is known by."""
    emits: bool
    """Whether its output is on, if only on its way up or down."""
    set_ma: float
    flowing_ma: float | None
    """None while it is on its way, and where the instrument does not measure it."""
    temperature_c: float
    interlock_closed: bool | None

    def agrees(self, other: Look, tolerance_ma: float, tolerance_c: float) -> bool:
        """Whether another look a moment later saw the same; what flows may have changed meanwhile."""
        return (
            (self.who, self.emits, self.interlock_closed) == (other.who, other.emits, other.interlock_closed)
            and abs(self.set_ma - other.set_ma) <= tolerance_ma
            and abs(self.temperature_c - other.temperature_c) <= tolerance_c
        )


class DiodeLaser(ABC, Generic[M]):
    """Emits while a current flows. None of these instruments has a watchdog: the dead man's switch holds the permit."""

    Settings: ClassVar[type[BaseModel]]
    simulated: ClassVar[bool] = False
    name: ClassVar[str]
    """Of the instrument, for messages."""
    port: ClassVar[SerialPort]
    off: ClassVar[bytes]
    """Switches off from any state, also after half a command, and asks nothing."""
    raw_order: ClassVar[bytes]
    """The same, and asks whether it is dark."""
    raw_confirmed: ClassVar[bytes]
    """Regular expression that is found in the answer to ``raw_order`` only if it is dark."""
    tolerance_ma: ClassVar[float]
    """Between a current that was set and one that is read."""
    settle_s: ClassVar[float] = 0.0
    """What it says so soon after the line was opened is a greeting."""
    tolerance_c: ClassVar[float] = 0.5
    """Between two readings of one temperature."""

    def __init__(self, settings: DiodeSettings, decoder: Callable[[], Decoder[M]]) -> None:
        self._diode = settings
        first, last = settings.calibration[0], settings.calibration[-1]
        self.capability = LaserCapability(settings.wavelength_nm, first[1], last[1], LONGEST_PERMIT_S)
        place = read_address(settings.address)
        self._line = Line(self.name, place, self.port, decoder, self._find_step, parting=self.off)
        self._who: str | None = None
        self._requested_dbm: float | None = None
        self._dead_man = DeadMan(self.make_safe)
        self._stops = 0
        """How often it was made dark: an order to emit from before that is void."""

    @classmethod
    def raw_safe(cls, settings: Any) -> tuple[RawSafe, ...]:
        """Return what makes it dark without this driver."""
        return (RawSafe(settings.address, cls.port.baud, cls.raw_order, cls.raw_confirmed),)

    @abstractmethod
    async def _introduced(self, talk: Talk[M]) -> tuple[str, Identity]:
        """Return what it is known by from now on, and its identity."""

    @abstractmethod
    async def _set_up(self, talk: Talk[M]) -> None:
        """Set limits, then temperatures, of a dark laser; raise ``InstrumentFault`` while they settle."""

    @abstractmethod
    async def _check_ready(self, talk: Talk[M]) -> None:
        """Raise ``InstrumentFault`` if a person or more time is needed before there can be light."""

    @abstractmethod
    async def _set_current(self, talk: Talk[M], current_ma: float) -> None:
        """Set a current and read it back."""

    @abstractmethod
    async def _switch_on(self, talk: Talk[M], current_ma: float) -> None:
        """Switch the output on, once, for a current that has been set; it may be on."""

    @abstractmethod
    async def _switch_off(self, talk: Talk[M]) -> None:
        """Order it off once, whatever state it is in."""

    @abstractmethod
    async def _is_on(self, talk: Talk[M]) -> bool:
        """Return whether the output is on; asked again and again, each time between two other questions."""

    @abstractmethod
    async def _look(self, talk: Talk[M]) -> Look:
        """Return what it says of itself."""

    async def connect(self) -> Identity:
        """Open the line and ask who is there."""
        self._who = self._requested_dbm = None
        await self._line.open(self.settle_s)
        async with self._line.turn(Lane.COMMAND, SET_UP_S) as talk:
            who, identity = await self._introduced(talk)
            again, _ = await self._introduced(talk)
            if again != who:
                problem = f"{self._line}: it said that it is {who}, then {again}: one of them arrived damaged"
                raise InstrumentGarbled(problem)
        self._who = who
        return identity

    async def configure(self) -> None:
        """Make it dark and write the settings."""
        async with self._line.turn(Lane.COMMAND, SET_UP_S) as talk:
            await self._darken(talk)
            await self._set_up(talk)

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        """Switch on, or change the power, under a permit."""
        permit.check(power_dbm, _loop_s())
        within("power_dbm", power_dbm, self.capability.min_power_dbm, self.capability.max_power_dbm, "dBm")
        stops = self._stops
        try:
            async with self._line.turn(Lane.COMMAND, COMMAND_S) as talk:
                await self._check_ready(talk)
                current_ma = self._diode.current_ma(power_dbm)
                await self._set_current(talk, current_ma)
                # Talking has taken time: what was allowed when it began may be so no longer.
                permit.check(power_dbm, _loop_s())
                if self._stops != stops:
                    problem = f"{self._line}: it was made dark after it had been told to emit; tell it again"
                    raise EmissionRefused(problem)
                self._dead_man.hold(permit, LONGEST_PERMIT_S)
                await self._switch_on(talk, current_ma)
                self._requested_dbm = power_dbm
        except Exception:
            # Whether it emits now is not known. Of a cancelled call the dead man's switch takes care.
            await self.make_safe()
            raise

    async def renew(self, permit: EmissionPermit) -> None:
        """Go on emitting under a new permit."""
        power_dbm = self.capability.min_power_dbm if self._requested_dbm is None else self._requested_dbm
        permit.check(power_dbm, _loop_s())
        self._dead_man.renew(permit, LONGEST_PERMIT_S)

    async def read(self) -> LaserReading:
        """Return what the laser says of itself; none is left on without a permit."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            look = await self._looked(talk)
            if look.emits and not self._dead_man.holds:
                await self._darken(talk)
                look = await self._looked(talk)
        accepted_dbm, shown_dbm = (self._power_dbm(one) for one in (look.set_ma, look.flowing_ma))
        power = Setting(self._requested_dbm, accepted_dbm, shown_dbm if look.emits else None, _loop_s())
        return LaserReading(look.emits, power, look.temperature_c, look.interlock_closed)

    async def make_safe(self) -> None:
        """Make it dark: the order goes out whatever else is under way."""
        self._stops += 1
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S, self.off) as talk:
                await self._darken(talk)

    async def close(self) -> None:
        """Make it dark and hang up; its temperatures are kept, so that there is no wait when it comes back."""
        await self.make_safe()
        await self._dead_man.release()
        await self._line.end()

    async def _darken(self, talk: Talk[M]) -> None:
        """Switch off and wait until that is read back; the turn's limit ends it."""
        while True:
            # A complaint, if only about half a command before, does not mean that it is dark.
            with suppress(InstrumentFault):
                await self._switch_off(talk)
                if not await self._is_on(talk):
                    break
            await asyncio.sleep(RETRY_S)
        await self._dead_man.release()

    async def _looked(self, talk: Talk[M]) -> Look:
        """Look twice: the links have no checksum."""
        first, second = await self._look(talk), await self._look(talk)
        if not first.agrees(second, self.tolerance_ma, self.tolerance_c):
            problem = f"{self._line}: its state was read as {first}, then as {second}: one of them arrived damaged"
            raise InstrumentGarbled(problem)
        if second.who != self._who:
            problem = f"{self._line}: {second.who} answers instead of {self._who}; connect again"
            raise InstrumentGarbled(problem)
        return second if self._near(first.flowing_ma, second.flowing_ma) else replace(second, flowing_ma=None)

    def _near(self, one_ma: float | None, other_ma: float | None) -> bool:
        return one_ma is not None and other_ma is not None and abs(one_ma - other_ma) <= self.tolerance_ma

    def _power_dbm(self, current_ma: float | None) -> float | None:
        return None if current_ma is None else self._diode.power_dbm(current_ma, self.tolerance_ma)

    async def _find_step(self, talk: Talk[M]) -> None:
        who, _ = await self._introduced(talk)
        if self._who not in (None, who):
            problem = f"{who} answers instead of {self._who}"
            raise InstrumentGarbled(problem)

    def _check_limit(self, limit_ma: float) -> bool:
        """Return whether a limit has to be lowered to the calibration's end; raise if it would have to be raised."""
        highest_ma = self._diode.highest_ma
        if limit_ma < highest_ma - self.tolerance_ma:
            problem = (
                f"{self._line}: its current is limited to {limit_ma:g} mA, calibrated are up to {highest_ma:g} mA; "
                "shorten the calibration, or raise the limit at the instrument if its diode allows that"
            )
            raise InstrumentFault(problem)
        return limit_ma > highest_ma + self.tolerance_ma

    def _check_temperature(self, what: str, found_c: float, wanted_c: float, window_c: float) -> None:
        if not abs(found_c - wanted_c) <= window_c:
            problem = (
                f"{self._line}: its {what} is at {found_c:.2f} C, wanted are {wanted_c:g} C within {window_c:g} C; "
                "wait until it has settled"
            )
            raise InstrumentFault(problem)


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
