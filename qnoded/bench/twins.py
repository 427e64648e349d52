"""Plain twins: the same answers as anybody would first write them, in numpy and in numba."""

from __future__ import annotations

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, kernel
from qnoded.records import I64, U8


@kernel(types.int64, I64_IN, I64_IN, types.int64)
def count_simply(a: I64, b: I64, half_ps: int) -> int:
    """Count one-to-one pairs with two pointers and branches."""
    i = j = found = 0
    while i < a.size and j < b.size:
        d = b[j] - a[i]
        if d < -half_ps:
            j += 1
        elif d > half_ps:
            i += 1
        else:
            found += 1
            i += 1
            j += 1
    return found


@kernel(types.void, I64_IN, U8_IN, I64_IN, U8_IN, types.int64, types.int64, types.int64, I64_OUT)
def tally_simply(
    a: I64, detector_a: U8, b: I64, detector_b: U8, shift_ps: int, half_ps: int, columns: int, matrix: I64
) -> None:
    """Count one-to-one pairs per pair of detectors with two pointers and branches."""
    i = j = 0
    while i < a.size and j < b.size:
        d = b[j] + shift_ps - a[i]
        if d < -half_ps:
            j += 1
        elif d > half_ps:
            i += 1
        else:
            matrix[detector_a[i] * columns + detector_b[j]] += 1
            i += 1
            j += 1


@kernel(types.void, I64_IN, I64_IN, types.int64, types.int64, I64_OUT)
def histogram_simply(a: I64, b: I64, range_ps: int, bin_ps: int, counts: I64) -> None:
    """Count all differences with one running pointer and a division each."""
    first = 0
    for i in range(a.size):
        low, high = a[i] - range_ps, a[i] + range_ps
        while first < b.size and b[first] < low:
            first += 1
        j = first
        while j < b.size and b[j] < high:
            counts[(b[j] - low) // bin_ps] += 1
            j += 1


def all_pairs_in_numpy(a: I64, b: I64, half_ps: int) -> int:
    """Count all pairs by two searches."""
    low, high = np.searchsorted(b, a - half_ps), np.searchsorted(b, a + half_ps, "right")
    return int((high - low).sum())


def pair_matrix_in_numpy(a: I64, detector_a: U8, b: I64, detector_b: U8, half_ps: int, shape: tuple[int, int]) -> I64:
    """Count all pairs per pair of detectors by two searches and a count of cells."""
    low, high = np.searchsorted(b, a - half_ps), np.searchsorted(b, a + half_ps, "right")
    matrix = np.zeros(shape[0] * shape[1], np.int64)
    for k in range(int((high - low).max(initial=0))):
        has = low + k < high
        cells = detector_a[has].astype(np.int64) * shape[1] + detector_b[low[has] + k]
        matrix += np.bincount(cells, minlength=matrix.size)
    return matrix.reshape(shape)


def histogram_in_numpy(a: I64, b: I64, range_ps: int, bin_ps: int) -> I64:
    """Count all differences, neighbour by neighbour, by two searches and a count of bins."""
    low, high = np.searchsorted(b, a - range_ps), np.searchsorted(b, a + range_ps)
    counts = np.zeros(2 * range_ps // bin_ps, np.int64)
    for k in range(int((high - low).max(initial=0))):
        has = low + k < high
        counts += np.bincount((b[low[has] + k] - a[has] + range_ps) // bin_ps, minlength=counts.size)
    return counts


def sift_in_numpy(detector_a: U8, detector_b: U8) -> tuple[U8, U8]:
    """Keep the bits of pairs in equal bases, by mask; detectors are H V D A."""
    equal = detector_a >> 1 == detector_b >> 1
    return detector_a[equal] & 1, detector_b[equal] & 1


def merge_in_numpy(a: I64, channel_a: U8, b: I64, channel_b: U8) -> tuple[I64, U8]:
    """Merge by a stable sort of both streams in a row."""
    tag_ps = np.concatenate([a, b])
    order = np.argsort(tag_ps, kind="stable")
    return tag_ps[order], np.concatenate([channel_a, channel_b])[order]


def drop_dead_time_in_numpy(tag_ps: I64, detector: U8, dead_time_ps: int, detectors: int) -> tuple[I64, U8]:
    """Drop clicks within the dead time, detector by detector."""
    keep = np.ones(tag_ps.size, bool)
    for which in range(detectors):
        own = np.flatnonzero(detector == which)
        keep[own[1:]] = np.diff(tag_ps[own]) >= dead_time_ps
    return tag_ps[keep], detector[keep]
