"""An emulated DD-100-MC: a motor that is deaf while it moves."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.motion import Motor
from qnoded.testing.emulation.personality import Positive

ORDER: Final = re.compile(r"A(\d{1,2}(?:\.\d{0,2})?)")
STEPS_PER_DB: Final = 200
ACCELERATION_STEPS_S2: Final = 40_000.0
LOST_DB: Final = 7.0
"""Where a unit happens to stand when it is switched on."""
DONE: Final = "Done\r\n\r\n"


class EmulatedDd100(Device):
    """A unit that has been home since it was switched on, or has not, and forgets that with its power."""

    def __init__(
        self,
        serial: str = "303699-01",
        *,
        firmware: str = "6.2a",
        highest_db: Positive = 55.0,
        homing_s: Positive = 35.0,
        speed_steps_s: Positive = 4000.0,
        homed: bool = False,
        older: bool = False,
    ) -> None:
        """Make one.

        Parameters
        ----------
        highest_db
            Its highest loss.
        homing_s
            How long it takes to come home.
        speed_steps_s
            Of its motor, at 200 steps for each decibel.
        homed
            Whether somebody has sent it home before.
        older
            Whether it writes positions in the older way.
        """
        self.serial, self._firmware, self._highest_db = serial, firmware, highest_db
        self._homing_s, self._begins_homed, self._older = homing_s, homed, older
        self.motor = Motor(LOST_DB * STEPS_PER_DB, speed_steps_s, ACCELERATION_STEPS_S2)
        self.homed = False
        self._free_s = 0.0
        self._pending = ""
        self._queued: deque[str] = deque()

    def switch_on(self, now_s: float) -> None:
        """Forget where it is, unless it is found switched on."""
        self.homed, self._begins_homed = self._begins_homed, False
        self.motor.stop(now_s)
        self._free_s, self._pending, self._heard = 0.0, "", ""
        self._queued.clear()

    def attenuation_db(self, now_s: float) -> float:
        """Return what it does to light, whether it knows or not."""
        return self.motor.position(now_s) / STEPS_PER_DB

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Take lines; what comes while it moves waits."""
        self._heard += data.decode("latin-1").replace("\n", "")
        *lines, self._heard = self._heard.split("\r")
        self._queued.extend(line.strip().upper() for line in lines if line.strip())
        return self.tick(now_s)

    def tick(self, now_s: float) -> list[bytes]:
        """Say that a move is over, and obey what has waited."""
        said = []
        while now_s >= self._free_s:
            if self._pending:
                said.append(self._pending.encode())
                self._pending = ""
            if not self._queued:
                break
            self._obey(self._queued.popleft(), now_s)
        return said

    def _obey(self, command: str, now_s: float) -> None:
        """Begin to do what is told; what it will be answered with waits for the end of the move."""
        order = ORDER.fullmatch(command)
        if self.busy:
            self.busy = False
            self._pending = "Error-6\r\n"
        elif command == "CD":
            self._pending = (
                f"DD100MC\r\nV{self._firmware}\r\nNO:{self.serial}\r\nMAX ATTEN:{self._highest_db:.2f}\r\n"
                f"OVERSHOOT:-30\r\nGEAR RATIO:485:1\r\nIL:0.00\r\nWAVELENGTH:1550\r\n{DONE}"
            )
        elif command == "D":
            self._pending = f"{self._position(now_s)}{DONE}"
        elif command == "H":
            self.motor.place(0.0)
            self.homed, self._free_s = True, now_s + self._homing_s
            self._pending = f"Diff=3\r\n{DONE}"
        elif order is not None and self.homed and float(order[1]) <= self._highest_db:
            steps = round(float(order[1]) * STEPS_PER_DB)
            began = self.motor.position(now_s)
            self.motor.go(steps, now_s)
            self._free_s = now_s + abs(steps - began) / self.motor.speed + self.motor.speed / ACCELERATION_STEPS_S2
            self._pending = f"Pos:{steps}\r\n{DONE}"
        else:
            self._pending = "Error-6\r\n" if order is not None else "Error-2\r\n"

    def _position(self, now_s: float) -> str:
        steps = round(self.motor.position(now_s))
        if self._older:
            return f"DPos:{steps}\r\nATTEN:{steps / STEPS_PER_DB if self.homed else 'unknown'}\r\n"
        shown = f"{steps / STEPS_PER_DB:.2f}(dB)" if self.homed else "unknown"
        return f"Pos:{steps}\r\nAtten:{shown}\r\n"
