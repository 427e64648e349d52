"""Carry bob's tags to link time along a piecewise linear clock line, exact to the picosecond at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from qnoded.kernels.compiling import F64_IN, I64_IN, I64_OUT, kernel

if TYPE_CHECKING:
    from qnoded.records import F64, I64


@kernel(types.void, I64_IN, I64_IN, I64_IN, F64_IN, F64_IN, I64_OUT)
def carry_to_link(bob_ps: I64, knots_bob_ps: I64, offset_ps: I64, fraction_ps: F64, slope: F64, link_ps: I64) -> None:
    """Subtract from each tag the offset of the line that holds there.

    Segment k runs from knot k to knot k + 1; the first and the last go on outside. Only differences to
    a knot become floats, so no picosecond is lost at any absolute time.

    Parameters
    ----------
    bob_ps : int64[n], ps of bob's clock, ascending
    knots_bob_ps : int64[k], ps of bob's clock, strictly ascending, k >= 2
    offset_ps : int64[k], ps, whole part of bob minus alice at each knot
    fraction_ps : float64[k], ps, the rest of it
    slope : float64[k - 1], change of the offset per picosecond of bob's clock in each segment
    link_ps : int64[n], ps, filled
    """
    begin = 0
    segments = slope.size
    for segment in range(segments):
        end = bob_ps.size
        if segment < segments - 1:
            low, high = begin, bob_ps.size
            while low < high:
                middle = (low + high) // 2
                if bob_ps[middle] < knots_bob_ps[segment + 1]:
                    low = middle + 1
                else:
                    high = middle
            end = low
        knot_ps = knots_bob_ps[segment]
        rate, rest = slope[segment], fraction_ps[segment] + 0.5
        whole_ps = offset_ps[segment]
        for n in range(np.uint64(begin), np.uint64(end)):
            tag_ps = bob_ps[n]
            link_ps[n] = tag_ps - whole_ps - np.int64(np.floor(rate * (tag_ps - knot_ps) + rest))
        begin = end
