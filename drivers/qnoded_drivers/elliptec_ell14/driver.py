"""``elliptec-ell14``: wave plates in rotation mounts that share one serial bus.

A mount has no word for "I do not know my zero", so each is sent there before its first move. It is asked twice, in turn
for its status and its position, and what it did not do on order is told: it was moved by hand or lost its power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, PolarizationControllerCapability
from qnoded.instruments.limits import angles
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.elliptec_ell14.codec import (
    Answer,
    AnswerDecoder,
    Info,
    Status,
    info_of,
    move,
    order,
    position_of,
    status_of,
)
from qnoded_drivers.journey import Journey, Order

PORT: Final = SerialPort(9600)
ANSWER_S: Final = 0.4
"""For one look at one mount; its four answers take 50 ms."""
PAUSE_S: Final = 0.01
"""Between an order without an end of line and what follows it."""
BUSY_S: Final = 0.1
"""Between two questions to a mount that is too busy to answer."""
TURN_DEG: Final = 360.0
TRAVEL_S: Final = 2.5
"""After so long a motor stops by itself, wherever it is."""
TOLERANCE_DEG: Final = 0.5
"""A mount rests that far from where it was sent, at most."""


class Mount(BaseModel):
    """One wave plate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(pattern="^[0-9A-F]$")
    """On the bus."""
    element: str = "wave plate"
    """What it is, for people."""
    zero_deg: float = Field(default=0.0, ge=-TURN_DEG, le=TURN_DEG)
    """Angle of the mount at which the plate's axis is horizontal."""


class Ell14Settings(Addressed):
    """A bus with mounts, in the order in which light passes them."""

    mounts: tuple[Mount, ...] = Field(default=(Mount(address="0"),), min_length=1, max_length=16)

    @model_validator(mode="after")
    def _different(self) -> Ell14Settings:
        addresses = [mount.address for mount in self.mounts]
        if len(set(addresses)) < len(addresses):
            problem = f"mounts have the addresses {', '.join(addresses)}; give each its own"
            raise ValueError(problem)
        return self


@dataclass(frozen=True, slots=True)
class Look:
    """What a mount says at one moment."""

    status: Status
    position: int | None
    """Pulses; None: it is too busy to tell."""

    @property
    def moving(self) -> bool:
        """Whether it is on its way."""
        return self.status is Status.BUSY or self.position is None


@dataclass(slots=True)
class Module:
    """One mount and its way."""

    mount: Mount
    info: Info | None = None
    journey: Journey = field(default_factory=Journey)
    rested: int | None = None
    """Where it was when it rested last, pulses."""

    def pulses(self, angle_deg: float) -> int:
        """Return an angle, or a way, in pulses."""
        assert self.info is not None
        return round(angle_deg / TURN_DEG * self.info.pulses_per_turn)

    def target(self, setting_deg: float) -> int:
        """Return where a setting is: within one turn, further it does not count."""
        return self.pulses((setting_deg + self.mount.zero_deg) % TURN_DEG)

    def setting_deg(self, position: int, near_deg: float | None) -> float:
        """Return the setting of a position; a turn more or less is the same."""
        assert self.info is not None
        angle_deg = (position / self.info.pulses_per_turn * TURN_DEG - self.mount.zero_deg) % TURN_DEG
        return angle_deg if near_deg is None else angle_deg + TURN_DEG * round((near_deg - angle_deg) / TURN_DEG)


