"""The clock map: bob's tags to link time, piecewise linear, exact to the picosecond."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.clock_mapping import carry_to_link
from qnoded.records import F64, I64, ClockModel, frozen

STEEPEST: Final = 0.01
"""Largest slope that is a clock, far worse than the worst quartz; below 1 no tag overtakes another."""


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Bob's clock against alice's over one stretch of time, as a line through knots.

    The offset at a knot is ``offset_ps + fraction_ps``. Between knots the line is straight; outside the
    first and last segment go on. Tags are never reordered.
    """

    knots_link_ps: I64
    """int64[k], ps of link time (alice's clock), strictly ascending, k >= 2."""
    offset_ps: I64
    """int64[k], ps, whole part of bob's reading minus alice's at each knot."""
    fraction_ps: F64
    """float64[k], ps, the rest of it."""
    sigma_ps: F64
    """float64[k], ps, standard deviation of the offset at each knot."""
    clock: ClockModel
    """The straight line that holds at the start of the stretch, for people and for the next search."""
    slope: F64 = field(init=False)
    """float64[k - 1], change of the offset per picosecond of link time."""

    def __post_init__(self) -> None:
        span_ps = np.diff(self.knots_link_ps)
        if self.knots_link_ps.size < 2 or span_ps.min() <= 0:
            problem = "a clock map needs two knots or more in strictly ascending order"
            raise UsageError(problem)
        slope = (np.diff(self.offset_ps) + np.diff(self.fraction_ps)) / span_ps
        if np.abs(slope).max() > STEEPEST:
            problem = f"a clock map with a slope of {np.abs(slope).max():.3g} is no clock; acquire the clock again"
            raise UsageError(problem)
        object.__setattr__(self, "slope", slope)
        for array in (self.knots_link_ps, self.offset_ps, self.fraction_ps, self.sigma_ps, slope):
            frozen(array)

    @classmethod
    def straight(cls, clock: ClockModel, start_ps: int, stop_ps: int) -> ClockMap:
        """Return the map of a clock that is known as one line.

        Parameters
        ----------
        clock : the line
        start_ps, stop_ps : ps of link time, the stretch that it is made for; it holds outside as well
        """
        knots = np.array([start_ps, max(stop_ps, start_ps + 1)], np.int64)
        run = [clock.frequency_error * (int(knot) - clock.reference_ps) for knot in knots]
        offset_ps = np.array([clock.offset_ps + int(np.floor(ps)) for ps in run], np.int64)
        fraction_ps = np.array([ps - np.floor(ps) for ps in run])
        sigma_ps = np.array([clock.moved_to(int(knot)).offset_sigma_ps for knot in knots])
        return cls(knots, offset_ps, fraction_ps, sigma_ps, clock.moved_to(start_ps))

    def model(self) -> ClockModel:
        """Return the straight line that holds at the start of the stretch."""
        return self.clock

    def to_link(self, bob_ps: I64, out: I64 | None = None) -> I64:
        """Return bob's tags in link time.

        Parameters
        ----------
        bob_ps : int64[n], ps of bob's clock, ascending
        out : int64[n], filled and returned where given

        Returns
        -------
        int64[n], ps of link time, ascending; equal tags stay equal
        """
        link_ps = np.empty_like(bob_ps) if out is None else out
        if link_ps.size != bob_ps.size:
            problem = f"an output of {link_ps.size} places cannot take {bob_ps.size} tags; give one place per tag"
            raise UsageError(problem)
        knots_bob_ps = self.knots_link_ps + self.offset_ps
        # Slope s in alice's time is s / (1 + s) in bob's; a knot lies its fraction later than its whole ps.
        slope = self.slope / (1.0 + self.slope)
        fraction_ps = self.fraction_ps * (1.0 - np.append(slope, slope[-1]))
        carry_to_link(bob_ps, knots_bob_ps, self.offset_ps, fraction_ps, slope, link_ps)
        return link_ps

    def offset_at(self, link_ps: I64) -> I64:
        """Return bob's reading minus alice's at moments of link time.

        Parameters
        ----------
        link_ps : int64[n], ps, in any order

        Returns
        -------
        int64[n], ps, rounded to the nearest
        """
        segment = np.clip(np.searchsorted(self.knots_link_ps, link_ps, "right") - 1, 0, self.slope.size - 1)
        run = self.slope[segment] * (link_ps - self.knots_link_ps[segment]) + self.fraction_ps[segment]
        return np.asarray(self.offset_ps[segment] + np.floor(run + 0.5).astype(np.int64), np.int64)
