"""Peaks of time differences: list the close pairs of clicks, find where they crowd, and centre a peak on a floor."""

from __future__ import annotations

from math import exp, pi, sqrt
from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import F64_IN, F64_OUT, I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import F64, I64, U8

S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

PEAK_FIGURES: Final = 4
"""Numbers of ``centre_peak``: centre, standard deviation, share in the peak, information on the centre."""


@kernel(types.int64, I64_IN, I64_IN, types.int64, types.int64)
def count_close_pairs(alice_ps: I64, bob_ps: I64, low_ps: int, high_ps: int) -> int:
    """Count all pairs of clicks with ``low_ps <= bob - alice < high_ps``.

    Parameters
    ----------
    alice_ps : int64[n], ps, ascending
    bob_ps : int64[m], ps, ascending
    low_ps, high_ps : int, ps

    Returns
    -------
    int
        Number of pairs; the length that ``list_close_pairs`` needs.
    """
    total = 0
    first = np.uint64(0)
    beyond = np.uint64(0)
    size = np.uint64(bob_ps.size)
    for n in range(np.uint64(alice_ps.size)):
        low = alice_ps[n] + low_ps
        high = alice_ps[n] + high_ps
        while first < size and bob_ps[first] < low:
            first += np.uint64(1)
        while beyond < size and bob_ps[beyond] < high:
            beyond += np.uint64(1)
        if beyond > first:
            total += int(beyond - first)
    return total


@kernel(types.int64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, I64_OUT, U8_OUT, U8_OUT)
def list_close_pairs(
    alice_ps: I64,
    alice_detector: U8,
    bob_ps: I64,
    bob_detector: U8,
    low_ps: int,
    high_ps: int,
    delay_ps: I64,
    alice: U8,
    bob: U8,
) -> int:
    """List time difference and detectors of all pairs with ``low_ps <= bob - alice < high_ps``.

    Parameters
    ----------
    alice_ps, bob_ps : int64[n], int64[m], ps, ascending
    alice_detector, bob_detector : uint8[n], uint8[m]
    low_ps, high_ps : int, ps
    delay_ps : int64[k], ps, filled with bob - alice, in the order of alice's clicks, then of bob's
    alice, bob : uint8[k], filled with the detectors of each pair

    Returns
    -------
    int
        Number of pairs listed, at most ``k``; the rest is left out.
    """
    listed = np.uint64(0)
    room = np.uint64(delay_ps.size)
    first = np.uint64(0)
    size = np.uint64(bob_ps.size)
    for n in range(np.uint64(alice_ps.size)):
        time = alice_ps[n]
        while first < size and bob_ps[first] < time + low_ps:
            first += np.uint64(1)
        m = first
        while m < size and bob_ps[m] < time + high_ps:
            if listed == room:
                return int(listed)
            delay_ps[listed] = bob_ps[m] - time
            alice[listed] = alice_detector[n]
            bob[listed] = bob_detector[m]
            listed += np.uint64(1)
            m += np.uint64(1)
    return int(listed)


@kernel(tuple_of(types.int64, 2), I64_IN, types.int64)
def fullest_window(delay_ps: I64, width_ps: int) -> tuple[int, int]:
    """Find the window ``delay_ps[first] <= delay < delay_ps[first] + width`` with most time differences.

    Parameters
    ----------
    delay_ps : int64[n], ps, ascending
    width_ps : int64, ps, above 0

    Returns
    -------
    (int, int)
        The first difference in it, of equally full windows in the earliest, and how many it holds.

    See Also
    --------
    tests.kernels.test_kernel_peaks.fullest_plainly : the plain twin.
    """
    first = fullest = most = np.uint64(0)
    for n in range(np.uint64(delay_ps.size)):
        # The window grows by what still fits and otherwise moves on, so it is never less full than the fullest.
        if delay_ps[n] - delay_ps[first] < width_ps:
            fullest = first
            most += np.uint64(1)
        else:
            first += np.uint64(1)
    return S64(fullest), S64(most)


@kernel(
    types.int64,
    F64_IN,
    F64_IN,
    types.float64,
    types.float64,
    types.float64,
    types.int64,
    F64_OUT,
)
def centre_peak(
    position_ps: F64,
    weight: F64,
    span_ps: float,
    floor_ps: float,
    tolerance_ps: float,
    most_rounds: int,
    figures: F64,
) -> int:
    """Fit a Gaussian on a uniform floor by expectation and maximisation.

    Each round gives every pair its probability to belong to the peak, then takes the weighted mean and spread
    (Dempster, Laird, Rubin, J. R. Stat. Soc. B 39, 1 (1977)). The information on the centre is the observed
    one, ``sum w [ p/s^2 - p (1-p) d^2/s^4 ]`` (Louis, J. R. Stat. Soc. B 44, 226 (1982)): a pair that may
    belong to the floor tells less of the centre.

    Parameters
    ----------
    position_ps : float64[n], ps, relative to any origin near the peak
    weight : float64[n], number of pairs that each position stands for
    span_ps : float, ps, width of the range from which the positions come
    floor_ps : float, ps, least standard deviation of the peak, such as the tick's
    tolerance_ps : float, ps; the fit ends when the centre moves less
    most_rounds : int
    figures : float64[4], holds the first guess of centre (ps), standard deviation (ps) and share of the peak;
        filled with the fit and, in the last place, with the information on the centre (1/ps^2)

    Returns
    -------
    int
        Rounds used; ``most_rounds`` where the tolerance was not reached.
    """
    centre, sigma, share = figures[0], max(figures[1], floor_ps), figures[2]
    total = 0.0
    for n in range(np.uint64(position_ps.size)):
        total += weight[n]
    information = 0.0
    rounds = 0
    while rounds < most_rounds:
        rounds += 1
        height = share / (sigma * sqrt(2.0 * pi))
        level = (1.0 - share) / span_ps
        inverse = 1.0 / (sigma * sigma)
        belonging, first, second, information = 0.0, 0.0, 0.0, 0.0
        for n in range(np.uint64(position_ps.size)):
            d = position_ps[n] - centre
            z2 = d * d * inverse
            # Beyond 9 sigma a Gaussian is 1e-18 of its height, which is nothing against any floor.
            peak = height * exp(-0.5 * z2) if z2 < 81.0 else 0.0
            p = peak / (peak + level) if peak > 0.0 else 0.0
            w = weight[n] * p
            belonging += w
            first += w * d
            second += w * d * d
            information += w * inverse * (1.0 - (1.0 - p) * z2)
        if belonging <= 0.0:
            break
        step = first / belonging
        centre += step
        # A peak wider than a quarter of the range cannot be told from the floor.
        sigma = min(max(sqrt(max(second / belonging - step * step, 0.0)), floor_ps), 0.25 * span_ps)
        share = belonging / total
        if abs(step) < tolerance_ps:
            break
    figures[0], figures[1], figures[2], figures[3] = centre, sigma, share, information
    return rounds
