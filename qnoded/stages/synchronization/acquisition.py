"""Cold acquisition: find offset and frequency error of bob's free-running clock from two streams of tags alone.

The pair fraction is not known, so the search supposes a high one first (cheap) and goes down by sqrt(2) at a time, four
times dearer each, until a candidate is confirmed or until data or effort allow no more. Nothing is called a lock before
its pairs lie on one line of picoseconds' width and are as many as the coarse peak announced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from qnoded.mapping import Mapper
from qnoded.records import I64, ClockModel
from qnoded.stages.synchronization.bursts import without_bursts
from qnoded.stages.synchronization.descent import Line
from qnoded.stages.synchronization.feasibility import (
    DEFAULT_EFFORT_POINTS,
    FEWEST_PAIRS,
    HINTED_RATIO,
    STEP_BINS,
    STRONGEST_FRACTION,
    Feasibility,
    Rung,
    SearchRange,
    Stretch,
    best_stretch,
    ladder,
    overlap_of,
    predict_from,
)
from qnoded.stages.synchronization.near_pairs import count_pairs, overlap_span
from qnoded.stages.synchronization.outcome import Acquisition, AcquisitionFailure, failed, locked
from qnoded.stages.synchronization.refinement import Refined, refine_line
from qnoded.stages.synchronization.search import Candidate, coarse_search
from qnoded.units import PS_PER_S

__all__ = [
    "Acquisition",
    "AcquisitionFailure",
    "Feasibility",
    "SearchRange",
    "acquire",
    "predict",
]

LEAST_SIGNIFICANCE: Final = 8.0
"""A lock's finest peak, standard deviations: noise that was followed down from a candidate ends at 3 to 5."""
LEAST_COUNT_SIGNIFICANCE: Final = 4.5
"""Pairs near the line over the whole stretch, whatever their channel delays, standard deviations."""
RATE_AGREEMENT: Final = (0.6, 3.5)
"""Pairs on the line over counts of the coarse peak: 1.0 to 2.2 as the peak falls on its bins, and noise of both."""
HALF_BAND_BINS: Final = 1.75
"""A candidate's offset is good to this many bins."""
HALF_BAND_STEPS: Final = 1.25
"""And its frequency error to this many steps."""
STRIKING: Final = 8.0
"""A candidate this high is no noise: if it is not confirmed, something else correlates the two streams."""
CLEAR: Final = 1.0
"""A candidate this far above the threshold is confirmed before the rest of the range is searched."""
MOST_CONFIRMED: Final = 40
"""No more candidates are followed at a time: in pure noise there are one or two, some 20 where the search is dear."""
HINT_FLOOR: Final = 0.7
"""A hinted pair fraction is believed down to this part of it."""


def predict(
    alice_ps: I64,
    bob_ps: I64,
    search: SearchRange | None = None,
    pair_fraction: float | None = None,
    effort_points: float = DEFAULT_EFFORT_POINTS,
) -> Feasibility:
    """Say what a search can find before anything is searched.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending: all detectors of a side merged.
    search
        Offsets and frequency errors to search; +-0.5 s and +-20 ppm by default.
    pair_fraction
        Pairs:singles (geometric mean of both sides) if known.
    effort_points
        Limit of the work, points of Fourier transforms.
    """
    where = search or SearchRange()
    if min(alice_ps.size, bob_ps.size) < 2:
        fraction = pair_fraction or STRONGEST_FRACTION
        return Feasibility(0.0, 0.0, 0.0, fraction, math.inf, "data", math.inf, 0.0, 0.0, False)
    return predict_from(overlap_of(alice_ps, bob_ps, where), where, pair_fraction, effort_points)


def acquire(
    alice_ps: I64,
    bob_ps: I64,
    search: SearchRange | None = None,
    *,
    pair_fraction: float | None = None,
    effort_points: float = DEFAULT_EFFORT_POINTS,
    over: Mapper = map,
    progress: Callable[[float, str], None] | None = None,
) -> Acquisition:
    """Find bob's clock against alice's from nothing but their tags.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending: all detectors of a side merged. Channel delays of some ten nanoseconds
        need not be known; the strongest of the peaks that they make is taken. Bursts that are no light are left out.
    search
        Offsets and frequency errors to search; +-0.5 s and +-20 ppm by default. The offset is the one in the middle
        of the data that are used.
    pair_fraction
        Pairs:singles (geometric mean of both sides) where it is known roughly; the search starts there and goes
        down to half of it. Without it the search goes from high to low until data or effort end.
    effort_points
        Limit of the work, points of Fourier transforms.
    over
        Spreads the work over cores, such as ``ThreadPoolExecutor(2).map``.
    progress
        Called with the part of the allowed work that is done (0 to 1) and a few words.

    Returns
    -------
    Acquisition
        A poor recording is a result with a reason, never an exception.
    """
    where = search or SearchRange()
    given = min(alice_ps.size, bob_ps.size)
    alice_ps, bob_ps = without_bursts(alice_ps), without_bursts(bob_ps)
    feasibility = predict(alice_ps, bob_ps, where, pair_fraction, effort_points)
    hopeless = _hopeless(alice_ps, bob_ps, given, feasibility)
    if hopeless is not None:
        return failed(hopeless, feasibility)
    overlap = overlap_of(alice_ps, bob_ps, where)
    if pair_fraction is None:
        rungs = ladder(overlap, where, STRONGEST_FRACTION, 1e-6, effort_points)
    else:
        rungs = ladder(overlap, where, pair_fraction, HINT_FLOOR * pair_fraction, effort_points, HINTED_RATIO)
    total = sum(rung.points for rung in rungs)
    best: Candidate | None = None
    spent, trials = 0.0, 0
    last: tuple[Rung, Stretch] | None = None
    for rung in rungs:
        stretch = best_stretch(alice_ps, bob_ps, where, rung.duration_ps)
        last = (rung, stretch)
        waiting: list[Candidate] = []
        for findings in coarse_search(alice_ps, bob_ps, where, rung, stretch, over):
            trials += findings.trials
            if progress is not None:
                done = (spent + findings.done * rung.points) / total
                progress(done, f"searching for {rung.pair_fraction:.2%} pairs")
            # one that clearly stands out is followed at once, and all that was not searched yet is saved
            now = [one for one in findings.candidates if one.significance > findings.threshold + CLEAR]
            if findings.done >= 1.0:
                now = sorted([*waiting, *findings.candidates], key=lambda one: -one.significance)
            else:
                waiting.extend(one for one in findings.candidates if one not in now)
            for candidate in now[:MOST_CONFIRMED]:
                refined = _confirmed(alice_ps, bob_ps, candidate, rung, stretch)
                if refined is not None:
                    spent += findings.done * rung.points
                    return locked(refined, candidate, feasibility, trials, spent, rung, stretch, where)
                if best is None or candidate.significance > best.significance:
                    best = candidate
        spent += rung.points
    assert last is not None
    return _without_peak(best, where, feasibility, trials, spent, *last)


