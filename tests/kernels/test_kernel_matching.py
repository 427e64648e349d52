"""One-to-one matching in lanes against the serial walk, sparse and dense, in any chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels import matching
from qnoded.kernels.matching import BANKS, count, cut, match, tally

times = st.lists(st.integers(0, 3000), max_size=400).map(sorted)
dense = st.lists(st.integers(0, 40), min_size=100, max_size=400).map(sorted)
streams = st.one_of(times, dense)


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def greedy(a: np.ndarray, b: np.ndarray, shift_ps: int, half_ps: int) -> tuple[list[int], list[int]]:
    i = j = 0
    found_a, found_b = [], []
    while i < len(a) and j < len(b):
        d = b[j] + shift_ps - a[i]
        if d < -half_ps:
            j += 1
        elif d > half_ps:
            i += 1
        else:
            found_a.append(i)
            found_b.append(j)
            i += 1
            j += 1
    return found_a, found_b


def room(clicks: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(clicks + matching.SLACK, np.uint32), np.empty(clicks + matching.SLACK, np.uint32)


def listed(a: np.ndarray, b: np.ndarray, shift_ps: int, half_ps: int) -> tuple[list[int], list[int]]:
    found_a, found_b = room(a.size)
    _, _, found = match(a, b, shift_ps, half_ps, 0, a.size, 0, found_a, found_b, 0)
    return found_a[:found].tolist(), found_b[:found].tolist()


def poisson(rate_hz: float, clicks: int, seed: int) -> np.ndarray:
    gaps = np.random.default_rng(seed).exponential(1e12 / rate_hz, clicks)
    return np.cumsum(gaps).astype(np.int64)


@given(streams, streams, st.integers(-50, 50), st.integers(0, 12))
def test_match_equals_the_serial_walk(a: list[int], b: list[int], shift_ps: int, half_ps: int) -> None:
    assert listed(i64(a), i64(b), shift_ps, half_ps) == greedy(i64(a), i64(b), shift_ps, half_ps)


@pytest.mark.parametrize("rate_hz", [4e6, 1e8, 1e9, 1e10, 1e12])
@pytest.mark.parametrize("half_ps", [0, 1, 500, 20_000])
def test_match_equals_the_serial_walk_over_many_chunks(rate_hz: float, half_ps: int) -> None:
    # From a fourth of a click per microsecond, where lanes can be cut everywhere, to one per ps, where nowhere.
    clicks = 3 * matching.CHUNK
    a, b = poisson(rate_hz, clicks, 1), poisson(rate_hz * 0.9, clicks, 2)
    assert listed(a, b, 0, half_ps) == greedy(a.tolist(), b.tolist(), 0, half_ps)


@pytest.mark.parametrize(("clicks_a", "clicks_b"), [(100, 500_000), (500_000, 100), (20_000, 600_000)])
def test_sides_of_very_different_rates_equal_the_serial_walk(clicks_a: int, clicks_b: int) -> None:
    random = np.random.default_rng(8)
    a, b = (np.sort(random.integers(0, 10**11, clicks)) for clicks in (clicks_a, clicks_b))
    assert listed(a, b, 0, 50_000) == greedy(a.tolist(), b.tolist(), 0, 50_000)


def test_a_burst_of_one_side_equals_the_serial_walk() -> None:
    # More clicks of bob between two of alice's than the lanes have room for.
    a = np.arange(50_000) * 10**6
    b = np.sort(np.concatenate([a + 100, np.random.default_rng(9).integers(10**9, 10**9 + 10**6, 4 * matching.SLACK)]))
    assert listed(a, b, 0, 500) == greedy(a.tolist(), b.tolist(), 0, 500)


@pytest.mark.parametrize("span_ps", [0, 1000, 10**7])
def test_a_list_that_cannot_be_cut_is_linear_in_time(span_ps: int) -> None:
    # A million clicks a side within one window: walking it in squares would take 10**12 steps and never end.
    clicks = 10**6
    a = np.sort(np.random.default_rng(3).integers(0, span_ps + 1, clicks))
    found_a, found_b = listed(a, a, 0, 10**8)
    assert found_a == found_b == list(range(clicks))


def test_equal_times_meet_one_to_one_in_order() -> None:
    assert listed(i64([5, 5, 5]), i64([5, 5]), 0, 0) == ([0, 1], [0, 1])


def test_large_times_lose_no_picosecond() -> None:
    # 2**62 ps are 53 days of unwrapped tags; a float64 would round them to 1024 ps.
    start = 2**62 - 10**7
    a, b = i64([start, start + 10_000]), i64([start + 501, start + 10_500])
    assert listed(a, b, 0, 500) == ([1], [1])


@given(streams, streams, st.integers(0, 12), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=5))
def test_match_goes_on_where_it_ended_in_any_chunks(
    a: list[int], b: list[int], half_ps: int, ends: list[tuple[int, int]]
) -> None:
    # Each block makes more clicks of either side known; the walk goes on from its place.
    known = (
        [(min(n, len(a)), min(m, len(b))) for n, m in zip(*map(sorted, zip(*ends, strict=True)), strict=True)]
        if ends
        else []
    )
    found_a, found_b = room(len(a))
    i = j = found = 0
    for n, m in [*known, (len(a), len(b))]:
        i, j, found = match(i64(a[:n]), i64(b[:m]), 0, half_ps, i, n, j, found_a, found_b, found)
    assert (found_a[:found].tolist(), found_b[:found].tolist()) == greedy(i64(a), i64(b), 0, half_ps)


@given(streams, streams, st.integers(-50, 50), st.integers(0, 12), st.integers(0, 400))
def test_a_cut_separates_the_pairs(a: list[int], b: list[int], shift_ps: int, half_ps: int, start: int) -> None:
    i, j = cut(i64(a), i64(b), shift_ps, half_ps, start, len(a), 0)
    separates = [
        p
        for p in range(start, len(a))
        if all(
            a[p] - b[q - 1] - shift_ps > half_ps if q else True for q in [sum(t < a[p] - half_ps - shift_ps for t in b)]
        )
        and all(
            p == 0 or b[q] + shift_ps - a[p - 1] > half_ps
            for q in [sum(t < a[p] - half_ps - shift_ps for t in b)]
            if q < len(b)
        )
    ]
    assert i == (separates[0] if separates else -1)
    if i >= 0:
        left, right = greedy(a[:i], b[:j], shift_ps, half_ps), greedy(a[i:], b[j:], shift_ps, half_ps)
        joined = left[0] + [i + p for p in right[0]], left[1] + [j + q for q in right[1]]
        assert joined == greedy(a, b, shift_ps, half_ps)


@given(streams, streams, st.integers(-50, 50), st.integers(0, 12))
def test_count_equals_the_serial_walk(a: list[int], b: list[int], shift_ps: int, half_ps: int) -> None:
    _, _, found = count(i64(a), i64(b), shift_ps, half_ps, 0, len(a), 0)
    assert found == len(greedy(i64(a), i64(b), shift_ps, half_ps)[0])


@pytest.mark.parametrize("rate_hz", [4e6, 1e9, 1e11])
def test_count_over_many_chunks_ends_where_the_list_ends(rate_hz: float) -> None:
    clicks = 3 * matching.COUNT_CHUNK
    a, b = poisson(rate_hz, clicks, 1), poisson(rate_hz, clicks, 2)
    found_a, found_b = room(clicks)
    for i_stop in (clicks, clicks // 2):
        expected = match(a, b, 0, 500, 0, i_stop, 0, found_a, found_b, 0)
        assert count(a, b, 0, 500, 0, i_stop, 0) == expected


def test_tally_counts_labels_outside_the_matrix() -> None:
    banks = np.zeros(BANKS * 2 * 2, np.int64)
    labels = np.array([0, 1, 2, 255], np.uint8)
    order = np.arange(4, dtype=np.uint32)
    assert tally(labels, labels, order, order, 0, 4, 2, 2, banks) == 2
    assert banks.reshape(BANKS, 2, 2).sum(axis=0).tolist() == [[1, 0], [0, 1]]
