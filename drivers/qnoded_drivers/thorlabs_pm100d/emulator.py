"""An emulated PM100D with an InGaAs sensor, and its silent error queue."""

from __future__ import annotations

from typing import Final

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import NotNegative
from qnoded.units import from_db

SHORTEST_NM: Final = 800.0
LONGEST_NM: Final = 1700.0
FACTORY_NM: Final = 1310.0
HIGHEST_W: Final = 0.02
MW_PER_W: Final = 1e3
NO_ERROR: Final = '+0,"No error"'
SETS: Final = frozenset({"SENS:POW:UNIT", "SENS:POW:RANG:AUTO", "SENS:AVER:COUN"})


class EmulatedPm100d(Device):
    """A meter in light of ``power_w``."""

    def __init__(self, serial: str = "P0012345", power_w: NotNegative = 1e-4, *, firmware: str = "2.4.0") -> None:
        self.serial, self._firmware = serial, firmware
        self.power_w = power_w
        self._heard = ""
        self._wavelength_nm = FACTORY_NM
        self._errors: list[str] = []

    def switch_on(self, now_s: float) -> None:
        """Forget the settings."""
        del now_s
        self._heard, self._wavelength_nm, self._errors = "", FACTORY_NM, []

    def illuminate(self, power_dbm: float) -> None:
        """Let light of this power fall upon its sensor."""
        self.power_w = from_db(power_dbm) / MW_PER_W

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer questions; complain of anything else in the queue only."""
        del now_s
        *lines, self._heard = (self._heard + data.decode("ascii", "replace")).split("\n")
        answers = [self._obey(line.strip().upper()) for line in lines if line.strip()]
        return [f"{answer}\n".encode() for answer in answers if answer is not None]

    def _obey(self, line: str) -> str | None:
        if self.busy:
            self.busy = False
            self._errors.append('-350,"Queue overflow"')
            return None
        match line.split():
            case ["*IDN?"]:
                return f"THORLABS,PM100D,{self.serial},{self._firmware}"
            case ["SYST:ERR?"]:
                return self._errors.pop(0) if self._errors else NO_ERROR
            case ["MEAS:POW?"]:
                return f"{self.power_w:.8E}"
            case ["SENS:CORR:WAV?"]:
                return f"{self._wavelength_nm:.6E}"
            case ["SENS:CORR:WAV?", bound]:
                return f"{SHORTEST_NM if bound == 'MIN' else LONGEST_NM:.6E}"
            case ["SENS:POW:RANG?", "MAX"]:
                return f"{HIGHEST_W:.6E}"
            case ["SENS:CORR:WAV", value] if SHORTEST_NM <= float(value) <= LONGEST_NM:
                self._wavelength_nm = float(value)
            case [name, _] if name in SETS:
                pass
            case _:
                self._errors.append('-113,"Undefined header"')
        return None
