"""An emulated Elliptec bus with rotation mounts on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.motion import Motor
from qnoded.testing.emulation.personality import Finite, Positive, SerialDigits, matching
from qnoded_drivers.elliptec_ell14.codec import Status, signed, signed_digits

DIGITS: Final = {"in": 0, "gs": 0, "gp": 0, "st": 0, "ho": 1, "ma": 8, "mr": 8}
"""Orders with the number of digits that follow."""
RAMP_DEG_S2: Final = 8000.0
STOPPING_S: Final = 2.5
"""After so long a motor stops by itself."""
FORGETTING_S: Final = 0.1
"""An order that is not complete by then is forgotten."""
TURN_DEG: Final = 360.0


@dataclass(slots=True)
class EmulatedMount:
    """One mount, in pulses that it counts from where it was switched on until it has found its zero."""

    address: str
    number: int
    """From 0, to tell the serial numbers of one bus apart."""
    pulses_per_turn: int
    motor: Motor
    zero: float
    """Where its zero is, as it counts."""
    began_s: float = 0.0
    under_way: str = ""
    """Order that it carries out."""
    status: Status = Status.OK
    """Last error, until it is asked."""


class EmulatedEll14(Device):
    """A bus of mounts of two generations, in turn."""

    def __init__(
        self,
        addresses: Annotated[str, matching("[0-9A-F]{1,16}", "1 to 16 of the digits 0 to F")] = "0",
        serial: SerialDigits = "11400123",
        *,
        speed_deg_s: Positive = 430.0,
        unhomed_deg: Finite = 30.0,
        retardances_deg: Annotated[tuple[Finite, ...], Field(min_length=1)] = (180.0,),
    ) -> None:
        """Make one.

        Parameters
        ----------
        addresses
            Of its mounts, in the order in which light passes them.
        serial
            Of the first mount; the others count on.
        unhomed_deg
            How far from their zeros its mounts stand when it is switched on.
        retardances_deg
            Of the plates in the mounts; the last one's is that of all that follow.
        """
        self.serial = serial
        self._addresses = addresses
        self._speed_deg_s, self._unhomed_deg = speed_deg_s, unhomed_deg
        self._retardances_deg = retardances_deg
        self._heard = ""
        self._heard_s = 0.0
        self.mounts: dict[str, EmulatedMount] = {}

    def switch_on(self, now_s: float) -> None:
        """Forget the zeros."""
        del now_s
        self._heard = ""
        self.mounts = {}
        for number, address in enumerate(self._addresses):
            pulses = (143_360, 262_144)[number % 2]
            scale = pulses / TURN_DEG
            motor = Motor(0.0, self._speed_deg_s * scale, RAMP_DEG_S2 * scale)
            self.mounts[address] = EmulatedMount(address, number, pulses, motor, -self._unhomed_deg * scale)

    def retarders(self, now_s: float) -> tuple[Retarder, ...]:
        """Return the plates."""
        last = len(self._retardances_deg) - 1
        return tuple(
            Retarder(
                (mount.motor.position(now_s) - mount.zero) / mount.pulses_per_turn * TURN_DEG,
                self._retardances_deg[min(mount.number, last)],
            )
            for mount in self.mounts.values()
        )

    def serial_of(self, mount: EmulatedMount) -> str:
        """Return the serial number of a mount."""
        return f"{(int(self.serial) + mount.number) % 10**8:08d}"

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Obey orders as soon as they are complete."""
        if now_s - self._heard_s > FORGETTING_S:
            self._heard = ""
        self._heard_s = now_s
        self._heard += data.decode("ascii", "replace").strip("\r\n\0")
        said: list[str] = []
        while len(self._heard) >= len("0in"):
            address, code = self._heard[0], self._heard[1:3]
            length = len("0in") + DIGITS.get(code, 0)
            if len(self._heard) < length:
                break
            digits, self._heard = self._heard[len("0in") : length], self._heard[length:]
            if code not in DIGITS:
                self._heard = ""
            if address in self.mounts:
                said += self._obey(self.mounts[address], code, digits, now_s)
        return [f"{line}\r\n".encode() for line in said]

    def _obey(self, mount: EmulatedMount, code: str, digits: str, now_s: float) -> list[str]:
        if self.busy or (mount.under_way and code not in ("gs", "st")):
            self.busy = False
            return [_told(mount, Status.BUSY)]
        match code:
            case "in":
                return [f"{mount.address}IN0E{self.serial_of(mount)}20211781{360:04X}{mount.pulses_per_turn:08X}"]
            case "gs":
                status, mount.status = Status.BUSY if mount.under_way else mount.status, Status.OK
                return [_told(mount, status)]
            case "gp":
                return [self._position(mount, now_s)]
            case "ho":
                self._go(mount, code, mount.zero, now_s)
            case "ma":
                self._go(mount, code, signed(digits), now_s)
            case "mr":
                self._go(mount, code, mount.motor.position(now_s) + signed(digits), now_s)
            case "st":
                mount.motor.stop(now_s)
                mount.under_way = ""
                return [_told(mount, Status.OK)]
            case _:
                return [_told(mount, Status.COMMAND_ERROR)]
        return []

    def tick(self, now_s: float) -> list[bytes]:
        """Move, and say what has been reached."""
        said = []
        for mount in self.mounts.values():
            if not mount.under_way:
                continue
            if now_s - mount.began_s > STOPPING_S:
                mount.motor.stop(now_s)
                mount.status, mount.under_way = Status.MECHANICAL_TIMEOUT, ""
                said.append(_told(mount, Status.MECHANICAL_TIMEOUT))
            elif not mount.motor.moving(now_s):
                if mount.under_way == "ho":
                    mount.motor.place(0.0)
                    mount.zero = 0.0
                mount.under_way = ""
                said.append(self._position(mount, now_s))
        return [f"{line}\r\n".encode() for line in said]

    def _go(self, mount: EmulatedMount, code: str, position: float, now_s: float) -> None:
        mount.motor.go(position, now_s)
        mount.began_s, mount.under_way = now_s, code

    @staticmethod
    def _position(mount: EmulatedMount, now_s: float) -> str:
        return f"{mount.address}PO{signed_digits(round(mount.motor.position(now_s)))}"


def _told(mount: EmulatedMount, status: Status) -> str:
    return f"{mount.address}GS{status:02X}"
