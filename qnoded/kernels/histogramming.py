"""Histograms of time differences: between two sides, and per pair of detectors.

What costs in the plain loop are its two exits per start, which nothing can foresee. Here the stops of each start are
known beforehand from two branch-free rankings in four lanes; the differences are then written in whole blocks of
eight, the last block overhanging into the next, and counted in one flat loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numba import types

from qnoded.errors import UsageError
from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U32_OUT, kernel
from qnoded.mapping import Mapper
from qnoded.records import I64, U8, U32

U64: Final[Any] = np.uint64
"""Any to the type checker: in a kernel the arithmetic is numba's, whose integers are plain."""

CHUNK: Final = 1 << 13
"""Starts per chunk: ranks and stops stay in the first two levels of cache."""
BLOCK: Final = 8
"""Differences written at once: a vector of uint32 in 256 bits."""
BUFFER: Final = 1 << 13
"""Differences gathered before they are counted."""
LARGEST_SPAN_PS: Final = 2**31
"""Largest width of a difference histogram, 2.1 ms; up to here the reciprocal is exact for every bin width."""
SLICE_STARTS: Final = 1 << 18
"""Starts per slice of work that is mapped: milliseconds, long against the hand-over to a thread."""
PENDING: Final = 2**31
"""Differences counted in 32 bits before they are added to the 64-bit counts."""


def difference_histogram(a: I64, b: I64, range_ps: int, bin_ps: int, *, over: Mapper = map) -> I64:
    """Count all differences ``b - a`` in ``[-range, +range)``, each pair of clicks once.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending
    range_ps : half of the histogram's span, ps
    bin_ps : width of a bin, ps; must divide the span
    over : what maps the slices of the work; the answer is the same for every mapper

    Returns
    -------
    int64[2 * range_ps // bin_ps]
        Bin ``k`` holds the differences from ``-range_ps + k * bin_ps`` on.

    Raises
    ------
    UsageError
        If the bins do not divide the span, or the span is longer than ``LARGEST_SPAN_PS``.
    """
    bins = _bins(2 * range_ps, bin_ps)
    multiplier, shift = reciprocal(2 * range_ps, bin_ps)

    def work(start: int) -> I64:
        counts = np.zeros(bins, np.int64)
        _difference_histogram(a[start : start + SLICE_STARTS], b, range_ps, multiplier, shift, counts)
        return counts

    return _total(over(work, range(0, a.size, SLICE_STARTS)), (bins,))


def pair_histograms(
    a: I64,
    detector_a: U8,
    b: I64,
    detector_b: U8,
    range_ps: int,
    bin_ps: int,
    shape: tuple[int, int],
    *,
    over: Mapper = map,
) -> I64:
    """Count the differences ``b - a`` per pair of detectors.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending
    detector_a, detector_b : uint8[n], uint8[m], label of each click
    range_ps, bin_ps, over : as for ``difference_histogram``
    shape : number of detectors of ``a`` and of ``b``

    Returns
    -------
    int64[shape[0], shape[1], 2 * range_ps // bin_ps]

    Raises
    ------
    UsageError
        As ``difference_histogram``, and if a label lies outside the shape.
    """
    bins = _bins(2 * range_ps, bin_ps)
    multiplier, shift = reciprocal(2 * range_ps, bin_ps)
    for detector, limit in zip((detector_a, detector_b), shape, strict=True):
        _check_labels(detector, limit)

    def work(start: int) -> I64:
        counts = np.zeros(shape[0] * shape[1] * bins, np.int64)
        part = slice(start, start + SLICE_STARTS)
        _pair_histograms(a[part], detector_a[part], b, detector_b, range_ps, multiplier, shift, shape[1], bins, counts)
        return counts.reshape(*shape, bins)

    return _total(over(work, range(0, a.size, SLICE_STARTS)), (*shape, bins))


