"""Time order: seen at the speed of memory where it holds, restored where it is disturbed a little."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_OUT, kernel
from qnoded.records import I64, U8

MOVES_PER_TAG: Final = 16
"""Beyond this many moves per tag an insertion sort is slower than a merge sort of the whole array."""


@kernel(types.int64, I64_IN)
def count_steps_back(tag_ps: I64) -> int:
    """Return how many tags are earlier than their neighbour before them; 0 means ordered.

    Parameters
    ----------
    tag_ps : int64[n], ps

    See Also
    --------
    numpy.diff : with ``count_nonzero(... < 0)``, the plain twin.
    """
    # The comparison is summed without a branch so that the loop becomes vector instructions.
    steps = 0
    for n in range(1, tag_ps.size):
        k = np.uint64(n)
        steps += int(tag_ps[k] < tag_ps[k - np.uint64(1)])
    return steps


@kernel(types.int64, I64_IN, types.int64, I64_OUT)
def measure_disorder(tag_ps: I64, window_ps: int, state: I64) -> int:
    """Count the tags that come after a later one, and by how much at most.

    Parameters
    ----------
    tag_ps : int64[n], ps, as the instrument gave them
    window_ps : int64, largest step back behind the newest tag that is accepted
    state : int64[3], ps, count, ps: newest tag so far, disordered tags so far, largest step back so far

    Returns
    -------
    int
        Index of the first tag that stands back by more than the window, -1 if there is none.

    See Also
    --------
    numpy.maximum.accumulate : minus the tags, the plain twin.
    """
    newest = state[0]
    for n in range(np.uint64(tag_ps.size)):
        time = tag_ps[n]
        if time < newest:
            # Unsigned, since the distance of two int64 may need 64 bits.
            lag = np.uint64(newest) - np.uint64(time)
            if lag > np.uint64(window_ps):
                return n
            state[1] += 1
            state[2] = max(state[2], np.int64(lag))
        else:
            newest = time
    state[0] = newest
    return -1


@kernel(types.int64, I64_OUT, U8_OUT, types.int64, types.int64)
def restore_order(tag_ps: I64, channel: U8, first: int, most_moves: int) -> int:
    """Sort nearly ordered tags in place by insertion; equal times keep their order.

    The cost is the number of inversions. ``most_moves`` bounds it, so that a recording made to be slow is not:
    the caller goes on with a sort whose cost does not depend on the data.

    Parameters
    ----------
    tag_ps : int64[n], ps, sorted in place; ordered before ``first``
    channel : uint8[n], moved along
    first : int64, index of the first tag that may be out of place
    most_moves : int64, tags moved aside at most

    Returns
    -------
    int
        Number of leading tags that are in order now: n when the work is done.

    See Also
    --------
    numpy.argsort : with ``kind="stable"``, the plain twin.
    """
    moves = 0
    one = np.uint64(1)
    # Unsigned, so that the scan of tags in order needs no test for places counted from the end.
    for n in range(np.uint64(max(first, 1)), np.uint64(tag_ps.size)):
        time = tag_ps[n]
        if time >= tag_ps[n - one]:
            continue
        if moves > most_moves:
            return int(n)
        which = channel[n]
        k = np.uint64(n)
        while k > np.uint64(0) and tag_ps[k - one] > time:
            tag_ps[k] = tag_ps[k - one]
            channel[k] = channel[k - one]
            k -= one
        moves += int(np.uint64(n) - k)
        tag_ps[k] = time
        channel[k] = which
    return tag_ps.size


def put_in_order(tag_ps: I64, channel: U8, first: int = 0) -> None:
    """Sort tags in place; equal times keep their order.

    By insertion where they are nearly in order, which costs next to nothing, and all anew where that would be slower.

    Parameters
    ----------
    tag_ps : int64[n], ps; ordered before ``first``
    channel : uint8[n], moved along
    first : index of the first tag that may be out of place
    """
    if restore_order(tag_ps, channel, first, MOVES_PER_TAG * tag_ps.size) < tag_ps.size:
        order = np.argsort(tag_ps, kind="stable")
        tag_ps[:], channel[:] = tag_ps[order], channel[order]
