"""All pairs, and one-to-one pairs of some of the clicks, from one list, against the plain twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.matching import CHUNK, SLACK, match
from qnoded.kernels.pairing import BANKS, tally_all_pairs

times = st.lists(st.integers(0, 3000), max_size=400).map(sorted)
dense = st.lists(st.integers(0, 40), min_size=100, max_size=400).map(sorted)
streams = st.one_of(times, dense)


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def all_pairs(a: np.ndarray, b: np.ndarray, half_ps: int) -> list[tuple[int, int]]:
    near = np.abs(b[None, :] - a[:, None]) <= half_ps
    return [(int(i), int(j)) for i, j in np.argwhere(near)]


def greedily(a: list[int], b: list[int], half_ps: int, left_out: tuple[set[int], set[int]]) -> list[tuple[int, int]]:
    i, j, found = 0, 0, []
    while i < len(a) and j < len(b):
        if i in left_out[0] or b[j] - a[i] > half_ps:
            i += 1
        elif j in left_out[1] or a[i] - b[j] > half_ps:
            j += 1
        else:
            found.append((i, j))
            i, j = i + 1, j + 1
    return found


def paired(
    a: np.ndarray,
    b: np.ndarray,
    half_ps: int,
    labels: tuple[np.ndarray, np.ndarray],
    left_out: tuple[set[int], set[int]],
) -> tuple[np.ndarray, list[tuple[int, int]], int]:
    """Return matrix [3, 2], one-to-one pairs and pairs outside the matrix."""
    banks = np.zeros(BANKS * 6, np.int64)
    found_a, found_b = np.empty(a.size + SLACK, np.uint32), np.empty(a.size + SLACK, np.uint32)
    _, _, met = match(a, b, 0, half_ps, 0, a.size, 0, found_a, found_b, 0)
    out_a, out_b = (np.array(sorted(side), np.uint32) for side in left_out)
    outside, kept = tally_all_pairs(
        a, labels[0], out_a, b, labels[1], out_b, half_ps, met, 3, 2, banks, found_a, found_b
    )
    assert kept <= met
    return banks.reshape(BANKS, 3, 2).sum(axis=0), list(zip(found_a[:kept], found_b[:kept], strict=True)), outside


@given(streams, streams, st.integers(0, 12), *[st.sets(st.integers(0, 399), max_size=60)] * 2)
def test_one_list_gives_all_pairs_and_the_walk_of_what_is_left(
    a: list[int], b: list[int], half_ps: int, out_a: set[int], out_b: set[int]
) -> None:
    labels = np.arange(len(a)).astype(np.uint8) % 3, np.arange(len(b)).astype(np.uint8) % 2
    expected = np.zeros((3, 2), np.int64)
    for p, q in all_pairs(i64(a), i64(b), half_ps):
        expected[labels[0][p], labels[1][q]] += 1
    left_out = {n for n in out_a if n < len(a)}, {n for n in out_b if n < len(b)}
    matrix, found, outside = paired(i64(a), i64(b), half_ps, labels, left_out)
    np.testing.assert_array_equal(matrix, expected)
    assert found == greedily(a, b, half_ps, left_out)
    assert not outside


@pytest.mark.parametrize(("rate_hz", "rate_b_hz"), [(4e6, 4e6), (4e6, 1e5), (1e5, 4e6), (1e10, 1e9)])
def test_all_pairs_over_many_chunks_equal_two_searches(rate_hz: float, rate_b_hz: float) -> None:
    random = np.random.default_rng(10)
    clicks = 2 * CHUNK + 100
    a, b = (np.cumsum(random.exponential(1e12 / rate, clicks)).astype(np.int64) for rate in (rate_hz, rate_b_hz))
    labels, nobody = np.zeros(clicks, np.uint8), (set[int](), set[int]())
    matrix, _, outside = paired(a, b, 5000, (labels, labels), nobody)
    assert matrix[0, 0] == (np.searchsorted(b, a + 5000, "right") - np.searchsorted(b, a - 5000)).sum()
    assert not outside


def test_labels_outside_the_matrix_are_counted() -> None:
    labels, times = np.array([0, 1, 2, 255], np.uint8), np.arange(4) * 10_000
    matrix, found, outside = paired(times, times, 500, (labels, labels), (set(), {0}))
    assert matrix.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert (outside, found) == (2, [(1, 1), (2, 2), (3, 3)])
