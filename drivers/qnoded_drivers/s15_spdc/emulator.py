"""An emulated SPDC board: two temperatures, a pump diode behind two switches, and complaints that nobody asked for."""

from __future__ import annotations

import re
from math import floor, log10
from typing import Annotated, Final

from pydantic import Field

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import Finite, NotNegative, Positive
from qnoded_drivers.s15_spdc.codec import NUMBER, Rail, Status
from qnoded_drivers.thermal import Thermal

ROOM_C: Final = 24.0
DIODE_LAG_S: Final = 0.5
CURRENT_STEP_MA: Final = 97.5 / 1024
"""Of what the current is made of: the maker's program reports 0.952 mA where 1 mA was set."""
HIGHEST_MA: Final = 97.0
CLIPPED_SHARE: Final = 0.55
"""Of its limit is left when a person lowers it."""
RANGES: Final = {
    "LLIMIT": (0.0, HIGHEST_MA),
    "HSETTEMP": (20.0, 100.0),
    "PSETTEMP": (20.0, 50.0),
    "HLOOP": (0.0, 1.0),
    "PLOOP": (0.0, 1.0),
    "POWER": (0.0, 3.0),
}
FACTORY: Final = {"LLIMIT": HIGHEST_MA, "HSETTEMP": 25.0, "PSETTEMP": 25.0, "HLOOP": 0.0, "PLOOP": 0.0, "POWER": 0.0}
COMPLAINT: Final = "Argument out of range"
TERMINATOR: Final = re.compile("[;\r\n]+")


class EmulatedS15Spdc(Device):
    """A board with crystal and diode, warm as it was left."""

    def __init__(
        self,
        serial: str = "SPDCSDR-10",
        *,
        firmware: Annotated[str, Field(pattern=r"^svn-\d{1,4}$")] = "svn-7",
        nameless: bool = False,
        crystal_c: Finite = ROOM_C,
        diode_c: Finite = ROOM_C,
        crystal_lag_s: Positive = 60.0,
        threshold_ma: NotNegative = 25.0,
        slope_mw_per_ma: Positive = 0.3,
    ) -> None:
        """Make one.

        Parameters
        ----------
        nameless
            Whether its firmware is too old to tell a serial number.
        crystal_c, diode_c
            Temperatures when it is made; a power cycle does not change them.
        crystal_lag_s
            In so long the crystal does most of the way to its temperature.
        threshold_ma, slope_mw_per_ma
            Its light is in proportion to the current above the threshold.
        """
        self.serial = serial
        self._firmware, self._nameless = firmware, nameless
        self._threshold_ma, self._slope_mw_per_ma = threshold_ma, slope_mw_per_ma
        self.crystal = Thermal(crystal_c, ROOM_C, crystal_lag_s)
        self.diode = Thermal(diode_c, ROOM_C, DIODE_LAG_S)
        self.largest_jump_ma = 0.0
        """Upwards, of the current through the diode."""

    def switch_on(self, now_s: float) -> None:
        """Forget what was not saved: everything is off."""
        self._heard = ""
        self.settings = dict(FACTORY)
        self.current_ma = 0.0
        self._on = False
        self._regulate(now_s)

    def output_on(self, now_s: float) -> bool:
        """Return whether the diode is switched on, if only without current."""
        del now_s
        return self._on

    def emits(self, now_s: float) -> bool:
        """Return whether a current flows."""
        del now_s
        return self._flowing_ma() > 0.0

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light."""
        del now_s
        power_mw = self._slope_mw_per_ma * (self._flowing_ma() - self._threshold_ma)
        return 10.0 * log10(power_mw) if power_mw > 0.0 else None

    def heated_c(self, now_s: float) -> float:
        """Return the temperature of the crystal."""
        return self.crystal.now_c(now_s)

    def _flowing_ma(self) -> float:
        return self.current_ma if self._on and int(self.settings["POWER"]) & Rail.LASER else 0.0

    def _regulate(self, now_s: float) -> None:
        supplied = int(self.settings["POWER"]) & Rail.TEMPERATURES
        self.crystal.regulate(self.settings["HSETTEMP"] if supplied and self.settings["HLOOP"] else None, now_s)
        self.diode.regulate(self.settings["PSETTEMP"] if supplied and self.settings["PLOOP"] else None, now_s)

    def clip(self) -> None:
        """Lower its limit, and the current with it."""
        self.settings["LLIMIT"] *= CLIPPED_SHARE
        self.current_ma = min(self.current_ma, self.settings["LLIMIT"])

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer questions, and complain of what is out of range."""
        *commands, self._heard = TERMINATOR.split(self._heard + data.decode("ascii", "replace"))
        before_ma = self._flowing_ma()
        said = [self._obey(command.strip(), now_s) for command in commands if command.strip()]
        self.largest_jump_ma = max(self.largest_jump_ma, self._flowing_ma() - before_ma)
        return [f"{line}\r\n".encode() for line in said if line is not None]

    def _obey(self, command: str, now_s: float) -> str | None:
        if self.busy:
            # It writes its settings, and hears nothing meanwhile.
            self.busy = False
            return None
        match command.split():
            case ["*IDN?"]:
                who = f"S-15 Instruments SPDC source driver, firmware {self._firmware}. Serial: {self.serial}"
                return f"SPDC driver, {self._firmware}" if self._nameless else who
            case ["*RST"]:
                self.switch_on(now_s)
            case ["ON" | "OFF"]:
                self._on = command == "ON"
            case ["LCURRENT", value] if NUMBER.fullmatch(value):
                if not 0.0 <= float(value) <= self.settings["LLIMIT"]:
                    return COMPLAINT
                self.current_ma = floor(float(value) / CURRENT_STEP_MA + 1e-9) * CURRENT_STEP_MA
            case [name, value] if name in RANGES and NUMBER.fullmatch(value):
                lowest, highest = RANGES[name]
                if not lowest <= float(value) <= highest:
                    return COMPLAINT
                self.settings[name] = float(value)
                self.current_ma = min(self.current_ma, self.settings["LLIMIT"])
                self._regulate(now_s)
            case [question]:
                return self._shown(now_s).get(question, "Unknown command")
            case _:
                return "Unknown command"
        return None

    def _shown(self, now_s: float) -> dict[str, str]:
        rails = int(self.settings["POWER"])
        status = (
            (Status.HEATER if self.settings["HLOOP"] else 0)
            | (Status.COOLER if self.settings["PLOOP"] else 0)
            | (Status.ON if self._on else 0)
            | (Status.TEMPERATURE_RAIL if rails & Rail.TEMPERATURES else 0)
            | (Status.LASER_RAIL if rails & Rail.LASER else 0)
        )
        switches = {f"{name}?": f"{self.settings[name]:.0f}" for name in ("HLOOP", "PLOOP", "POWER")}
        numbers = {f"{name}?": f"{self.settings[name]:.3f}" for name in ("LLIMIT", "HSETTEMP", "PSETTEMP")}
        return (
            switches
            | numbers
            | {
                "STATUS?": f"{int(status)}",
                "LCURRENT?": f"{self.current_ma:.3f}",
                "HTEMP?": f"{self.crystal.now_c(now_s):.3f}",
                "PTEMP?": f"{self.diode.now_c(now_s):.3f}",
            }
        )
