"""The last step of an acquisition: a straight line through the pairs near a clock, to picoseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.records import F64, I64, ClockModel
from qnoded.stages.significance import significance
from qnoded.stages.synchronization.descent import FINEST_BIN_PS, LEAST_FIRST, Line, descend
from qnoded.stages.synchronization.near_pairs import (
    SKEW_PS,
    count_pairs,
    near_pairs,
    overlap_span,
    rates_per_ps,
)
from qnoded.units import PS_PER_NS, PS_PER_S

LEAST_BEST: Final = 7.0
"""Of the levels that led to the clock the highest must reach this: noise that was followed ends near 5."""
FIT_PAIRS: Final = 500
"""The last fit's stretch holds so many pairs: 140 ps of peak give 6 ps of offset, and less than 0.1 s at 5 kcps."""
FIT_HALF_PS: Final = 2_500
"""First half width of the last fit, as wide as 7 sigma of a silicon detector's pair peak."""
LEAST_FIT_S: Final = 0.1
"""The last fit is at least so long, where data are: 1 ppb is then 100 ps from end to end, and a crystal of 1e-9 at 1 s
still walks less than 50 ps off a straight line."""
LONGEST_FIT_S: Final = 1.0
"""And is not made longer than this for the sake of more pairs."""
LEAST_IN_PEAK: Final = 200
"""Pairs of the fitted peak that suffice: where channel delays make 16 peaks, one holds few of the pairs."""
FREQUENCY_SIGMA: Final = 1e-9
"""A frequency error known as well is what tracking starts from."""
FIT_GROWTH: Final = 4.0
"""Growth of the last fit at a time: the ends of the longer one are known to some 50 ps from the shorter one."""
CORE_SIGMA: Final = 2.0
"""Half width of a peak's core, in its standard deviations."""
RING_SIGMA: Final = (4.0, 10.0)
"""Distances between which the surroundings of a peak are taken."""
LEAST_ALONE: Final = 5.0
"""Standard deviations by which the core must exceed its surroundings to be a peak of its own."""
FIT_ROUNDS: Final = 40
"""Rounds of expectation and maximization; 10 usually suffice."""
MOST_FITTED: Final = 2**18
"""Pairs of tags that a fit goes through at most; of more it takes every second, third, ... one: at 10 Mcps a second has
twice as many about its peak."""
FEWEST_FIT_PAIRS: Final = 8
"""With fewer pairs in the peak there is no line to fit."""


@dataclass(frozen=True, slots=True)
class Refined:
    """What the pairs near a supposed clock say."""

    clock: ClockModel
    """Reference in the middle of the pairs that were fitted."""
    significance: float
    """Height of the finest peak in standard deviations (likelihood ratio)."""
    first_significance: float
    """Height of the peak at the first, widest level."""
    pairs_in_peak: float
    """Pairs of the fitted peak."""
    pair_rate_hz: float
    """All pairs per second, those of channels with other delays included."""
    accidental_rate_hz: float
    """Accidental coincidences per second and nanosecond of window."""
    peak_sigma_ps: float
    """Standard deviation of the fitted peak."""
    peak_share: float
    """Part of all pairs that lies in the fitted peak; well below 1 where channel delays are not compensated."""
    seconds: float
    """Length of the stretch that was fitted."""


