"""Scales of the K10CR1, and its speed in APT."""

from __future__ import annotations

from typing import Final

from qnoded_drivers.thorlabs_apt.codec import VELOCITY, Id, Message

CHANNEL: Final = 1
COUNTS_PER_DEG: Final = 409_600 / 3
SPEED_PER_DEG_S: Final = 7_329_109
ACCELERATION_PER_DEG_S2: Final = 1502
FASTEST_DEG_S: Final = 10.0
ACCELERATION_DEG_S2: Final = 10.0


def speed(speed_deg_s: float) -> Message:
    """Return the order to set the speed."""
    acceleration, fastest = round(ACCELERATION_DEG_S2 * ACCELERATION_PER_DEG_S2), round(speed_deg_s * SPEED_PER_DEG_S)
    return Message(Id.SET_VELOCITY, data=VELOCITY.pack(CHANNEL, 0, acceleration, fastest))


def speed_of(message: Message) -> float | None:
    """Return the speed, degrees per second, if the message tells."""
    if message.id != Id.GET_VELOCITY or len(message.data) != VELOCITY.size:
        return None
    return float(VELOCITY.unpack(message.data)[3] / SPEED_PER_DEG_S)
