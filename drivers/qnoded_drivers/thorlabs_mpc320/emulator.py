"""An emulated MPC320, with what makes it hang."""

from __future__ import annotations

from typing import Final

from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.motion import Motor
from qnoded.testing.emulation.personality import Finite, NotNegative, Positive, SerialDigits
from qnoded_drivers.thorlabs_apt.codec import PADDLES, Id, Message
from qnoded_drivers.thorlabs_apt.emulator import AptDevice, EmulatedAxis, Firmware
from qnoded_drivers.thorlabs_mpc320.codec import CHANNELS, COUNTS_PER_DEG, FULL_SPEED_DEG_S

RAMP_DEG_S2: Final = 4000.0
FACTORY: Final = PADDLES.pack(0, 50, 0, 10, 10, 10)


class EmulatedMpc320(AptDevice):
    """Three paddles, one moving at a time; MOVE_COMPLETED has six bytes."""

    model = "MPC320"
    completed_has_status = False
    one_at_a_time = True
    counts_per_deg = COUNTS_PER_DEG

    def __init__(
        self,
        serial: SerialDigits = "38123456",
        *,
        firmware: Firmware = "1.0.3",
        unhomed_deg: Finite = 20.0,
        full_speed_deg_s: Positive = FULL_SPEED_DEG_S,
        hanging_s: NotNegative = 0.2,
        retardances_deg: tuple[Finite, Finite, Finite] = (90.0, 180.0, 90.0),
    ) -> None:
        """Make one.

        Parameters
        ----------
        unhomed_deg
            How far from their zeros its paddles stand when it is switched on.
        full_speed_deg_s
            At 100 %.
        hanging_s
            Enabled twice within less it hangs until it is switched off and on.
        retardances_deg
            Of the fibre in each paddle, by its loops and the wavelength; the paddle's angle is that of the axis.
        """
        super().__init__(serial, firmware, unhomed_deg)
        self._full_speed_deg_s, self._hanging_s, self._retardances_deg = full_speed_deg_s, hanging_s, retardances_deg
        self._paddles = FACTORY
        self._enabled_s: float | None = None
        self.hangs = False
        """Whether it was enabled too often and waits to be switched off."""

    def switch_on(self, now_s: float) -> None:
        """Forget everything, also that it hung."""
        super().switch_on(now_s)
        self._paddles, self._enabled_s, self.hangs = FACTORY, None, False
        self._turn()

    def fresh_axes(self) -> list[EmulatedAxis]:
        """Return three paddles."""
        return [EmulatedAxis(channel, Motor(0.0, 1.0, RAMP_DEG_S2 * COUNTS_PER_DEG)) for channel in CHANNELS]

    def retarders(self, now_s: float) -> tuple[Retarder, ...]:
        """Return the paddles."""
        return tuple(
            Retarder(self.angle_deg(axis, now_s), retardance_deg)
            for axis, retardance_deg in zip(self.axes, self._retardances_deg, strict=True)
        )

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Obey messages, unless it hangs."""
        return [] if self.hangs else super().hear(data, now_s)

    def enable(self, channels: int, now_s: float) -> None:
        """Take a mask: the others are disabled."""
        if self._enabled_s is not None and now_s - self._enabled_s < self._hanging_s:
            self.hangs = True
        self._enabled_s = now_s
        for axis in self.axes:
            axis.enabled = bool(axis.channel & channels)

    def settings(self, message: Message) -> list[Message]:
        """Take and give speed, zero and steps of the buttons."""
        if message.id == Id.SET_PADDLES and len(message.data) == PADDLES.size:
            self._paddles = message.data
            self._turn()
        if message.id == Id.REQ_PADDLES:
            return [Message(Id.GET_PADDLES, data=self._paddles)]
        return []

    def _turn(self) -> None:
        speed_percent = PADDLES.unpack(self._paddles)[1]
        for axis in self.axes:
            axis.motor.speed = self._full_speed_deg_s * speed_percent / 100 * COUNTS_PER_DEG
