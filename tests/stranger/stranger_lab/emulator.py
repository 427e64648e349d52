"""The instrument's own side of the same lines."""

from __future__ import annotations

from qnoded.testing.emulation import Device

MAX_DB = 60.0


class EmulatedVoa(Device):
    """A VOA-60."""

    def __init__(self, serial: str = "SN7") -> None:
        self.serial = serial
        self._heard = ""
        self._attenuation_db = MAX_DB

    def switch_on(self, now_s: float) -> None:
        self._heard, self._attenuation_db = "", MAX_DB

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        *lines, self._heard = (self._heard + data.decode("latin-1")).split("\n")
        return [f"{self._obey(line)}\n".encode() for line in lines]

    def _obey(self, line: str) -> str:
        if self.busy:
            self.busy = False
            return "ERR busy"
        match line.split():
            case ["*IDN?"]:
                return f"STRANGER,VOA-60,{self.serial},0.3"
            case ["ATT?"]:
                return f"{self._attenuation_db:.2f}"
            case ["ATT", value] if 0.0 <= float(value) <= MAX_DB:
                self._attenuation_db = float(value)
                return "OK"
        return "ERR"
