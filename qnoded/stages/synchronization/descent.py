"""From a clock that is good to a bin of the search to one that is good to a bin of 100 ps, or to nothing.

The pairs of tags near a supposed clock are listed, and the line that most of them lie on is looked for in finer bins,
again and again, each time on the shortest stretch that theory allows: a crystal walks some nanoseconds in a second, and
no straight line fits it for longer. Significance grows as the bins shrink; a false candidate falls back to noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels.correlating import bin_residuals
from qnoded.records import F64, I64, ClockModel
from qnoded.stages.significance import significance
from qnoded.stages.synchronization.near_pairs import near_pairs, overlap_span, rates_per_ps

FINER: Final = 24.0
"""Each level uses bins this much finer than its half band: finer ones need less data for the same significance and so
shorter lists, but more of them would let noise win."""
FINEST_BIN_PS: Final = 100.0
"""Last bin width; two of them hold most of a peak of 70 ps, a fair part of one of 200 ps."""
LEVEL_SIGNIFICANCE: Final = 10.0
"""Ideal height of the peak at each level, which sets the length of its stretch."""
LEAST_FIRST: Final = 5.5
"""A first level below this is the noise that made a false candidate; true ones stand near `LEVEL_SIGNIFICANCE`."""
SLOPE_STEPS: Final = 2.0
"""A level's slope is good to this many of its steps: one smears a line over half of the two bins that are summed."""
LEVEL_PAIRS: Final = 600
"""A level's stretch holds at least so many pairs, so that each of 16 peaks of unknown channel delays is seen."""
MOST_LISTED: Final = 6_000_000
"""Pairs of tags listed at a time: 96 MB."""


@dataclass(frozen=True, slots=True)
class Line:
    """A supposed clock with its uncertainty: a band of half width ``half_ps`` at the reference."""

    clock: ClockModel
    half_ps: float
    """Half width of the band in which the offset lies."""
    half_error: float
    """Half width of the range in which the frequency error lies."""


def _middle_span(alice_ps: I64, span: tuple[int, int], duration_ps: float) -> tuple[int, int]:
    """Return a span of the duration about the median tag of a span: never in a gap."""
    if span[1] - span[0] <= duration_ps:
        return span
    low, high = np.searchsorted(alice_ps, span)
    if high <= low:
        return span
    middle = int(alice_ps[(low + high) // 2])
    start = min(max(middle - round(duration_ps / 2), span[0]), span[1] - round(duration_ps))
    return start, start + round(duration_ps)


def _brightest_line(delay: F64, elapsed: F64, half_ps: float, bin_ps: float, slopes: F64) -> tuple[float, float, float]:
    """Return significance, delay and slope of the line with most pairs, in sums of two neighbouring bins."""
    bins = math.ceil(2.0 * half_ps / bin_ps) + 1
    best = (-1.0, 0.0, 0.0)
    counts = np.empty(bins, dtype=np.int64)
    for slope in slopes:
        counts[:] = 0
        bin_residuals(delay, elapsed, float(slope), -half_ps, bin_ps, counts)
        sums = counts[1:] + counts[:-1]
        place = int(np.argmax(sums))
        peak = int(sums[place])
        if peak < best[0]:
            continue
        if peak > best[0]:
            best = (float(peak), (place + 1.0) * bin_ps - half_ps, float(slope))
    counts[:] = 0
    bin_residuals(delay, elapsed, best[2], -half_ps, bin_ps, counts)
    place = round((best[1] + half_ps) / bin_ps) - 1
    beside = np.ones(bins, dtype=bool)
    beside[max(place - 2, 0) : place + 4] = False
    background = 2.0 * float(counts[beside].mean()) if beside.any() else 0.0
    return significance(best[0], background), best[1], best[2]


def descend(
    alice_ps: I64, bob_ps: I64, line: Line, start_ps: int, stop_ps: int, pair_fraction: float
) -> tuple[Line, float, float]:
    """Narrow a band about a supposed clock, level by level, to `FINEST_BIN_PS`.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending.
    line
        The supposed clock and its band.
    start_ps, stop_ps
        Span of alice's time to use.
    pair_fraction
        Supposed pairs:singles; sets how long a stretch each level needs.

    Returns
    -------
    line, first significance, best significance
        Of the first level and of the highest one.
    """
    first = best = 0.0
    clock, half, half_error = line.clock, line.half_ps, line.half_error
    while True:
        span = overlap_span(alice_ps, bob_ps, clock, start_ps, stop_ps)
        length = span[1] - span[0]
        per_ps_a, per_ps_b = rates_per_ps(alice_ps, bob_ps, clock, span)
        if per_ps_a * per_ps_b == 0.0:
            return Line(clock, half, half_error), 0.0, 0.0
        bin_ps = max(half / FINER, FINEST_BIN_PS)
        needed = max(
            LEVEL_SIGNIFICANCE**2 * bin_ps / pair_fraction**2,
            LEVEL_PAIRS / (pair_fraction * math.sqrt(per_ps_a * per_ps_b)),
        )
        listable = MOST_LISTED / (per_ps_a * per_ps_b * 2.0 * half)
        duration = min(needed, listable, float(length))
        span = _middle_span(alice_ps, span, duration)
        duration = float(span[1] - span[0])
        clock = clock.moved_to((span[0] + span[1]) // 2)
        band = math.ceil(half + half_error * duration / 2.0)
        delay, elapsed = near_pairs(alice_ps, bob_ps, clock, *span, band)
        step = bin_ps / duration
        steps = math.ceil(half_error / step)
        slopes = np.arange(-steps, steps + 1, dtype=np.float64) * step
        height, shift, slope = _brightest_line(delay, elapsed, half, bin_ps, slopes)
        first, best = first or height, max(best, height)
        if first < LEAST_FIRST:
            return Line(clock, half, half_error), first, best
        clock = ClockModel(clock.reference_ps, clock.offset_ps + round(shift), clock.frequency_error + slope)
        half_error = min(SLOPE_STEPS * step, 2.0 * half_error)
        if bin_ps <= FINEST_BIN_PS:
            return Line(clock, 2.0 * bin_ps, half_error), first, best
        # the next stretch may be longer, where this one was cut to keep the list short
        longer = max(0.0, min(needed, float(length)) - duration)
        half = 2.5 * bin_ps + half_error * longer / 2.0
