"""List the pairs of clicks that meet near a predicted clock line: the part of tracking that sees each tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import F64_OUT, I64_IN, I64_OUT, kernel

if TYPE_CHECKING:
    from qnoded.records import F64, I64

BLOCK: Final = 1024
"""Clicks of alice that are predicted at a time: small enough for the first-level cache."""


@kernel(types.uint64, I64_IN, types.uint64, types.int64)
def _first_not_before(tag_ps: I64, start: np.uint64, moment_ps: int) -> np.uint64:
    """Return the first index from ``start`` on whose tag is not before a moment, by galloping."""
    size = np.uint64(tag_ps.size)
    low, step = start, np.uint64(1)
    while low < size and tag_ps[low] < moment_ps:
        start = low + np.uint64(1)
        low += step
        step += step
    high = low if low < size else size
    while start < high:
        middle = (start + high) >> np.uint64(1)
        if tag_ps[middle] < moment_ps:
            start = middle + np.uint64(1)
        else:
            high = middle
    return start


@kernel(
    types.int64,
    I64_IN,
    I64_IN,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.float64,
    types.float64,
    types.int64,
    types.int64,
    F64_OUT,
    F64_OUT,
    I64_OUT,
    I64_OUT,
)
def list_pairs(
    alice_ps: I64,
    bob_ps: I64,
    start_ps: int,
    grain_ps: int,
    reference_ps: int,
    offset_ps: int,
    fraction_ps: float,
    frequency_error: float,
    half_window_ps: int,
    cap: int,
    time_s: F64,
    residual_ps: F64,
    first_pair: I64,
    scanned: I64,
) -> np.int64:
    """List all pairs within a window around a clock line, for at most ``cap`` clicks of alice per grain.

    The line is ``bob = alice + offset + fraction + frequency_error * (alice - reference)``. A click of alice
    is listed with every click of bob in the window: neither side is preferred and the centre not displaced.

    Parameters
    ----------
    alice_ps, bob_ps : int64[n], int64[m], ps, ascending
    start_ps : ps of alice's clock; begin of the first grain, clicks before it are left out
    grain_ps : ps, length of a grain; clicks after the last grain are left out
    reference_ps, offset_ps, fraction_ps, frequency_error : the predicted line
    half_window_ps : ps; a pair is listed if its residual rounds to at most this, either side
    cap : the rest of a grain is skipped once this many clicks of alice have found a partner
    time_s : float64[size], filled with alice's time after ``start_ps``, s
    residual_ps : float64[size], filled with bob's click minus the line, ps
    first_pair : int64[grains + 1], filled with the index of each grain's first pair
    scanned : int64[grains + 1], filled with the running number of alice's clicks looked at before each grain

    Returns
    -------
    int
        Number of pairs listed, at most ``size``: the list ends where the arrays do.
    """
    one, zero = np.uint64(1), np.uint64(0)
    low_ps = np.empty(BLOCK, np.int64)
    found_i = np.empty(BLOCK + 1, np.uint64)
    found_j = np.empty(BLOCK + 1, np.uint64)
    size, last = np.uint64(time_s.size), np.uint64(bob_ps.size)
    full_ps = 2 * half_window_ps
    i = _first_not_before(alice_ps, zero, start_ps)
    j, pairs, seen = zero, zero, zero
    for grain in range(first_pair.size - 1):
        first_pair[grain] = pairs
        scanned[grain] = seen
        stop = _first_not_before(alice_ps, i, start_ps + (grain + 1) * grain_ps)
        budget = np.uint64(cap)
        while i < stop and budget > zero and pairs < size:
            block = stop - i
            if block > np.uint64(BLOCK):
                block = np.uint64(BLOCK)
            for k in range(block):
                tag_ps = alice_ps[i + k]
                run_ps = np.int64(np.floor(frequency_error * (tag_ps - reference_ps) + fraction_ps + 0.5))
                low_ps[k] = tag_ps + run_ps + (offset_ps - half_window_ps)
            j = _first_not_before(bob_ps, j, low_ps[zero])
            # One step moves one side; store always and advance on a hit: no branch to mispredict.
            a, b, hits = zero, j, zero
            while a < block and b < last and hits < budget:
                later_ps = bob_ps[b] - low_ps[a]
                reached = later_ps >= 0
                found_i[hits] = a
                found_j[hits] = b
                hits += np.uint64(reached & (later_ps <= full_ps))
                a += np.uint64(reached)
                b += np.uint64(not reached)
            for h in range(hits):
                a_hit, b_hit = found_i[h], found_j[h]
                tag_ps = alice_ps[i + a_hit]
                while b_hit < last and pairs < size and bob_ps[b_hit] - low_ps[a_hit] <= full_ps:
                    run = frequency_error * (tag_ps - reference_ps) + fraction_ps
                    time_s[pairs] = (tag_ps - start_ps) * 1e-12
                    residual_ps[pairs] = (bob_ps[b_hit] - tag_ps - offset_ps) - run
                    pairs += one
                    b_hit += one
            budget -= hits
            if b == last:
                # No partner can come any more, yet the clicks count as looked at.
                a = block
            i += a
            seen += a
        i = stop
    first_pair[first_pair.size - 1] = pairs
    scanned[first_pair.size - 1] = seen
    return np.int64(pairs)
