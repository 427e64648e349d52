"""An emulated TC200 with its oven, which takes its time."""

from __future__ import annotations

import re
from typing import Final

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import Finite, Positive
from qnoded_drivers.thermal import Thermal
from qnoded_drivers.thorlabs_tc200.codec import (
    MAX_C,
    MAX_LIMIT_C,
    MAX_LIMIT_W,
    MIN_C,
    MIN_LIMIT_C,
    MIN_LIMIT_W,
    TOGGLE,
    Status,
)

ORDER: Final = re.compile(r"(tset|tmax|pmax)=(\d{1,4}(?:\.\d{0,3})?)")
FACTORY_SETPOINT_C: Final = 25.0
SENSOR: Final = 0x04
"""Bits of ``stat?`` that tell a PTC100."""


class EmulatedTc200(Device):
    """A controller that keeps its settings without power, and comes back with its heater off."""

    serial = ""

    def __init__(self, *, firmware: str = "2.0", room_c: Finite = 22.0, lag_s: Positive = 60.0) -> None:
        """Make one in a room of ``room_c`` whose oven follows with ``lag_s``."""
        self._firmware = firmware
        self.oven = Thermal(room_c, room_c, lag_s)
        self.values = {"tset": FACTORY_SETPOINT_C, "tmax": MAX_LIMIT_C, "pmax": MAX_LIMIT_W}
        self.enabled = self.sensor_broken = self.cycles = False

    def switch_on(self, now_s: float) -> None:
        """Heat nothing."""
        self._heard = ""
        self.enabled = False
        self.oven.regulate(None, now_s)

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Repeat each line, answer it if it is a question, and prompt."""
        self._heard += data.decode("latin-1")
        *lines, self._heard = self._heard.split("\r")
        said = []
        for line in lines:
            command = line.strip()
            if self.busy:
                self.busy = False
                text = "CMD_ARG_RANGE_ERR\r"
            else:
                text = self._answer(command, now_s)
            said.append(f"{command}\r{text}> ".encode("latin-1"))
        self.oven.regulate(self.values["tset"] if self.enabled else None, now_s)
        return said

    def heated_c(self, now_s: float) -> float:
        """Return the temperature of what is in the oven."""
        return self.oven.now_c(now_s)

    def _answer(self, command: str, now_s: float) -> str:
        match command:
            case "":
                return ""
            case "*idn?":
                return f"THORLABS TC200 VERSION {self._firmware}\r"
            case "stat?":
                return f"{self._status():X} "
            case "tset?":
                return f"{self.values['tset']:.1f} Celsius\r"
            case "tact?":
                return f"{self.oven.now_c(now_s):.1f} Celsius\r"
            case "tmax?" | "pmax?":
                return f"{self.values[command[:-1]]:.1f}\r"
            case _ if command == TOGGLE:
                self.enabled = not self.enabled and not self.sensor_broken
                return ""
        found = ORDER.fullmatch(command)
        if found is None:
            return "Command error CMD_NOT_DEFINED\r"
        value, (least, most) = float(found[2]), self._range(found[1])
        if not least <= value <= most:
            return "Command error CMD_ARG_RANGE_ERR\r"
        self.values[found[1]] = value
        return ""

    def _range(self, name: str) -> tuple[float, float]:
        return {
            "tset": (MIN_C, min(MAX_C, self.values["tmax"])),
            "tmax": (MIN_LIMIT_C, MAX_LIMIT_C),
            "pmax": (MIN_LIMIT_W, MAX_LIMIT_W),
        }[name]

    def _status(self) -> int:
        self.enabled = self.enabled and not self.sensor_broken
        bits = Status.CELSIUS | (Status.ALARM if self.sensor_broken else 0) | (Status.CYCLES if self.cycles else 0)
        return SENSOR | bits | (Status.ENABLED if self.enabled else 0)
