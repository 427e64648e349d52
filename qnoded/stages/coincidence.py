"""Coincidence identification: which click of alice met which click of bob, and how many met by chance.

Both sides come in link time, that is after the clock model. Pairs are one-to-one: the earliest click that can meet
another does, and each click is used once, since a click can give one bit only. Accidentals are counted in the same
pass, one-to-one as well, in windows displaced to where no pair can be.

An epoch is matched by itself: a pair across its border is the caller's matter. It is lost when the two clicks lie in
different epochs, which happens to about one pair in ``epoch / jitter``, one in a thousand million.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.accidentals import tally_displaced
from qnoded.kernels.matching import BANKS, SLACK, cut, match, tally
from qnoded.kernels.pairing import tally_all_pairs
from qnoded.mapping import Mapper
from qnoded.records import I64, U32, CoincidenceIndex, DetectionEpoch
from qnoded.units import PS_PER_US

DISPLACEMENT_PS: Final = PS_PER_US
"""Least displacement of an accidental window unless told otherwise: beyond dead times and afterpulses (tens to hundreds
of ns), and near enough for the rates to be those of the peak."""
DISPLACEMENT_WINDOWS: Final = 2
"""The same in windows, for wide ones: a peak that fills its window does not reach into a displaced one."""

SLICE_CLICKS: Final = 1 << 18
"""Alice's clicks per slice of work: about a millisecond, long against the hand-over to a thread."""

LARGEST_EPOCH: Final = 2**32 - 1
"""Clicks that a uint32 index can name."""


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
    displacements_ps : where the accidental windows stand on the axis of ``bob - alice``, ps; each is counted
        one-to-one by itself. ``displacements(window_ps)`` unless given; a pulsed source wants multiples of its period.
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
    for displacement_ps in displacements_ps:
        if abs(displacement_ps) <= window_ps:
            message = (
                f"a window displaced by {displacement_ps} ps overlaps the coincidence window of {window_ps} ps; "
                "displace it by more than the window"
            )
            raise UsageError(message)
    # A click of bob at alice + displacement stands at alice once the displacement is taken off.
    shifts_ps = np.array([0, *(-displacement_ps for displacement_ps in displacements_ps)], np.int64)
    half_ps = window_ps // 2
    places = _places(alice.tag_ps, bob_link.tag_ps, shifts_ps, half_ps)
    # Slices list their pairs in a few short arrays that stay in cache; the whole list is touched only where it is full.
    longest = max(int(stop[0][0] - start[0][0]) for start, stop in pairwise(places)) + SLACK
    spare: list[tuple[U32, U32]] = []
    work = partial(_find_slice, alice, bob_link, half_ps, shifts_ps, shape, spare, longest)
    most = min(len(alice), len(bob_link))
    found_alice, found_bob = np.empty(most, np.uint32), np.empty(most, np.uint32)
    matrix, displaced = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    found = outside = 0
    for part in over(work, places[:-1], places[1:]):
        found_alice[found : found + part.count] = part.found[0][: part.count]
        found_bob[found : found + part.count] = part.found[1][: part.count]
        spare.append(part.found)
        found += part.count
        outside += part.outside
        matrix += part.matrix
        displaced += part.displaced
    _check_labels(outside, shape)
    return CoincidenceIndex(found_alice[:found], found_bob[:found], matrix, displaced, len(displacements_ps), window_ps)


def displacements(window_ps: int, each_side: int = 1) -> tuple[int, ...]:
    """Return where accidental windows stand, ps on the axis of ``bob - alice``: on both sides, since rates drift.

    More windows know rare accidentals better; two are enough where there are many.
    """
    displacement_ps = max(DISPLACEMENT_PS, DISPLACEMENT_WINDOWS * window_ps)
    return tuple(place * displacement_ps for place in range(-each_side, each_side + 1) if place)


def all_pairs(
    alice: DetectionEpoch,
    bob_link: DetectionEpoch,
    window_ps: int,
    shape: tuple[int, int],
    *,
    over: Mapper = map,
) -> I64:
    """Count all pairs within the window, each click as often as it meets one: what correlation theory speaks of.

    Parameters and errors are those of ``find``.

    Returns
    -------
    int64[shape]
        Pairs per pair of detectors.
    """
    _check(alice, bob_link, window_ps, shape)
    starts = range(0, len(alice), SLICE_CLICKS)
    stops = (min(start + SLICE_CLICKS, len(alice)) for start in starts)

    def work(start: int, stop: int) -> tuple[int, I64]:
        banks = np.zeros(BANKS * shape[0] * shape[1], np.int64)
        strange = tally_all_pairs(
            alice.tag_ps, alice.detector, bob_link.tag_ps, bob_link.detector, window_ps // 2, start, stop, *shape, banks
        )  # fmt: skip
        return strange, banks.reshape(BANKS, *shape).sum(axis=0)

    matrix, outside = np.zeros(shape, np.int64), 0
    for strange, part in over(work, starts, stops):
        outside += strange
        matrix += part
    _check_labels(outside, shape)
    return matrix


def _places(a: I64, b: I64, shifts_ps: I64, half_ps: int) -> list[tuple[I64, I64]]:
    """Return where each walk may be cut into slices: places ``(i[k + 1], j[k + 1])`` from the start to the end.

    Where a walk cannot be cut within a slice its slice is empty, and the one before goes on to the next cut.
    """
    size, walks = a.size, shifts_ps.size
    end = np.full(walks, size, np.int64), np.full(walks, b.size, np.int64)
    places = [end]
    for start in reversed(range(SLICE_CLICKS, size, SLICE_CLICKS)):
        later_i, later_j = places[-1]
        i, j = later_i.copy(), later_j.copy()
        for k, shift_ps in enumerate(shifts_ps):
            place = cut(a, b, int(shift_ps), half_ps, start, min(start + SLICE_CLICKS, size), 0)
            if place[0] >= 0:
                i[k], j[k] = place
        places.append((i, j))
    places.append((np.zeros(walks, np.int64), np.zeros(walks, np.int64)))
    return places[::-1]


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
    spare: list[tuple[U32, U32]],
    longest: int,
    start: tuple[I64, I64],
    stop: tuple[I64, I64],
) -> _Part:
    try:
        found = spare.pop()
    except IndexError:
        found = np.empty(longest, np.uint32), np.empty(longest, np.uint32)
    clicks = alice.tag_ps, alice.detector, bob_link.tag_ps, bob_link.detector
    (i, j), (i_stop, _) = start, stop
    banks, displaced = np.zeros((BANKS, *shape), np.int64), np.zeros(shape, np.int64)

    _, _, count = match(alice.tag_ps, bob_link.tag_ps, 0, half_ps, i[0], i_stop[0], j[0], *found, 0)
    outside = tally(alice.detector, bob_link.detector, *found, 0, count, *shape, banks.reshape(-1))
    outside += tally_displaced(
        *clicks, half_ps, shifts_ps[1:], i[1:].copy(), j[1:].copy(), i_stop[1:], *shape, displaced.reshape(-1)
    )
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


def _check_labels(outside: int, shape: tuple[int, int]) -> None:
    if outside:
        message = (
            f"{outside} pairs have a detector label outside the matrix of {shape[0]} x {shape[1]} detectors; "
            "give the shape of the receivers that labelled the clicks"
        )
        raise UsageError(message)
