"""Displaced windows by tiles against the serial walk, sparse and dense, in any chunks."""

from __future__ import annotations

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


def greedy_matrix(a: list[int], b: list[int], shifts_ps: list[int], half_ps: int) -> np.ndarray:
    matrix = np.zeros((ROWS, COLUMNS), np.int64)
    labels_a, labels_b = labels(len(a), ROWS), labels(len(b), COLUMNS)
    for shift_ps in shifts_ps:
        i = j = 0
        while i < len(a) and j < len(b):
            d = b[j] + shift_ps - a[i]
            if abs(d) <= half_ps:
                matrix[labels_a[i], labels_b[j]] += 1
            i, j = i + (d >= -half_ps), j + (d <= half_ps)
    return matrix


def tiled_matrix(
    a: np.ndarray, b: np.ndarray, shifts_ps: list[int], half_ps: int, known: list[tuple[int, int]]
) -> np.ndarray:
    """Walk on as ever more clicks of either side are known."""
    walks = len(shifts_ps)
    matrix, i, j = np.zeros(ROWS * COLUMNS, np.int64), np.zeros(walks, np.int64), np.zeros(walks, np.int64)
    labels_a, labels_b = labels(a.size, ROWS), labels(b.size, COLUMNS)
    for n, m in [*known, (a.size, b.size)]:
        outside = tally_displaced(
            a[:n], labels_a[:n], b[:m], labels_b[:m], half_ps, i64(shifts_ps), i, j, np.full(walks, n),
            ROWS, COLUMNS, matrix,
        )  # fmt: skip
        assert outside == 0
    return matrix.reshape(ROWS, COLUMNS)


@given(streams, streams, displacements, st.integers(0, 12))
def test_tiles_equal_the_serial_walk(a: list[int], b: list[int], shifts_ps: list[int], half_ps: int) -> None:
    np.testing.assert_array_equal(
        tiled_matrix(i64(a), i64(b), shifts_ps, half_ps, []), greedy_matrix(a, b, shifts_ps, half_ps)
    )


@given(
    streams, streams, displacements, st.integers(0, 12), st.lists(st.integers(0, 400), max_size=5),
    st.lists(st.integers(0, 400), max_size=5),
)  # fmt: skip
def test_tiles_in_any_chunks_equal_the_serial_walk(
    a: list[int], b: list[int], shifts_ps: list[int], half_ps: int, ends_a: list[int], ends_b: list[int]
) -> None:
    known = [(min(n, len(a)), min(m, len(b))) for n, m in zip(sorted(ends_a), sorted(ends_b), strict=False)]
    np.testing.assert_array_equal(
        tiled_matrix(i64(a), i64(b), shifts_ps, half_ps, known), greedy_matrix(a, b, shifts_ps, half_ps)
    )


@pytest.mark.parametrize("rate_hz", [4e6, 1e9, 1e11])
@pytest.mark.parametrize("rate_b_hz", [1e7, 1e9])
def test_tiles_of_long_streams_equal_the_serial_walk(rate_hz: float, rate_b_hz: float) -> None:
    # From 4 clicks per microsecond to one in each window and more, and sides of very different rates.
    random = np.random.default_rng(7)
    a, b = (np.cumsum(random.exponential(1e12 / rate, 20_000)).astype(np.int64) for rate in (rate_hz, rate_b_hz))
    shifts_ps = [10**6, -(10**6), 37]
    np.testing.assert_array_equal(
        tiled_matrix(a, b, shifts_ps, 500, []), greedy_matrix(a.tolist(), b.tolist(), shifts_ps, 500)
    )


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
            tiled_matrix(a, b, shifts_ps, half_ps, []), greedy_matrix(a.tolist(), b.tolist(), shifts_ps, half_ps)
        )
    far = np.arange(200) * 1000
    assert tiled_matrix(far, far + 2**32 * 100, [0], 500, []).sum() == 0


@pytest.mark.parametrize("clicks", [1, 8, 50])
def test_labels_outside_the_matrix_are_counted(clicks: int) -> None:
    a = np.arange(clicks) * 10_000
    strange = np.full(clicks, 9, np.uint8)
    for labels_a, labels_b in ((strange, labels(clicks, 2)), (labels(clicks, 2), strange)):
        matrix = np.zeros(4, np.int64)
        i, j = np.zeros(1, np.int64), np.zeros(1, np.int64)
        outside = tally_displaced(a, labels_a, a, labels_b, 500, i64([0]), i, j, np.full(1, clicks), 2, 2, matrix)
        assert (outside, matrix.sum()) == (clicks, 0)
