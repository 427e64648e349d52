"""The driver of Thorlabs' motors that turn the polarization: one or more lines, each with one or more axes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Final

from pydantic import BaseModel

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, PolarizationControllerCapability
from qnoded.instruments.limits import angles
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.instruments.transport import STOP_S, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.journey import Journey, Order
from qnoded_drivers.thorlabs_apt.codec import (
    AxisStatus,
    Bits,
    Id,
    Info,
    Message,
    MessageDecoder,
    enabled,
    encode,
    home,
    info_of,
    move,
    status_of,
    stop,
)

PORT: Final = SerialPort(115200, rts_cts=True)
WAKING_S: Final = 0.05
"""Before and after the first purge of the port, as the protocol's manual asks for."""
ANSWER_S: Final = 0.6
"""For all questions of one turn; one answer takes some milliseconds."""
ENABLING_S: Final = 0.2
"""An MPC320 hangs until it is switched off when it is enabled twice within less."""
LATE_S: Final = 0.5
"""How much longer than calculated a move may take before it counts as over."""
WILD_DEG_S: Final = 1000.0
"""No motor turns faster: what jumps further between two looks arrived damaged."""
LASTING: Final = Bits.CONNECTED | Bits.ENABLED | Bits.INTERLOCK | Bits.OVER_TEMPERATURE | Bits.OVERLOAD | Bits.ERROR
"""Bits that do not change between two looks."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the driver has to know of a kind of motor."""

    name: str
    """Beginning of the name that the unit gives itself."""
    question: Id
    """How it is asked for its status."""
    counts_per_deg: float
    tolerance_counts: int
    """It rests that far from where it was sent, at most."""
    travel_deg: float
    """Longest way from one end to the other, and to the zero."""
    faults: Bits
    """Bits with which it says that it cannot."""


@dataclass(slots=True)
class Axis:
    """One motor."""

    channel: int
    """As it is addressed in messages."""
    zero_deg: float = 0.0
    """Angle of the motor at which the setting is zero."""
    journey: Journey = field(default_factory=Journey)


@dataclass(slots=True)
class Unit:
    """One line with its axes."""

    line: Line[Message]
    axes: tuple[Axis, ...]
    info: Info | None = None
    enabled_s: float = field(default=-ENABLING_S)
    """When it was enabled last."""


