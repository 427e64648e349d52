"""What is kept of all epochs: sums, a bounded number of stretches for curves in time, and a sample of differences.

A week has a million epochs. Sums take no room; neighbouring stretches are put together when there are too many, and the
sample is thinned, so that memory does not depend on the length of the recording.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from qnoded.analysis.epochs import DIFFERENCE_PAIRS, EpochResult
from qnoded.records import I64, ClockModel
from qnoded.stages.differences import TimeDifferences, gathered
from qnoded.stages.tagging import MultiClicks
from qnoded.units import seconds

MOST_STRETCHES: Final = 4096
"""Points of a curve in time: more than any screen shows. Beyond, each two neighbours become one."""
DIFFERENCES_KEPT: Final = 2**20
"""Time differences kept in all, 10 MB: plots and the window recommendation want no more."""
STEPS_KEPT: Final = 1024
"""Steps of the clock that are listed one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One epoch, or some that follow each other, for curves in time."""

    start_ps: int
    """Alice's clock."""
    stop_ps: int
    live_ps: int
    """Time that was measured."""
    pairs: I64
    """int64[n, m], all pairs of clicks within the window."""
    clock: ClockModel
    """Bob's clock: its offset at the start, its mean frequency error while it was followed."""
    residual_rms_ps: float
    """Scatter of the slots about the tracked clock; NaN where nothing was tracked."""
    phase_sigma_ps: float
    """Uncertainty of the tracked clock, rms; NaN where nothing was tracked."""

    @property
    def tracked(self) -> bool:
        """Whether a clock was followed through it."""
        return math.isfinite(self.phase_sigma_ps)


@dataclass(slots=True)
class Totals:
    """Takes one epoch after the other."""

    shape: tuple[int, int]
    """Detectors of alice and of bob."""
    pairs: I64 = field(init=False)
    """int64[shape], all pairs of clicks within the window."""
    displaced: I64 = field(init=False)
    """int64[shape], all pairs in the displaced windows, summed."""
    alice_clicks: I64 = field(init=False)
    """int64[n], clicks per detector after dead times."""
    bob_clicks: I64 = field(init=False)
    multi_clicks: tuple[MultiClicks, MultiClicks] = (MultiClicks(), MultiClicks())
    steps: int = 0
    """Epochs that were measured; where pairs are few, steps of several epochs."""
    tracked: int = 0
    """Of them with a tracked clock."""
    live_ps: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    clock_steps: list[tuple[int, int]] = field(default_factory=list)
    """Moments of alice's clock and steps of bob's, ps; the first of them."""
    _line: ClockModel | None = None
    """Bob's clock in the epoch before."""
    _epochs_each: int = 1
    """Epochs of a full stretch."""
    _in_last: int = 0
    """Epochs of the last stretch."""
    _samples: list[TimeDifferences] = field(default_factory=list)
    _sampled: int = 0
    _one_in: int = 1
    """Of so many epochs one is sampled."""

    def __post_init__(self) -> None:
        self.pairs, self.displaced = np.zeros(self.shape, np.int64), np.zeros(self.shape, np.int64)
        self.alice_clicks, self.bob_clicks = (np.zeros(detectors, np.int64) for detectors in self.shape)

    @property
    def duration_s(self) -> float:
        """Time that was measured, gaps taken off."""
        return seconds(self.live_ps)

    @property
    def differences(self) -> TimeDifferences:
        """A sample of the time differences, spread evenly over the epochs."""
        return gathered(self._samples)

    @property
    def difference_pairs(self) -> int:
        """How many time differences of the next epoch are wanted."""
        return 0 if self.steps % self._one_in else DIFFERENCE_PAIRS

    def add(self, epoch: EpochResult) -> None:
        """Take an epoch into the sums."""
        self.pairs += epoch.pairs
        self.displaced += epoch.displaced
        self.alice_clicks += epoch.alice_clicks
        self.bob_clicks += epoch.bob_clicks
        alice, bob = self.multi_clicks
        self.multi_clicks = alice + epoch.multi_clicks[0], bob + epoch.multi_clicks[1]
        self.live_ps += epoch.live_ps
        self.tracked += epoch.tracking is not None
        if epoch.stepped and self._line is not None and len(self.clock_steps) < STEPS_KEPT:
            step_ps = epoch.clock.offset_ps - self._line.offset_at(epoch.start_ps)
            self.clock_steps.append((epoch.start_ps, step_ps))
        self._line = epoch.clock
        self._sample(epoch.differences)
        self._append(epoch)
        self.steps += 1

    def _sample(self, differences: TimeDifferences) -> None:
        if not self.difference_pairs:
            return
        self._samples.append(differences)
        self._sampled += len(differences)
        while self._sampled > DIFFERENCES_KEPT and len(self._samples) > 1:
            self._samples = self._samples[::2]
            self._sampled = sum(map(len, self._samples))
            self._one_in *= 2

    def _append(self, epoch: EpochResult) -> None:
        report = epoch.tracking
        stretch = Stretch(
            epoch.start_ps,
            epoch.stop_ps,
            epoch.live_ps,
            epoch.pairs,
            epoch.clock,
            math.nan if report is None else report.residual_rms_ps,
            math.nan if report is None else report.phase_sigma_ps,
        )
        if 0 < self._in_last < self._epochs_each:
            self.stretches[-1] = _together(self.stretches[-1], stretch)
            self._in_last += 1
            return
        if len(self.stretches) == MOST_STRETCHES:
            self.stretches = [_together(*two) for two in zip(self.stretches[::2], self.stretches[1::2], strict=True)]
            self._epochs_each *= 2
        self.stretches.append(stretch)
        self._in_last = 1


def _together(one: Stretch, other: Stretch) -> Stretch:
    weights = one.stop_ps - one.start_ps, other.stop_ps - other.start_ps
    error = float(np.average([one.clock.frequency_error, other.clock.frequency_error], weights=weights))
    return Stretch(
        one.start_ps,
        other.stop_ps,
        one.live_ps + other.live_ps,
        one.pairs + other.pairs,
        ClockModel(one.clock.reference_ps, one.clock.offset_ps, error),
        _rms((one.residual_rms_ps, other.residual_rms_ps), weights),
        _rms((one.phase_sigma_ps, other.phase_sigma_ps), weights),
    )


def _rms(values: tuple[float, float], weights: tuple[int, int]) -> float:
    known = [(value**2, weight) for value, weight in zip(values, weights, strict=True) if math.isfinite(value)]
    total = sum(weight for _, weight in known)
    return math.sqrt(sum(square * weight for square, weight in known) / total) if total else math.nan
