"""Where the peak of one pair of detectors stands, with its error bar, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np
from scipy.special import erfcinv

from qnoded.kernels.peaks import PEAK_FIGURES, centre_peak, fullest_window
from qnoded.records import I64
from qnoded.stages.significance import significance

SEED_WIDTHS_PS: Final = (100, 200, 400, 800, 1_600, 3_200, 6_400)
"""Windows in which a peak is sought, from superconducting detectors to slow modules with coarse taggers."""
SEED_TICKS: Final = (2, 4)
"""And windows of so many ticks, where ticks are coarse: the difference of two times is spread over three of them."""
WINDOW_PER_SIGMA: Final = 2.8
"""Width of the window that shows a Gaussian on a floor best, in standard deviations."""
FALSE_PEAKS: Final = 1e-6
"""Chance peaks that may be taken for real among all places that are searched for one pair."""
LEAST_PAIRS: Final = 8
"""Fewer pairs in a window give no centre worth a delay."""
FIT_HALF_WIDTHS: Final = 4.0
"""The fit looks this many seed windows to each side: all of the peak, and enough floor to know its height."""
CENTRE_TOLERANCE_PS: Final = 0.01
MOST_ROUNDS: Final = 200


@dataclass(frozen=True, slots=True)
class PairDelay:
    """The peak of one pair of detectors, or why there is none."""

    alice: int
    """Index of alice's detector."""
    bob: int
    """Index of bob's detector."""
    delay_ps: float
    """Centre of the peak of ``bob - alice``; nan without a peak."""
    error_ps: float
    """Standard deviation of ``delay_ps``; nan without a peak."""
    width_ps: float
    """Standard deviation of the peak itself; nan without a peak."""
    pairs: float
    """Pairs in the peak, floor removed; 0 without a peak."""
    reason: str | None
    """Why there is no peak, or why it is left out of the fit; None for a peak that was used."""


def find_peak(
    delay_ps: I64, search_range_ps: int, tick_ps: int | Fraction = 1, pair: tuple[int, int] = (0, 0)
) -> PairDelay:
    """Find and centre the highest peak among the time differences of one pair of detectors.

    Windows of several widths slide over the differences; the one that exceeds the floor most is the seed of a fit of a
    Gaussian on a uniform floor.

    Parameters
    ----------
    delay_ps : int64[n], ps, ascending, bob - alice
    search_range_ps : int, ps; the differences come from minus to plus this
    tick_ps : int or Fraction, ps
    pair : indices of alice's and bob's detector, for the answer

    Returns
    -------
    PairDelay
    """
    nothing = PairDelay(*pair, float("nan"), float("nan"), float("nan"), 0.0, None)
    if delay_ps.size < LEAST_PAIRS:
        reason = f"only {delay_ps.size} pairs within +-{search_range_ps} ps; a peak needs {LEAST_PAIRS}"
        return replace(nothing, reason=reason)
    tick = float(tick_ps)
    widths = _seed_widths_ps(tick, search_range_ps)
    best, seed_low, seed_width, seed_pairs = 0.0, 0, 0, 0.0
    for width in widths:
        first, count = fullest_window(delay_ps, width)
        # Only pairs outside the window count as floor, or a clean peak would hide in its own floor.
        floor = max((delay_ps.size - count) * width / (2.0 * search_range_ps - width), 0.5)
        trials = 2.0 * search_range_ps / width
        height = significance(count, floor)
        needed = float(np.sqrt(2.0) * erfcinv(2.0 * FALSE_PEAKS / (trials * len(widths))))
        if count >= LEAST_PAIRS and height > max(needed, best):
            best, seed_low, seed_width, seed_pairs = height, int(delay_ps[first]), width, count - floor
    if not best:
        reason = f"no peak among {delay_ps.size} pairs within +-{search_range_ps} ps; take a longer run"
        return replace(nothing, reason=reason)
    return _centred(delay_ps, seed_low, seed_width, seed_pairs, search_range_ps, tick, pair)


def _seed_widths_ps(tick_ps: float, search_range_ps: int) -> list[int]:
    """Return the windows to try: none narrower than two ticks, which would see the comb of the tagger."""
    widths = {*SEED_WIDTHS_PS, *(ceil(ticks * tick_ps) for ticks in SEED_TICKS)}
    return sorted(width for width in widths if max(SEED_WIDTHS_PS[0], 2 * tick_ps) <= width <= search_range_ps)


def _centred(
    delay_ps: I64,
    low_ps: int,
    width_ps: int,
    pairs: float,
    range_ps: int,
    tick_ps: float,
    pair: tuple[int, int],
) -> PairDelay:
    """Fit the peak around a seed window."""
    start = max(low_ps - int(FIT_HALF_WIDTHS * width_ps), -range_ps)
    stop = min(low_ps + int((FIT_HALF_WIDTHS + 1) * width_ps), range_ps)
    near = delay_ps[np.searchsorted(delay_ps, start) : np.searchsorted(delay_ps, stop, side="right")]
    seed = near[(near >= low_ps) & (near < low_ps + width_ps)]
    origin = int(np.median(seed))
    # Each of two times in ticks is off by tick/sqrt(12); a narrower peak would settle on one tick of two.
    least_sigma = max(tick_ps / np.sqrt(6.0), 1.0)
    figures = np.zeros(PEAK_FIGURES)
    figures[1], figures[2] = width_ps / WINDOW_PER_SIGMA, min(pairs / near.size, 0.99)
    position = (near - origin).astype(np.float64)
    span = float(stop - start + 1)
    centre_peak(position, np.ones(near.size), span, least_sigma, CENTRE_TOLERANCE_PS, MOST_ROUNDS, figures)
    centre, sigma, share, information = (float(figure) for figure in figures)
    belonging = share * near.size
    best_error = sigma / np.sqrt(max(belonging, 1.0))
    error = max(1.0 / np.sqrt(information), best_error) if information > 0.0 else sigma
    return PairDelay(*pair, origin + centre, float(error), sigma, belonging, None)
