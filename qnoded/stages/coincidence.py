"""Coincidence identification: which click of alice met which click of bob, and how many met by chance.

Both sides come in link time, that is after the clock model. For bits, pairs are one-to-one: the earliest click that can
meet another does, and each click is used once, since a click can give one bit only. For estimates all pairs count, each
click as often as it meets one. Accidentals are all pairs of windows displaced to where no pair can be, so that what is
taken off the count of all pairs is counted like it.

An epoch is matched by itself: a pair across its border is the caller's matter. It is lost when the two clicks lie in
different epochs, which happens to about one pair in ``epoch / jitter``, one in a thousand million.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.accidentals import tally_displaced
from qnoded.kernels.matching import BANKS, SLACK, cut, match, tally
from qnoded.kernels.pairing import tally_all_pairs
from qnoded.mapping import Mapper
from qnoded.records import I64, U32, CoincidenceIndex, DetectionEpoch, MatchedClicks
from qnoded.units import PS_PER_US

DISPLACEMENT_PS: Final = PS_PER_US
"""Least displacement of an accidental window unless told otherwise: beyond dead times and afterpulses (tens to hundreds
of ns), and near enough for the rates to be those of the peak."""
DISPLACEMENT_WINDOWS: Final = 2
"""The same in windows, for wide ones: a peak that fills its window does not reach into a displaced one."""

SLICE_CLICKS: Final = 1 << 18
"""Alice's clicks per slice of work: about a millisecond, long against the hand-over to a thread."""

MOST_IN_WINDOW: Final = 1 << 13
"""Clicks of bob in one window beyond which all pairs are not counted: 5 Mcps in a window of 1 ms have fewer, and the
work grows as the clicks times their partners."""

LARGEST_EPOCH: Final = 2**32 - 1
"""Clicks that a uint32 index can name."""

NOTHING: Final[U32] = np.empty(0, np.uint32)
"""No click."""


def find(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    window_ps: int,
    shape: tuple[int, int],
    *,
    displacements_ps: tuple[int, ...] | None = None,
    over: Mapper = map,
) -> CoincidenceIndex:
    """Find the one-to-one coincidences of an epoch, their matrix, and the accidentals of displaced windows.

    Parameters
    ----------
    alice : alice's clicks
    bob_link : bob's clicks in link time
    window_ps : full width of the coincidence window, ps: two clicks meet when ``2 |bob - alice| <= window_ps``
    shape : number of detectors of alice and of bob
    displacements_ps : where the accidental windows stand on the axis of ``bob - alice``, ps; all their pairs are
        counted. ``displacements(window_ps)`` unless given; a pulsed source wants multiples of its period.
    over : what maps the slices of the work; the answer is the same for every mapper

    Returns
    -------
    CoincidenceIndex

    Raises
    ------
    UsageError
        If the window is negative, a displaced window overlaps the coincidence window, an epoch has more clicks than
        an index can name, or a click of a coincidence has a label outside ``shape``.
    """
    _check(alice, bob_link, window_ps, shape)
    if displacements_ps is None:
        displacements_ps = displacements(window_ps)
    shifts_ps = _shifts(displacements_ps, window_ps)
    half_ps = window_ps // 2
    places = _places(alice.tag_ps, bob_link.tag_ps, half_ps)
    lists = _Lists(places, min(len(alice), len(bob_link)))
    work = partial(_find_slice, alice, bob_link, half_ps, shifts_ps, shape, lists)
    matrix, displaced = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    outside = 0
    for part in over(work, places[:-1], places[1:]):
        lists.take(part.found, part.count)
        outside += part.outside
        matrix += part.matrix
        displaced += part.displaced
    _check_labels(outside, shape)
    return CoincidenceIndex(*lists.filled(), matrix, displaced, len(displacements_ps), window_ps)


def displacements(window_ps: int, each_side: int = 1, pulse_period_ps: Fraction | None = None) -> tuple[int, ...]:
    """Return where accidental windows stand, ps on the axis of ``bob - alice``: on both sides, since rates drift.

    Parameters
    ----------
    window_ps : full width of the coincidence window, ps
    each_side : how many; more know rare accidentals better, one is enough where there are many
    pulse_period_ps : of a pulsed source, ps: between its pulses nobody clicks, and the chance is that of other pulses
    """
    displacement_ps = Fraction(max(DISPLACEMENT_PS, DISPLACEMENT_WINDOWS * window_ps))
    if pulse_period_ps is not None:
        displacement_ps = ceil(displacement_ps / pulse_period_ps) * pulse_period_ps
    return tuple(round(place * displacement_ps) for place in range(-each_side, each_side + 1) if place)


