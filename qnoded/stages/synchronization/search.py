"""The coarse search for the clock: where, in offset and frequency error, do two streams of tags agree.

Bob's tags are corrected for the centre of a *group* of frequency errors and correlated with alice's, one correlation
over the whole range of offsets for each *segment* of time. A segment is short enough for all errors of its group to
leave its peak in place; every trial of the group is then a sum of the segments, each shifted as far as its error
moves the delay in it. So transforms of the streams are shared by a whole group, and a trial costs additions only.

Within a segment the correlation is computed block by block (overlap-save): blocks of both streams are transformed
once, products of their spectra are summed per shift, and each shift is transformed back once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.special import ndtri

from qnoded.kernels.correlating import add_cross_spectra, bin_tags, scan_line, subtract_local_mean
from qnoded.mapping import Mapper
from qnoded.records import F64, I64
from qnoded.stages.synchronization.feasibility import STEP_BINS, Rung, SearchRange, Stretch

F32Rows = NDArray[np.float32]
MOST_SEGMENTS: Final = 16
"""More share the transforms further, but the sums over them then cost more than is gained."""
BLOCK_BINS: Final = tuple(2**k for k in range(4, 19))
"""Lengths of blocks that are considered; four rows of twice 2**18 float32 still fit the level-3 cache."""
MOST_OVERHANG: Final = 1.25
"""Blocks may together be longer than the stretch by this factor; the shifts of the trials stay within the margin."""
BATCHED_NS: Final = 1.6
"""Time per point of float32 transforms in rows of four, measured; of these times only the ratios matter."""
SINGLE_NS: Final = 3.5
"""Time per point of a transform that is not one of four, measured."""
PRODUCT_NS: Final = 0.5
"""Time per complex multiplication and addition of `add_cross_spectra`, measured."""
ADDITION_NS: Final = 0.25
"""Time per lag and segment of `scan_line`, measured."""
SCAN_NS: Final = 0.7
"""Time per lag of `scan_line`, measured."""
ROWS_AT_ONCE: Final = 16
"""Spectra computed in one go: a multiple of four, enough tasks for some cores."""
MOST_SEGMENT_BINS: Final = 2**23
"""Bins of a segment: their spectra take 64 MB per thread."""
MOST_SPECTRA_BYTES: Final = 128 * 2**20
"""Spectra of bob's blocks that are held at a time."""
MOST_CORRELATION: Final = 2**26
"""Correlation values of a group held at a time: 256 MB."""
MOST_LAGS: Final = 2**22
"""Lags searched at a time; a longer range of offsets is searched in pieces, so that memory stays bounded."""
LOCAL_BINS: Final = 256
"""Bins over which the mean rate is taken out: costs 1/256 of the peak."""
CHUNK_LAGS: Final = 1024
"""Lags that are judged by their own mean and spread; the peak adds 1/1024 of its height to the mean."""
FEWEST_LAGS: Final = 256
"""At least so many lags are computed, also where the range of offsets is narrower: the peak needs surroundings."""
LEAST_SPREAD: Final = 0.15
"""Chunks with less than this part of the largest spread see 2 % of the overlap or less: Poisson tails, no Gaussian."""
FALSE_CANDIDATES: Final = (1.5, 20.0)
"""The threshold lets so many candidates of pure noise through on average, the more the dearer the search."""
POINTS_PER_CANDIDATE: Final = 4e7
"""Work that is as dear as following a candidate and finding that it is none, points of transforms."""
LOWEST_THRESHOLD: Final = 4.0
"""Threshold in standard deviations where few cells are searched."""
MOST_CANDIDATES: Final = 12
"""Candidates handed on, highest first."""
SAME_LAGS: Final = 4.0
"""Candidates closer than this many lags are one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point above the threshold: a clock that may be right."""

    offset_ps: int
    """Bob's reading minus alice's at the middle of the stretch, good to about a bin."""
    frequency_error: float
    """Good to about one step, ``bin_ps / duration_ps``."""
    significance: float
    """Height in standard deviations of its neighbourhood."""
    pairs: float
    """Height in counts: the pairs that fell into the highest bin, or into two divided by sqrt(2)."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one group of frequency errors showed."""

    candidates: list[Candidate]
    """Highest first."""
    threshold: float
    """Least significance of a candidate; some of pure noise are expected above it in the whole search."""
    trials: int
    """Frequency errors of the group."""
    done: float
    """Part of the whole search that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one rung is cut into segments and blocks."""

    segments: int
    blocks: int
    """Blocks of a segment."""
    block: int
    """Bins of a block."""
    shifts: int
    """Blocks of lags."""
    lags: int
    """Lags that are looked at."""
    margin: int
    """Further lags to either side, for the shifts of the trials of a group."""
    low_ps: float
    """Offset of the first lag that is looked at."""