class Ell14:
    """One to sixteen mounts on one bus."""

    Settings: ClassVar[type[BaseModel]] = Ell14Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._modules = [Module(mount) for mount in settings.mounts]
        self._line = Line("Elliptec", read_address(settings.address), PORT, AnswerDecoder, self._find_step)
        names = tuple(mount.element for mount in settings.mounts)
        # Each may have to find its zero first.
        self.capability = PolarizationControllerCapability(names, 0.0, TURN_DEG, 2 * TRAVEL_S + 1.0)

    @property
    def _limit_s(self) -> float:
        return ANSWER_S * len(self._modules)

    async def connect(self) -> Identity:
        """Open the bus and ask every mount who it is."""
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, TRAVEL_S + self._limit_s) as talk:
            for module in self._modules:
                ask = partial(_info_at_rest, talk, module.mount.address)
                module.info = await confirmed(ask, Info.__eq__, "its identity")
                module.rested = None
                module.journey.restart()
        infos = [module.info for module in self._modules if module.info is not None]
        serials = "+".join(info.serial for info in infos)
        return Identity("Thorlabs", f"ELL{infos[0].type}", serials, infos[0].firmware)

    async def configure(self) -> None:
        """Stop."""
        async with self._line.turn(Lane.COMMAND, self._limit_s) as talk:
            await self._stop(talk)

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Begin to move every element to its angle."""
        wanted = angles(settings_deg, self.capability.elements, 0.0, TURN_DEG)
        async with self._line.turn(Lane.COMMAND, self._limit_s) as talk:
            looks = await self._looked(talk)
            for module, setting_deg in zip(self._modules, wanted, strict=True):
                module.journey.begin(setting_deg, module.target(setting_deg))
            await self._go_on(talk, looks)

    async def read(self) -> PolarizationReading:
        """Return where the elements are, and send the moves that had to wait for a zero."""
        async with self._line.turn(Lane.POLL, self._limit_s) as talk:
            looks = await self._looked(talk)
            await self._go_on(talk, looks)
        moving = any(
            look.moving or module.journey.target is not None for module, look in zip(self._modules, looks, strict=True)
        )
        return PolarizationReading(moving, tuple(map(_setting, self._modules, looks)))

    async def _go_on(self, talk: Talk[Answer], looks: Sequence[Look]) -> None:
        """Send what is due, each order once."""
        now_s = asyncio.get_running_loop().time()
        for module, look in zip(self._modules, looks, strict=True):
            journey, address = module.journey, module.mount.address
            if journey.sent is Order.HOME and not look.moving and self._is_at(module, look, 0):
                journey.has_zero = True
            here = journey.target is not None and self._is_at(module, look, journey.target)
            match journey.due(now_s, moving=look.moving, here=here, limit_s=TRAVEL_S + PAUSE_S):
                case Order.HOME:
                    await _tell(talk, order(address, "ho", "0"))
                case Order.MOVE if journey.target is not None:
                    await _tell(talk, move(address, journey.target))
            module.rested = None if look.moving or journey.target is not None else look.position

    @staticmethod
    def _is_at(module: Module, look: Look, position: int) -> bool:
        return look.position is not None and abs(look.position - position) <= module.pulses(TOLERANCE_DEG)

    async def _looked(self, talk: Talk[Answer]) -> list[Look]:
        """Return the state of all mounts, read twice; raise what they complain of."""
        looks = []
        for module in self._modules:
            agree = partial(self._agree, module)
            look = await confirmed(partial(_look, talk, module.mount.address), agree, "its state")
            if look.status not in (Status.OK, Status.BUSY):
                module.journey.stay()
                problem = f"{self._line}: mount {module.mount.address} says {look.status.name}; see its manual"
                raise InstrumentFault(problem)
            if module.rested is not None and (look.moving or not self._is_at(module, look, module.rested)):
                module.rested = None
                problem = (
                    f"{self._line}: mount {module.mount.address} has left its place without an order, "
                    "by hand or since it was switched off; connect again"
                )
                module.journey.restart()
                raise InstrumentFault(problem)
            looks.append(look)
        return looks

    def _agree(self, module: Module, first: Look, second: Look) -> bool:
        if first.moving or module.journey.target is not None:
            return True
        return not second.moving and first.position is not None and self._is_at(module, second, first.position)

    async def make_safe(self) -> None:
        """Stop all mounts."""
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S) as talk:
                await self._stop(talk)

    async def _stop(self, talk: Talk[Answer]) -> None:
        for module in self._modules:
            module.journey.stay()
            module.rested = None
            await _tell(talk, order(module.mount.address, "st"))

    async def close(self) -> None:
        """Stop and hang up."""
        await self.make_safe()
        self._line.close()

    async def _find_step(self, talk: Talk[Answer]) -> None:
        for module in self._modules:
            # A mount that is busy is in step all the same.
            if await _info(talk, module.mount.address) not in (Status.BUSY, module.info):
                problem = f"another mount answers at {module.mount.address}"
                raise InstrumentGarbled(problem)


async def _info(talk: Talk[Answer], address: str) -> Info | Status:
    """Return who a mount is, or why it does not say."""
    return await talk.ask(order(address, "in"), lambda answer: info_of(answer, address) or status_of(answer, address))


async def _info_at_rest(talk: Talk[Answer], address: str) -> Info:
    """Return who a mount is, as soon as it is not too busy to say."""
    while not isinstance(info := await _info(talk, address), Info):
        if info is not Status.BUSY:
            problem = f"mount {address} does not say who it is but {info.name}"
            raise InstrumentFault(problem)
        await asyncio.sleep(BUSY_S)
    return info


async def _tell(talk: Talk[Answer], message: bytes) -> None:
    talk.send(message)
    await asyncio.sleep(PAUSE_S)


async def _look(talk: Talk[Answer], address: str) -> Look:
    status = await talk.ask(order(address, "gs"), partial(status_of, address=address))

    def told(answer: Answer) -> Look | None:
        position = position_of(answer, address)
        if position is None and status_of(answer, address) is not Status.BUSY:
            return None
        return Look(status, position)

    return await talk.ask(order(address, "gp"), told)


def _setting(module: Module, look: Look) -> Setting:
    asked_deg = module.journey.requested_deg
    accepted_deg = None if asked_deg is None else module.setting_deg(module.target(asked_deg), asked_deg)
    # Without a zero its pulses mean nothing.
    known = module.journey.has_zero and look.position is not None
    shown_deg = module.setting_deg(look.position, asked_deg) if known and look.position is not None else None
    return Setting(asked_deg, accepted_deg, shown_deg, asyncio.get_running_loop().time())