def all_pairs(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    window_ps: int,
    shape: tuple[int, int],
    *,
    over: Mapper = map,
) -> I64:
    """Count all pairs within the window, each click as often as it meets one: what correlation theory speaks of.

    Parameters and errors are those of ``find``; in addition a window may hold 2**13 clicks of bob at most.

    Returns
    -------
    int64[shape]
        Pairs per pair of detectors.
    """
    return count_and_match(alice, bob_link, window_ps, shape, over=over)[0]


def count_and_match(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    window_ps: int,
    shape: tuple[int, int],
    *,
    left_out: tuple[U32, U32] = (NOTHING, NOTHING),
    over: Mapper = map,
) -> tuple[I64, MatchedClicks]:
    """Count all pairs within the window, and in the same pass find the one-to-one coincidences for the bits.

    Parameters
    ----------
    alice, bob_link, window_ps, shape, over : as for ``all_pairs``
    left_out : ascending indices of the clicks of each side that are counted but give no bit, uint32, as
        ``tagging.list_multi_clicks`` gives them

    Returns
    -------
    (int64[shape], MatchedClicks)
        What ``all_pairs`` counts, and what ``find`` would find of the clicks that are not left out.
    """
    _check(alice, bob_link, window_ps, shape)
    _check_density(bob_link, window_ps)
    half_ps = window_ps // 2
    places = _places(alice.tag_ps, bob_link.tag_ps, half_ps)
    lists = _Lists(places, min(len(alice), len(bob_link)))

    def work(start: tuple[int, int], stop: tuple[int, int]) -> tuple[tuple[U32, U32], int, int, I64]:
        found, banks = lists.spare(), np.zeros((BANKS, *shape), np.int64)
        (i, j), (i_stop, _) = start, stop
        _, _, met = match(alice.tag_ps, bob_link.tag_ps, 0, half_ps, i, i_stop, j, *found, 0)
        outside, kept = tally_all_pairs(
            alice.tag_ps, alice.detector, left_out[0], bob_link.tag_ps, bob_link.detector, left_out[1], half_ps, met,
            *shape, banks.reshape(-1), *found,
        )  # fmt: skip
        return found, kept, outside, banks.sum(axis=0)

    matrix, outside = np.zeros(shape, np.int64), 0
    for found, kept, strange, part in over(work, places[:-1], places[1:]):
        lists.take(found, kept)
        outside += strange
        matrix += part
    _check_labels(outside, shape)
    return matrix, MatchedClicks(*lists.filled())