def _reach(bob_ps: I64, search: SearchRange, stretch: Stretch) -> tuple[int, int]:
    """Return the lowest and the highest offset of the range at which the stretch overlaps with bob's data."""
    slack = round(abs(search.frequency_error) * stretch.duration_ps) + round(
        search.frequency_range * stretch.duration_ps
    )
    low = int(bob_ps[0]) - (stretch.start_ps + stretch.duration_ps) - slack
    high = int(bob_ps[-1]) - stretch.start_ps + slack
    return (
        max(low, search.offset_ps - search.offset_range_ps),
        min(high, search.offset_ps + search.offset_range_ps),
    )


def _rows_ns(rows: int, points: int) -> float:
    """Return the predicted time of a batch of transforms: four rows at a time are vectorized, the rest is not."""
    return (rows // 4 * 4 * BATCHED_NS + rows % 4 * SINGLE_NS) * points


def _layout(bins: int, trials: int, lags: int, low_ps: float) -> _Layout:
    """Choose segments and blocks for the least predicted time."""
    best: tuple[float, _Layout] | None = None
    fewest = math.ceil(bins / MOST_SEGMENT_BINS)
    for segments in range(fewest, max(fewest, min(MOST_SEGMENTS, trials)) + 1):
        groups = math.ceil(trials / segments)
        margin = segments // 2 + 2
        per_segment = math.ceil(bins / segments)
        for wanted in BLOCK_BINS:
            blocks = math.ceil(per_segment / wanted)
            block = scipy.fft.next_fast_len(math.ceil(per_segment / blocks), real=True)
            shifts = math.ceil((lags + 2 * margin) / block)
            too_large = segments * shifts * block > MOST_CORRELATION
            if segments > fewest and (too_large or segments * blocks * block > MOST_OVERHANG * bins):
                continue
            points = 2 * block
            forward = _rows_ns(segments * blocks + shifts - 1, points) + segments * _rows_ns(blocks, points)
            backward = segments * _rows_ns(shifts, points)
            products = segments * shifts * blocks * (block + 1) * PRODUCT_NS
            scans = segments * lags * (SCAN_NS + segments * ADDITION_NS)
            cost = groups * (forward + backward + products + scans)
            if best is None or cost < best[0]:
                best = (cost, _Layout(segments, blocks, block, shifts, lags, margin, low_ps))
    assert best is not None
    return best[1]


class _Correlator:
    """The streams of one rung, ready to be correlated for any frequency error."""

    def __init__(
        self, alice_ps: I64, bob_ps: I64, middle_ps: int, bin_ps: float, layout: _Layout, groups: int, over: Mapper
    ) -> None:
        self.alice_ps, self.bob_ps, self.middle_ps, self.bin_ps = alice_ps, bob_ps, middle_ps, bin_ps
        self.layout, self.over = layout, over
        self.first_bin = -(layout.segments * layout.blocks * layout.block // 2)
        self.low_ps = math.floor(layout.low_ps - layout.margin * bin_ps)
        # arrays that are used again for every group: fresh pages would cost as much as the transforms
        row_bytes = (layout.block + 1) * np.dtype(np.complex64).itemsize
        spare_rows = MOST_SPECTRA_BYTES // row_bytes - layout.shifts
        self.together = min(max(spare_rows // layout.blocks, 1), layout.segments)
        rows = self.together * layout.blocks + layout.shifts - 1
        self.late = np.empty((rows, layout.block + 1), dtype=np.complex64)
        self.correlation = np.empty((layout.segments, layout.shifts * layout.block), dtype=np.float32)
        # alice's spectra serve every group, where they fit into memory
        self.early: dict[int, NDArray[np.complex64]] = {}
        self.keeps_early = groups > 1 and layout.segments * layout.blocks * row_bytes <= MOST_SPECTRA_BYTES

    def correlate(self, frequency_error: float) -> NDArray[np.float32]:
        """Return the correlations of all segments, float32[segments, shifts * block], for one frequency error.

        Column 0 is the lag ``margin`` bins below ``low_ps`` of the layout. The next call overwrites the array.
        """
        layout = self.layout
        for first in range(0, layout.segments, self.together):
            count = min(self.together, layout.segments - first)
            self._transform_late(frequency_error, first * layout.blocks, count * layout.blocks + layout.shifts - 1)

            def one(segment: int, first: int = first) -> None:
                self._correlate_segment(segment, (segment - first) * layout.blocks)

            for _ in self.over(one, range(first, first + count)):
                pass
        return self.correlation

    def _transform_late(self, frequency_error: float, first_block: int, rows: int) -> None:
        """Fill ``late`` with the spectra of bob's blocks, each together with the one after it."""
        block = self.layout.block
        per_ps = 1.0 / ((1.0 + frequency_error) * self.bin_ps)

        def some(first: int) -> None:
            count = min(ROWS_AT_ONCE, rows - first)
            start_bin = self.first_bin + (first_block + first) * block
            bins = _binned(self.bob_ps, self.middle_ps + self.low_ps, start_bin, per_ps, (count + 1) * block)
            windows = np.lib.stride_tricks.sliding_window_view(bins, 2 * block)[::block]
            self.late[first : first + count] = scipy.fft.rfft(windows, axis=1)

        for _ in self.over(some, range(0, rows, ROWS_AT_ONCE)):
            pass

    def _correlate_segment(self, segment: int, first_row: int) -> None:
        """Fill one row of ``correlation``."""
        block, blocks, shifts = self.layout.block, self.layout.blocks, self.layout.shifts
        early = self.early.get(segment)
        if early is None:
            start_bin = self.first_bin + segment * blocks * block
            bins = _binned(self.alice_ps, self.middle_ps, start_bin, 1.0 / self.bin_ps, blocks * block)
            early = scipy.fft.rfft(bins.reshape(blocks, block), n=2 * block, axis=1)
            if self.keeps_early:
                self.early[segment] = early
        sums = np.zeros((shifts, block + 1), dtype=np.complex64)
        add_cross_spectra(early, self.late[first_row : first_row + blocks + shifts - 1], sums)
        back: NDArray[np.float32] = scipy.fft.irfft(sums, n=2 * block, axis=1, overwrite_x=True)
        self.correlation[segment].reshape(shifts, block)[:] = back[:, :block]


def _binned(tag_ps: I64, zero_ps: int, start_bin: int, bins_per_ps: float, bins: int) -> NDArray[np.float32]:
    """Return detrended counts of ``bins`` bins from ``start_bin`` on; bin 0 starts at ``zero_ps``."""
    counts = np.zeros(bins, dtype=np.float32)
    origin = zero_ps + math.floor(start_bin / bins_per_ps)
    stop = origin + math.ceil(bins / bins_per_ps) + 1
    low, high = np.searchsorted(tag_ps, (origin, stop))
    bin_tags(tag_ps[low:high], origin, bins_per_ps, counts)
    subtract_local_mean(counts, LOCAL_BINS)
    return counts


def coarse_search(
    alice_ps: I64, bob_ps: I64, where: SearchRange, rung: Rung, stretch: Stretch, over: Mapper = map
) -> Iterator[Findings]:
    """Correlate one stretch over all offsets and frequency errors of a range and list what stands out.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending.
    where
        Range of offsets (at the middle of the stretch) and frequency errors.
    rung
        Width of the bins.
    stretch
        The part of alice's data to correlate with all of bob's that the offsets reach.
    over
        Spreads segments and trials over cores.

    Yields
    ------
    Findings
        One group of frequency errors after the other, from the centre of the range outwards: who asks for no more
        saves the work of the rest.
    """
    bin_ps = rung.bin_ps
    low, high = _reach(bob_ps, where, stretch)
    if high < low:
        return
    inside = (low - SAME_LAGS * bin_ps, high + SAME_LAGS * bin_ps)
    # a narrow range is padded: the height of a peak is judged by its neighbourhood
    short = max(FEWEST_LAGS - (high - low) / bin_ps, 0.0)
    low -= math.ceil(0.5 * short * bin_ps)
    all_lags = math.ceil((high - low) / bin_ps + 0.5 * short) + 2
    pieces = math.ceil(all_lags / MOST_LAGS)
    lags = math.ceil(all_lags / pieces) + 1
    bins = math.ceil(stretch.duration_ps / bin_ps)
    step = STEP_BINS * bin_ps / stretch.duration_ps
    trials = max(1, math.ceil(2.0 * where.frequency_range / step))
    false = min(max(rung.points / POINTS_PER_CANDIDATE, FALSE_CANDIDATES[0]), FALSE_CANDIDATES[1])
    threshold = max(LOWEST_THRESHOLD, -float(ndtri(min(0.5, false / (2 * trials * all_lags)))))
    errors = where.frequency_error + (np.arange(trials, dtype=np.float64) - (trials - 1) / 2) * step
    done = 0
    for piece in range(pieces):
        # neighbouring pieces share a lag: a peak between two lags is whole in one of them
        layout = _layout(bins, trials, lags, low + (piece * (lags - 1) - 1) * bin_ps)
        groups = _outwards(trials, layout.segments)
        # segment centres in bins from the middle of the stretch
        along = np.arange(layout.segments, dtype=np.float64) - (layout.segments - 1) / 2
        centre = along * layout.blocks * layout.block
        correlator = _Correlator(alice_ps, bob_ps, stretch.middle_ps, bin_ps, layout, len(groups), over)
        for group in groups:
            group_error = float(errors[group].mean())
            scan = partial(
                _scan, correlator.correlate(group_error), errors, group_error, centre, layout, bin_ps, threshold
            )
            found = [
                one
                for several in over(scan, range(group.start, group.stop))
                for one in several
                if inside[0] <= one.offset_ps <= inside[1]
            ]
            done += group.stop - group.start
            yield Findings(
                distinct(found, SAME_LAGS * bin_ps, layout.segments * step),
                threshold,
                group.stop - group.start if piece == 0 else 0,
                done / (trials * pieces),
            )


def _scan(
    correlation: F32Rows,
    errors: F64,
    group_error: float,
    centre: F64,
    layout: _Layout,
    bin_ps: float,
    threshold: float,
    trial: int,
) -> list[Candidate]:
    """Return what stands out for one frequency error of a group."""
    shift = (errors[trial] - group_error) * centre + layout.margin
    return _above(correlation, shift, layout, bin_ps * (1.0 + group_error), float(errors[trial]), threshold)


def _outwards(trials: int, size: int) -> list[slice]:
    """Return the trials in groups, those nearest to the middle first."""
    groups = [slice(start, min(start + size, trials)) for start in range(0, trials, size)]
    return sorted(groups, key=lambda group: abs(group.start + group.stop - trials))


def _above(
    correlation: NDArray[np.float32],
    first_lag: F64,
    layout: _Layout,
    lag_ps: float,
    frequency_error: float,
    threshold: float,
) -> list[Candidate]:
    """Return the chunks of one trial whose highest point is above the threshold."""
    chunks = math.ceil(layout.lags / CHUNK_LAGS)
    spread, excess = np.empty(chunks), np.empty(chunks)
    half_lag = np.empty(chunks, dtype=np.int64)
    scan_line(correlation, first_lag, layout.lags, CHUNK_LAGS, spread, excess, half_lag)
    least = LEAST_SPREAD * float(spread.max())
    if least == 0.0:
        return []
    height = excess / np.maximum(spread, least)
    return [
        Candidate(
            offset_ps=round(layout.low_ps + 0.5 * int(half_lag[c]) * lag_ps),
            frequency_error=frequency_error,
            significance=float(height[c]),
            pairs=float(excess[c]),
        )
        for c in np.flatnonzero(height > threshold)
    ]


def distinct(found: list[Candidate], apart_ps: float, apart_error: float) -> list[Candidate]:
    """Return the highest candidates, highest first, without the lower neighbours that the same peak makes."""
    kept: list[Candidate] = []
    for one in sorted(found, key=lambda candidate: -candidate.significance):
        if all(
            abs(one.offset_ps - other.offset_ps) > apart_ps
            or abs(one.frequency_error - other.frequency_error) > apart_error
            for other in kept
        ):
            kept.append(one)
            if len(kept) == MOST_CANDIDATES:
                break
    return kept
