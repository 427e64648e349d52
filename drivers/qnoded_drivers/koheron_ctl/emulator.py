"""An emulated CTL200 or CTL300E with a diode: echo and prompt, its protections, and what it keeps without supply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import Finite, NotNegative, Positive
from qnoded_drivers.koheron_ctl.codec import NUMBER, PROMPT, ohm_of
from qnoded_drivers.thermal import Thermal

FALLING_S: Final = 0.08
"""After it was switched off ``lason`` reads 1 for so long, as one report has it."""
VOLTAGE_LAG_S: Final = 0.15
"""Of the diode's voltage on its way down."""
LASING_V: Final = 1.4
ROOM_C: Final = 25.0
HOT_C: Final = 70.0
"""Of a diode whose cooler has failed; beyond ``rtmin``."""
LAG_S: Final = 0.5
"""Of the diode's temperature; real ones take some 25 s."""
CLIPPED_SHARE: Final = 0.55
"""Of its limit is left when a person lowers it."""
BETA_K: Final = 3600.0
NOMINAL_OHM: Final = 10_000.0
FACTORY: Final = {
    "ilaser": 0.0,
    "ilmax": 400.0,
    "lckon": 0.0,
    "tecon": 0.0,
    "tprot": 0.0,
    "rtset": NOMINAL_OHM,
    "rtmin": 5000.0,
    "rtmax": 20_000.0,
}
"""Settings of a unit into which nothing was saved, which it also has when it is supplied."""


@dataclass(frozen=True, slots=True)
class Model:
    """What differs from model to model: the bit of each error."""

    name: str
    overflow: int
    hasty: int
    too_cold: int
    too_hot: int
    unknown: int
    refused: int
    locked: int
    opened: int


MODELS: Final = {
    model.name: model
    for model in (
        Model("CTL200-0", 0, 1, 2, 3, 4, 5, 6, 7),
        # Of these only the one for a hot diode was seen; the others are made up.
        Model("CTL300E-0", 0, 1, 9, 8, 4, 5, 12, 13),
    )
}


