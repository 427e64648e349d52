"""Clicks that must not count: those within a detector's dead time, and those of several detectors at once.

Both filters stream: what they must remember is an array or a remainder that the caller keeps from block to block,
and any chunking gives the same clicks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

STRETCH: Final = 64
"""Clicks that are looked at together for the absence of clusters: eight vectors of times, seldom with a cluster."""

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

NEVER_PS: Final = -(2**62)
"""``last_ps`` of a detector that has not clicked yet; a difference to any tag below 2**62 ps fits int64."""

KEEP_RANDOM: Final = 0
"""Policy: one detector of the cluster is chosen at random, each as likely as the others however often it clicked, and
its first click is kept."""
DISCARD: Final = 1
"""Policy: no click of the cluster is kept. Simple, but a door for attacks that provoke double clicks."""

CLUSTERS: Final = 0
"""Place of the number of multi-click clusters in the counts of ``resolve_multi_clicks``."""
DROPPED: Final = 1
"""Place of the number of clicks that it dropped."""
COUNTS: Final = 2
"""Number of its counts."""
LABELS: Final = 256
"""Labels that a uint8 can hold."""


@kernel(types.int64, I64_IN, U8_IN, I64_IN, I64_OUT, I64_OUT, U8_OUT, I64_OUT)
def drop_dead_time(
    tag_ps: I64, detector: U8, dead_time_ps: I64, last_ps: I64, kept_ps: I64, kept_detector: U8, dropped: I64
) -> int:
    """Drop each click closer than the dead time to the previous one of the same detector, kept or not.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending
    detector : uint8[n], each below the number of detectors
    dead_time_ps : int64[detectors], ps; 0 keeps all clicks
    last_ps : int64[detectors], ps, last click of each detector so far, ``NEVER_PS`` before the first; moved on
    kept_ps, kept_detector : int64[>= n], uint8[>= n], filled; they may be the inputs themselves
    dropped : int64[detectors], added to

    Returns
    -------
    int
        Number of clicks kept.

    See Also
    --------
    tests.kernels.test_kernel_filtering.drop_plainly : the plain twin.
    """
    kept = U64(0)
    for n in range(U64(tag_ps.size)):
        time, which = tag_ps[n], detector[n]
        live = U64(time - last_ps[which] >= dead_time_ps[which])
        last_ps[which] = time
        dropped[which] += S64(U64(1) - live)
        # Always store and advance only on a hit: no branch to mispredict.
        kept_ps[kept] = time
        kept_detector[kept] = which
        kept += live
    total: int = S64(kept)
    return total


@kernel(types.uint64, types.uint64)
def _splitmix64(counter: np.uint64) -> np.uint64:
    """Mix a counter into 64 random bits (Steele, Lea, Flood, OOPSLA 2014, fig. 16; constants from there)."""
    z = counter + U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    mixed: np.uint64 = z ^ (z >> U64(31))
    return mixed


@kernel(tuple_of(types.int64, 2), I64_IN, U8_IN, types.int64, types.int64, types.uint64, types.boolean,
        I64_OUT, U8_OUT, I64_OUT)  # fmt: skip
def resolve_multi_clicks(
    tag_ps: I64, detector: U8, window_ps: int, policy: int, seed: int, finish: bool, kept_ps: I64, kept_detector: U8,
    counts: I64,
) -> tuple[int, int]:  # fmt: skip
    """Resolve clusters of clicks of different detectors of one node.

    A cluster is a click with all that follow it within the window. Clusters of one detector alone are kept whole: they
    are the dead-time filter's business. Of another the first click of one detector is kept, each detector as likely as
    the others: an echo does not win it a second chance. Which one hangs on the seed, the detectors and the time of the
    cluster's first click alone.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending
    detector : uint8[n]
    window_ps : largest distance from the first click of a cluster, ps; two clicks that can meet the same click of
        the peer are at most a full coincidence window apart. Negative: every click stands alone.
    policy : ``KEEP_RANDOM`` or ``DISCARD``
    seed : uint64
    finish : no clicks will follow, so that the last cluster is complete
    kept_ps, kept_detector : int64[>= n], uint8[>= n], filled
    counts : int64[COUNTS], added to: ``CLUSTERS``, ``DROPPED``

    Returns
    -------
    (int, int)
        Clicks kept, and clicks consumed. The clicks ``tag_ps[consumed:]`` are a cluster that may not be complete: put
        them in front of the next block.

    See Also
    --------
    tests.kernels.test_kernel_filtering.resolve_plainly : the plain twin.
    """
    size = U64(tag_ps.size)
    first, kept = U64(0), U64(0)
    # The cluster, by the number of its first click plus 1, in which each label was seen last.
    seen_in = np.zeros(LABELS, np.int64)
    while first < size:
        # Clusters are rare: stretches without one are tested and copied a vector at a time.
        while first + U64(STRETCH) < size:
            near = U64(0)
            for n in range(first, first + U64(STRETCH)):
                near |= U64(tag_ps[n + U64(1)] - tag_ps[n] <= window_ps)
            if near:
                # Before the next test: most of what is left of the stretch would fail it again, click after click.
                while tag_ps[first + U64(1)] - tag_ps[first] > window_ps:
                    kept_ps[kept] = tag_ps[first]
                    kept_detector[kept] = detector[first]
                    kept += U64(1)
                    first += U64(1)
                break
            for n in range(U64(STRETCH)):
                kept_ps[kept + n] = tag_ps[first + n]
                kept_detector[kept + n] = detector[first + n]
            kept += U64(STRETCH)
            first += U64(STRETCH)
        start_ps = tag_ps[first]
        after = first + U64(1)
        mixed = False
        while after < size and tag_ps[after] - start_ps <= window_ps:
            mixed |= detector[after] != detector[first]
            after += U64(1)
        if after == size and not finish:
            break
        begin, end = first, after
        if mixed:
            clicks = after - first
            counts[CLUSTERS] += 1
            if policy == DISCARD:
                end = begin
            else:
                detectors = U64(0)
                for n in range(first, after):
                    detectors += U64(seen_in[detector[n]] != S64(first) + 1)
                    seen_in[detector[n]] = S64(first) + 1
                # The upper 32 bits times their number, shifted down: uniform to a part in 2**32 / detectors.
                chosen = ((_splitmix64(seed ^ _splitmix64(U64(start_ps))) >> U64(32)) * detectors) >> U64(32)
                # Each label that is met for the first time takes its mark off again.
                while seen_in[detector[begin]] == 0 or chosen:
                    chosen -= U64(seen_in[detector[begin]] != 0)
                    seen_in[detector[begin]] = 0
                    begin += U64(1)
                end = begin + U64(1)
            counts[DROPPED] += S64(clicks - (end - begin))
        for n in range(begin, end):
            kept_ps[kept] = tag_ps[n]
            kept_detector[kept] = detector[n]
            kept += U64(1)
        first = after
    return S64(kept), S64(first)
