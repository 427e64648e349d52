"""An emulated CLD1015 or ITC4001 with a diode: its locks, its soft start, and its silent error queue."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import Final, Literal

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import Finite, NotNegative, Positive
from qnoded_drivers.thermal import Thermal
from qnoded_drivers.thorlabs_cld101x.codec import NUMBER

WINDOW_C: Final = 2.0
"""Its own protection: farther from the temperature that was set there is no current."""
ROOM_C: Final = 25.0
LAG_S: Final = 0.5
"""Of the diode's temperature; real ones take some seconds."""
FACTORY_LIMIT_A: Final = 0.2
CLIPPED_SHARE: Final = 0.55
"""Of its limit is left when a person lowers it."""
MA_PER_A: Final = 1e3
NO_ERROR: Final = '0,"No error"'
OUT_OF_RANGE: Final = '-222,"Data out of range"'
CONFLICT: Final = '-221,"Settings conflict"'
TOO_MANY: Final = '-350,"Queue overflow"'
UNKNOWN: Final = '-113,"Undefined header"'
SETS: Final = frozenset({"SOUR:FUNC:MODE", "SOUR:AM:STAT"})


@dataclass(frozen=True, slots=True)
class Model:
    """What differs from model to model."""

    name: str
    firmware: str
    clips: bool
    """Whether a current above the limit is silently set to the limit, instead of being refused."""


MODELS: Final = {
    model.name: model for model in (Model("CLD1015", "2.3.0", True), Model("ITC4001", "1.8.0/1.5.0/2.3.0", False))
}


class EmulatedCld101x(Device):
    """A controller; whoever plays the person in front of it opens its interlock, turns its key, or heats it."""

    def __init__(
        self,
        serial: str = "M01093719",
        model: Literal["CLD1015", "ITC4001"] = "CLD1015",
        *,
        diode_c: Finite = ROOM_C,
        soft_start_s: NotNegative = 0.3,
        threshold_ma: NotNegative = 30.0,
        slope_mw_per_ma: Positive = 0.2,
    ) -> None:
        """Make one.

        Parameters
        ----------
        diode_c
            Temperature of the diode when it is made; a power cycle does not change it.
        soft_start_s
            From switching on to current; real ones can be set, to a second or more.
        threshold_ma, slope_mw_per_ma
            Its light is in proportion to the current above the threshold.
        """
        self.serial = serial
        self.model = MODELS[model]
        self._soft_start_s = soft_start_s
        self._threshold_ma, self._slope_mw_per_ma = threshold_ma, slope_mw_per_ma
        self.diode = Thermal(diode_c, ROOM_C, LAG_S)
        self.interlock_open = self.key_off = self.too_hot = False

    def switch_on(self, now_s: float) -> None:
        """Forget the settings; both outputs are off."""
        self._heard = ""
        self.limit_a, self.current_a, self.set_c = FACTORY_LIMIT_A, 0.0, ROOM_C
        self.cools = False
        self.lit_s: float | None = None
        """When the diode was switched on; None while it is off."""
        self._errors: list[str] = []
        self.diode.regulate(None, now_s)

    def output_on(self, now_s: float) -> bool:
        """Return whether the diode is switched on, if only in its soft start."""
        self.tick(now_s)
        return self.lit_s is not None

    def emits(self, now_s: float) -> bool:
        """Return whether a current flows."""
        self.tick(now_s)
        return self.lit_s is not None and now_s - self.lit_s >= self._soft_start_s and self.current_a > 0.0

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light."""
        current_ma = self.current_a * MA_PER_A if self.emits(now_s) else 0.0
        power_mw = self._slope_mw_per_ma * (current_ma - self._threshold_ma)
        return 10.0 * log10(power_mw) if power_mw > 0.0 else None

    def tick(self, now_s: float) -> list[bytes]:
        """Switch off whatever is not safe; it stays off when the reason is gone."""
        if self._locked(now_s):
            self.lit_s = None
        return []

    def _locked(self, now_s: float) -> bool:
        adrift = not self.cools or abs(self.diode.now_c(now_s) - self.set_c) > WINDOW_C
        return self.interlock_open or self.key_off or self.too_hot or adrift

    def clip(self) -> None:
        """Lower its limit, and the current with it."""
        self.limit_a *= CLIPPED_SHARE
        self.current_a = min(self.current_a, self.limit_a)

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer questions; complain of anything else in the queue only."""
        self.tick(now_s)
        *lines, self._heard = (self._heard + data.decode("ascii", "replace")).split("\n")
        answers = [self._obey(line.strip().upper(), now_s) for line in lines if line.strip()]
        return [f"{answer}\n".encode() for answer in answers if answer is not None]

    def _obey(self, line: str, now_s: float) -> str | None:
        if self.busy:
            self.busy = False
            self._errors.append(TOO_MANY)
            return None
        if line == "SYST:ERR?":
            return self._errors.pop(0) if self._errors else NO_ERROR
        if line.endswith("?"):
            answer = self._answers(now_s).get(line[:-1])
            if answer is None:
                self._errors.append(UNKNOWN)
            return answer
        problem = self._set(line, now_s)
        if problem is not None:
            self._errors.append(problem)
        return None

    def _answers(self, now_s: float) -> dict[str, str]:
        flowing_a = self.current_a if self.emits(now_s) else 0.0
        return {
            "*IDN": f"Thorlabs,{self.model.name},{self.serial},{self.model.firmware}",
            "OUTP1:STAT": f"{self.output_on(now_s):d}",
            "OUTP2:STAT": f"{self.cools:d}",
            "SOUR:CURR": f"{self.current_a:.6E}",
            "SOUR:CURR:LIM:AMPL": f"{self.limit_a:.6E}",
            "SOUR2:TEMP": f"{self.set_c:.6E}",
            "MEAS:CURR": f"{flowing_a:.6E}",
            "MEAS:TEMP": f"{self.diode.now_c(now_s):.6E}",
            "OUTP:PROT:INTL:TRIP": f"{self.interlock_open:d}",
            "OUTP:PROT:KEYL:TRIP": f"{self.key_off:d}",
            "OUTP:PROT:OTEM:TRIP": f"{self.too_hot:d}",
        }

    def _set(self, line: str, now_s: float) -> str | None:
        """Obey an order; return what is wrong with it."""
        match line.split():
            case ["*CLS"]:
                self._errors.clear()
            case ["*RST"]:
                self.switch_on(now_s)
            case ["OUTP1:STAT", "0"]:
                self.lit_s = None
            case ["OUTP1:STAT", "1"]:
                if self._locked(now_s):
                    return CONFLICT
                self.lit_s = now_s if self.lit_s is None else self.lit_s
            case ["OUTP2:STAT", "0" | "1" as state]:
                self.cools = state == "1"
                self.diode.regulate(self.set_c if self.cools else None, now_s)
            case ["SOUR2:TEMP", value] if NUMBER.fullmatch(value):
                self.set_c = float(value)
                self.diode.regulate(self.set_c if self.cools else None, now_s)
            case ["SOUR:CURR:LIM:AMPL", value] if NUMBER.fullmatch(value):
                if self.lit_s is not None:
                    return CONFLICT
                self.limit_a = float(value)
            case ["SOUR:CURR", value] if NUMBER.fullmatch(value):
                if float(value) > self.limit_a and not self.model.clips:
                    return OUT_OF_RANGE
                self.current_a = min(float(value), self.limit_a)
            case [name, _] if name in SETS:
                pass
            case _:
                return UNKNOWN
        return None
