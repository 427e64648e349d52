"""A body that is heated or cooled, for emulated instruments: it follows its target as a capacitor is charged."""

from __future__ import annotations

import math


class Thermal:
    """One temperature, degrees Celsius; it outlives a power cycle, as what is warm stays warm."""

    def __init__(self, begin_c: float, ambient_c: float, lag_s: float) -> None:
        self.ambient_c, self._lag_s = ambient_c, lag_s
        self._from_c = self._target_c = begin_c
        self._began_s = 0.0

    def regulate(self, target_c: float | None, now_s: float) -> None:
        """Go to a temperature, or to that of the room."""
        target_c = self.ambient_c if target_c is None else target_c
        if target_c != self._target_c:
            self._from_c, self._target_c, self._began_s = self.now_c(now_s), target_c, now_s

    def now_c(self, now_s: float) -> float:
        """Return the temperature."""
        return self._target_c + (self._from_c - self._target_c) * math.exp((self._began_s - now_s) / self._lag_s)
