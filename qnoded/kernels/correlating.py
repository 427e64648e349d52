"""Correlating two streams of tags: binning, cross-spectra, sums along clock lines, lists of close pairs.

Arrays of bins and of correlations are float32: the search for the clock is limited by memory, and counts of a few
hundred per bin leave float32 exact by far. Lags count bins; a positive lag means that the second stream is late.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.kernels.compiling import F32_OUT, F64_IN, F64_OUT, I64_IN, I64_OUT, kernel

C64_ROWS_IN = types.Array(types.complex64, 2, "C", readonly=True)
C64_ROWS_OUT = types.Array(types.complex64, 2, "C")
F32_ROWS_IN = types.Array(types.float32, 2, "C", readonly=True)

SPECTRUM_TILE: Final = 1024
"""Frequencies worked on at a time: a tile of the sums (8 KiB) and of the factors stays in the level-1 cache."""


@kernel(types.void, I64_IN, types.int64, types.float64, F32_OUT)
def bin_tags(tag_ps: NDArray[np.int64], origin_ps: int, bins_per_ps: float, counts: NDArray[np.float32]) -> None:
    """Add each tag to its bin ``floor((tag - origin) * bins_per_ps)``; tags outside of the array are ignored.

    The twin is ``numpy.bincount`` of the same expression.

    Parameters
    ----------
    tag_ps
        int64[n], ps, in any order.
    origin_ps
        Lower edge of bin 0, ps.
    bins_per_ps
        Bins per picosecond; carries the frequency correction of the stream.
    counts
        float32[bins], added to.
    """
    n_bins = np.float64(counts.size)
    for i in range(np.uint64(tag_ps.size)):
        place = np.float64(tag_ps[np.uint64(i)] - origin_ps) * bins_per_ps
        if 0.0 <= place < n_bins:
            counts[np.uint64(place)] += np.float32(1.0)


@kernel(types.void, F32_OUT, types.int64)
def subtract_local_mean(counts: NDArray[np.float32], width: int) -> None:
    """Subtract from each run of ``width`` bins its own mean, in place; the last run may be shorter.

    Where a stream has a gap or ends, its bins become 0 and correlate with nothing; a rate that changes slowly
    leaves no slope in the correlation. The twin subtracts means of a reshaped array.

    Parameters
    ----------
    counts
        float32[bins].
    width
        Bins per run, at least 1.
    """
    n_bins = counts.size
    for start in range(0, n_bins, width):
        stop = min(start + width, n_bins)
        total = np.float32(0.0)
        for i in range(start, stop):
            total += counts[np.uint64(i)]
        mean = total / np.float32(stop - start)
        for i in range(start, stop):
            counts[np.uint64(i)] -= mean


@kernel(types.void, C64_ROWS_IN, C64_ROWS_IN, C64_ROWS_OUT)
def add_cross_spectra(early: NDArray[np.complex64], late: NDArray[np.complex64], sums: NDArray[np.complex64]) -> None:
    """Add ``conj(early[s]) * late[s + m]`` over all blocks s to ``sums[m]``: block convolution, block by block.

    The twin is the double loop over numpy rows.

    Parameters
    ----------
    early
        complex64[blocks, frequencies], spectra of the reference stream.
    late
        complex64[blocks + shifts - 1, frequencies], spectra of the other stream.
    sums
        complex64[shifts, frequencies], added to.
    """
    n_early = early.shape[0]
    n_shift = sums.shape[0]
    n_freq = sums.shape[1]
    for low in range(0, n_freq, SPECTRUM_TILE):
        high = min(low + SPECTRUM_TILE, n_freq)
        for m in range(n_shift):
            row = sums[m, low:high]
            for s in range(n_early):
                one = early[s, low:high]
                two = late[s + m, low:high]
                for k in range(np.uint64(high - low)):
                    a = one[np.uint64(k)]
                    b = two[np.uint64(k)]
                    row[np.uint64(k)] += np.complex64(
                        complex(a.real * b.real + a.imag * b.imag, a.real * b.imag - a.imag * b.real)
                    )


@kernel(types.float32, F32_OUT, types.int64)
def _fold_sum(values: NDArray[np.float32], size: int) -> np.float32:
    """Return the sum of the first ``size`` values, which are overwritten.

    Folding the upper half onto the lower one is a loop of independent additions, which the compiler may vectorize; a
    running sum of floats it may not.
    """
    while size > 1:
        half = (size + 1) // 2
        for k in range(np.uint64(size - half)):
            values[np.uint64(k)] += values[np.uint64(k) + np.uint64(half)]
        size = half
    first: np.float32 = values[0]
    return first


@kernel(types.float32, F32_OUT, types.int64)
def _fold_max(values: NDArray[np.float32], size: int) -> np.float32:
    """Return the largest of the first ``size`` values, which are overwritten; see `_fold_sum`."""
    while size > 1:
        half = (size + 1) // 2
        for k in range(np.uint64(size - half)):
            other = values[np.uint64(k) + np.uint64(half)]
            mine = values[np.uint64(k)]
            values[np.uint64(k)] = other if other > mine else mine
        size = half
    first: np.float32 = values[0]
    return first


@kernel(types.void, F32_ROWS_IN, F64_IN, types.int64, types.int64, F64_OUT, F64_OUT, I64_OUT)
def scan_line(
    correlation: NDArray[np.float32],
    first_lag: NDArray[np.float64],
    lags: int,
    chunk: int,
    spread: NDArray[np.float64],
    excess: NDArray[np.float64],
    half_lag: NDArray[np.int64],
) -> None:
    """Sum the correlations of all segments along one clock line and find the highest point of every chunk of lags.

    Fractions of a lag are interpolated linearly. A peak shares itself between two neighbouring lags, so sums of two
    neighbours compete with single lags, each in units of its own standard deviation. The twin is a sum of slices with
    numpy's mean and std.

    Parameters
    ----------
    correlation
        float32[segments, n], one row per segment of time.
    first_lag
        float64[segments], the lag of the row at which the line starts; ``0 <= first_lag < n - lags``.
    lags
        Number of lags to look at.
    chunk
        Lags per chunk, neighbours across a border are not summed; the last chunk may be shorter.
    spread
        float64[ceil(lags / chunk)], filled with the standard deviation of the sums over segments in the chunk.
    excess
        float64, same length, filled with the highest point above the mean of the chunk; that of a sum of two neighbours
        is scaled to the spread of single lags.
    half_lag
        int64, same length, filled with the place of the highest point in half lags from the first.
    """
    n_segment = correlation.shape[0]
    sums = np.empty(chunk, dtype=np.float32)
    work = np.empty(chunk, dtype=np.float32)
    for c in range((lags + chunk - 1) // chunk):
        low = c * chunk
        size = min(chunk, lags - low)
        for k in range(np.uint64(size)):
            sums[np.uint64(k)] = np.float32(0.0)
        for s in range(n_segment):
            base = np.int64(math.floor(first_lag[s]))
            late = np.float32(first_lag[s] - base)
            early = np.float32(1.0) - late
            row = correlation[s, base + low : base + low + size + 1]
            for k in range(np.uint64(size)):
                sums[np.uint64(k)] += early * row[np.uint64(k)] + late * row[np.uint64(k) + np.uint64(1)]
        for k in range(np.uint64(size)):
            work[np.uint64(k)] = sums[np.uint64(k)]
        mean = _fold_sum(work, size) / np.float32(size)
        for k in range(np.uint64(size)):
            centred = sums[np.uint64(k)] - mean
            sums[np.uint64(k)] = centred
            work[np.uint64(k)] = centred * centred
        squares = _fold_sum(work, size)
        spread[c] = math.sqrt(squares / np.float32(size))
        for k in range(np.uint64(size)):
            work[np.uint64(k)] = sums[np.uint64(k)]
        single = _fold_max(work, size)
        pair = np.float32(-np.inf)
        scale = np.float32(0.0)
        if size > 1:
            for k in range(np.uint64(size - 1)):
                work[np.uint64(k)] = sums[np.uint64(k)] * sums[np.uint64(k) + np.uint64(1)]
            both = np.float32(2.0) * (squares + _fold_sum(work, size - 1))
            scale = np.float32(math.sqrt(squares / both)) if both > np.float32(0.0) else np.float32(0.0)
            for k in range(np.uint64(size - 1)):
                work[np.uint64(k)] = sums[np.uint64(k)] + sums[np.uint64(k) + np.uint64(1)]
            pair = _fold_max(work, size - 1)
        # only then its place: the same float32 operations give the same number again
        place = 0
        if size == 1 or single >= pair * scale:
            excess[c] = single
            while place + 1 < size and sums[np.uint64(place)] != single:
                place += 1
            half_lag[c] = 2 * (low + place)
        else:
            excess[c] = pair * scale
            while place + 2 < size and sums[np.uint64(place)] + sums[np.uint64(place + 1)] != pair:
                place += 1
            half_lag[c] = 2 * (low + place) + 1


@kernel(types.int64, I64_IN, I64_IN, types.int64, types.int64, types.float64, types.int64)
def count_near_pairs(
    alice_ps: NDArray[np.int64],
    bob_ps: NDArray[np.int64],
    reference_ps: int,
    offset_ps: int,
    frequency_error: float,
    half_ps: int,
) -> int:
    """Count all pairs of tags whose delay differs from a clock line by at most ``half_ps``.

    The work is that of going through the tags once, however many pairs they make; parameters are those of
    `list_near_pairs`.
    """
    n_bob = np.uint64(bob_ps.size)
    first, beyond = np.uint64(0), np.uint64(0)
    one = np.uint64(1)
    found = 0
    for i in range(np.uint64(alice_ps.size)):
        elapsed = alice_ps[i] - reference_ps
        expected = alice_ps[i] + offset_ps + np.int64(np.rint(frequency_error * np.float64(elapsed)))
        while first < n_bob and bob_ps[first] < expected - half_ps:
            first += one
        while beyond < n_bob and bob_ps[beyond] <= expected + half_ps:
            beyond += one
        if beyond > first:
            found += int(beyond - first)
    return found


@kernel(types.int64, I64_IN, I64_IN, types.int64, types.int64, types.float64, types.int64, F64_OUT, F64_OUT)
def list_near_pairs(
    alice_ps: NDArray[np.int64],
    bob_ps: NDArray[np.int64],
    reference_ps: int,
    offset_ps: int,
    frequency_error: float,
    half_ps: int,
    delay_ps: NDArray[np.float64],
    elapsed_ps: NDArray[np.float64],
) -> int:
    """List the pairs of tags whose delay differs from a clock line by at most ``half_ps``, as far as there is room.

    The twin is ``numpy.searchsorted`` twice.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending.
    reference_ps, offset_ps, frequency_error
        The line: ``bob = alice + offset + frequency_error * (alice - reference)``.
    half_ps
        Half width of the band about the line.
    delay_ps, elapsed_ps
        float64[capacity], filled with the delay relative to the line and with alice's time since the reference.

    Returns
    -------
    int
        Number of pairs listed, at most the capacity: the first ones of alice's tags.
    """
    capacity = delay_ps.size
    n_bob = np.uint64(bob_ps.size)
    first = np.uint64(0)
    one = np.uint64(1)
    found = 0
    for i in range(np.uint64(alice_ps.size)):
        elapsed = alice_ps[np.uint64(i)] - reference_ps
        expected = alice_ps[np.uint64(i)] + offset_ps + np.int64(np.rint(frequency_error * np.float64(elapsed)))
        while first < n_bob and bob_ps[first] < expected - half_ps:
            first += one
        j = first
        while j < n_bob and bob_ps[j] <= expected + half_ps:
            if found == capacity:
                return found
            delay_ps[found] = np.float64(bob_ps[j] - expected)
            elapsed_ps[found] = np.float64(elapsed)
            found += 1
            j += one
    return found


@kernel(types.void, F64_IN, F64_IN, types.float64, types.float64, types.float64, I64_OUT)
def bin_residuals(
    delay_ps: NDArray[np.float64],
    elapsed_ps: NDArray[np.float64],
    slope: float,
    low_ps: float,
    bin_ps: float,
    counts: NDArray[np.int64],
) -> None:
    """Count the delays that remain after a slope is taken out; those outside of the array are ignored.

    The twin is ``numpy.bincount`` of ``floor((delay - slope * elapsed - low) / bin)``.

    Parameters
    ----------
    delay_ps, elapsed_ps
        float64[n], from `list_near_pairs`.
    slope
        Further frequency error, a pure number.
    low_ps, bin_ps
        Lower edge of bin 0 and width of a bin, ps.
    counts
        int64[bins], added to.
    """
    n_bins = np.float64(counts.size)
    per_ps = 1.0 / bin_ps
    for i in range(np.uint64(delay_ps.size)):
        place = (delay_ps[np.uint64(i)] - slope * elapsed_ps[np.uint64(i)] - low_ps) * per_ps
        if 0.0 <= place < n_bins:
            counts[np.uint64(place)] += 1
