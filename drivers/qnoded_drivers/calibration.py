"""How the power of a laser diode follows its current, as somebody measured it."""

from __future__ import annotations

from itertools import pairwise
from math import log10

from pydantic import Field, field_validator

from qnoded.instruments.transport import Addressed
from qnoded.units import from_db


class DiodeSettings(Addressed):
    """A diode and what was measured of it."""

    wavelength_nm: float = Field(ge=300.0, le=3000.0)
    calibration: tuple[tuple[float, float], ...] = Field(min_length=2)
    """Pairs of current, mA, and optical power at the fibre, dBm, both rising; between them power is linear in mW."""

    @field_validator("calibration")
    @classmethod
    def _rises(cls, pairs: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if not all(0.0 < one[0] < other[0] and one[1] < other[1] for one, other in pairwise(pairs)):
            problem = "currents (mA) and powers (dBm) must both rise from pair to pair"
            raise ValueError(problem)
        return pairs

    @property
    def highest_ma(self) -> float:
        """Current that the calibration ends with: more never flows."""
        return self.calibration[-1][0]

    def current_ma(self, power_dbm: float) -> float:
        """Return the current for a power within the calibration."""
        for (low_ma, low_dbm), (high_ma, high_dbm) in pairwise(self.calibration):
            if power_dbm <= high_dbm:
                share = (from_db(power_dbm) - from_db(low_dbm)) / (from_db(high_dbm) - from_db(low_dbm))
                return low_ma + share * (high_ma - low_ma)
        return self.highest_ma

    def power_dbm(self, current_ma: float, tolerance_ma: float) -> float | None:
        """Return the power at a current; None where nothing was measured."""
        for (low_ma, low_dbm), (high_ma, high_dbm) in pairwise(self.calibration):
            if low_ma - tolerance_ma <= current_ma <= high_ma + tolerance_ma:
                share = min(max((current_ma - low_ma) / (high_ma - low_ma), 0.0), 1.0)
                return 10.0 * log10(from_db(low_dbm) + share * (from_db(high_dbm) - from_db(low_dbm)))
        return None
