"""All pairs by first partners against the plain twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels import pairing
from qnoded.kernels.pairing import BANKS, tally_all_pairs

times = st.lists(st.integers(0, 3000), max_size=400).map(sorted)
dense = st.lists(st.integers(0, 40), min_size=100, max_size=400).map(sorted)
streams = st.one_of(times, dense)


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def all_pairs(a: np.ndarray, b: np.ndarray, half_ps: int) -> list[tuple[int, int]]:
    near = np.abs(b[None, :] - a[:, None]) <= half_ps
    return [(int(i), int(j)) for i, j in np.argwhere(near)]


@given(streams, streams, st.integers(0, 12), st.integers(0, 400))
def test_all_pairs_in_any_slices_equal_the_plain_twin(a: list[int], b: list[int], half_ps: int, middle: int) -> None:
    labels_a, labels_b = np.arange(len(a)).astype(np.uint8) % 3, np.arange(len(b)).astype(np.uint8) % 2
    expected = np.zeros((3, 2), np.int64)
    for p, q in all_pairs(i64(a), i64(b), half_ps):
        expected[labels_a[p], labels_b[q]] += 1
    banks = np.zeros(BANKS * 6, np.int64)
    middle = min(middle, len(a))
    for start, stop in ((0, middle), (middle, len(a))):
        assert not tally_all_pairs(i64(a), labels_a, i64(b), labels_b, half_ps, start, stop, 3, 2, banks)
    np.testing.assert_array_equal(banks.reshape(BANKS, 3, 2).sum(axis=0), expected)


@pytest.mark.parametrize(("rate_hz", "rate_b_hz"), [(4e6, 4e6), (4e6, 1e5), (1e5, 4e6), (1e10, 1e9)])
def test_all_pairs_over_many_chunks_equal_two_searches(rate_hz: float, rate_b_hz: float) -> None:
    random = np.random.default_rng(10)
    clicks = 2 * pairing.CHUNK + 100
    a, b = (np.cumsum(random.exponential(1e12 / rate, clicks)).astype(np.int64) for rate in (rate_hz, rate_b_hz))
    labels, banks = np.zeros(clicks, np.uint8), np.zeros(BANKS, np.int64)
    assert not tally_all_pairs(a, labels, b, labels, 5000, 0, clicks, 1, 1, banks)
    assert banks.sum() == (np.searchsorted(b, a + 5000, "right") - np.searchsorted(b, a - 5000)).sum()


def test_labels_outside_the_matrix_are_counted() -> None:
    labels, banks = np.array([0, 1, 2, 255], np.uint8), np.zeros(BANKS * 4, np.int64)
    times = np.arange(4) * 10_000
    assert tally_all_pairs(times, labels, times, labels, 500, 0, 4, 2, 2, banks) == 2
    assert banks.reshape(BANKS, 2, 2).sum(axis=0).tolist() == [[1, 0], [0, 1]]
