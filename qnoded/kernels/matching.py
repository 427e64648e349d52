"""One-to-one coincidences of two ordered lists: branch-free, in independent lanes, exact to the last pair.

The rule is the greedy walk in time order. It stands at one click of each side and moves past whichever is too
early to meet the other; when they meet it notes the pair and moves past both::

    d = b[j] + shift - a[i];  i += d >= -half;  j += d <= half;  pair if both moved

Nothing in it is predicted, so nothing is mispredicted; what is left is the latency of one step, which four walks in
one loop hide from each other. They may start wherever the one walk would certainly pass: between two clicks of one
side and two of the other that are more than ``half`` apart across the cut. Where a list is so dense that no such
place exists the kernel walks in one lane, and the result is the same.

The state of the walk is its place ``(i, j)``, so it can stop anywhere and go on with more data.
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

CHUNK: Final = 1 << 15
"""Clicks of alice per chunk: her times and labels, bob's and the list together stay in 1 MiB of second-level cache."""
SLACK: Final = 2 * CHUNK
"""Clicks of bob that the lanes of a chunk may begin after; beyond, which takes a burst, it is walked in one lane."""
COUNT_CHUNK: Final = 1 << 17
"""The same where no list is kept and nothing comes after: long, since each chunk ends with its lanes out of step."""
SHORTEST_CHUNK: Final = 64
"""Below this many clicks the search for lanes costs more than it gains."""
BANKS: Final = 4
"""Tables that neighbouring pairs are counted into by turns, since equal cells would wait for each other's store."""

_PLACE = tuple_of(types.int64, 2)
_REACHED = tuple_of(types.int64, 3)


@kernel(_PLACE, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64)
def cut(a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int) -> tuple[int, int]:
    """Find the first place at or after ``i`` that the walk passes whatever came before.

    Left of the place ``(i, j)`` are ``a[:i]`` and ``b[:j]``, right of it the rest, and no click of the left can meet
    one of the right: ``a[i] - b[j - 1] - shift > half`` and ``b[j] + shift - a[i - 1] > half``.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending
    shift_ps : added to ``b``, ps
    half_ps : largest ``|b + shift - a|`` of a pair, ps
    i, i_stop : the place is sought with ``i <= place < i_stop``
    j : a lower bound of the place in ``b``; the clicks before it count as used up

    Returns
    -------
    (int, int)
        The place, or ``(-1, -1)`` where there is none. The cost is linear in ``i_stop - i``.
    """
    n, m = a.size, b.size
    if i >= min(i_stop, n):
        return -1, -1
    # Gallop, then halve: the place is near for a lane and far for a slice of the recording.
    earliest = a[i] - half_ps - shift_ps
    step = 1
    last = j
    while last < m and b[last] < earliest:
        j = last + 1
        last += step
        step *= 2
    last = min(last, m)
    while j < last:
        middle = (j + last) >> 1
        if b[middle] < earliest:
            j = middle + 1
        else:
            last = middle
    while i < min(i_stop, n):
        earliest = a[i] - half_ps - shift_ps
        while j < m and b[j] < earliest:
            j += 1
        if i == 0 or j == m or b[j] + shift_ps - a[i - 1] > half_ps:
            return i, j
        i += 1
    return -1, -1


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64,
        U32_OUT, U32_OUT, types.int64)  # fmt: skip
