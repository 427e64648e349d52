"""``thorlabs-tc200``: an oven at the temperature that the settings tell, from ``configure`` on.

Every answer begins with its question, so none is taken for another's; numbers have no checksum and are asked twice.
The order for the heater toggles it: it goes out once, only after the state was seen, and the state is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, OvenCapability
from qnoded.instruments.limits import within
from qnoded.instruments.reading import OvenReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.thorlabs_tc200.codec import (
    ASK_LIMIT,
    ASK_NAME,
    ASK_POWER_LIMIT,
    ASK_SETPOINT,
    ASK_STATUS,
    ASK_TEMPERATURE,
    MAX_C,
    MAX_LIMIT_C,
    MAX_LIMIT_W,
    MIN_C,
    MIN_LIMIT_C,
    MIN_LIMIT_W,
    STEP_C,
    TOGGLE,
    Answer,
    AnswerDecoder,
    Status,
    granted,
    number_of,
    status_of,
    written,
)

PORT: Final = SerialPort(115200)
ANSWER_S: Final = 1.0
"""For two looks."""
ORDER_S: Final = 2.0
"""For all orders and looks of one call."""
STEADY_C: Final = 1.0
"""Between two readings of the temperature, some milliseconds apart."""
TOO_HOT_C: Final = 2.0
"""Above its limit: more than an overshoot."""
NO_SERIAL: Final = "not told"

T = TypeVar("T")


class Tc200Settings(Addressed):
    """A controller and its oven."""

    temperature_c: float = Field(ge=MIN_C, le=MAX_C)
    """Where ``configure`` sends it."""
    limit_c: float = Field(ge=MIN_LIMIT_C, le=MAX_LIMIT_C)
    """The controller itself goes no higher; what the crystal and its glue bear."""
    limit_w: float = Field(ge=MIN_LIMIT_W, le=MAX_LIMIT_W)
    """Of the heater, on its data sheet."""
    window_c: float = Field(default=0.2, ge=STEP_C, le=10.0)
    """So close to the set-point it counts as settled."""

    @model_validator(mode="after")
    def _is_within(self) -> Self:
        if self.temperature_c > self.limit_c:
            problem = f"temperature_c {self.temperature_c:g} is above limit_c {self.limit_c:g}"
            raise ValueError(problem)
        return self


@dataclass(frozen=True, slots=True)
class Look:
    """What the controller says at one moment."""

    status: Status
    setpoint_c: float
    temperature_c: float

    def agrees(self, other: Look) -> bool:
        """Whether another look a moment later saw the same."""
        return (
            self.status == other.status
            and self.setpoint_c == other.setpoint_c
            and abs(self.temperature_c - other.temperature_c) <= STEADY_C
        )


class Tc200:
    """Leaves the oven regulated when it is made safe or closed, within the limit that the controller keeps."""

    Settings: ClassVar[type[BaseModel]] = Tc200Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        place = read_address(settings.address)
        self._line = Line("Thorlabs TC200", place, PORT, AnswerDecoder, self._find_step)
        self._name: str | None = None
        self._requested_c: float | None = None
        self.capability = OvenCapability(MIN_C, min(settings.limit_c, MAX_C))

    async def connect(self) -> Identity:
        """Open the line and ask who is there."""
        self._name = self._requested_c = None
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            name = await confirmed(partial(_ask, talk, ASK_NAME, granted), str.__eq__, "its name")
        model = name.upper().partition("THORLABS")[2].partition("VERSION")
        if "TC200" not in model[0]:
            self._line.close()
            problem = f"{self._line}: {name!r} was answered to {ASK_NAME}; is this a TC200?"
            raise InstrumentGarbled(problem)
        self._name = name
        return Identity("Thorlabs", "TC200", NO_SERIAL, model[2].strip())

    async def configure(self) -> None:
        """Set the limits first, then the temperature, then switch the heater on."""
        settings = self._settings
        async with self._line.turn(Lane.COMMAND, ORDER_S) as talk:
            await self._limit(talk, "tmax", ASK_LIMIT, settings.limit_c)
            await self._limit(talk, "pmax", ASK_POWER_LIMIT, settings.limit_w)
            await self._heat(talk, settings.temperature_c)

    async def _limit(self, talk: Talk[Answer], name: str, question: str, wanted: float) -> None:
        await _ask(talk, f"{name}={wanted:.1f}", granted)
        shown = await confirmed(partial(_ask, talk, question, number_of), float.__eq__, name)
        if abs(shown - wanted) > STEP_C:
            problem = f"{self._line}: {name} was set to {wanted:.1f}, it shows {shown:g}"
            raise InstrumentFault(problem)

    async def heat(self, target_c: float | None) -> None:
        """Begin to go to a temperature, or switch the heater off."""
        if target_c is not None:
            within("target_c", target_c, self.capability.min_c, self.capability.max_c, "C")
        async with self._line.turn(Lane.COMMAND, ORDER_S) as talk:
            if target_c is None:
                self._requested_c = None
                await self._switch(talk, on=False)
            else:
                await self._heat(talk, target_c)

    async def _heat(self, talk: Talk[Answer], target_c: float) -> None:
        look = await self._looked(talk)
        self._requested_c = target_c
        if abs(look.setpoint_c - target_c) > STEP_C / 2:
            await _ask(talk, f"tset={target_c:.1f}", granted)
            look = await self._looked(talk)
            if abs(look.setpoint_c - target_c) > STEP_C:
                problem = f"{self._line}: {target_c:.1f} C were set, its set-point is {look.setpoint_c:.1f} C"
                raise InstrumentFault(problem)
        await self._switch(talk, on=True)

    async def _switch(self, talk: Talk[Answer], *, on: bool) -> None:
        """Bring the heater into a state."""
        if bool((await self._status(talk)) & Status.ENABLED) is on:
            return
        await _ask(talk, TOGGLE, granted)
        if bool((await self._status(talk)) & Status.ENABLED) is not on:
            problem = f"{self._line}: its heater was switched {'on' if on else 'off'}, it says that it is not"
            raise InstrumentFault(problem)

    async def read(self) -> OvenReading:
        """Return the state of the oven; one that is too hot is switched off first."""
        async with self._line.turn(Lane.POLL, ORDER_S) as talk:
            look = await self._looked(talk)
            hot = self._too_hot(look)
            if hot is not None:
                await self._switch(talk, on=False)
                problem = f"{self._line}: {hot}; its heater has been switched off"
                raise InstrumentFault(problem)
        heating = Status.ENABLED in look.status
        # It is shown in steps of a tenth.
        off_c = round(abs(look.temperature_c - look.setpoint_c), 1)
        shown = Setting(self._requested_c, look.setpoint_c, look.temperature_c, asyncio.get_running_loop().time())
        return OvenReading(heating, heating and off_c <= self._settings.window_c, shown)

    def _too_hot(self, look: Look) -> str | None:
        limit_c = self._settings.limit_c
        if look.temperature_c > limit_c + TOO_HOT_C:
            return f"it has {look.temperature_c:.1f} C, its limit is {limit_c:.1f} C"
        if Status.ENABLED in look.status and look.setpoint_c > limit_c:
            return f"it heats to {look.setpoint_c:.1f} C, its limit is {limit_c:.1f} C"
        return None

    async def make_safe(self) -> None:
        """Switch the heater off if it is or gets too hot, or cannot be trusted; else leave it regulated."""
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S) as talk:
                try:
                    trusted = self._too_hot(await self._looked(talk)) is None
                except InstrumentFault:
                    trusted = False
                if not trusted:
                    await self._switch(talk, on=False)

    async def close(self) -> None:
        """Make it safe and hang up."""
        await self.make_safe()
        await self._line.end()

    async def _look(self, talk: Talk[Answer]) -> Look:
        status = await _ask(talk, ASK_STATUS, status_of)
        if Status.ALARM in status:
            problem = f"{self._line}: its alarm is on: the sensor is missing or broken; nothing is heated"
            raise InstrumentFault(problem)
        if status & (Status.CYCLES | Status.PAUSED | Status.FAHRENHEIT) or Status.CELSIUS not in status:
            problem = f"{self._line}: status {status:#04x}; set it to normal mode and Celsius at its front"
            raise InstrumentFault(problem)
        setpoint_c = await _ask(talk, ASK_SETPOINT, number_of)
        return Look(status, setpoint_c, await _ask(talk, ASK_TEMPERATURE, number_of))

    async def _looked(self, talk: Talk[Answer]) -> Look:
        return await confirmed(partial(self._look, talk), Look.agrees, "its state")

    async def _status(self, talk: Talk[Answer]) -> Status:
        async def look() -> Status:
            await self._find_step(talk)
            return await _ask(talk, ASK_STATUS, status_of)

        return await confirmed(look, Status.__eq__, "its status")

    async def _find_step(self, talk: Talk[Answer]) -> None:
        name = await _ask(talk, ASK_NAME, granted)
        if self._name not in (None, name):
            problem = f"{name!r} was answered to {ASK_NAME} instead of {self._name!r}"
            raise InstrumentGarbled(problem)


async def _ask(talk: Talk[Answer], command: str, meaning: Callable[[Answer], T]) -> T:
    """Send a command once and return what its answer means; other answers are passed over."""

    def wanted(answer: Answer) -> tuple[T] | None:
        return (meaning(answer),) if answer.command == command else None

    return (await talk.ask(written(command), wanted))[0]
