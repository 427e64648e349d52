"""Clicks that must not count: those within a detector's dead time, and those of several detectors at once.

The dead-time filter streams: what it must remember is an array that the caller keeps from block to block, and any
chunking gives the same clicks. Clicks at once are resolved an epoch at a time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, U32_IN, U32_OUT, U64_IN, kernel
from qnoded.records import I64, U8, U32

STRETCH: Final = 64
"""Clicks that are looked at together for the absence of clusters: eight vectors of times, seldom with a cluster."""

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""
Words = NDArray[np.uint64]

NEVER_PS: Final = -(2**62)
"""``last_ps`` of a detector that has not clicked yet; a difference to any tag below 2**62 ps fits int64."""

KEEP_RANDOM: Final = 0
"""Policy: one detector of the cluster is chosen at random, each as likely as the others however often it clicked, and
its first click is kept."""
DISCARD: Final = 1
"""Policy: no click of the cluster is kept. Simple, but a door for attacks that provoke double clicks."""

CLUSTERS: Final = 0
"""Place of the number of multi-click clusters in the counts of ``list_multi_clicks``."""
DROPPED: Final = 1
"""Place of the number of clicks that it dropped."""
COUNTS: Final = 2
"""Number of its counts."""
LABELS: Final = 256
"""Labels that a uint8 can hold."""

LENGTH_OF_A_WORD: Final = U64(8 << 56)
"""The word that SipHash takes after a message of eight bytes."""


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


@kernel(types.uint64, types.uint64, types.uint64)
def _rotated(word: np.uint64, bits: np.uint64) -> np.uint64:
    turned: np.uint64 = (word << bits) | (word >> (U64(64) - bits))
    return turned


@kernel(tuple_of(types.uint64, 4), types.uint64, types.uint64, types.uint64, types.uint64)
def _sip_round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0, v2 = v0 + v1, v2 + v3
    v1, v3 = _rotated(v1, U64(13)) ^ v0, _rotated(v3, U64(16)) ^ v2
    v0, v2 = _rotated(v0, U64(32)) + v3, v2 + v1
    v1, v3 = _rotated(v1, U64(17)) ^ v2, _rotated(v3, U64(21)) ^ v0
    return v0, v1, _rotated(v2, U64(32)), v3


@kernel(types.uint64, U64_IN, types.uint64)
def siphash(key: Words, word: np.uint64) -> np.uint64:
    """Return SipHash-2-4 of eight bytes: 64 bits that nobody can tell from random ones without the key.

    Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, section 2; constants from there.

    Parameters
    ----------
    key : uint64[2], 128 secret bits, low word first
    word : the eight bytes, lowest first

    See Also
    --------
    tests.kernels.test_kernel_filtering.siphash_plainly : the plain twin.
    """
    v0, v1 = key[0] ^ U64(0x736F6D6570736575), key[1] ^ U64(0x646F72616E646F6D)
    v2, v3 = key[0] ^ U64(0x6C7967656E657261), key[1] ^ U64(0x7465646279746573)
    for taken in (word, LENGTH_OF_A_WORD):
        v3 ^= taken
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
        v0 ^= taken
    v2 ^= U64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    mixed: np.uint64 = v0 ^ v1 ^ v2 ^ v3
    return mixed


@kernel(types.uint64, I64_IN, types.int64, types.uint64)
def _next_near(tag_ps: I64, window_ps: int, n: np.uint64) -> np.uint64:
    """Return the first place from ``n`` on whose click has the next one within the window, or the last click's."""
    last, one, stretch = U64(tag_ps.size - 1), U64(1), U64(STRETCH)
    # Clusters are rare: stretches without one are tested a vector at a time.
    while n + stretch <= last:
        near = U64(0)
        for k in range(n, n + stretch):
            near |= U64(tag_ps[k + one] - tag_ps[k] <= window_ps)
        if near:
            break
        n += stretch
    while n < last and tag_ps[n + one] - tag_ps[n] > window_ps:
        n += one
    return n


