"""Histograms of differences against their plain twins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.kernels import histogramming
from qnoded.kernels.histogramming import (
    LARGEST_SPAN_PS,
    difference_histogram,
    pair_histograms,
    reciprocal,
)

times = st.lists(st.integers(0, 5000), max_size=200).map(sorted)
bins = st.tuples(st.integers(1, 40), st.integers(1, 20)).map(lambda x: (x[0] * x[1], x[0]))


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def plainly(a: np.ndarray, b: np.ndarray, range_ps: int, bin_ps: int) -> np.ndarray:
    differences = (b[None, :] - a[:, None]).ravel()
    inside = differences[(differences >= -range_ps) & (differences < range_ps)]
    return np.bincount((inside + range_ps) // bin_ps, minlength=2 * range_ps // bin_ps)


@given(times, times, bins)
def test_differences_equal_the_plain_twin(a: list[int], b: list[int], bins: tuple[int, int]) -> None:
    np.testing.assert_array_equal(difference_histogram(i64(a), i64(b), *bins), plainly(i64(a), i64(b), *bins))


@pytest.mark.parametrize(("range_ps", "bin_ps"), [(10**6, 100), (10**4, 1), (4 * 10**7, 40_000)])
def test_differences_over_many_chunks_slices_and_threads(
    range_ps: int, bin_ps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 4 million clicks a second, up to 320 stops per start; the twin sums the distances to the k-th neighbours.
    monkeypatch.setattr(histogramming, "SLICE_STARTS", 12_345)
    random = np.random.default_rng(6)
    a, b = (np.cumsum(random.exponential(250_000, 40_000)).astype(np.int64) for _ in range(2))
    low, high = np.searchsorted(b, a - range_ps), np.searchsorted(b, a + range_ps)
    expected = np.zeros(2 * range_ps // bin_ps, np.int64)
    for k in range((high - low).max()):
        has = low + k < high
        np.add.at(expected, (b[low[has] + k] - a[has] + range_ps) // bin_ps, 1)
    np.testing.assert_array_equal(difference_histogram(a, b, range_ps, bin_ps), expected)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(difference_histogram(a, b, range_ps, bin_ps, over=pool.map), expected)


def test_more_stops_per_start_than_the_buffer_holds() -> None:
    stops = 3 * histogramming.BUFFER
    a, b = i64([0, 0, 50]), np.arange(stops, dtype=np.int64) % 100
    b.sort()
    assert difference_histogram(a, b, 100, 100).tolist() == [stops // 2 + 12, 3 * stops - stops // 2 - 12]


@given(times, times, bins)
def test_pairs_of_detectors_equal_the_plain_twin(a: list[int], b: list[int], bins: tuple[int, int]) -> None:
    labels_a, labels_b = np.arange(len(a)).astype(np.uint8) % 3, np.arange(len(b)).astype(np.uint8) % 2
    counts = pair_histograms(i64(a), labels_a, i64(b), labels_b, *bins, (3, 2))
    for row in range(3):
        for column in range(2):
            expected = plainly(i64(a)[labels_a == row], i64(b)[labels_b == column], *bins)
            np.testing.assert_array_equal(counts[row, column], expected)


@given(st.integers(1, LARGEST_SPAN_PS), st.integers(1, LARGEST_SPAN_PS), st.data())
def test_the_reciprocal_is_exact_and_fits_64_bits(span_ps: int, bin_ps: int, data: st.DataObject) -> None:
    bin_ps = min(bin_ps, span_ps)
    multiplier, shift = reciprocal(span_ps, bin_ps)
    near_edges = st.integers(0, (span_ps - 1) // bin_ps).map(lambda k: k * bin_ps)
    edge = data.draw(near_edges)
    for difference in {edge, max(edge - 1, 0), span_ps - 1, data.draw(st.integers(0, span_ps - 1))}:
        assert difference * multiplier < 2**64
        assert difference * multiplier >> shift == difference // bin_ps


@pytest.mark.parametrize(("range_ps", "bin_ps"), [(100, 0), (100, 300), (100, 7), (2**31, 2), (0, 1)])
def test_bins_that_cannot_be_made_are_refused(range_ps: int, bin_ps: int) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        difference_histogram(i64([0]), i64([0]), range_ps, bin_ps)


def test_a_label_outside_is_refused() -> None:
    labels = np.array([4], np.uint8)
    with pytest.raises(UsageError, match="label 4 but the histogram has 4"):
        pair_histograms(i64([0]), labels, i64([0]), labels, 10, 1, (4, 4))
