"""All pairs of clicks within a window, each click as often as it meets one: what correlation theory speaks of."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U32_OUT, kernel
from qnoded.records import I64, U8, U32

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

CHUNK: Final = 1 << 14
"""Clicks of alice per chunk: all that is touched stays in the second-level cache."""
BANKS: Final = 4
"""Tables that neighbouring pairs are counted into by turns, since equal cells would wait for each other's store."""


@kernel(types.int64, I64_IN, I64_IN, types.int64, types.uint64, types.uint64, types.uint64, types.uint64, U32_OUT,
        U32_OUT)  # fmt: skip
def _first_partners_lane(
    a: I64, b: I64, half_ps: int, i: np.uint64, i_stop: np.uint64, j: np.uint64, found: np.uint64, found_a: U32,
    found_b: U32,
) -> int:  # fmt: skip
    p, q, n, q_stop = i, j, found, U64(b.size)
    while p < i_stop and q < q_stop:
        d = b[q] - a[p]
        found_a[n] = np.uint32(p)
        found_b[n] = np.uint32(q)
        reached = U64(d >= -half_ps)
        n += reached & U64(d <= half_ps)
        p += reached
        q += U64(1) - reached
    end: int = S64(n)
    return end


@kernel(tuple_of(types.int64, 4), I64_IN, I64_IN, types.int64, types.int64, types.int64, U32_OUT, U32_OUT)
def _first_partners(
    a: I64, b: I64, half_ps: int, i: int, i_stop: int, found_a: U32, found_b: U32
) -> tuple[int, int, int, int]:
    """List the first partner of each click of ``a[i:i_stop]`` that has one, in four lanes, a quarter of clicks each.

    Lane ``k`` fills the lists from ``k * (i_stop - i) // 4`` on; the four ends are returned.
    """
    n = i_stop - i
    p0, p1, p2, p3 = U64(i), U64(i + n // 4), U64(i + n // 2), U64(i + 3 * n // 4)
    p0_stop, p1_stop, p2_stop, p3_stop = p1, p2, p3, U64(i_stop)
    n0, n1, n2, n3 = U64(0), U64(n // 4), U64(n // 2), U64(3 * n // 4)
    q0 = U64(np.searchsorted(b, a[i] - half_ps))
    if n < 4:
        end = _first_partners_lane(a, b, half_ps, p0, p3_stop, q0, n0, found_a, found_b)
        return end, S64(n1), S64(n2), S64(n3)
    q1, q2 = U64(np.searchsorted(b, a[p1] - half_ps)), U64(np.searchsorted(b, a[p2] - half_ps))
    q3, q_stop = U64(np.searchsorted(b, a[p3] - half_ps)), U64(b.size)
    one, low = U64(1), -half_ps
    while True:
        steps = min(p0_stop - p0, p1_stop - p1, p2_stop - p2, p3_stop - p3, q_stop - max(q0, q1, q2, q3))
        if steps == U64(0):
            break
        for _ in range(steps):
            d0, d1, d2, d3 = b[q0] - a[p0], b[q1] - a[p1], b[q2] - a[p2], b[q3] - a[p3]
            found_a[n0] = np.uint32(p0)
            found_b[n0] = np.uint32(q0)
            found_a[n1] = np.uint32(p1)
            found_b[n1] = np.uint32(q1)
            found_a[n2] = np.uint32(p2)
            found_b[n2] = np.uint32(q2)
            found_a[n3] = np.uint32(p3)
            found_b[n3] = np.uint32(q3)
            reached0, reached1, reached2, reached3 = U64(d0 >= low), U64(d1 >= low), U64(d2 >= low), U64(d3 >= low)
            n0 += reached0 & U64(d0 <= half_ps)
            n1 += reached1 & U64(d1 <= half_ps)
            n2 += reached2 & U64(d2 <= half_ps)
            n3 += reached3 & U64(d3 <= half_ps)
            p0 += reached0
            p1 += reached1
            p2 += reached2
            p3 += reached3
            q0 += one - reached0
            q1 += one - reached1
            q2 += one - reached2
            q3 += one - reached3
    return (
        _first_partners_lane(a, b, half_ps, p0, p0_stop, q0, n0, found_a, found_b),
        _first_partners_lane(a, b, half_ps, p1, p1_stop, q1, n1, found_a, found_b),
        _first_partners_lane(a, b, half_ps, p2, p2_stop, q2, n2, found_a, found_b),
        _first_partners_lane(a, b, half_ps, p3, p3_stop, q3, n3, found_a, found_b),
    )


@kernel(types.int64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.int64, types.int64, types.int64,
        I64_OUT)  # fmt: skip
def tally_all_pairs(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, i: int, i_stop: int, rows: int, columns: int,
    banks: I64,
) -> int:  # fmt: skip
    """Count all pairs with ``|b - a| <= half`` by detector.

    The first partner of each click is listed without a branch; the few that have more are followed from there.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending; fewer than 2**32 each
    detector_a, detector_b : uint8[n], uint8[m], label of each click
    half_ps : largest ``|b - a|`` of a pair, ps, at least 0
    i, i_stop : the clicks of ``a`` to count
    rows, columns : detectors of each side
    banks : int64[BANKS * rows * columns], added to; the matrix is the sum over the banks

    Returns
    -------
    int
        Pairs whose labels lie outside the matrix.

    See Also
    --------
    tests.kernels.test_kernel_pairing.all_pairs : the plain twin.
    """
    outside = 0
    found_a, found_b = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.uint32)
    cells, height, width, m = U64(rows * columns), U64(rows), U64(columns), U64(b.size)
    for start in range(i, i_stop, CHUNK):
        stop = min(start + CHUNK, i_stop)
        ends = _first_partners(a, b, half_ps, start, stop, found_a, found_b)
        for lane in range(4):
            for n in range(U64(lane * (stop - start) // 4), U64(ends[lane])):
                p, q = U64(found_a[n]), U64(found_b[n])
                row, latest = U64(detector_a[p]), a[p] + half_ps
                while True:
                    column = U64(detector_b[q])
                    if row < height and column < width:
                        banks[(n & U64(BANKS - 1)) * cells + row * width + column] += 1
                    else:
                        outside += 1
                    q += U64(1)
                    if q >= m or b[q] > latest:
                        break
    return outside
