"""Displaced windows by tiles against the plain count of all pairs, sparse and dense, in any slices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.accidentals import tally_displaced

ROWS, COLUMNS = 3, 2

times = st.lists(st.integers(0, 3000), max_size=400).map(sorted)
dense = st.lists(st.integers(0, 40), min_size=100, max_size=400).map(sorted)
streams = st.one_of(times, dense)
displacements = st.lists(st.integers(-200, 200), max_size=5)


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def labels(clicks: int, detectors: int) -> np.ndarray:
    return (np.arange(clicks) * 7 // 3 % detectors).astype(np.uint8)


def all_pairs_matrix(a: list[int], b: list[int], shifts_ps: list[int], half_ps: int) -> np.ndarray:
    matrix = np.zeros((ROWS, COLUMNS), np.int64)
    labels_a, labels_b, b_ps = labels(len(a), ROWS), labels(len(b), COLUMNS), i64(b)
    for shift_ps in shifts_ps:
        for tag_ps, row in zip(a, labels_a, strict=True):
            low, high = np.searchsorted(b_ps, tag_ps - half_ps - shift_ps), tag_ps + half_ps - shift_ps
            np.add.at(matrix[row], labels_b[low : np.searchsorted(b_ps, high, "right")], 1)
    return matrix


def tiled_matrix(a: np.ndarray, b: np.ndarray, shifts_ps: list[int], half_ps: int, cuts: list[int]) -> np.ndarray:
    matrix = np.zeros(ROWS * COLUMNS, np.int64)
    labels_a, labels_b = labels(a.size, ROWS), labels(b.size, COLUMNS)
    for start, stop in pairwise([0, *sorted(min(cut, a.size) for cut in cuts), a.size]):
        outside = tally_displaced(a, labels_a, b, labels_b, half_ps, i64(shifts_ps), start, stop, ROWS, COLUMNS, matrix)
        assert outside == 0
    return matrix.reshape(ROWS, COLUMNS)


@given(streams, streams, displacements, st.integers(0, 12), st.lists(st.integers(0, 400), max_size=5))
def test_tiles_in_any_slices_equal_the_plain_count(
    a: list[int], b: list[int], shifts_ps: list[int], half_ps: int, cuts: list[int]
) -> None:
    np.testing.assert_array_equal(
        tiled_matrix(i64(a), i64(b), shifts_ps, half_ps, cuts), all_pairs_matrix(a, b, shifts_ps, half_ps)
    )


@pytest.mark.parametrize("rate_hz", [4e6, 1e9, 1e11])
@pytest.mark.parametrize("rate_b_hz", [1e7, 1e9])
def test_tiles_of_long_streams_equal_the_plain_count(rate_hz: float, rate_b_hz: float) -> None:
    # From 4 clicks per microsecond to one in each window and more, and sides of very different rates.
    random = np.random.default_rng(7)
    a, b = (np.cumsum(random.exponential(1e12 / rate, 20_000)).astype(np.int64) for rate in (rate_hz, rate_b_hz))
    shifts_ps = [10**6, -(10**6), 37]
    np.testing.assert_array_equal(
        tiled_matrix(a, b, shifts_ps, 500, [7777]), all_pairs_matrix(a.tolist(), b.tolist(), shifts_ps, 500)
    )


def test_each_click_counts_as_often_as_it_meets_one() -> None:
    # Two clicks a side within one window are four pairs, of one detector each here.
    a = i64([1000, 1100])
    assert tiled_matrix(a, a + 5050, [-5000], 500, []).sum() == 4


def test_large_times_lose_no_picosecond() -> None:
    start = 2**62 - 10**9
    a = start + np.arange(100) * 10_000
    assert tiled_matrix(a, a + 501, [0], 500, []).sum() == 0
    assert tiled_matrix(a, a + 501, [-1], 500, []).sum() == 100
    assert tiled_matrix(a, a - 501, [0], 500, []).sum() == 0
    assert tiled_matrix(a, a - 501, [1], 500, []).sum() == 100


@pytest.mark.parametrize("half_ps", [500, 2**31 - 1, 2**31, 2**33])
def test_times_that_agree_in_their_lower_half_alone_do_not_meet(half_ps: int) -> None:
    # Clicks 2**32 ps apart, the other side's beside them, and windows up to and beyond 2**32 ps.
    a, b = np.arange(200) * 2**32, np.arange(50, 250) * 2**32 + 300
    for shifts_ps in ([0, 2**32], [-(2**32)], [2**32 - 1000]):
        np.testing.assert_array_equal(
            tiled_matrix(a, b, shifts_ps, half_ps, []), all_pairs_matrix(a.tolist(), b.tolist(), shifts_ps, half_ps)
        )
    far = np.arange(200) * 1000
    assert tiled_matrix(far, far + 2**32 * 100, [0], 500, []).sum() == 0


@pytest.mark.parametrize("clicks", [1, 8, 50])
def test_labels_outside_the_matrix_are_counted(clicks: int) -> None:
    a = np.arange(clicks) * 10_000
    strange = np.full(clicks, 9, np.uint8)
    for labels_a, labels_b in ((strange, labels(clicks, 2)), (labels(clicks, 2), strange)):
        matrix = np.zeros(4, np.int64)
        outside = tally_displaced(a, labels_a, a, labels_b, 500, i64([0]), 0, clicks, 2, 2, matrix)
        assert (outside, matrix.sum()) == (clicks, 0)