def reciprocal(span_ps: int, bin_ps: int) -> tuple[int, int]:
    """Return (multiplier, shift) such that ``d * multiplier >> shift == d // bin`` for all ``0 <= d < span``.

    With ``multiplier = ceil(2**shift / bin) = (2**shift + e) / bin`` and ``0 <= e < bin`` the product is
    ``2**shift * (d / bin) + d * e / bin``. The quotient is exact if the second term stays below ``2**shift / bin``,
    which ``2**shift >= span * bin`` ensures. As the smallest such power is below ``2 * span * bin``, the product is
    below ``span * (2 * span + 1)``: it fits 64 bits for spans up to 2**31 and any bin width.
    """
    shift = (span_ps * bin_ps - 1).bit_length()
    return -(-(1 << shift) // bin_ps), shift


@kernel(types.void, I64_IN, I64_IN, types.int64, types.int64, types.int64, U32_OUT, types.int64)
def _rank_lane(a: I64, b: I64, shift_ps: int, i: int, j: int, ranks: U32, i_stop: int) -> None:
    p, q, p_stop, q_stop = U64(i), U64(j), U64(i_stop), U64(b.size)
    while p < p_stop and q < q_stop:
        reached = U64(b[q] >= a[p] + shift_ps)
        ranks[p] = np.uint32(q)
        p += reached
        q += U64(1) - reached
    while p < p_stop:
        ranks[p] = np.uint32(q)
        p += U64(1)


@kernel(types.void, I64_IN, I64_IN, types.int64, U32_OUT)
def _rank(a: I64, b: I64, shift_ps: int, ranks: U32) -> None:
    """Fill ``ranks[i]`` with the number of ``b`` below ``a[i] + shift``, in four lanes."""
    size = a.size
    p0, p1, p2, p3 = U64(0), U64(size // 4), U64(size // 2), U64(3 * size // 4)
    p0_stop, p1_stop, p2_stop, p3_stop = p1, p2, p3, U64(size)
    if size < 4:
        if size > 0:
            _rank_lane(a, b, shift_ps, 0, np.searchsorted(b, a[0] + shift_ps), ranks, size)
        return
    q0, q1 = U64(np.searchsorted(b, a[p0] + shift_ps)), U64(np.searchsorted(b, a[p1] + shift_ps))
    q2, q3 = U64(np.searchsorted(b, a[p2] + shift_ps)), U64(np.searchsorted(b, a[p3] + shift_ps))
    q_stop = U64(b.size)
    one = U64(1)
    while True:
        steps = min(p0_stop - p0, p1_stop - p1, p2_stop - p2, p3_stop - p3)
        steps = min(steps, q_stop - max(q0, q1, q2, q3))
        if steps == U64(0):
            break
        for _ in range(steps):
            c0 = U64(b[q0] >= a[p0] + shift_ps)
            c1 = U64(b[q1] >= a[p1] + shift_ps)
            c2 = U64(b[q2] >= a[p2] + shift_ps)
            c3 = U64(b[q3] >= a[p3] + shift_ps)
            ranks[p0] = np.uint32(q0)
            ranks[p1] = np.uint32(q1)
            ranks[p2] = np.uint32(q2)
            ranks[p3] = np.uint32(q3)
            p0 += c0
            q0 += one - c0
            p1 += c1
            q1 += one - c1
            p2 += c2
            q2 += one - c2
            p3 += c3
            q3 += one - c3
    _rank_lane(a, b, shift_ps, p0, q0, ranks, p0_stop)
    _rank_lane(a, b, shift_ps, p1, q1, ranks, p1_stop)
    _rank_lane(a, b, shift_ps, p2, q2, ranks, p2_stop)
    _rank_lane(a, b, shift_ps, p3, q3, ranks, p3_stop)


@kernel(types.void, U32_OUT, types.uint64, types.uint64, types.uint64, U32_OUT)
def _count(gathered: U32, size: int, multiplier: int, shift: int, counts: U32) -> None:
    for n in range(size):
        counts[(U64(gathered[n]) * multiplier) >> shift] += np.uint32(1)


@kernel(types.void, U32_OUT, I64_OUT)
def _settle(pending: U32, counts: I64) -> None:
    for k in range(U64(counts.size)):
        counts[k] += pending[k]
        pending[k] = 0


@kernel(types.void, I64_IN, I64_IN, types.int64, types.uint64, types.uint64, I64_OUT)
def _difference_histogram(a: I64, b: I64, range_ps: int, multiplier: int, shift: int, counts: I64) -> None:
    low, high = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.uint32)
    gathered = np.empty(BUFFER, np.uint32)
    pending = np.zeros(counts.size, np.uint32)
    block, room = U64(BLOCK), U64(BUFFER - BLOCK)
    n, total = U64(0), U64(0)
    for start in range(0, a.size, CHUNK):
        starts = a[start : start + CHUNK]
        stops = b[np.searchsorted(b, starts[0] - range_ps) :]
        _rank(starts, stops, -range_ps, low)
        _rank(starts, stops, range_ps, high)
        # A block may overhang the stops of its start, but not the end of the list.
        inside = U64(high[starts.size - 1]) + block <= U64(stops.size)
        for i in range(U64(starts.size)):
            origin = starts[i] - range_ps
            q, last = U64(low[i]), U64(high[i])
            if n + (last - q) > room:
                _count(gathered, n, multiplier, shift, pending)
                total += n
                n = U64(0)
            if inside and last - q <= room:
                at = n
                n += last - q
                while True:
                    for k in range(BLOCK):
                        gathered[at + U64(k)] = np.uint32(stops[q + U64(k)] - origin)
                    q += block
                    at += block
                    if q >= last:
                        break
            else:
                total += last - q
                while q < last:
                    pending[(U64(stops[q] - origin) * multiplier) >> shift] += np.uint32(1)
                    q += U64(1)
                if total > U64(PENDING):
                    _settle(pending, counts)
                    total = U64(0)
        if total > U64(PENDING):
            _settle(pending, counts)
            total = U64(0)
    _count(gathered, n, multiplier, shift, pending)
    _settle(pending, counts)


@kernel(types.void, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.uint64, types.uint64, types.int64, types.int64,
        I64_OUT)  # fmt: skip
def _pair_histograms(
    a: I64, detector_a: U8, b: I64, detector_b: U8, range_ps: int, multiplier: int, shift: int, columns: int,
    bins: int, counts: I64,
) -> None:  # fmt: skip
    low, high = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.uint32)
    width = U64(bins)
    for start in range(0, a.size, CHUNK):
        starts = a[start : start + CHUNK]
        first = np.searchsorted(b, starts[0] - range_ps)
        stops, labels = b[first:], detector_b[first:]
        _rank(starts, stops, -range_ps, low)
        _rank(starts, stops, range_ps, high)
        for i in range(U64(starts.size)):
            origin = starts[i] - range_ps
            row = U64(detector_a[U64(start) + i]) * U64(columns)
            for q in range(U64(low[i]), U64(high[i])):
                at = (U64(stops[q] - origin) * multiplier) >> shift
                counts[(row + U64(labels[q])) * width + at] += 1


def _bins(span_ps: int, bin_ps: int) -> int:
    if bin_ps < 1 or span_ps < bin_ps or span_ps % bin_ps or span_ps > LARGEST_SPAN_PS:
        message = (
            f"a histogram of {span_ps} ps in bins of {bin_ps} ps cannot be made; "
            f"choose bins that divide a span of at most {LARGEST_SPAN_PS} ps"
        )
        raise UsageError(message)
    return span_ps // bin_ps


def _check_labels(detector: U8, limit: int) -> None:
    if detector.size and int(detector.max()) >= limit:
        message = (
            f"a click has the detector label {int(detector.max())} but the histogram has {limit} detectors; "
            "give the number of detectors that label the clicks"
        )
        raise UsageError(message)


def _total(parts: Iterable[I64], shape: tuple[int, ...]) -> I64:
    total = np.zeros(shape, np.int64)
    for part in parts:
        total += part
    return total
