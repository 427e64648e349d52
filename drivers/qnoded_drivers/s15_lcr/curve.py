"""How the retardance of a liquid-crystal cell follows the amplitude of its voltage, as somebody measured it."""

from __future__ import annotations

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator

from qnoded_drivers.s15_lcr.codec import CHANNELS, HIGHEST_V


class Cell(BaseModel):
    """One cell and what was measured of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: int = Field(ge=1, le=CHANNELS)
    axis_deg: float = Field(ge=-180.0, le=180.0)
    """Angle of its fast axis from horizontal, for people."""
    calibration: tuple[tuple[float, float], ...] = Field(min_length=2)
    """Pairs of amplitude, V, rising, and retardance, degrees, falling; between them it is linear."""

    @field_validator("calibration")
    @classmethod
    def _falls(cls, pairs: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if not all(one[0] < other[0] and one[1] > other[1] for one, other in pairwise(pairs)):
            problem = "from pair to pair the amplitude (V) must rise and the retardance (deg) fall; leave out the rest"
            raise ValueError(problem)
        if pairs[0][0] < 0.0 or pairs[-1][0] > HIGHEST_V:
            problem = f"amplitudes lie between 0 and {HIGHEST_V:g} V"
            raise ValueError(problem)
        return pairs

    @property
    def range_deg(self) -> tuple[float, float]:
        """Smallest and largest retardance."""
        return self.calibration[-1][1], self.calibration[0][1]

    def amplitude_v(self, retardance_deg: float) -> float:
        """Return the amplitude for a retardance within the calibration."""
        for (low_v, high_deg), (high_v, low_deg) in pairwise(self.calibration):
            if retardance_deg >= low_deg:
                return low_v + (high_deg - retardance_deg) / (high_deg - low_deg) * (high_v - low_v)
        return self.calibration[-1][0]

    def retardance_deg(self, amplitude_v: float, tolerance_v: float) -> float | None:
        """Return the retardance at an amplitude; None where nothing was measured."""
        for (low_v, high_deg), (high_v, low_deg) in pairwise(self.calibration):
            if low_v - tolerance_v <= amplitude_v <= high_v + tolerance_v:
                share = min(max((amplitude_v - low_v) / (high_v - low_v), 0.0), 1.0)
                return high_deg + share * (low_deg - high_deg)
        return None
