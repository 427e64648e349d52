"""How a motor moves: it speeds up, cruises and slows down, and is somewhere at every moment."""

from __future__ import annotations

import math


class Motor:
    """One axis with a trapezoid of speed; positions in any unit, speeds in that unit per second."""

    def __init__(self, position: float, speed: float, acceleration: float) -> None:
        self.speed, self.acceleration = speed, acceleration
        self._from = self._to = position
        self._began_s = 0.0

    def go(self, position: float, now_s: float) -> None:
        """Begin to move from where it is."""
        self._from, self._to, self._began_s = self.position(now_s), position, now_s

    def stop(self, now_s: float) -> None:
        """Rest where it is."""
        self._from = self._to = self.position(now_s)

    def place(self, position: float) -> None:
        """Call the present position by another number, at rest."""
        self._from = self._to = position

    def moving(self, now_s: float) -> bool:
        """Whether it is still on its way."""
        return now_s - self._began_s < self._duration_s() and self._from != self._to

    def position(self, now_s: float) -> float:
        """Return where it is."""
        way = abs(self._to - self._from)
        passed_s, whole_s = now_s - self._began_s, self._duration_s()
        if passed_s >= whole_s:
            return self._to
        ramp_s = min(self.speed / self.acceleration, whole_s / 2)
        # The second half is the first one, mirrored.
        early_s = min(passed_s, whole_s - passed_s)
        gone = self.acceleration * (early_s**2 / 2 if early_s < ramp_s else ramp_s * (early_s - ramp_s / 2))
        if passed_s > whole_s / 2:
            gone = way - gone
        return self._from + math.copysign(gone, self._to - self._from)

    def _duration_s(self) -> float:
        way = abs(self._to - self._from)
        if way <= self.speed**2 / self.acceleration:
            return 2.0 * math.sqrt(way / self.acceleration)
        return way / self.speed + self.speed / self.acceleration
