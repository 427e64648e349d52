"""All pairs of displaced windows, where only chance lets clicks meet: exact, and fast because they are rare.

A tile of clicks of one side is held against one of the other at once. Where no two of them meet, the tile whose last
click is the earlier one has nothing left to meet and is passed over; where two do meet, all partners of the first click
of ``a`` that has any are counted, and the tiles go on behind it. Each click counts as often as it meets one, as in
``pairing``: what is taken off a count must be counted the same way. Two displacements are walked by turns, to hide
each other's latency.

The comparison is written in LLVM's own vectors, since its vectorizer does not see it in nested loops, and compiled for
whatever vectors the machine has. It looks at the lower 32 bits of the times alone, of which twice as many fit into a
vector: clicks that are a multiple of 4.3 ms apart raise a false alarm now and then, which the exact times settle.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, kernel
from qnoded.records import I64, U8

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

TILE_A: Final = 16
"""Clicks of alice in a tile: 32 bits of each fill a vector of 512 bits, or two of 256."""
TILE_B: Final = 8
"""Clicks of bob in a tile: fewer, since most of the comparisons far off the diagonal are in vain."""
LOWER_HALF: Final = 2**32 - 1

_PLACE = tuple_of(types.uint64, 3)


def _spread(builder: Any, value: Any, size: int) -> Any:
    """Return a vector that holds the value everywhere."""
    undefined = ir.Constant(ir.VectorType(value.type, size), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), size), [0] * size))


def _address(context: Any, builder: Any, times: Any, at: Any) -> Any:
    return builder.gep(context.make_array(I64_IN)(context, builder, times).data, [at])


def _load(context: Any, builder: Any, times: Any, at: Any, size: int) -> Any:
    vector = ir.VectorType(ir.IntType(64), size)
    return builder.load(builder.bitcast(_address(context, builder, times, at), vector.as_pointer()), align=8)


def _inside(context: Any, builder: Any, arguments: Any, bits: int) -> Any:
    """Tell in one bit per ``u`` whether any ``0 <= b[j + v] + shift - a[i + u] <= width``, modulo ``2**bits``."""
    a, i, b, j, shift, width = arguments
    kind = ir.IntType(bits)

    def lower(value: Any) -> Any:
        return value if bits == 64 else builder.trunc(value, kind)

    times = _load(context, builder, a, i, TILE_A)
    times = times if bits == 64 else builder.trunc(times, ir.VectorType(kind, TILE_A))
    origin = builder.sub(times, _spread(builder, lower(shift), TILE_A))
    stops = _address(context, builder, b, j)
    nearest = None
    for v in range(TILE_B):
        time = builder.load(builder.gep(stops, [ir.Constant(ir.IntType(64), v)]))
        # Unsigned: a click before the window is as far as can be.
        distance = builder.sub(_spread(builder, lower(time), TILE_A), origin)
        nearer = builder.icmp_unsigned("<", distance, nearest) if nearest else None
        nearest = builder.select(nearer, distance, nearest) if nearest else distance
    near = builder.icmp_unsigned("<=", nearest, _spread(builder, lower(width), TILE_A))
    return builder.bitcast(near, ir.IntType(TILE_A))


def _may_meet_in_vectors(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
    inside = _inside(context, builder, arguments, 32)
    return builder.icmp_unsigned("!=", inside, ir.Constant(inside.type, 0))


def _first_meeting_in_vectors(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
    inside = _inside(context, builder, arguments, 64)
    return builder.zext(builder.cttz(inside, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))


def _count_below_in_vectors(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
    times, at, limit = arguments
    row = _load(context, builder, times, at, TILE_B)
    below = builder.bitcast(builder.icmp_signed("<", row, _spread(builder, limit, TILE_B)), ir.IntType(TILE_B))
    return builder.zext(builder.ctpop(below), ir.IntType(64))


def _load_alone(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
    return builder.load_atomic(_address(context, builder, *arguments), "unordered", 8)


def _declare_may_meet(_: Any, a: Any, i: Any, b: Any, j: Any, shift_ps: Any, width_ps: Any) -> Any:
    """Return whether any ``0 <= b[j + v] + shift - a[i + u] <= width`` in the lower 32 bits, in the tile."""
    return types.boolean(a, i, b, j, shift_ps, width_ps), _may_meet_in_vectors


def _declare_first_meeting(_: Any, a: Any, i: Any, b: Any, j: Any, shift_ps: Any, width_ps: Any) -> Any:
    """Return the smallest ``u`` that has a partner in the tile, or ``TILE_A``."""
    return types.uint64(a, i, b, j, shift_ps, width_ps), _first_meeting_in_vectors


def _declare_count_below(_: Any, times: Any, i: Any, limit_ps: Any) -> Any:
    """Return how many of ``times[i + u]`` are below the limit, ``u < TILE_B``."""
    return types.uint64(times, i, limit_ps), _count_below_in_vectors


def _declare_alone(_: Any, times: Any, i: Any) -> Any:
    """Return ``times[i]`` by a load of its own.

    LLVM would rather take the last time of a tile out of the vector that it has loaded, which takes 20 cycles in
    which the walk stands still. An unordered atomic load is a plain load that it leaves alone.
    """
    return types.int64(times, i), _load_alone


_may_meet: Final[Any] = intrinsic(_declare_may_meet)
_first_meeting: Final[Any] = intrinsic(_declare_first_meeting)
_count_below: Final[Any] = intrinsic(_declare_count_below)
_alone: Final[Any] = intrinsic(_declare_alone)


@kernel(types.uint64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.uint64, types.uint64, types.int64, types.int64,
        I64_OUT)  # fmt: skip
def _tally_partners(
    a: I64, detector_a: U8, b: I64, detector_b: U8, high_ps: int, i: np.uint64, j: np.uint64, rows: int, columns: int,
    matrix: I64,
) -> np.uint64:  # fmt: skip
    """Count the pairs of ``a[i]`` with ``b[j]``, its first partner, and those that follow up to ``a[i] + high``.

    Returns the pairs with labels outside the matrix.
    """
    row, latest, outside = U64(detector_a[i]), a[i] + high_ps, U64(0)
    while True:
        column = U64(detector_b[j])
        if row < U64(rows) and column < U64(columns):
            matrix[row * U64(columns) + column] += 1
        else:
            outside += U64(1)
        j += U64(1)
        if j >= U64(b.size) or b[j] > latest:
            break
    strange: np.uint64 = outside
    return strange


@kernel(_PLACE, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.uint64, types.uint64, types.uint64,
        types.int64, types.int64, I64_OUT)  # fmt: skip
def _tally_tile(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, shift_ps: int, i: np.uint64, j: np.uint64,
    late: np.uint64, rows: int, columns: int, matrix: I64,
) -> tuple[np.uint64, np.uint64, np.uint64]:  # fmt: skip
    """Count all pairs of the first click of a tile that has a partner; the first lies in the tile, the last may not.

    Returns the place behind it, and its pairs with labels outside the matrix. On a false alarm the earlier tile is
    passed over.
    """
    u = _first_meeting(a, i, b, j, shift_ps + half_ps, 2 * half_ps)
    if u == U64(TILE_A):
        return i + late * U64(TILE_A), j + (U64(1) - late) * U64(TILE_B), U64(0)
    i += u
    j += _count_below(b, j, _alone(a, i) - half_ps - shift_ps)
    return i + U64(1), j, _tally_partners(a, detector_a, b, detector_b, half_ps - shift_ps, i, j, rows, columns, matrix)


@kernel(_PLACE, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.uint64, types.uint64, types.uint64,
        types.int64, types.int64, I64_OUT)  # fmt: skip
def _tally_next(
    a: I64, detector_a: U8, b: I64, detector_b: U8, low_ps: int, high_ps: int, i: np.uint64, i_stop: np.uint64,
    j: np.uint64, rows: int, columns: int, matrix: I64,
) -> tuple[np.uint64, np.uint64, np.uint64]:  # fmt: skip
    """Walk serially past the next click that has a partner and count its pairs.

    Returns the place, and the pairs with labels outside the matrix.
    """
    j_stop = U64(b.size)
    while i < i_stop and j < j_stop:
        d = b[j] - a[i]
        reached = U64(d >= low_ps)
        i += reached
        if reached and d <= high_ps:
            i -= U64(1)
            strange = _tally_partners(a, detector_a, b, detector_b, high_ps, i, j, rows, columns, matrix)
            return i + U64(1), j, strange
        j += U64(1) - reached
    return i, j, U64(0)


@kernel(types.uint64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.uint64, types.uint64, types.uint64,
        types.int64, types.int64, I64_OUT)  # fmt: skip
def _walk(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, shift_ps: int, i: np.uint64, i_stop: np.uint64,
    j: np.uint64, rows: int, columns: int, matrix: I64,
) -> np.uint64:  # fmt: skip
    """Walk one displacement to its end; return the pairs with labels outside the matrix."""
    low, high, width = -half_ps - shift_ps, half_ps - shift_ps, min(2 * half_ps, LOWER_HALF)
    tile_a, tile_b, j_stop, outside = U64(TILE_A), U64(TILE_B), U64(b.size), U64(0)
    last_a, last_b = U64(TILE_A - 1), U64(TILE_B - 1)
    while i < i_stop and j < j_stop:
        if i + tile_a <= i_stop and j + tile_b <= j_stop:
            late = U64(_alone(b, j + last_b) - _alone(a, i + last_a) > high)
            if _may_meet(a, i, b, j, shift_ps + half_ps, width):
                i, j, strange = _tally_tile(
                    a, detector_a, b, detector_b, half_ps, shift_ps, i, j, late, rows, columns, matrix
                )
                outside += strange
            else:
                i += late * tile_a
                j += (U64(1) - late) * tile_b
            continue
        i, j, strange = _tally_next(a, detector_a, b, detector_b, low, high, i, i_stop, j, rows, columns, matrix)
        outside += strange
    total: np.uint64 = outside
    return total


@kernel(tuple_of(types.uint64, 5), I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.int64, types.uint64,
        types.uint64, types.uint64, types.uint64, types.int64, types.int64, I64_OUT)  # fmt: skip
def _walk_two(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, p_shift: int, r_shift: int, i: np.uint64,
    i_stop: np.uint64, q: np.uint64, s: np.uint64, rows: int, columns: int, matrix: I64,
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:  # fmt: skip
    """Walk two displacements by turns as long as both have whole tiles before them.

    Returns both places and the pairs with labels outside the matrix.
    """
    p, r = i, i
    tile_a, tile_b, j_stop, outside = U64(TILE_A), U64(TILE_B), U64(b.size), U64(0)
    last_a, last_b = U64(TILE_A - 1), U64(TILE_B - 1)
    one, width = U64(1), min(2 * half_ps, LOWER_HALF)
    while max(p, r) + tile_a <= i_stop and max(q, s) + tile_b <= j_stop:
        p_late = U64(_alone(b, q + last_b) - _alone(a, p + last_a) > half_ps - p_shift)
        r_late = U64(_alone(b, s + last_b) - _alone(a, r + last_a) > half_ps - r_shift)
        p_meets = _may_meet(a, p, b, q, p_shift + half_ps, width)
        r_meets = _may_meet(a, r, b, s, r_shift + half_ps, width)
        if p_meets:
            p, q, strange = _tally_tile(
                a, detector_a, b, detector_b, half_ps, p_shift, p, q, p_late, rows, columns, matrix
            )
            outside += strange
        else:
            p += p_late * tile_a
            q += (one - p_late) * tile_b
        if r_meets:
            r, s, strange = _tally_tile(
                a, detector_a, b, detector_b, half_ps, r_shift, r, s, r_late, rows, columns, matrix
            )
            outside += strange
        else:
            r += r_late * tile_a
            s += (one - r_late) * tile_b
    return p, q, r, s, outside


@kernel(types.int64, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, I64_IN, types.int64, types.int64, types.int64,
        types.int64, I64_OUT)  # fmt: skip
def tally_displaced(
    a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, shifts_ps: I64, i: int, i_stop: int, rows: int,
    columns: int, matrix: I64,
) -> int:  # fmt: skip
    """Count all pairs with ``|b + shift - a| <= half`` of each displacement by detector.

    Parameters
    ----------
    a, b : int64[n], int64[m], ps, ascending
    detector_a, detector_b : uint8[n], uint8[m], label of each click
    half_ps : largest ``|b + shift - a|`` of a pair, ps, at least 0
    shifts_ps : int64[k], ps, added to ``b``, one walk each
    i, i_stop : the clicks of ``a`` to count
    rows, columns : detectors of each side
    matrix : int64[rows * columns], added to

    Returns
    -------
    int
        Pairs whose labels lie outside the matrix.

    See Also
    --------
    tests.kernels.test_kernel_accidentals.all_pairs_matrix : the plain twin.
    """
    outside = U64(0)
    if i >= i_stop:
        return 0
    start, stop = U64(i), U64(i_stop)
    for k in range(0, shifts_ps.size, 2):
        shift_ps = shifts_ps[k]
        p, q = start, U64(np.searchsorted(b, a[start] - half_ps - shift_ps))
        if k + 1 < shifts_ps.size:
            other_ps = shifts_ps[k + 1]
            s = U64(np.searchsorted(b, a[start] - half_ps - other_ps))
            p, q, r, s, strange = _walk_two(
                a, detector_a, b, detector_b, half_ps, shift_ps, other_ps, start, stop, q, s, rows, columns, matrix
            )
            outside += strange
            outside += _walk(a, detector_a, b, detector_b, half_ps, other_ps, r, stop, s, rows, columns, matrix)
        outside += _walk(a, detector_a, b, detector_b, half_ps, shift_ps, p, stop, q, rows, columns, matrix)
    total: int = S64(outside)
    return total
