"""Channel delays from coincidences: the peak of each pair of detectors, and one delay per detector.

Each pair (i, j) whose clicks are correlated shows a peak of ``bob - alice`` at ``bob_delay[j] -
alice_delay[i]``. More pairs than detectors have a peak, so the delays are over-determined: a weighted fit
gives them with error bars, a chi-square, and the pairs whose peak contradicts the others (the echo of a
double firing, a chance peak).

Only differences are seen. Alice's first detector is the reference; where bob has a clock of his own the part
that all his detectors share belongs to the clock offset (``common_ps``) and his first detector is a reference
as well.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np

from qnoded.kernels.peaks import count_close_pairs, list_close_pairs
from qnoded.records import I64, U8, Receiver
from qnoded.stages.artefacts.intervals import find_double_firing
from qnoded.stages.calibration.fit import DelayCalibration, fit_delays
from qnoded.stages.calibration.peaks import PairDelay, find_peak

__all__ = ["DelayCalibration", "PairDelay", "calibrate_delays", "find_peak", "fit_delays"]

SEARCH_RANGE_PS: Final = 100_000
"""Peaks are sought within +-100 ns unless told otherwise: 20 m of cable or fibre between detectors."""
MOST_CLICKS: Final = 500_000
"""Clicks per side that are looked at: at 1 % heralding some hundred pairs for each of 16 peaks."""


def calibrate_delays(
    alice: Receiver,
    alice_detector: U8,
    alice_ps: I64,
    bob: Receiver,
    bob_detector: U8,
    bob_ps: I64,
    *,
    shared_clock: bool = False,
    search_range_ps: int = SEARCH_RANGE_PS,
    tick_ps: int | Fraction = 1,
    most_clicks: int = MOST_CLICKS,
    echoes_removed: bool = False,
) -> DelayCalibration:
    """Measure the delays of all detectors from the clicks of both sides in a common clock.

    Parameters
    ----------
    alice, bob : Receiver
    alice_detector, bob_detector : uint8[n], uint8[m], index into the receiver's detectors
    alice_ps, bob_ps : int64[n], int64[m], ps, ascending, bob's in link time
    shared_clock : bool
        True where one tagger serves both sides: bob's delays are then absolute against alice's first
        detector.
    search_range_ps : int, ps
        Peaks are sought from minus to plus this.
    tick_ps : int or Fraction, ps
        The coarser of the two taggers' ticks; no error bar claims more than it allows.
    most_clicks : int
        At most this many clicks per side are looked at, from where both have begun.
    echoes_removed : bool
        True where dead times against double firings were applied already.

    Returns
    -------
    DelayCalibration
    """
    start_ps = max(int(alice_ps[0]), int(bob_ps[0])) - search_range_ps if alice_ps.size and bob_ps.size else 0
    alice_detector, alice_ps = _first(alice_detector, alice_ps, start_ps, most_clicks)
    bob_detector, bob_ps = _first(bob_detector, bob_ps, start_ps, most_clicks)
    if not echoes_removed:
        alice_detector, alice_ps = _without_echoes(alice_detector, alice_ps, len(alice))
        bob_detector, bob_ps = _without_echoes(bob_detector, bob_ps, len(bob))
    low_ps, high_ps = -search_range_ps, search_range_ps + 1
    count = count_close_pairs(alice_ps, bob_ps, low_ps, high_ps)
    delay_ps, of_alice, of_bob = (
        np.empty(count, np.int64),
        np.empty(count, np.uint8),
        np.empty(count, np.uint8),
    )
    list_close_pairs(alice_ps, alice_detector, bob_ps, bob_detector, low_ps, high_ps, delay_ps, of_alice, of_bob)
    order = np.argsort(delay_ps, kind="stable")
    delay_ps, cell = delay_ps[order], (of_alice.astype(np.int64) * len(bob) + of_bob)[order]
    peaks = [
        find_peak(delay_ps[cell == i * len(bob) + j], search_range_ps, tick_ps, (i, j))
        for i in range(len(alice))
        for j in range(len(bob))
    ]
    return fit_delays(peaks, alice, bob, shared_clock=shared_clock)


def _first(detector: U8, tag_ps: I64, start_ps: int, clicks: int) -> tuple[U8, I64]:
    first = int(np.searchsorted(tag_ps, start_ps))
    return detector[first : first + clicks], tag_ps[first : first + clicks]


def _without_echoes(detector: U8, tag_ps: I64, detectors: int) -> tuple[U8, I64]:
    """Drop the second clicks of double firings: their peak can be as high as the true one."""
    keep = np.ones(tag_ps.size, np.bool_)
    for k in range(detectors):
        own = np.flatnonzero(detector == k)
        interval_ps = np.diff(tag_ps[own])
        echo = find_double_firing(interval_ps)
        if echo is not None:
            keep[own[1:][interval_ps < echo.dead_time_ps]] = False
    return detector[keep], tag_ps[keep]