def _singles(alice_ps: I64, bob_ps: I64, clock: ClockModel, span: tuple[int, int]) -> float:
    """Return the geometric mean of both sides' tags in a span of alice's time."""
    low_a, high_a = np.searchsorted(alice_ps, span)
    low_b, high_b = np.searchsorted(bob_ps, (clock.bob_at(span[0]), clock.bob_at(span[1])))
    return math.sqrt(float(high_a - low_a) * float(high_b - low_b))


def _hopeless(alice_ps: I64, bob_ps: I64, given: int, feasibility: Feasibility) -> AcquisitionFailure | None:
    """Return the reason why no search needs to be started, if there is one; ``given`` counts tags with their bursts."""
    fewest = min(alice_ps.size, bob_ps.size)
    if fewest < FEWEST_PAIRS <= given:
        return AcquisitionFailure.BURSTS
    if fewest == 0:
        return AcquisitionFailure.NO_TAGS
    if fewest < FEWEST_PAIRS:
        return AcquisitionFailure.TOO_FEW_TAGS
    if feasibility.overlap_s <= 0.0:
        return AcquisitionFailure.NO_OVERLAP
    if not feasibility.feasible:
        enough = feasibility.overlap_s >= feasibility.seconds_needed
        return AcquisitionFailure.TOO_MUCH_WORK if enough else AcquisitionFailure.NOT_ENOUGH_DATA
    return None


def _confirmed(alice_ps: I64, bob_ps: I64, candidate: Candidate, rung: Rung, stretch: Stretch) -> Refined | None:
    """Follow a candidate down to picoseconds; None unless its pairs are there, all of them, and on one line."""
    clock = ClockModel(stretch.middle_ps, candidate.offset_ps, candidate.frequency_error)
    stop = stretch.start_ps + stretch.duration_ps
    span = overlap_span(alice_ps, bob_ps, clock, stretch.start_ps, stop)
    if span[1] <= span[0]:
        return None
    singles = max(_singles(alice_ps, bob_ps, clock, span), 1.0)
    fraction = min(candidate.pairs / singles, 1.0)
    step = STEP_BINS * rung.bin_ps / stretch.duration_ps
    line = Line(clock, HALF_BAND_BINS * rung.bin_ps, HALF_BAND_STEPS * step)
    refined = refine_line(alice_ps, bob_ps, line, stretch.start_ps, stop, fraction)
    if refined is None or refined.significance < LEAST_SIGNIFICANCE:
        return None
    pairs, sigma, _ = count_pairs(alice_ps, bob_ps, refined.clock, *span)
    if pairs < LEAST_COUNT_SIGNIFICANCE * sigma:
        return None
    low, high = RATE_AGREEMENT
    # a clock that walks leaves the line before the stretch ends: there the fitted part must do
    local = refined.pair_rate_hz * (span[1] - span[0]) / PS_PER_S
    if not low * candidate.pairs <= max(pairs, min(local, candidate.pairs)) <= high * candidate.pairs:
        return None
    if pairs < low * candidate.pairs:
        return refined
    rate_hz = pairs / (span[1] - span[0]) * PS_PER_S
    share = min(refined.pairs_in_peak / (rate_hz * refined.seconds), 1.0)
    return replace(refined, pair_rate_hz=rate_hz, peak_share=share)


def _without_peak(
    best: Candidate | None,
    where: SearchRange,
    feasibility: Feasibility,
    trials: int,
    points: float,
    rung: Rung,
    stretch: Stretch,
) -> Acquisition:
    reason = AcquisitionFailure.NO_PEAK
    significance = 0.0
    if best is not None:
        significance = best.significance
        step = 2.0 * STEP_BINS * rung.bin_ps / stretch.duration_ps
        off_edge = where.offset_range_ps - abs(best.offset_ps - where.offset_ps) > 2.0 * rung.bin_ps
        error_edge = where.frequency_range - abs(best.frequency_error - where.frequency_error) > step
        if significance >= STRIKING:
            inside = off_edge and (error_edge or where.frequency_range == 0.0)
            reason = AcquisitionFailure.NOT_CONFIRMED if inside else AcquisitionFailure.EDGE_OF_RANGE
    numbers = f"the highest of {trials} trials stands {significance:.1f} sigma high"
    return failed(reason, feasibility, numbers, significance, trials, points, rung.bin_ps, stretch.duration_ps)
