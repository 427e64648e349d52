"""An emulated DLC pro: the command line with its banner, prompt, echo, clipping and errors."""

from __future__ import annotations

import re
from math import log10
from typing import Final

from qnoded.errors import InstrumentError
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import NotNegative, Positive
from qnoded_drivers.toptica_dlc_pro.codec import Value, value_of, written

BANNER: Final = b"\r\nWelcome to DeCoF Command Line\r\n\r\n> "
REQUEST: Final = re.compile(r"\((param-ref|param-set!) '([a-z0-9:-]+)(?: (.+))?\)", re.IGNORECASE)
SETTABLE: Final = frozenset(
    {"laser1:dl:cc:enabled", "laser1:dl:cc:current-set", "laser1:dl:tc:enabled", "laser1:dl:tc:temp-set"}
)
CLIPPED: Final = "2"
CLIPPED_SHARE: Final = 0.55
"""Of its limit is left when a person lowers it."""


class EmulatedDlcPro(Device):
    """One laser head; ``parameters`` may be turned by whoever plays the person in front of it."""

    def __init__(
        self,
        serial: str = "DLC_PRO_01234",
        *,
        echo: bool = False,
        firmware: str = "2.5.3",
        warm_up_s: NotNegative = 0.05,
        clip_ma: Positive = 200.0,
        threshold_ma: NotNegative = 40.0,
        slope_mw_per_ma: Positive = 0.1,
    ) -> None:
        """Make one.

        Parameters
        ----------
        echo
            Whether it repeats each line before it answers.
        warm_up_s
            From enabling to light.
        clip_ma
            It takes no higher current.
        threshold_ma, slope_mw_per_ma
            Its light is in proportion to the current above the threshold.
        """
        self.serial = serial
        self._echo, self._firmware, self._warm_up_s, self._clip_ma = echo, firmware, warm_up_s, clip_ma
        self._threshold_ma, self._slope_mw_per_ma = threshold_ma, slope_mw_per_ma
        self._heard = b""
        self._enabled_s: float | None = None
        self.parameters: dict[str, Value] = {}

    def switch_on(self, now_s: float) -> None:
        """Forget the settings; it is dark."""
        del now_s
        self._heard, self._enabled_s = b"", None
        self.parameters = {
            "system-type": "DLC pro",
            "fw-ver": self._firmware,
            "interlock-open": False,
            "frontkey-locked": False,
            "laser1:dl:cc:enabled": False,
            "laser1:dl:cc:current-set": 0.0,
            "laser1:dl:cc:current-clip": self._clip_ma,
            "laser1:dl:tc:enabled": True,
            "laser1:dl:tc:temp-set": 22.0,
            "laser1:dl:tc:temp-act": 22.013,
        }

    def emits(self, now_s: float) -> bool:
        """Return whether there is light."""
        locked = self.interlock_open or self.parameters["frontkey-locked"]
        return self._enabled_s is not None and now_s - self._enabled_s >= self._warm_up_s and not locked

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light."""
        power_mw = self._slope_mw_per_ma * (self._current_ma(now_s) - self._threshold_ma)
        return 10.0 * log10(power_mw) if power_mw > 0.0 else None

    @property
    def interlock_open(self) -> bool:
        """Whether its interlock is open; it gives light again once it is closed."""
        return self.parameters.get("interlock-open") is True

    @interlock_open.setter
    def interlock_open(self, is_open: bool) -> None:
        self.parameters["interlock-open"] = is_open

    def clip(self) -> None:
        """Lower its limit, and the current with it."""
        limit_ma = CLIPPED_SHARE * self._clip_ma
        self.parameters["laser1:dl:cc:current-clip"] = limit_ma
        self.parameters["laser1:dl:cc:current-set"] = min(float(self.parameters["laser1:dl:cc:current-set"]), limit_ma)

    def greet(self) -> list[bytes]:
        """Return what it says to a new connection."""
        return [BANNER]

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer every line."""
        self._heard += data
        said = []
        while b"\n" in self._heard:
            line, _, self._heard = self._heard.partition(b"\n")
            text = line.decode("utf-8", "replace").strip()
            if text:
                echo = f"{text}\r\n" if self._echo else ""
                said.append(f"{echo}{self._answer(text, now_s)}\r\n> ".encode())
        return said

    def _answer(self, text: str, now_s: float) -> str:
        if self.busy:
            self.busy = False
            return "Error: -3 device busy"
        request = REQUEST.fullmatch(text)
        if request is None:
            return "Error: -1 invalid request"
        name, value = request[2].lower(), request[3]
        values = self.parameters | {
            "serial-number": self.serial,
            "laser1:dl:cc:emission": self.emits(now_s),
            "laser1:dl:cc:current-act": self._current_ma(now_s),
        }
        if name not in values:
            return "Error: -2 unknown parameter"
        if request[1] == "param-ref":
            return written(values[name])
        if name not in SETTABLE or value is None:
            return "Error: -11 not settable"
        return self._set(name, value, now_s)

    def _set(self, name: str, text: str, now_s: float) -> str:
        try:
            value = value_of(text, b"")
        except InstrumentError:
            return "Error: -1 bad argument"
        clip_ma = self.parameters["laser1:dl:cc:current-clip"]
        if name == "laser1:dl:cc:current-set" and isinstance(value, float) and isinstance(clip_ma, float):
            self.parameters[name] = min(value, clip_ma)
            return CLIPPED if value > clip_ma else "0"
        if name == "laser1:dl:cc:enabled":
            self._enabled_s = (now_s if self._enabled_s is None else self._enabled_s) if value is True else None
        self.parameters[name] = value
        return "0"

    def _current_ma(self, now_s: float) -> float:
        current_ma = self.parameters["laser1:dl:cc:current-set"]
        assert isinstance(current_ma, float)
        return current_ma if self.emits(now_s) else 0.0
