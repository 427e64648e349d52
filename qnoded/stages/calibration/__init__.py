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

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from qnoded.records import I64, U8, Receiver
from qnoded.stages.artefacts.clicks import DEAD_SHARE
from qnoded.stages.artefacts.intervals import find_double_firing
from qnoded.stages.calibration.fit import DelayCalibration, fit_delays
from qnoded.stages.calibration.peaks import PairDelay, find_peak
from qnoded.stages.differences import close_pairs

__all__ = ["DelayCalibration", "PairDelay", "calibrate_delays", "find_peak", "fit_delays"]

SEARCH_RANGE_PS: Final = 100_000
"""Peaks are sought within +-100 ns unless told otherwise: 20 m of cable or fibre between detectors."""
MOST_CLICKS: Final = 500_000
"""Clicks per side that are looked at: at 1 % heralding some hundred pairs for each of 16 peaks."""
MOST_PAIRS: Final = 2**23
"""Pairs of clicks that are looked at, 80 MB: at 10 Mcps the widest search of a survey lists 3 million, and a recording
whose times stand still would list 10**11."""


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
    near = close_pairs(alice_detector, alice_ps, bob_detector, bob_ps, search_range_ps, MOST_PAIRS)
    cell = near.alice.astype(np.uint16) * np.uint16(len(bob)) + near.bob
    peaks = [
        find_peak(np.sort(near.delay_ps[cell == i * len(bob) + j]), search_range_ps, tick_ps, (i, j))
        for i in range(len(alice))
        for j in range(len(bob))
    ]
    fitted = fit_delays(peaks, alice, bob, shared_clock=shared_clock)
    complete = _complete(fitted.alice_ps, alice_detector) and _complete(fitted.bob_ps, bob_detector)
    return replace(fitted, complete=complete)


def _complete(delays_ps: Sequence[int | None], detector: U8) -> bool:
    """Return whether all detectors of a side but the dead ones have a delay."""
    clicks = np.bincount(detector, minlength=len(delays_ps))
    dead = clicks < DEAD_SHARE * np.median(clicks)
    return all(delay_ps is not None or gone for delay_ps, gone in zip(delays_ps, dead, strict=True))


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
