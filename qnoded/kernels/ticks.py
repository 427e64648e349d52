"""From an instrument's own ticks to picoseconds, exactly, and over the roll-overs of its counter."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, kernel
from qnoded.records import I64

LARGEST_PS: Final = 2**63 - 1
"""Last picosecond that an int64 can name: 106 days."""
LARGEST_DIRECT_DENOMINATOR: Final = 2**31
"""Up to here a remainder times a numerator's remainder, doubled, stays inside an int64."""


@kernel(types.int64, types.int64, types.int64, types.int64)
def scaled_floor(factor: int, numerator: int, denominator: int) -> int:
    """Return ``floor(factor * numerator / denominator)`` through 128 bits, at most ``LARGEST_PS``.

    Schoolbook: four 32-bit partial products, then a division bit by bit.

    Parameters
    ----------
    factor, numerator : int64 >= 0
    denominator : int64 > 0

    See Also
    --------
    int : Python's own, the plain twin.
    """
    half, mask, one = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(1)
    below = np.uint64(denominator)
    a, b = np.uint64(factor) >> half, np.uint64(factor) & mask
    c, d = np.uint64(numerator) >> half, np.uint64(numerator) & mask
    middle = (b * d >> half) + ((a * d) & mask) + ((b * c) & mask)
    low = (middle << half) | ((b * d) & mask)
    high = a * c + (a * d >> half) + (b * c >> half) + (middle >> half)
    if high >= below:
        return LARGEST_PS
    for _ in range(64):
        high = (high << one) | (low >> np.uint64(63))
        low = low << one
        if high >= below:
            high -= below
            low |= one
    return int(min(low, np.uint64(LARGEST_PS)))


@kernel(types.int64, I64_IN, types.int64, types.int64, I64_OUT)
def ticks_to_ps(ticks: I64, numerator: int, denominator: int, out: I64) -> int:
    """Scale ticks by an exact ratio, rounding half up; no intermediate value overflows.

    Parameters
    ----------
    ticks : int64[n]
    numerator, denominator : int64 > 0, the length of a tick in ps, reduced
    out : int64[>= n], ps, filled; may be ``ticks`` itself

    Returns
    -------
    int
        Index of the first tick whose time no int64 can hold, -1 if there is none. Before it all is filled.

    See Also
    --------
    fractions.Fraction : with ``floor(tick * ratio + 1/2)``, the plain twin.
    """
    # One tick less where it rounds, so that rounding up cannot pass the end either.
    limit = scaled_floor(LARGEST_PS, denominator, numerator)
    limit -= int(denominator > 1 and limit < LARGEST_PS)
    whole, part = numerator // denominator, numerator % denominator
    direct = denominator <= LARGEST_DIRECT_DENOMINATOR
    for n in range(np.uint64(ticks.size)):
        tick = ticks[n]
        if tick > limit or tick < -limit:
            return n
        if part == 0:
            out[n] = tick * whole
        elif direct:
            turns = tick // denominator
            rest = tick - turns * denominator
            out[n] = tick * whole + turns * part + (2 * rest * part + denominator) // (2 * denominator)
        else:
            turns = tick // denominator
            rest = tick - turns * denominator
            floor = scaled_floor(rest, part, denominator)
            # The products may wrap around, their difference does not: it is below the denominator.
            left = rest * part - floor * denominator
            out[n] = tick * whole + turns * part + floor + int(left >= denominator - left)
    return -1


@kernel(types.int64, I64_IN, types.int64, I64_OUT, I64_OUT)
def unwrap(counter: I64, span: int, state: I64, out: I64) -> int:
    """Continue a counter over its roll-overs; a step back by more than half its span is one.

    A reading that arrives late, from before a roll-over that has already been seen, is put back before it.

    Parameters
    ----------
    counter : int64[n], 0 <= counter < span
    span : int64, readings of the counter, at most 2**54
    state : int64[2], roll-overs so far and newest time so far (-1 at the start); carried from block to block
    out : int64[>= n], filled; may be ``counter`` itself

    Returns
    -------
    int
        Index of the first reading whose time no int64 can hold, -1 if there is none.

    See Also
    --------
    numpy.cumsum : of the steps back by more than ``span / 2``, the plain twin for ordered readings.
    """
    turns, newest = state[0], state[1]
    half = span // 2
    most = np.int64(LARGEST_PS) // span - 2
    for n in range(np.uint64(counter.size)):
        time = counter[n] + turns * span
        if time < newest - half:
            if turns >= most:
                state[0], state[1] = turns, newest
                return n
            turns += 1
            time += span
        elif turns > 0 and time > newest + half:
            time -= span
        newest = max(newest, time)
        out[n] = time
    state[0], state[1] = turns, newest
    return -1