def displaced_pairs(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    window_ps: int,
    shape: tuple[int, int],
    displacements_ps: tuple[int, ...],
    *,
    over: Mapper = map,
) -> I64:
    """Count all pairs of displaced windows: what ``all_pairs`` would count if only chance let clicks meet.

    Parameters and errors are those of ``all_pairs``.

    Returns
    -------
    int64[shape]
        Pairs per pair of detectors, summed over the windows.
    """
    _check(alice, bob_link, window_ps, shape)
    _check_density(bob_link, window_ps)
    shifts_ps = _shifts(displacements_ps, window_ps)

    def work(start: int, stop: int) -> tuple[int, I64]:
        displaced = np.zeros(shape, np.int64)
        clicks = alice.tag_ps, alice.detector, bob_link.tag_ps, bob_link.detector
        strange = tally_displaced(*clicks, window_ps // 2, shifts_ps, start, stop, *shape, displaced.reshape(-1))
        return strange, displaced

    starts = range(0, len(alice), SLICE_CLICKS)
    stops = (min(start + SLICE_CLICKS, len(alice)) for start in starts)
    matrix, outside = np.zeros(shape, np.int64), 0
    for strange, part in over(work, starts, stops):
        outside += strange
        matrix += part
    _check_labels(outside, shape)
    return matrix


def _shifts(displacements_ps: tuple[int, ...], window_ps: int) -> I64:
    """Return what is added to bob's times so that each displaced window stands at zero, int64[k] ps."""
    for displacement_ps in displacements_ps:
        if abs(displacement_ps) <= window_ps:
            message = (
                f"a window displaced by {displacement_ps} ps overlaps the coincidence window of {window_ps} ps; "
                "displace it by more than the window"
            )
            raise UsageError(message)
    return -np.array(displacements_ps, np.int64)


def _places(a: I64, b: I64, half_ps: int) -> list[tuple[int, int]]:
    """Return where the walk may be cut into slices: places from the start to the end.

    Where it cannot be cut within a slice that slice is empty, and the one before goes on to the next cut.
    """
    places = [(a.size, b.size)]
    for start in reversed(range(SLICE_CLICKS, a.size, SLICE_CLICKS)):
        place = cut(a, b, 0, half_ps, start, min(start + SLICE_CLICKS, a.size), 0)
        places.append(place if place[0] >= 0 else places[-1])
    places.append((0, 0))
    return places[::-1]


class _Lists:
    """The long list of pairs, filled from short ones that stay in cache: it is touched only where it is full."""

    def __init__(self, places: list[tuple[int, int]], most: int) -> None:
        self._longest = max(stop[0] - start[0] for start, stop in pairwise(places)) + SLACK
        self._spare: list[tuple[U32, U32]] = []
        self._alice, self._bob = np.empty(most, np.uint32), np.empty(most, np.uint32)
        self._filled = 0

    def spare(self) -> tuple[U32, U32]:
        """Return two arrays that hold the pairs of any slice; called from any thread."""
        try:
            return self._spare.pop()
        except IndexError:
            return np.empty(self._longest, np.uint32), np.empty(self._longest, np.uint32)

    def take(self, found: tuple[U32, U32], count: int) -> None:
        """Append the pairs of the next slice and take its arrays back."""
        stop = self._filled + count
        self._alice[self._filled : stop] = found[0][:count]
        self._bob[self._filled : stop] = found[1][:count]
        self._filled = stop
        self._spare.append(found)

    def filled(self) -> tuple[U32, U32]:
        """Return the pairs of both sides, uint32[n] each."""
        return self._alice[: self._filled], self._bob[: self._filled]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one slice found."""

    found: tuple[U32, U32]
    """Indices of the pairs, of which the first ``count`` are filled."""
    count: int
    outside: int
    """Pairs whose labels lie outside the matrix."""
    matrix: I64
    displaced: I64


def _find_slice(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    half_ps: int,
    shifts_ps: I64,
    shape: tuple[int, int],
    lists: _Lists,
    start: tuple[int, int],
    stop: tuple[int, int],
) -> _Part:
    found = lists.spare()
    clicks = alice.tag_ps, alice.detector, bob_link.tag_ps, bob_link.detector
    (i, j), (i_stop, _) = start, stop
    banks, displaced = np.zeros((BANKS, *shape), np.int64), np.zeros(shape, np.int64)

    _, _, count = match(alice.tag_ps, bob_link.tag_ps, 0, half_ps, i, i_stop, j, *found, 0)
    outside = tally(alice.detector, bob_link.detector, *found, 0, count, *shape, banks.reshape(-1))
    outside += tally_displaced(*clicks, half_ps, shifts_ps, i, i_stop, *shape, displaced.reshape(-1))
    return _Part(found, count, outside, banks.sum(axis=0), displaced)


def _check(alice: DetectionEpoch, bob_link: DetectionEpoch, window_ps: int, shape: tuple[int, int]) -> None:
    if window_ps < 0:
        message = f"a coincidence window of {window_ps} ps has no width; give its full width in ps"
        raise UsageError(message)
    if min(shape) < 1:
        message = f"a matrix of {shape[0]} x {shape[1]} detectors has no cell; give each side its detectors"
        raise UsageError(message)
    for side, epoch in (("alice", alice), ("bob", bob_link)):
        if len(epoch) > LARGEST_EPOCH:
            message = f"{len(epoch)} clicks of {side} in one epoch are more than an index can name; cut it shorter"
            raise UsageError(message)


def _check_density(bob_link: DetectionEpoch, window_ps: int) -> None:
    # Every so-manieth click will do: runs of twice as many clicks within a window are certain to be seen.
    sparse_ps = bob_link.tag_ps[::MOST_IN_WINDOW]
    if (np.diff(sparse_ps) <= window_ps).any():
        message = (
            f"{MOST_IN_WINDOW} clicks of bob and more lie within one window of {window_ps} ps: his times stand still, "
            "or their unit is wrong; check format and tick of the recording, or narrow the window"
        )
        raise UsageError(message)


def _check_labels(outside: int, shape: tuple[int, int]) -> None:
    if outside:
        message = (
            f"{outside} pairs have a detector label outside the matrix of {shape[0]} x {shape[1]} detectors; "
            "give the shape of the receivers that labelled the clicks"
        )
        raise UsageError(message)