@kernel(types.uint64, U8_IN, types.uint64, types.uint64, types.uint64, I64_OUT)
def _survivor(detector: U8, first: np.uint64, after: np.uint64, random: np.uint64, marks: I64) -> np.uint64:
    """Return the first click of a cluster's detector that is drawn; ``marks`` is int64[LABELS], zero, and left so."""
    detectors = U64(0)
    for n in range(first, after):
        detectors += U64(marks[detector[n]] == 0)
        marks[detector[n]] = 1
    # The upper 32 bits times their number, shifted down: uniform to a part in 2**32 / detectors.
    chosen = ((random >> U64(32)) * detectors) >> U64(32)
    survivor = first
    for n in range(first, after):
        # Each label that is met for the first time takes its mark off again.
        if marks[detector[n]]:
            marks[detector[n]] = 0
            if chosen == U64(0):
                survivor = U64(n)
            chosen -= U64(1)
    return survivor


@kernel(types.int64, I64_IN, U8_IN, types.int64, types.int64, U64_IN, U32_OUT, I64_OUT)
def list_multi_clicks(
    tag_ps: I64, detector: U8, window_ps: int, policy: int, key: Words, left_out: U32, counts: I64
) -> int:
    """List the clicks that must not count because other detectors of the node clicked at the same time.

    A cluster is a click with all that follow it within the window. Clusters of one detector alone are kept whole: they
    are the dead-time filter's business. Of another the first click of one detector is kept, each detector as likely as
    the others: an echo does not win it a second chance. Which one hangs on the key, the detectors and the time of the
    cluster's first click alone.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending; n below 2**32
    detector : uint8[n]
    window_ps : largest distance from the first click of a cluster, ps; two clicks that can meet the same click of
        the peer are at most a full coincidence window apart. Negative: every click stands alone.
    policy : ``KEEP_RANDOM`` or ``DISCARD``
    key : uint64[2], of ``siphash``; its choices become key bits, so on a live node it is a secret
    left_out : uint32[>= n], filled with the indices of these clicks, ascending
    counts : int64[COUNTS], added to: ``CLUSTERS``, ``DROPPED``

    Returns
    -------
    int
        Clicks listed.

    See Also
    --------
    tests.kernels.test_kernel_filtering.resolve_plainly : the plain twin.
    """
    size, listed, first = U64(tag_ps.size), U64(0), U64(0)
    marks = np.zeros(LABELS, np.int64)
    while first < size:
        first = _next_near(tag_ps, window_ps, first)
        start_ps, after = tag_ps[first], first + U64(1)
        mixed = False
        while after < size and tag_ps[after] - start_ps <= window_ps:
            mixed |= detector[after] != detector[first]
            after += U64(1)
        if mixed:
            survivor = after
            if policy != DISCARD:
                random = siphash(key, U64(start_ps))
                survivor = _survivor(detector, first, after, random, marks)
            counts[CLUSTERS] += 1
            for n in range(first, after):
                left_out[listed] = np.uint32(n)
                listed += U64(n != survivor)
                counts[DROPPED] += S64(n != survivor)
        first = after
    total: int = S64(listed)
    return total


@kernel(types.void, I64_IN, U8_IN, U32_IN, I64_OUT, U8_OUT)
def leave_out(tag_ps: I64, detector: U8, left_out: U32, kept_ps: I64, kept_detector: U8) -> None:
    """Copy all clicks but those listed.

    Parameters
    ----------
    tag_ps : int64[n], ps
    detector : uint8[n]
    left_out : uint32[k], ascending indices
    kept_ps, kept_detector : int64[n - k], uint8[n - k], filled

    See Also
    --------
    numpy.delete : the plain twin.
    """
    begin, kept = U64(0), U64(0)
    for k in range(U64(left_out.size) + U64(1)):
        end = U64(left_out[k]) if k < U64(left_out.size) else U64(tag_ps.size)
        for n in range(end - begin):
            kept_ps[kept + n] = tag_ps[begin + n]
            kept_detector[kept + n] = detector[begin + n]
        kept += end - begin
        begin = end + U64(1)
