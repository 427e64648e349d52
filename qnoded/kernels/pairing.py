"""All pairs of clicks within a window, each click as often as it meets one: what correlation theory speaks of.

They follow from the one-to-one pairs of ``matching``, which are found faster: that walk leaves no two clicks free
that could meet, so every other pair has a click in common with one of these. Most of them stand alone. Where a third
click is near, all clicks that hang together are looked at; such a cluster begins with the first of its one-to-one
pairs, since the walk passes no click that could still meet.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U32_IN, U32_OUT, kernel
from qnoded.records import I64, U8, U32

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

BANKS: Final = 4
"""Tables that neighbouring pairs are counted into by turns, since equal cells would wait for each other's store."""
NONE_LEFT_OUT: Final = 2**63
"""Place of the next click that is left out, where there is none."""


@kernel(tuple_of(types.uint64, 2), I64_IN, I64_IN, types.int64, types.uint64, types.uint64)
def _cluster(a: I64, b: I64, half_ps: int, i: np.uint64, j: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the places behind the clicks that hang together with ``a[i]`` and ``b[j]``, the first of each side."""
    n, m, one = U64(a.size), U64(b.size), U64(1)
    i += one
    j += one
    while True:
        if j < m and b[j] <= a[i - one] + half_ps:
            j += one
        elif i < n and a[i] <= b[j - one] + half_ps:
            i += one
        else:
            return i, j


@kernel(types.int64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.uint64, types.uint64, types.uint64, types.uint64,
        types.int64, types.int64, I64_OUT)  # fmt: skip
def _tally_cluster(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, i: np.uint64, i_stop: np.uint64, j: np.uint64,
    j_stop: np.uint64, rows: int, columns: int, banks: I64,
) -> int:  # fmt: skip
    """Count all pairs of a cluster; return those with labels outside the matrix."""
    outside = 0
    cells = U64(rows * columns)
    while i < i_stop:
        while j < j_stop and b[j] < a[i] - half_ps:
            j += U64(1)
        row, q = U64(detector_a[i]), j
        while q < j_stop and b[q] <= a[i] + half_ps:
            column = U64(detector_b[q])
            if row < U64(rows) and column < U64(columns):
                banks[(q & U64(BANKS - 1)) * cells + row * U64(columns) + column] += 1
            else:
                outside += 1
            q += U64(1)
        i += U64(1)
    return outside


@kernel(tuple_of(types.uint64, 3), I64_IN, U32_IN, I64_IN, U32_IN, types.int64, types.uint64, types.uint64,
        types.uint64, types.uint64, types.uint64, types.uint64, U32_OUT, U32_OUT, types.uint64)  # fmt: skip
def _match_cluster(
    a: I64, left_out_a: U32, b: I64, left_out_b: U32, half_ps: int, i: np.uint64, i_stop: np.uint64, j: np.uint64,
    j_stop: np.uint64, x: np.uint64, y: np.uint64, found_a: U32, found_b: U32, found: np.uint64,
) -> tuple[np.uint64, np.uint64, np.uint64]:  # fmt: skip
    """Walk greedily through the clicks of a cluster that are not left out.

    Returns the places in both lists of what is left out, and the pairs found.
    """
    one, x_stop, y_stop = U64(1), U64(left_out_a.size), U64(left_out_b.size)
    while x < x_stop and left_out_a[x] < i:
        x += one
    while y < y_stop and left_out_b[y] < j:
        y += one
    while i < i_stop and j < j_stop:
        if x < x_stop and left_out_a[x] == i:
            x += one
            i += one
        elif y < y_stop and left_out_b[y] == j:
            y += one
            j += one
        elif b[j] - a[i] > half_ps:
            i += one
        elif a[i] - b[j] > half_ps:
            j += one
        else:
            found_a[found] = np.uint32(i)
            found_b[found] = np.uint32(j)
            found += one
            i += one
            j += one
    while x < x_stop and left_out_a[x] < i_stop:
        x += one
    while y < y_stop and left_out_b[y] < j_stop:
        y += one
    return x, y, found


@kernel(tuple_of(types.int64, 2), I64_IN, U8_IN, U32_IN, I64_IN, U8_IN, U32_IN, types.int64, types.int64, types.int64,
        types.int64, I64_OUT, U32_OUT, U32_OUT)  # fmt: skip
def tally_all_pairs(
    a: I64, detector_a: U8, left_out_a: U32, b: I64, detector_b: U8, left_out_b: U32, half_ps: int, pairs: int,
    rows: int, columns: int, banks: I64, found_a: U32, found_b: U32,
) -> tuple[int, int]:  # fmt: skip
    """Count all pairs with ``|b - a| <= half`` by detector; make the one-to-one pairs those of some clicks only.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending; fewer than 2**32 each
    detector_a, detector_b : uint8[n], uint8[m], label of each click
    left_out_a, left_out_b : uint32, ascending indices of clicks that are counted but must not be matched
    half_ps : largest ``|b - a|`` of a pair, ps, at least 0
    pairs : one-to-one pairs in the lists, of all clicks
    rows, columns : detectors of each side
    banks : int64[BANKS * rows * columns], added to; the matrix is the sum over the banks
    found_a, found_b : uint32[>= pairs], indices of the one-to-one pairs as ``matching.match`` lists them; replaced by
        those of the walk through the clicks that are not left out, never more

    Returns
    -------
    (int, int)
        Pairs whose labels lie outside the matrix, and one-to-one pairs now in the lists.

    See Also
    --------
    tests.kernels.test_kernel_pairing.all_pairs : the plain twin.
    """
    outside, kept = 0, U64(0)
    cells, one, entry = U64(rows * columns), U64(1), U64(0)
    last_a, last_b = U64(a.size - 1), U64(b.size - 1)
    x = y = U64(0)
    if pairs:
        x = U64(np.searchsorted(left_out_a, found_a[0]))
        y = U64(np.searchsorted(left_out_b, found_b[0]))
    next_a = U64(left_out_a[x]) if x < U64(left_out_a.size) else U64(NONE_LEFT_OUT)
    next_b = U64(left_out_b[y]) if y < U64(left_out_b.size) else U64(NONE_LEFT_OUT)
    while entry < U64(pairs):
        p, q = U64(found_a[entry]), U64(found_b[entry])
        # At the end of a side the pair's own click is looked at, and so all is looked at closely.
        crowded = b[min(q + one, last_b)] <= a[p] + half_ps or a[min(p + one, last_a)] <= b[q] + half_ps
        if crowded or p >= next_a or q >= next_b:
            p_stop, q_stop = _cluster(a, b, half_ps, p, q)
            while entry < U64(pairs) and found_a[entry] < p_stop:
                entry += one
            outside += _tally_cluster(a, detector_a, b, detector_b, half_ps, p, p_stop, q, q_stop, rows, columns, banks)
            x, y, kept = _match_cluster(
                a, left_out_a, b, left_out_b, half_ps, p, p_stop, q, q_stop, x, y, found_a, found_b, kept
            )
            next_a = U64(left_out_a[x]) if x < U64(left_out_a.size) else U64(NONE_LEFT_OUT)
            next_b = U64(left_out_b[y]) if y < U64(left_out_b.size) else U64(NONE_LEFT_OUT)
            continue
        row, column = U64(detector_a[p]), U64(detector_b[q])
        if row < U64(rows) and column < U64(columns):
            banks[(entry & U64(BANKS - 1)) * cells + row * U64(columns) + column] += 1
        else:
            outside += 1
        found_a[kept] = np.uint32(p)
        found_b[kept] = np.uint32(q)
        kept += one
        entry += one
    return outside, S64(kept)
