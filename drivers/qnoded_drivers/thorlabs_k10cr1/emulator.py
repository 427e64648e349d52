"""An emulated K10CR1."""

from __future__ import annotations

from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.motion import Motor
from qnoded.testing.emulation.personality import Finite, Positive, SerialDigits
from qnoded_drivers.thorlabs_apt.codec import VELOCITY, Id, Message
from qnoded_drivers.thorlabs_apt.emulator import AptDevice, EmulatedAxis, Firmware
from qnoded_drivers.thorlabs_k10cr1.codec import (
    ACCELERATION_DEG_S2,
    CHANNEL,
    COUNTS_PER_DEG,
    FASTEST_DEG_S,
    SPEED_PER_DEG_S,
    speed,
)


class EmulatedK10cr1(AptDevice):
    """One mount; MOVE_COMPLETED has twenty bytes."""

    model = "K10CR1"
    completed_has_status = True
    one_at_a_time = False
    counts_per_deg = COUNTS_PER_DEG

    def __init__(
        self,
        serial: SerialDigits = "55123456",
        *,
        firmware: Firmware = "1.0.3",
        unhomed_deg: Finite = 20.0,
        acceleration_deg_s2: Positive = ACCELERATION_DEG_S2,
        retardance_deg: Finite = 180.0,
    ) -> None:
        """Make one with a plate of ``retardance_deg``, ``unhomed_deg`` from its zero when it is switched on."""
        super().__init__(serial, firmware, unhomed_deg)
        self._acceleration_deg_s2, self._retardance_deg = acceleration_deg_s2, retardance_deg
        self._velocity = b""

    def switch_on(self, now_s: float) -> None:
        """Forget everything."""
        super().switch_on(now_s)
        self._velocity = speed(FASTEST_DEG_S).data

    def fresh_axes(self) -> list[EmulatedAxis]:
        """Return the motor."""
        scale = COUNTS_PER_DEG
        return [
            EmulatedAxis(CHANNEL, Motor(0.0, FASTEST_DEG_S * scale, self._acceleration_deg_s2 * scale), enabled=True)
        ]

    def retarders(self, now_s: float) -> tuple[Retarder, ...]:
        """Return the plate."""
        return (Retarder(self.angle_deg(self.axes[0], now_s), self._retardance_deg),)

    def enable(self, channels: int, now_s: float) -> None:
        """Enable the motor."""
        del now_s
        self.axes[0].enabled = channels == CHANNEL

    def settings(self, message: Message) -> list[Message]:
        """Take and give the speed."""
        if message.id == Id.SET_VELOCITY and len(message.data) == VELOCITY.size:
            self._velocity = message.data
            self.axes[0].motor.speed = VELOCITY.unpack(message.data)[3] / SPEED_PER_DEG_S * COUNTS_PER_DEG
        if message.id == Id.REQ_VELOCITY:
            return [Message(Id.GET_VELOCITY, data=self._velocity)]
        return []
