"""``thorlabs-mpc320``: motorized fibre paddles that turn the polarization of light in a loop of fibre.

Wrong use hangs the unit until it is switched off and on: it is never enabled twice within 0.2 s, and not at all when
it is enabled already. Its unasked reports of moves that are over are not trusted; where the paddles are is asked.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentFault
from qnoded.instruments.capability import PolarizationControllerCapability
from qnoded.instruments.transport import Addressed, Talk
from qnoded_drivers.thorlabs_apt.codec import Bits, Id, Message, encode
from qnoded_drivers.thorlabs_apt.controller import LATE_S, AptController, Axis, Model, Unit
from qnoded_drivers.thorlabs_mpc320.codec import (
    CHANNELS,
    COUNTS_PER_DEG,
    FULL_SPEED_DEG_S,
    RANGE_DEG,
    paddle_settings,
    speed_of,
)

MODEL: Final = Model(
    "MPC",
    Id.REQ_USER_STATUS,
    COUNTS_PER_DEG,
    tolerance_counts=6,
    travel_deg=RANGE_DEG,
    faults=Bits.INTERLOCK | Bits.OVER_TEMPERATURE | Bits.OVERLOAD | Bits.OVER_CURRENT | Bits.ERROR,
)


class Mpc320Settings(Addressed):
    """A unit of paddles."""

    paddles: Literal[2, 3] = 3
    """2 for an MPC220."""
    speed_percent: int = Field(default=100, ge=10, le=100)
    """Of 400 degrees per second."""


class Mpc320(AptController):
    """Two or three paddles, moved one after the other by the unit."""

    Settings: ClassVar[type[BaseModel]] = Mpc320Settings
    model: ClassVar[Model] = MODEL

    def __init__(self, settings: Any) -> None:
        axes = tuple(Axis(channel) for channel in CHANNELS[: settings.paddles])
        self._speed_percent: int = settings.speed_percent
        speed_deg_s = FULL_SPEED_DEG_S * self._speed_percent / 100
        super().__init__([(settings.address, axes)], speed_deg_s)
        # Each paddle may have to find its zero first.
        settling_s = 2 * len(axes) * (RANGE_DEG / speed_deg_s + LATE_S)
        names = tuple(f"paddle {number}" for number in range(1, len(axes) + 1))
        self.capability = PolarizationControllerCapability(names, 0.0, RANGE_DEG, settling_s)

    async def _prepare(self, unit: Unit, talk: Talk[Message]) -> None:
        talk.send(encode(paddle_settings(self._speed_percent)))
        taken = await talk.ask(encode(Message(Id.REQ_PADDLES)), speed_of)
        if taken != self._speed_percent:
            problem = f"{unit.line}: a speed of {self._speed_percent} % was set, {taken} % is read back"
            raise InstrumentFault(problem)
