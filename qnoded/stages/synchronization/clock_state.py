"""What the tracking knows of bob's clock from one epoch to the next."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from qnoded.kernels.tracking import STATE, predict
from qnoded.records import F64, ClockModel
from qnoded.units import PS_PER_S

FREQUENCY_FLOOR: Final = 5e-9
"""No frequency from an acquisition is believed better than this: over the tenth of a second from which a bright link is
acquired, the mean frequency of two quartz oscillators (white FM of 1e-9 at 1 s each) is that far from the later one."""
UNKNOWN_FREQUENCY_SIGMA: Final = FREQUENCY_FLOOR
"""Taken where a clock model gives no error."""
FIRST_WHITE_FM: Final = 1e-9
"""White FM assumed until measured, Allan deviation at 1 s: the quartz oscillator (TCXO) of a time tagger."""
FIRST_RANDOM_WALK_FM: Final = 1e-10
"""Random-walk FM assumed until measured, Allan deviation at 1 s: the same oscillator."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """Phase and frequency of bob's clock, their covariance, noise levels, and what a good lock looks like.

    Only numbers: ``as_dict`` and ``from_dict`` carry it through JSON, bit for bit.
    """

    reference_ps: int
    """Moment of alice's clock at which all of it holds, ps."""
    offset_ps: int
    """Whole part of bob's reading minus alice's at the reference, ps."""
    fraction_ps: float
    """The rest of it, ps, in [0, 1)."""
    frequency_error: float
    """Bob's clock rate over alice's, minus 1."""
    phase_variance_ps2: float
    """Variance of the offset, ps^2."""
    phase_frequency_covariance_ps: float
    """Covariance of offset and frequency error, ps."""
    frequency_variance: float
    """Variance of the frequency error, a pure number."""
    white_fm: float
    """White FM between the two clocks, Allan deviation at 1 s."""
    random_walk_fm: float
    """Random-walk FM between the two clocks, Allan deviation at 1 s."""
    peak_sigma_ps: float
    """Standard deviation of the coincidence peak, ps."""
    pair_rate_hz: float
    """Pairs per second while the lock was good."""
    singles_hz: tuple[float, float] = (0.0, 0.0)
    """Clicks per second of alice and of bob while the lock was good; 0 while unknown."""
    last_seen_ps: int | None = None
    """Moment of alice's clock at which pairs last gave a phase, ps; None before the first."""
    peakless_epochs: int = 0
    """Epochs in a row with clicks on both sides but no peak."""
    evidence: tuple[float, ...] = ()
    """Fading log-likelihood of each noise level on the grid of ``noise``; empty before the first epoch."""

    @property
    def clock(self) -> ClockModel:
        """The straight line that holds at the reference, for people and for a new search."""
        return ClockModel(
            self.reference_ps,
            self.offset_ps + round(self.fraction_ps),
            self.frequency_error,
            math.sqrt(self.phase_variance_ps2),
            math.sqrt(self.frequency_variance),
        )

    def vector(self) -> F64:
        """Return the five numbers of the filter, phase zero: float64[5] in ps and ps/s."""
        return np.array(
            [
                0.0,
                0.0,
                self.phase_variance_ps2,
                self.phase_frequency_covariance_ps * PS_PER_S,
                self.frequency_variance * float(PS_PER_S) ** 2,
            ]
        )

    def densities(self) -> tuple[float, float]:
        """Return the levels of white and random-walk FM as the filter wants them, ps^2/s and (ps/s)^2/s."""
        return white_density(self.white_fm), walk_density(self.random_walk_fm)

    def line_at(self, alice_ps: int, phase_ps: float = 0.0) -> tuple[int, float]:
        """Return the offset at a moment of alice's clock, plus a phase, as whole ps and fraction."""
        run_ps = self.fraction_ps + self.frequency_error * (alice_ps - self.reference_ps) + phase_ps
        whole = math.floor(run_ps)
        return self.offset_ps + whole, run_ps - whole

    def moved_to(self, alice_ps: int) -> ClockState:
        """Return the state predicted for a later moment of alice's clock: same line, larger uncertainty."""
        vector = self.vector()
        # Backwards the line holds as well; the uncertainty then grows like forwards.
        predict(vector, abs(alice_ps - self.reference_ps) / PS_PER_S, *self.densities())
        return self.replaced(alice_ps, vector)

    def replaced(self, alice_ps: int, vector: F64, **changes: Any) -> ClockState:
        """Return the state at a moment of alice's clock from five numbers relative to this line."""
        assert vector.size == STATE
        offset_ps, fraction_ps = self.line_at(alice_ps, float(vector[0]))
        values = {name: getattr(self, name) for name in self.__slots__}
        values |= {
            "reference_ps": alice_ps,
            "offset_ps": offset_ps,
            "fraction_ps": fraction_ps,
            "frequency_error": self.frequency_error + float(vector[1]) / PS_PER_S,
            "phase_variance_ps2": float(vector[2]),
            "phase_frequency_covariance_ps": float(vector[3]) / PS_PER_S,
            "frequency_variance": float(vector[4]) / float(PS_PER_S) ** 2,
        }
        return ClockState(**(values | changes))

    def reacquired(self, clock: ClockModel) -> ClockState:
        """Return the state from which tracking begins anew, with all that was learnt but the clock itself."""
        begun = start(clock, self.peak_sigma_ps, self.pair_rate_hz)
        return replace(
            begun,
            white_fm=self.white_fm,
            random_walk_fm=self.random_walk_fm,
            evidence=self.evidence,
            singles_hz=self.singles_hz,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClockState:
        """Return the state that ``as_dict`` wrote."""
        return cls(**(values | {"singles_hz": tuple(values["singles_hz"])} | {"evidence": tuple(values["evidence"])}))


def white_density(allan_1s: float) -> float:
    """Return the variance that white FM of an Allan deviation at 1 s adds to the phase, ps^2 per second."""
    return (allan_1s * PS_PER_S) ** 2


def walk_density(allan_1s: float) -> float:
    """Return what random-walk FM adds to the variance of the frequency, (ps/s)^2 per second: 3 Allan^2."""
    return 3.0 * (allan_1s * PS_PER_S) ** 2


def start(clock: ClockModel, peak_sigma_ps: float, pair_rate_hz: float) -> ClockState:
    """Return the state from which tracking begins after an acquisition.

    Parameters
    ----------
    clock
        The acquired line; standard deviations of 0 are unknown and taken as the peak's and 1e-9.
    peak_sigma_ps
        Standard deviation of the coincidence peak, ps; a factor of 3 wrong heals within some epochs.
    pair_rate_hz
        Pairs per second, roughly.
    """
    phase_sigma_ps = clock.offset_sigma_ps or peak_sigma_ps
    frequency_sigma = max(clock.frequency_sigma or UNKNOWN_FREQUENCY_SIGMA, FREQUENCY_FLOOR)
    return ClockState(
        reference_ps=clock.reference_ps,
        offset_ps=clock.offset_ps,
        fraction_ps=0.0,
        frequency_error=clock.frequency_error,
        phase_variance_ps2=max(phase_sigma_ps, 1.0) ** 2,
        phase_frequency_covariance_ps=0.0,
        frequency_variance=frequency_sigma**2,
        white_fm=FIRST_WHITE_FM,
        random_walk_fm=FIRST_RANDOM_WALK_FM,
        peak_sigma_ps=peak_sigma_ps,
        pair_rate_hz=pair_rate_hz,
    )
