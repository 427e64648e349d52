"""The far side of APT: units with motors that find their zero, move one after the other or at once, and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from qnoded.errors import InstrumentGarbled
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.motion import Motor
from qnoded.testing.emulation.personality import matching
from qnoded_drivers.thorlabs_apt.codec import (
    CHANNEL_POSITION,
    HOST,
    INFO,
    STATUS,
    UNIT,
    USER_STATUS,
    Bits,
    Id,
    Message,
    MessageDecoder,
    encode,
)

REPORTING_S: Final = 0.1
"""Between two reports after START_UPDATES."""
TYPE: Final = 16
Firmware = Annotated[str, matching(r"[0-9]{1,2}(\.[0-9]{1,2}){2}", 'three numbers such as "1.0.3"')]


@dataclass(slots=True)
class EmulatedAxis:
    """One motor."""

    channel: int
    motor: Motor
    """In counts."""
    zero: float = 0.0
    """Where its zero is, as it counts: from anywhere until it has found it."""
    homed: bool = False
    enabled: bool = False
    order: tuple[Id, int] | None = None
    """What it was told last, with the position, and has not begun."""
    under_way: Id | None = None
    """What it does now."""


class AptDevice(Device):
    """A unit with motors; subclasses say how many, how fast and with which quirks."""

    model: str
    completed_has_status: bool
    """Whether MOVE_COMPLETED and STOPPED bring 14 bytes of status along."""
    one_at_a_time: bool
    """Whether a motor waits until the others rest."""

    def __init__(self, serial: str, firmware: str, unhomed_deg: float) -> None:
        """Make one whose motors stand ``unhomed_deg`` from their zeros when it is switched on."""
        self.serial = serial
        self._firmware = int.from_bytes(bytes(int(part) for part in firmware.split(".")), "big")
        self._unhomed_deg = unhomed_deg
        self.axes: list[EmulatedAxis] = []
        self._decoder = MessageDecoder(UNIT)
        self._report_s: float | None = None

    def fresh_axes(self) -> list[EmulatedAxis]:
        """Return the axes as they are after switching on: called zero wherever they stand."""
        raise NotImplementedError

    def enable(self, channels: int, now_s: float) -> None:
        """Enable motors."""
        raise NotImplementedError

    def settings(self, message: Message) -> list[Message]:
        """Take or give settings that only this model has."""
        raise NotImplementedError

    def switch_on(self, now_s: float) -> None:
        """Forget the zero, the orders and the settings."""
        del now_s
        self._decoder = MessageDecoder(UNIT)
        self._report_s = None
        self.axes = self.fresh_axes()
        for axis in self.axes:
            axis.zero = -self._unhomed_deg * self.counts_per_deg

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Obey messages."""
        said: list[Message] = []
        try:
            for message in self._decoder.feed(data):
                if self.busy:
                    # There is no word for it in this protocol: it does not listen.
                    self.busy = False
                else:
                    said += self._obey(message, now_s)
        except InstrumentGarbled:
            self._decoder = MessageDecoder(UNIT)
        return [encode(message, HOST, UNIT) for message in said]

    def _obey(self, message: Message, now_s: float) -> list[Message]:
        match message.id:
            case Id.REQ_INFO:
                return [self._info()]
            case Id.REQ_STATUS | Id.REQ_USER_STATUS:
                user = message.id == Id.REQ_USER_STATUS
                return [self._status(axis, now_s, user=user) for axis in self._at(message.first)]
            case Id.SET_ENABLED:
                self.enable(message.first, now_s)
            case Id.HOME:
                for axis in self._at(message.first):
                    axis.order = Id.HOME, 0
            case Id.MOVE_ABSOLUTE if len(message.data) == CHANNEL_POSITION.size:
                channel, position = CHANNEL_POSITION.unpack(message.data)
                for axis in self._at(channel):
                    axis.order = Id.MOVE_ABSOLUTE, position
            case Id.STOP:
                return [told for axis in self._at(message.first) for told in self._stop(axis, now_s)]
            case Id.START_UPDATES:
                self._report_s = now_s
            case Id.STOP_UPDATES:
                self._report_s = None
            case _:
                return self.settings(message)
        return []

    def tick(self, now_s: float) -> list[bytes]:
        """Move, and say what has been reached."""
        there = [axis for axis in self.axes if axis.under_way is not None and not axis.motor.moving(now_s)]
        said = [self._arrived(axis, now_s) for axis in there]
        for axis in self.axes:
            busy = any(one.under_way is not None for one in self.axes)
            if axis.order is not None and axis.enabled and not (self.one_at_a_time and busy):
                (axis.under_way, position), axis.order = axis.order, None
                axis.homed = axis.homed and axis.under_way is not Id.HOME
                axis.motor.go(axis.zero if axis.under_way is Id.HOME else position, now_s)
        if self._report_s is not None and now_s >= self._report_s:
            self._report_s = now_s + REPORTING_S
            said += [self._status(axis, now_s, user=True) for axis in self.axes]
        return [encode(message, HOST, UNIT) for message in said]

    def _arrived(self, axis: EmulatedAxis, now_s: float) -> Message:
        done, axis.under_way = axis.under_way, None
        if done is Id.HOME:
            axis.homed = True
            axis.motor.place(0.0)
            axis.zero = 0.0
            return Message(Id.HOMED, axis.channel)
        return self._over(Id.MOVE_COMPLETED, axis, now_s)

    def _stop(self, axis: EmulatedAxis, now_s: float) -> list[Message]:
        moved = axis.under_way is not None
        axis.order = axis.under_way = None
        axis.motor.stop(now_s)
        return [self._over(Id.STOPPED, axis, now_s)] if moved else []

    def _over(self, number: Id, axis: EmulatedAxis, now_s: float) -> Message:
        if self.completed_has_status:
            return Message(number, data=self._status(axis, now_s, user=True).data)
        return Message(number, axis.channel)

    def angle_deg(self, axis: EmulatedAxis, now_s: float) -> float:
        """Return where a motor really stands, whatever it counts from."""
        return (axis.motor.position(now_s) - axis.zero) / self.counts_per_deg

    @property
    def counts_per_deg(self) -> float:
        """Return the scale of the motors."""
        raise NotImplementedError

    def _at(self, channel: int) -> list[EmulatedAxis]:
        return [axis for axis in self.axes if axis.channel == channel]

    def _info(self) -> Message:
        name = self.model.encode().ljust(8, b"\x00")
        return Message(
            Id.GET_INFO, data=INFO.pack(int(self.serial), name, TYPE, self._firmware, b"", 1, 0, len(self.axes))
        )

    def _status(self, axis: EmulatedAxis, now_s: float, *, user: bool) -> Message:
        bits = Bits.CONNECTED | (Bits.ENABLED if axis.enabled else 0) | (Bits.HOMED if axis.homed else 0)
        if axis.under_way is Id.HOME:
            bits |= Bits.HOMING
        if axis.under_way is not None:
            bits |= Bits.MOVING_FORWARD
        position = round(axis.motor.position(now_s))
        if user:
            data = USER_STATUS.pack(axis.channel, position, 0, 0, bits)
        else:
            data = STATUS.pack(axis.channel, position, 0, bits)
        return Message(Id.GET_USER_STATUS if user else Id.GET_STATUS, data=data)
