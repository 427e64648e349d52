"""Messages of Thorlabs' APT protocol: a header of six bytes, sometimes with data after it; all little-endian.

Source: Thorlabs, "APT Controllers Host-Controller Communications Protocol", issues 25 and 37.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from qnoded.errors import InstrumentGarbled

HOST: Final = 0x01
UNIT: Final = 0x50
"""An instrument on USB."""
HAS_DATA: Final = 0x80
HEADER: Final = struct.Struct("<HBBBB")
LONG_HEADER: Final = struct.Struct("<HHBB")
LARGEST_DATA: Final = 255

INFO: Final = struct.Struct("<I8sHI60sHHH")
CHANNEL_POSITION: Final = struct.Struct("<Hi")
VELOCITY: Final = struct.Struct("<Hiii")
PADDLES: Final = struct.Struct("<HHHHHH")
USER_STATUS: Final = struct.Struct("<HihhI")
STATUS: Final = struct.Struct("<HiiI")
IMMEDIATE: Final = 1
"""How to stop: at once."""
ENABLE: Final = 1


class Id(IntEnum):
    """Numbers of messages."""

    DISCONNECT = 0x0002
    REQ_INFO = 0x0005
    GET_INFO = 0x0006
    START_UPDATES = 0x0011
    STOP_UPDATES = 0x0012
    SET_ENABLED = 0x0210
    REQ_ENABLED = 0x0211
    GET_ENABLED = 0x0212
    SET_VELOCITY = 0x0413
    REQ_VELOCITY = 0x0414
    GET_VELOCITY = 0x0415
    HOME = 0x0443
    HOMED = 0x0444
    MOVE_ABSOLUTE = 0x0453
    MOVE_COMPLETED = 0x0464
    STOP = 0x0465
    STOPPED = 0x0466
    REQ_STATUS = 0x0480
    GET_STATUS = 0x0481
    REQ_USER_STATUS = 0x0490
    GET_USER_STATUS = 0x0491
    ACK_USER_STATUS = 0x0492
    SET_PADDLES = 0x0530
    REQ_PADDLES = 0x0531
    GET_PADDLES = 0x0532


class Bits(IntFlag):
    """Status bits."""

    MOVING_FORWARD = 1 << 4
    MOVING_BACK = 1 << 5
    JOGGING_FORWARD = 1 << 6
    JOGGING_BACK = 1 << 7
    CONNECTED = 1 << 8
    HOMING = 1 << 9
    HOMED = 1 << 10
    SETTLED = 1 << 13
    INTERLOCK = 1 << 16
    OVER_TEMPERATURE = 1 << 17
    OVERLOAD = 1 << 24
    OVER_CURRENT = 1 << 26
    ERROR = 1 << 30
    ENABLED = 1 << 31


MOTION: Final = Bits.MOVING_FORWARD | Bits.MOVING_BACK | Bits.JOGGING_FORWARD | Bits.JOGGING_BACK | Bits.HOMING


@dataclass(frozen=True, slots=True)
class Message:
    """One message; with data, or with two parameters."""

    id: int
    first: int = 0
    second: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Info:
    """Who answers."""

    serial: int
    model: str
    firmware: str


@dataclass(frozen=True, slots=True)
class AxisStatus:
    """Where one axis is and what it does."""

    channel: int
    """As it is addressed."""
    position: int
    """Counts."""
    bits: int

    @property
    def moving(self) -> bool:
        """Whether it is on its way."""
        return bool(self.bits & MOTION)

    @property
    def homed(self) -> bool:
        """Whether it knows where its zero is."""
        return bool(self.bits & Bits.HOMED)


def encode(message: Message, destination: int = UNIT, source: int = HOST) -> bytes:
    """Return the bytes of a message."""
    if message.data:
        return LONG_HEADER.pack(message.id, len(message.data), destination | HAS_DATA, source) + message.data
    return HEADER.pack(message.id, message.first, message.second, destination, source)


class MessageDecoder:
    """Cuts bytes into messages for one destination.

    No message has a number that is a multiple of 256, and some units send zero bytes after they were switched on: a
    zero where a message should begin is no message.
    """

    def __init__(self, destination: int = HOST) -> None:
        self._destination = destination
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now.

        Raises
        ------
        InstrumentGarbled
            If the bytes are no header.
        """
        self._waiting += data
        while True:
            del self._waiting[: len(self._waiting) - len(self._waiting.lstrip(b"\x00"))]
            if len(self._waiting) < HEADER.size:
                return
            number, first, second, destination, _ = HEADER.unpack_from(self._waiting)
            length = int.from_bytes(self._waiting[2:4], "little") if destination & HAS_DATA else 0
            if destination & ~HAS_DATA != self._destination or length > LARGEST_DATA:
                problem = f"{self._waiting[: HEADER.size].hex(' ')} is no header of an APT message"
                raise InstrumentGarbled(problem)
            if len(self._waiting) < HEADER.size + length:
                return
            body = bytes(self._waiting[HEADER.size : HEADER.size + length])
            del self._waiting[: HEADER.size + length]
            yield Message(number, data=body) if length else Message(number, first, second)


def home(channel: int) -> Message:
    """Return the order to look for the zero."""
    return Message(Id.HOME, channel)


def move(channel: int, position: int) -> Message:
    """Return the order to go to a position, counts."""
    return Message(Id.MOVE_ABSOLUTE, data=CHANNEL_POSITION.pack(channel, position))


def stop(channel: int) -> Message:
    """Return the order to stop at once."""
    return Message(Id.STOP, channel, IMMEDIATE)


def enabled(channels: int) -> Message:
    """Return the order to enable these channels; the MPC320 takes a bit mask and disables all others."""
    return Message(Id.SET_ENABLED, channels, ENABLE)


def info_of(message: Message) -> Info | None:
    """Return who answers, if the message tells."""
    if message.id != Id.GET_INFO or len(message.data) != INFO.size:
        return None
    serial, model, _, firmware, *_ = INFO.unpack(message.data)
    minor, middle, major, _ = firmware.to_bytes(4, "little")
    return Info(serial, model.rstrip(b"\x00 ").decode("ascii", "replace"), f"{major}.{middle}.{minor}")


def status_of(message: Message, channel: int) -> AxisStatus | None:
    """Return the state of a channel, if the message tells, in either of its two layouts."""
    if message.id == Id.GET_USER_STATUS and len(message.data) == USER_STATUS.size:
        told, position, _, _, bits = USER_STATUS.unpack(message.data)
    elif message.id == Id.GET_STATUS and len(message.data) == STATUS.size:
        told, position, _, bits = STATUS.unpack(message.data)
    else:
        return None
    return AxisStatus(told, position, bits) if told == channel else None