def _walk(
    a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int, j_stop: int, found_a: U32, found_b: U32,
    found: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Walk in one lane; see ``match``."""
    p, q, n = U64(i), U64(j), U64(found)
    p_stop, q_stop = U64(i_stop), U64(j_stop)
    low, high = -half_ps - shift_ps, half_ps - shift_ps
    while p < p_stop and q < q_stop:
        d = b[q] - a[p]
        found_a[n] = np.uint32(p)
        found_b[n] = np.uint32(q)
        x, y = U64(d >= low), U64(d <= high)
        p += x
        q += y
        n += x & y
    return S64(p), S64(q), S64(n)


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64,
        U32_OUT, U32_OUT, types.int64)  # fmt: skip
def _walk_chunk(
    a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int, found_a: U32, found_b: U32, found: int
) -> tuple[int, int, int]:
    """Walk from ``(i, j)`` to ``i_stop`` in four lanes where the lists can be cut, else in one."""
    m = b.size
    quarter = (i_stop - i) // 4
    i1 = i2 = i3 = j1 = j2 = j3 = S64(-1)
    if i_stop - i >= SHORTEST_CHUNK:
        i1, j1 = cut(a, b, shift_ps, half_ps, i + quarter, i + 2 * quarter, j)
        if i1 > 0:
            i2, j2 = cut(a, b, shift_ps, half_ps, i + 2 * quarter, i + 3 * quarter, j1)
            if i2 > 0:
                i3, j3 = cut(a, b, shift_ps, half_ps, i + 3 * quarter, i_stop, j2)
    # With no click of bob in the last lane the one walk may end before it, and must tell where.
    if i3 <= 0 or j3 >= m or j3 - j > SLACK:
        return _walk(a, b, shift_ps, half_ps, i, i_stop, j, m, found_a, found_b, found)

    p0, p1, p2, p3 = U64(i), U64(i1), U64(i2), U64(i3)
    q0, q1, q2, q3 = U64(j), U64(j1), U64(j2), U64(j3)
    p0_stop, p1_stop, p2_stop, p3_stop = p1, p2, p3, U64(i_stop)
    q0_stop, q1_stop, q2_stop, q3_stop = q1, q2, q3, U64(m)
    # Both move on a pair, so a lane's pairs are its moves less its steps, and p + q less the steps of all is where it
    # notes the next: it needs no counter of its own, and cannot reach the first note of the lane behind.
    behind = U64(i + j - found)
    first1, first2, first3 = p1 + q1 - behind, p2 + q2 - behind, p3 + q3 - behind
    low, high = -half_ps - shift_ps, half_ps - shift_ps
    while True:
        steps = min(p0_stop - p0, p1_stop - p1, p2_stop - p2, p3_stop - p3)
        steps = min(steps, q0_stop - q0, q1_stop - q1, q2_stop - q2, q3_stop - q3)
        if steps == U64(0):
            break
        for _ in range(steps):
            d0, d1, d2, d3 = b[q0] - a[p0], b[q1] - a[p1], b[q2] - a[p2], b[q3] - a[p3]
            n0, n1, n2, n3 = p0 + q0 - behind, p1 + q1 - behind, p2 + q2 - behind, p3 + q3 - behind
            found_a[n0] = np.uint32(p0)
            found_b[n0] = np.uint32(q0)
            found_a[n1] = np.uint32(p1)
            found_b[n1] = np.uint32(q1)
            found_a[n2] = np.uint32(p2)
            found_b[n2] = np.uint32(q2)
            found_a[n3] = np.uint32(p3)
            found_b[n3] = np.uint32(q3)
            p0 += U64(d0 >= low)
            q0 += U64(d0 <= high)
            p1 += U64(d1 >= low)
            q1 += U64(d1 <= high)
            p2 += U64(d2 >= low)
            q2 += U64(d2 <= high)
            p3 += U64(d3 >= low)
            q3 += U64(d3 <= high)
            behind += U64(1)
    n0, n1, n2, n3 = p0 + q0 - behind, p1 + q1 - behind, p2 + q2 - behind, p3 + q3 - behind
    _, _, end = _walk(a, b, shift_ps, half_ps, p0, p0_stop, q0, q0_stop, found_a, found_b, n0)
    _, _, end1 = _walk(a, b, shift_ps, half_ps, p1, p1_stop, q1, q1_stop, found_a, found_b, n1)
    _, _, end2 = _walk(a, b, shift_ps, half_ps, p2, p2_stop, q2, q2_stop, found_a, found_b, n2)
    i, j, end3 = _walk(a, b, shift_ps, half_ps, p3, p3_stop, q3, q3_stop, found_a, found_b, n3)
    for first, last in ((first1, end1), (first2, end2), (first3, end3)):
        for n in range(S64(first), last):
            found_a[end] = found_a[n]
            found_b[end] = found_b[n]
            end += 1
    return i, j, end


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64,
        U32_OUT, U32_OUT, types.int64)  # fmt: skip
def match(
    a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int, found_a: U32, found_b: U32, found: int
) -> tuple[int, int, int]:
    """List the one-to-one pairs with ``|b + shift - a| <= half`` that the walk meets from ``(i, j)`` on.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending; fewer than 2**32 each
    shift_ps : added to ``b``, ps
    half_ps : largest ``|b + shift - a|`` of a pair, ps, at least 0
    i, j : the place to start from
    i_stop : the walk ends at this click of ``a`` or with the last one of ``b``; at most n
    found_a, found_b : uint32[>= found + i_stop - i + SLACK], indices of the pairs, ascending, filled from ``found``
        on; what lies behind the pairs is scratch
    found : pairs already in the list

    Returns
    -------
    (int, int, int)
        The place reached, where the walk may go on when more clicks have come, and the pairs now in the list.

    See Also
    --------
    tests.kernels.test_kernel_matching.greedy : the plain twin.
    """
    # As many of the side with more clicks, so that bob's part is as long as alice's at most.
    chunk = max(CHUNK * a.size // max(a.size, b.size, 1), SHORTEST_CHUNK)
    while i < i_stop and j < b.size:
        i, j, found = _walk_chunk(a, b, shift_ps, half_ps, i, min(i + chunk, i_stop), j, found_a, found_b, found)
    return i, j, found


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64)
def _count_lane(
    a: I64, b: I64, low_ps: int, high_ps: int, i: int, i_stop: int, j: int, j_stop: int
) -> tuple[int, int, int]:
    p, q, n = U64(i), U64(j), U64(0)
    p_stop, q_stop = U64(i_stop), U64(j_stop)
    while p < p_stop and q < q_stop:
        d = b[q] - a[p]
        x, y = U64(d >= low_ps), U64(d <= high_ps)
        p += x
        q += y
        n += x & y
    return S64(p), S64(q), S64(n)


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64)
def _count_chunk(a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int) -> tuple[int, int, int]:
    """Count from ``(i, j)`` to ``i_stop`` in six lanes where the lists can be cut, else in one.

    Both move on a pair, so the pairs are the moves less the steps: counting costs nothing.
    """
    m = b.size
    low, high = -half_ps - shift_ps, half_ps - shift_ps
    sixth = (i_stop - i) // 6
    i1 = i2 = i3 = i4 = i5 = S64(-1)
    j1 = j2 = j3 = j4 = j5 = S64(-1)
    if i_stop - i >= SHORTEST_CHUNK:
        i1, j1 = cut(a, b, shift_ps, half_ps, i + sixth, i + 2 * sixth, j)
        if i1 > 0:
            i2, j2 = cut(a, b, shift_ps, half_ps, i + 2 * sixth, i + 3 * sixth, j1)
        if i2 > 0:
            i3, j3 = cut(a, b, shift_ps, half_ps, i + 3 * sixth, i + 4 * sixth, j2)
        if i3 > 0:
            i4, j4 = cut(a, b, shift_ps, half_ps, i + 4 * sixth, i + 5 * sixth, j3)
        if i4 > 0:
            i5, j5 = cut(a, b, shift_ps, half_ps, i + 5 * sixth, i_stop, j4)
    if i5 <= 0 or j5 >= m:
        return _count_lane(a, b, low, high, i, i_stop, j, m)

    p0, p1, p2, p3, p4, p5 = U64(i), U64(i1), U64(i2), U64(i3), U64(i4), U64(i5)
    q0, q1, q2, q3, q4, q5 = U64(j), U64(j1), U64(j2), U64(j3), U64(j4), U64(j5)
    all_steps = U64(0)
    before = p0 + p1 + p2 + p3 + p4 + p5 + q0 + q1 + q2 + q3 + q4 + q5
    while True:
        steps = min(U64(i1) - p0, U64(i2) - p1, U64(i3) - p2)
        steps = min(steps, U64(i4) - p3, U64(i5) - p4, U64(i_stop) - p5)
        steps = min(steps, U64(j1) - q0, U64(j2) - q1, U64(j3) - q2)
        steps = min(steps, U64(j4) - q3, U64(j5) - q4, U64(m) - q5)
        if steps == U64(0):
            break
        for _ in range(steps):
            d0, d1, d2 = b[q0] - a[p0], b[q1] - a[p1], b[q2] - a[p2]
            d3, d4, d5 = b[q3] - a[p3], b[q4] - a[p4], b[q5] - a[p5]
            p0 += U64(d0 >= low)
            q0 += U64(d0 <= high)
            p1 += U64(d1 >= low)
            q1 += U64(d1 <= high)
            p2 += U64(d2 >= low)
            q2 += U64(d2 <= high)
            p3 += U64(d3 >= low)
            q3 += U64(d3 <= high)
            p4 += U64(d4 >= low)
            q4 += U64(d4 <= high)
            p5 += U64(d5 >= low)
            q5 += U64(d5 <= high)
        all_steps += U64(6) * steps
    after = p0 + p1 + p2 + p3 + p4 + p5 + q0 + q1 + q2 + q3 + q4 + q5
    found = S64(after - before - all_steps)
    found += _count_lane(a, b, low, high, p0, i1, q0, j1)[2] + _count_lane(a, b, low, high, p1, i2, q1, j2)[2]
    found += _count_lane(a, b, low, high, p2, i3, q2, j3)[2] + _count_lane(a, b, low, high, p3, i4, q3, j4)[2]
    found += _count_lane(a, b, low, high, p4, i5, q4, j5)[2]
    i, j, rest = _count_lane(a, b, low, high, p5, i_stop, q5, m)
    return i, j, found + rest


@kernel(_REACHED, I64_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, types.int64)
def count(a: I64, b: I64, shift_ps: int, half_ps: int, i: int, i_stop: int, j: int) -> tuple[int, int, int]:
    """Count the pairs that ``match`` lists; parameters and result as there, without the list."""
    found = S64(0)
    while i < i_stop and j < b.size:
        i, j, more = _count_chunk(a, b, shift_ps, half_ps, i, min(i + COUNT_CHUNK, i_stop), j)
        found += more
    return i, j, found


@kernel(types.int64, U8_IN, U8_IN, U32_IN, U32_IN, types.int64, types.int64, types.int64, types.int64, I64_OUT)
def tally(
    detector_a: U8, detector_b: U8, found_a: U32, found_b: U32, first: int, last: int, rows: int, columns: int,
    banks: I64,
) -> int:  # fmt: skip
    """Count listed pairs by detector, leaving out labels beyond the matrix.

    Parameters
    ----------
    detector_a, detector_b : uint8[n], uint8[m], label of each click
    found_a, found_b : uint32, indices of the pairs
    first, last : the part of the list to count
    rows, columns : detectors of each side
    banks : int64[BANKS * rows * columns], added to; the matrix is the sum over the banks

    Returns
    -------
    int
        Pairs whose labels lie outside the matrix.

    See Also
    --------
    numpy.add.at : the plain twin.
    """
    outside = 0
    cells = U64(rows * columns)
    for n in range(U64(first), U64(last)):
        row, column = U64(detector_a[found_a[n]]), U64(detector_b[found_b[n]])
        if row < U64(rows) and column < U64(columns):
            banks[(n & U64(BANKS - 1)) * cells + row * U64(columns) + column] += 1
        else:
            outside += 1
    return outside