class EmulatedKoheronCtl(Device):
    """A controller; whoever plays the person in front of it opens its interlock or warms the room."""

    def __init__(
        self,
        serial: str = "0042",
        model: Literal["CTL200-0", "CTL300E-0"] = "CTL200-0",
        *,
        firmware: str = "V0.12",
        diode_c: Finite = ROOM_C,
        lighting_s: NotNegative = 0.2,
        threshold_ma: NotNegative = 10.0,
        slope_mw_per_ma: Positive = 0.2,
    ) -> None:
        """Make one.

        Parameters
        ----------
        diode_c
            Temperature of the diode when it is made; a power cycle does not change it.
        lighting_s
            From switching on to current; one report has about a second.
        threshold_ma, slope_mw_per_ma
            Its light is in proportion to the current above the threshold.
        """
        self.serial = serial
        self.model = MODELS[model]
        self._firmware, self._lighting_s = firmware, lighting_s
        self._threshold_ma, self._slope_mw_per_ma = threshold_ma, slope_mw_per_ma
        self.diode = Thermal(diode_c, ROOM_C, LAG_S)
        self.interlock_open = self.too_hot = False
        self.saved = FACTORY | {"lason": 0.0}

    def switch_on(self, now_s: float) -> None:
        """Take the settings that were saved, which may include light."""
        self._heard = ""
        self.errors = 0
        self.settings = dict(self.saved)
        self.lit_s: float | None = None
        self.off_s = -math.inf
        if self.settings.pop("lason"):
            self.lit_s = now_s
        self._regulate(now_s)

    def greet(self) -> list[bytes]:
        """Return what comes when the port is opened."""
        return [b"\r\nKoheron\r\n" + PROMPT]

    def output_on(self, now_s: float) -> bool:
        """Return what ``lason`` says."""
        self.tick(now_s)
        return self.lit_s is not None or now_s - self.off_s < FALLING_S

    def emits(self, now_s: float) -> bool:
        """Return whether a current flows."""
        on = self.output_on(now_s)
        lighting = self.lit_s is not None and now_s - self.lit_s < self._lighting_s
        return on and not lighting and self.settings["ilaser"] > 0.0

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light."""
        current_ma = self.settings["ilaser"] if self.emits(now_s) else 0.0
        power_mw = self._slope_mw_per_ma * (current_ma - self._threshold_ma)
        return 10.0 * math.log10(power_mw) if power_mw > 0.0 else None

    def clip(self) -> None:
        """Lower its limit, and the current with it."""
        self.settings["ilmax"] *= CLIPPED_SHARE
        self.settings["ilaser"] = min(self.settings["ilaser"], self.settings["ilmax"])

    def tick(self, now_s: float) -> list[bytes]:
        """Switch off whatever is not safe; it stays off when the reason is gone."""
        if self.lit_s is not None:
            if self.settings["lckon"] and self.interlock_open:
                self._trip(self.model.opened, now_s)
            resistance_ohm = self._resistance_ohm(now_s)
            if self.settings["tprot"] and resistance_ohm < self.settings["rtmin"]:
                self._trip(self.model.too_hot, now_s)
            if self.settings["tprot"] and resistance_ohm > self.settings["rtmax"]:
                self._trip(self.model.too_cold, now_s)
        return []

    def _trip(self, error: int, now_s: float) -> None:
        self.errors |= 1 << error
        self._go_dark(now_s)

    def _go_dark(self, now_s: float) -> None:
        if self.lit_s is not None:
            self.lit_s, self.off_s = None, now_s

    def diode_c(self, now_s: float) -> float:
        """Temperature of its diode."""
        return HOT_C if self.too_hot else self.diode.now_c(now_s)

    def _resistance_ohm(self, now_s: float) -> float:
        return ohm_of(self.diode_c(now_s), NOMINAL_OHM, BETA_K)

    def _regulate(self, now_s: float) -> None:
        inverse = math.log(self.settings["rtset"] / NOMINAL_OHM) / BETA_K + 1.0 / (ROOM_C + 273.15)
        self.diode.regulate(1.0 / inverse - 273.15 if self.settings["tecon"] else None, now_s)

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer a command; what comes along with it came before its prompt, and is dropped."""
        self.tick(now_s)
        *lines, self._heard = (self._heard + data.decode("ascii", "replace")).split("\n")
        commands = [line.strip() for line in lines if line.strip()]
        if len(commands) > 1:
            self.errors |= 1 << self.model.hasty
        return [self._answer(command, now_s) for command in commands[:1]]

    def _answer(self, command: str, now_s: float) -> bytes:
        if self.busy:
            self.busy = False
            self.errors |= 1 << self.model.overflow
            return PROMPT
        return f"{command}\r\n{self._value(command, now_s)}\r\n".encode() + PROMPT

    def _value(self, command: str, now_s: float) -> str:
        match command.split():
            case ["errclr"]:
                self.errors = 0
                return "0"
            case ["lason", "0"]:
                self._go_dark(now_s)
            case ["lason", "1"]:
                self._light(now_s)
            case ["save"]:
                self.saved = self.settings | {"lason": float(self.lit_s is not None)}
                return "1"
            case [name, value] if name in self.settings and NUMBER.fullmatch(value):
                self._set(name, float(value), now_s)
        name = command.split(maxsplit=1)[0]
        shown = self._shown(now_s)
        if name not in shown:
            self.errors |= 1 << self.model.unknown
        return shown.get(name, "")

    def _light(self, now_s: float) -> None:
        if self.settings["lckon"] and self.interlock_open:
            self.errors |= 1 << self.model.locked
        elif self.lit_s is None:
            self.lit_s = now_s

    def _set(self, name: str, value: float, now_s: float) -> None:
        self.settings[name] = value
        if self.settings["ilaser"] > self.settings["ilmax"]:
            self.settings["ilaser"] = self.settings["ilmax"]
            self.errors |= 1 << self.model.refused
        self._regulate(now_s)

    def _shown(self, now_s: float) -> dict[str, str]:
        switches = {name: f"{self.settings[name]:.0f}" for name in ("lckon", "tecon", "tprot")}
        numbers = {name: f"{value:.3f}" for name, value in self.settings.items()}
        voltage_v = LASING_V if self.emits(now_s) else LASING_V * math.exp((self.off_s - now_s) / VOLTAGE_LAG_S)
        return (
            numbers
            | switches
            | {
                "model": self.model.name,
                "serial": self.serial,
                "version": self._firmware,
                "err": f"{self.errors:x}",
                "lason": f"{self.output_on(now_s):d}",
                "vlaser": f"{voltage_v:.3f}",
                "rtact": f"{self._resistance_ohm(now_s):.3f}",
            }
        )