def fit_peak(delay: F64, elapsed: F64, half_ps: float, sigma_ps: float) -> tuple[F64, F64, float, float]:
    """Fit a straight line of Gaussian width to delays on a flat background, by expectation and maximization.

    Parameters
    ----------
    delay, elapsed
        float64[n], ps; elapsed time centred about 0.
    half_ps
        Half width of the band that holds the delays.
    sigma_ps
        First guess of the peak's standard deviation.

    Returns
    -------
    line, covariance, sigma_ps, pairs
        ``line`` is offset (ps) and slope, with its 2x2 covariance.
    """
    offset = slope = 0.0
    share = 0.5
    scale = max(float(np.abs(elapsed).max(initial=0.0)), 1.0)
    x = elapsed / scale
    sigma, pairs = sigma_ps, 0.0
    normal = np.eye(2)
    for _ in range(FIT_ROUNDS):
        residual = delay - offset - slope * x
        density = np.exp(-0.5 * (residual / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
        weight = share * density / (share * density + (1.0 - share) / (2.0 * half_ps))
        pairs = float(weight.sum())
        if pairs < FEWEST_FIT_PAIRS:
            break
        normal = np.array([[pairs, float(weight @ x)], [float(weight @ x), float(weight @ (x * x)) + 1e-9 * pairs]])
        right = np.array([float(weight @ delay), float(weight @ (x * delay))])
        new_offset, new_slope = np.linalg.solve(normal, right)
        residual = delay - new_offset - new_slope * x
        new_sigma = math.sqrt(max(float(weight @ (residual * residual)) / pairs, 1.0))
        moved = abs(new_offset - offset) + abs(new_slope - slope) + abs(new_sigma - sigma)
        offset, slope, sigma = float(new_offset), float(new_slope), new_sigma
        share = min(max(pairs / delay.size, 1e-6), 1.0 - 1e-6)
        if moved < 1e-3 * sigma:
            break
    scaling = np.array([1.0, 1.0 / scale])
    covariance = np.asarray(sigma**2 * np.linalg.inv(normal) * np.outer(scaling, scaling), dtype=np.float64)
    return np.array([offset, slope / scale]), covariance, sigma, pairs


def _centred_span(span: tuple[int, int], middle_ps: int, duration_ps: float) -> tuple[int, int]:
    """Return the part of a span within half a duration of a moment."""
    half = math.ceil(duration_ps / 2.0)
    return max(span[0], middle_ps - half), min(span[1], middle_ps + half)


def _stands_alone(residual: F64, sigma_ps: float) -> bool:
    """Return whether a peak rises above the pairs beside it: a chance clump in a broad peak does not."""
    distance = np.abs(residual) / sigma_ps
    core = float(np.count_nonzero(distance <= CORE_SIGMA))
    ring = float(np.count_nonzero((distance > RING_SIGMA[0]) & (distance <= RING_SIGMA[1])))
    beside = ring * CORE_SIGMA / (RING_SIGMA[1] - RING_SIGMA[0])
    return significance(core, beside) >= LEAST_ALONE


def _fit_span(
    alice_ps: I64, bob_ps: I64, clock: ClockModel, span: tuple[int, int], half_ps: float, sigma_ps: float
) -> tuple[ClockModel, float, float, F64] | None:
    """Fit the pairs of one span; return clock, sigma, pairs in the peak and all residuals, or None with too few."""
    clock = clock.moved_to((span[0] + span[1]) // 2)
    delay, elapsed = near_pairs(alice_ps, bob_ps, clock, *span, round(half_ps))
    if delay.size < FEWEST_FIT_PAIRS:
        return None
    each = delay.size // MOST_FITTED + 1
    fit, covariance, sigma, in_peak = fit_peak(delay[::each], elapsed[::each], half_ps, sigma_ps)
    if in_peak < FEWEST_FIT_PAIRS:
        return None
    fitted = ClockModel(
        clock.reference_ps,
        clock.offset_ps + round(float(fit[0])),
        clock.frequency_error + float(fit[1]),
        math.sqrt(float(covariance[0, 0])),
        math.sqrt(float(covariance[1, 1])),
    )
    return fitted, sigma, each * in_peak, delay - fit[0] - fit[1] * elapsed


def refine_line(
    alice_ps: I64, bob_ps: I64, line: Line, start_ps: int, stop_ps: int, pair_fraction: float
) -> Refined | None:
    """Find the clock within the band of a supposed one, to picoseconds, or None where nothing lies on a line.

    The last fit starts with some hundred pairs and grows, beyond the span if need be, until its frequency error is good
    enough for tracking to take over.

    Parameters are those of `descend`.
    """
    narrow, first, best = descend(alice_ps, bob_ps, line, start_ps, stop_ps, pair_fraction)
    if first < LEAST_FIRST or best < LEAST_BEST:
        return None
    clock = narrow.clock
    within = overlap_span(alice_ps, bob_ps, clock, int(alice_ps[0]), int(alice_ps[-1]) + 1)
    rate_a, rate_b = rates_per_ps(alice_ps, bob_ps, clock, overlap_span(alice_ps, bob_ps, clock, start_ps, stop_ps))
    if rate_a * rate_b == 0.0:
        return None
    middle = clock.reference_ps
    duration = FIT_PAIRS / (pair_fraction * math.sqrt(rate_a * rate_b))
    half, sigma = float(FIT_HALF_PS), 2.0 * FINEST_BIN_PS
    while True:
        span = _centred_span(within, middle, duration)
        fit = _fit_span(alice_ps, bob_ps, clock, span, half, sigma)
        if fit is None:
            return None
        if fit[1] > half / 4.0 and half < SKEW_PS:
            half *= 3.0
            continue
        clock, sigma, in_peak, residual = fit
        enough = (
            duration >= LEAST_FIT_S * PS_PER_S and in_peak >= LEAST_IN_PEAK and clock.frequency_sigma <= FREQUENCY_SIGMA
        )
        if enough or duration >= LONGEST_FIT_S * PS_PER_S or span == within:
            break
        if duration < LEAST_FIT_S * PS_PER_S:
            duration = min(FIT_GROWTH * duration, LEAST_FIT_S * PS_PER_S)
        else:
            duration *= 2.0
    if not _stands_alone(residual, sigma):
        half = float(SKEW_PS)
        broad = _fit_span(alice_ps, bob_ps, clock, span, half, half / 10.0)
        if broad is None:
            return None
        clock, sigma, in_peak, residual = broad
    length = span[1] - span[0]
    pairs, _, background = count_pairs(alice_ps, bob_ps, clock, *span)
    in_core = float(np.count_nonzero(np.abs(residual) <= CORE_SIGMA * sigma))
    expected = max(background, 0.5) * CORE_SIGMA * sigma / SKEW_PS
    return Refined(
        clock=clock,
        significance=significance(in_core, expected),
        first_significance=first,
        pairs_in_peak=in_peak,
        pair_rate_hz=max(pairs, 0.0) / length * PS_PER_S,
        accidental_rate_hz=background / (2.0 * SKEW_PS / PS_PER_NS) / length * PS_PER_S,
        peak_sigma_ps=sigma,
        peak_share=min(in_peak / max(pairs, 1.0), 1.0),
        seconds=length / PS_PER_S,
    )