class AptController:
    """A polarization controller of motors; subclasses say which.

    A motor that does not know its zero is sent there before its first move; ``read`` sends what had to wait for that.
    """

    Settings: ClassVar[type[BaseModel]]
    simulated: ClassVar[bool] = False
    model: ClassVar[Model]

    def __init__(self, places: Sequence[tuple[str, tuple[Axis, ...]]], speed_deg_s: float) -> None:
        """Take the address and axes of every line, and the speed of all motors."""
        self._speed_deg_s = speed_deg_s
        self._units = [Unit(self._line(address, place), axes) for place, (address, axes) in enumerate(places)]
        self.capability: PolarizationControllerCapability

    def _line(self, address: str, place: int) -> Line[Message]:
        find_step = partial(self._find_step, place)
        return Line(f"Thorlabs {self.model.name}", read_address(address), PORT, MessageDecoder, find_step)

    async def connect(self) -> Identity:
        """Open the lines and ask who is there."""
        infos = []
        for unit in self._units:
            await unit.line.open(WAKING_S)
            async with unit.line.turn(Lane.COMMAND, ANSWER_S) as talk:
                unit.info = await confirmed(partial(_info, talk), Info.__eq__, "its identity")
            infos.append(unit.info)
            for axis in unit.axes:
                axis.journey.restart()
        strangers = [info.model for info in infos if not info.model.startswith(self.model.name)]
        if strangers:
            self._hang_up()
            problem = f"{', '.join(strangers)} answered instead of {self.model.name}; check the address"
            raise InstrumentFault(problem)
        return Identity("Thorlabs", infos[0].model, "+".join(str(info.serial) for info in infos), infos[0].firmware)

    async def configure(self) -> None:
        """Stop, enable all axes and set their speed."""
        for unit in self._units:
            async with unit.line.turn(Lane.COMMAND, 2 * ANSWER_S + ENABLING_S) as talk:
                for axis in unit.axes:
                    axis.journey.stay()
                    talk.send(encode(stop(axis.channel)))
                await self._enable(unit, talk)
                await self._prepare(unit, talk)

    async def _enable(self, unit: Unit, talk: Talk[Message]) -> None:
        if all(status.bits & Bits.ENABLED for status in await self._look(unit, talk)):
            return
        loop = asyncio.get_running_loop()
        await asyncio.sleep(unit.enabled_s + ENABLING_S - loop.time())
        talk.send(encode(enabled(sum(axis.channel for axis in unit.axes))))
        unit.enabled_s = loop.time()
        await asyncio.sleep(ENABLING_S)
        if not all(status.bits & Bits.ENABLED for status in await self._look(unit, talk)):
            problem = f"{unit.line}: it does not enable its motors; switch it off and on"
            raise InstrumentFault(problem)

    async def _prepare(self, unit: Unit, talk: Talk[Message]) -> None:
        """Write the settings of the model."""
        raise NotImplementedError

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Begin to move every element to its angle."""
        capability = self.capability
        wanted = iter(angles(settings_deg, capability.elements, capability.min_deg, capability.max_deg))
        for unit in self._units:
            async with unit.line.turn(Lane.COMMAND, ANSWER_S) as talk:
                statuses = await self._looked(unit, talk)
                for axis in unit.axes:
                    setting_deg = next(wanted)
                    axis.journey.begin(setting_deg, self._counts(axis, setting_deg))
                self._go_on(unit, talk, statuses)

    async def read(self) -> PolarizationReading:
        """Return where the elements are, and send the moves that had to wait for a zero."""
        moving, settings = False, []
        for unit in self._units:
            async with unit.line.turn(Lane.POLL, ANSWER_S) as talk:
                statuses = await self._looked(unit, talk)
                talk.send(encode(Message(Id.ACK_USER_STATUS)))
                self._go_on(unit, talk, statuses)
            for axis, status in zip(unit.axes, statuses, strict=True):
                moving |= status.moving or axis.journey.target is not None
                settings.append(self._setting(axis, status))
        return PolarizationReading(moving, tuple(settings))

    def _setting(self, axis: Axis, status: AxisStatus) -> Setting:
        requested_deg = axis.journey.requested_deg
        accepted_deg = None if requested_deg is None else self._degrees(axis, self._counts(axis, requested_deg))
        # Without a zero its counts mean nothing.
        shown_deg = self._degrees(axis, status.position) if status.homed else None
        return Setting(requested_deg, accepted_deg, shown_deg, asyncio.get_running_loop().time())

    def _go_on(self, unit: Unit, talk: Talk[Message], statuses: Sequence[AxisStatus]) -> None:
        """Send what is due, each order once."""
        now_s = asyncio.get_running_loop().time()
        # The MPC320 moves its paddles one after the other.
        travel_s = len(unit.axes) * (self.model.travel_deg / self._speed_deg_s + LATE_S)
        for axis, status in zip(unit.axes, statuses, strict=True):
            journey = axis.journey
            journey.has_zero |= status.homed
            here = journey.target is not None and abs(status.position - journey.target) <= self.model.tolerance_counts
            match journey.due(now_s, moving=status.moving, here=here, limit_s=travel_s):
                case Order.HOME:
                    talk.send(encode(home(axis.channel)))
                case Order.MOVE if journey.target is not None:
                    talk.send(encode(move(axis.channel, journey.target)))

    async def _looked(self, unit: Unit, talk: Talk[Message]) -> list[AxisStatus]:
        """Return the state of all axes of a unit, read twice; raise what it complains of."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        def agree(first: list[AxisStatus], second: list[AxisStatus]) -> bool:
            way = self.model.counts_per_deg * WILD_DEG_S * (loop.time() - began_s)
            return all(
                self._agree(axis, one, other, way) for axis, one, other in zip(unit.axes, first, second, strict=True)
            )

        statuses = await confirmed(lambda: self._look(unit, talk), agree, "its state")
        for axis, status in zip(unit.axes, statuses, strict=True):
            if axis.journey.has_zero and not status.homed:
                problem = f"{unit.line}: axis {axis.channel} has lost its zero; was it switched off? connect again"
                raise InstrumentFault(problem)
            if trouble := Bits(status.bits) & self.model.faults:
                problem = f"{unit.line}: axis {status.channel} says {trouble.name}; see its manual, then connect again"
                raise InstrumentFault(problem)
        return statuses

    def _agree(self, axis: Axis, first: AxisStatus, second: AxisStatus, way: float) -> bool:
        if (first.bits ^ second.bits) & LASTING or first.homed > second.homed:
            return False
        if second.homed and not first.homed:
            # The counts begin anew at the zero.
            return bool(first.bits & Bits.HOMING)
        if second.moving and not first.moving and axis.journey.target is None:
            return False
        free = first.moving or second.moving or axis.journey.target is not None
        return abs(second.position - first.position) <= self.model.tolerance_counts + (way if free else 0.0)

    async def _look(self, unit: Unit, talk: Talk[Message]) -> list[AxisStatus]:
        question = self.model.question
        return [
            await talk.ask(encode(Message(question, axis.channel)), partial(status_of, channel=axis.channel))
            for axis in unit.axes
        ]

    def _counts(self, axis: Axis, setting_deg: float) -> int:
        return round((setting_deg + axis.zero_deg) * self.model.counts_per_deg)

    def _degrees(self, axis: Axis, position: int) -> float:
        return position / self.model.counts_per_deg - axis.zero_deg

    async def make_safe(self) -> None:
        """Stop all motors; each line for itself, and all of them at once."""
        await asyncio.gather(*(self._stopped(unit) for unit in self._units))

    async def _stopped(self, unit: Unit) -> None:
        for axis in unit.axes:
            axis.journey.stay()
        orders = b"".join(encode(stop(axis.channel)) for axis in unit.axes)
        with suppress(InstrumentError):
            async with unit.line.turn(Lane.STOP, STOP_S, orders):
                for axis in unit.axes:
                    # A move that was under way while this turn was waited for.
                    axis.journey.stay()

    async def close(self) -> None:
        """Stop and hang up."""
        await self.make_safe()
        self._hang_up()

    def _hang_up(self) -> None:
        for unit in self._units:
            unit.line.close()

    async def _find_step(self, place: int, talk: Talk[Message]) -> None:
        info = await _info(talk)
        if self._units[place].info not in (None, info):
            problem = f"another unit answers, serial {info.serial}"
            raise InstrumentGarbled(problem)


async def _info(talk: Talk[Message]) -> Info:
    return await talk.ask(encode(Message(Id.REQ_INFO)), info_of)
