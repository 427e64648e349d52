"""``thorlabs-k10cr1``: one to three wave plates in motorized rotation mounts, each on a USB port of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from qnoded.errors import InstrumentFault
from qnoded.instruments.capability import PolarizationControllerCapability
from qnoded.instruments.transport import AddressText, Talk
from qnoded_drivers.thorlabs_apt.codec import Bits, Id, Message, encode
from qnoded_drivers.thorlabs_apt.controller import LATE_S, AptController, Axis, Model, Unit
from qnoded_drivers.thorlabs_k10cr1.codec import (
    ACCELERATION_DEG_S2,
    CHANNEL,
    COUNTS_PER_DEG,
    FASTEST_DEG_S,
    speed,
    speed_of,
)

TURN_DEG: Final = 360.0
SPEED_TOLERANCE_DEG_S: Final = 0.01
MODEL: Final = Model(
    "K10CR1", Id.REQ_STATUS, COUNTS_PER_DEG, tolerance_counts=2731, travel_deg=2 * TURN_DEG, faults=Bits(0)
)


class Mount(BaseModel):
    """One wave plate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: AddressText
    element: str = "wave plate"
    """What it is, for people."""
    zero_deg: float = Field(default=0.0, ge=-TURN_DEG, le=TURN_DEG)
    """Angle of the mount at which the plate's axis is horizontal."""


class K10cr1Settings(BaseModel):
    """Mounts in the order in which light passes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mounts: tuple[Mount, ...] = Field(min_length=1, max_length=3)
    speed_deg_s: float = Field(default=FASTEST_DEG_S, gt=0.1, le=FASTEST_DEG_S)


class K10cr1(AptController):
    """Wave plates that turn side by side."""

    Settings: ClassVar[type[BaseModel]] = K10cr1Settings
    model: ClassVar[Model] = MODEL

    def __init__(self, settings: Any) -> None:
        self._speed: float = settings.speed_deg_s
        places = [(mount.address, (Axis(CHANNEL, mount.zero_deg),)) for mount in settings.mounts]
        super().__init__(places, self._speed)
        # It may have to find its zero first, and speeds up and slows down.
        ramp_s = self._speed / ACCELERATION_DEG_S2
        settling_s = 2 * (MODEL.travel_deg / self._speed + ramp_s + LATE_S)
        names = tuple(mount.element for mount in settings.mounts)
        self.capability = PolarizationControllerCapability(names, 0.0, TURN_DEG, settling_s)

    async def _prepare(self, unit: Unit, talk: Talk[Message]) -> None:
        talk.send(encode(speed(self._speed)))
        taken = await talk.ask(encode(Message(Id.REQ_VELOCITY, CHANNEL)), speed_of)
        if abs(taken - self._speed) > SPEED_TOLERANCE_DEG_S:
            problem = f"{unit.line}: a speed of {self._speed:g} deg/s was set, {taken:g} deg/s is read back"
            raise InstrumentFault(problem)
