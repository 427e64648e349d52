"""What APT says only to fibre paddles, and their scale."""

from __future__ import annotations

from typing import Final

from qnoded_drivers.thorlabs_apt.codec import PADDLES, Id, Message

RANGE_DEG: Final = 170.0
COUNTS_PER_DEG: Final = 1370 / RANGE_DEG
FULL_SPEED_DEG_S: Final = 400.0
"""At 100 %."""
CHANNELS: Final = (1, 2, 4)
"""Of the three paddles: bits of a mask."""
JOG_COUNTS: Final = 10
"""Steps of the buttons on the unit."""


def paddle_settings(speed_percent: int) -> Message:
    """Return the order to set the speed, with the zero and the steps of the buttons."""
    return Message(Id.SET_PADDLES, data=PADDLES.pack(0, speed_percent, 0, JOG_COUNTS, JOG_COUNTS, JOG_COUNTS))


def speed_of(message: Message) -> int | None:
    """Return the speed, percent, if the message tells."""
    if message.id != Id.GET_PADDLES or len(message.data) != PADDLES.size:
        return None
    return int(PADDLES.unpack(message.data)[1])
