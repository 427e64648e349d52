"""Lists of close pairs and the centred peak, against their plain twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.peaks import PEAK_FIGURES, centre_peak, count_close_pairs, fullest_window, list_close_pairs

TIMES = st.lists(st.integers(-300, 300), max_size=40).map(sorted)


def plain_list(alice: list[int], bob: list[int], low: int, high: int) -> list[tuple[int, int, int]]:
    return [(b - a, i % 4, j % 3) for i, a in enumerate(alice) for j, b in enumerate(bob) if low <= b - a < high]


def fullest_plainly(delay: np.ndarray, width: int) -> tuple[int, int]:
    inside = np.searchsorted(delay, delay + width) - np.arange(delay.size)
    first = int(np.argmax(inside)) if delay.size else 0
    return first, int(inside[first]) if delay.size else 0


def plain_centre(position: np.ndarray, weight: np.ndarray, span: float, guess: np.ndarray, rounds: int) -> np.ndarray:
    centre, sigma, share = guess[:3]
    information = 0.0
    for _ in range(rounds):
        d = position - centre
        peak = share * np.exp(-0.5 * (d / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        p = peak / (peak + (1 - share) / span)
        information = float(np.sum(weight * (p / sigma**2 - p * (1 - p) * d**2 / sigma**4)))
        step = np.average(d, weights=weight * p)
        sigma = np.sqrt(np.average((d - step) ** 2, weights=weight * p))
        centre, share = centre + step, np.sum(weight * p) / np.sum(weight)
    return np.array([centre, sigma, share, information])


@given(TIMES, TIMES, st.integers(-100, 100), st.integers(0, 150))
def test_close_pairs_equal_the_double_loop(alice: list[int], bob: list[int], low: int, width: int) -> None:
    a, b = np.array(alice, np.int64), np.array(bob, np.int64)
    i, j = (np.arange(a.size) % 4).astype(np.uint8), (np.arange(b.size) % 3).astype(np.uint8)
    expected = plain_list(alice, bob, low, low + width)

    count = count_close_pairs(a, b, low, low + width)
    delay, of_a, of_b = np.empty(count, np.int64), np.empty(count, np.uint8), np.empty(count, np.uint8)
    listed = list_close_pairs(a, i, b, j, low, low + width, delay, of_a, of_b)

    assert listed == count == len(expected)
    assert list(zip(delay.tolist(), of_a.tolist(), of_b.tolist(), strict=True)) == expected


def test_a_full_list_stops_and_says_how_many() -> None:
    a, one = np.zeros(5, np.int64), np.zeros(5, np.uint8)
    delay, of_a, of_b = np.empty(7, np.int64), np.empty(7, np.uint8), np.empty(7, np.uint8)
    assert list_close_pairs(a, one, a, one, -1, 1, delay, of_a, of_b) == 7


@given(st.integers(0, 2**32), st.floats(20.0, 300.0), st.floats(0.05, 0.95))
def test_centre_equals_the_plain_twin(seed: int, sigma: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    span = 10_000.0
    peak = rng.random(500) < share
    position = np.where(peak, rng.normal(40.0, sigma, 500), rng.uniform(-span / 2, span / 2, 500))
    weight = rng.integers(1, 4, 500).astype(np.float64)
    figures = np.array([0.0, 100.0, 0.5, 0.0])
    expected = plain_centre(position, weight, span, figures, 6)

    assert centre_peak(position, weight, span, 1e-3, 0.0, 6, figures) == 6

    np.testing.assert_allclose(figures, expected, rtol=1e-9)


@pytest.mark.parametrize(("pairs", "floor"), [(200, 0), (1000, 2000), (20_000, 20_000)])
def test_error_bar_of_the_centre_is_what_repetition_shows(pairs: int, floor: int) -> None:
    pulls = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        position = np.concatenate([rng.normal(12.0, 150.0, pairs), rng.uniform(-5000.0, 5000.0, floor)])
        figures = np.array([50.0, 300.0, 0.3, 0.0])
        centre_peak(position, np.ones(position.size), 10_000.0, 1.0, 0.01, 300, figures)
        pulls.append((figures[0] - 12.0) * np.sqrt(figures[3]))
    # 150 draws: the spread of a unit normal is known to 6 %, its mean to 0.08.
    assert 0.82 < np.std(pulls) < 1.18
    assert abs(np.mean(pulls)) < 0.33


def test_no_pairs_leave_the_guess_as_it_is() -> None:
    figures = np.array([5.0, 10.0, 0.5, 0.0])
    assert figures.size == PEAK_FIGURES
    centre_peak(np.empty(0), np.empty(0), 100.0, 1.0, 0.1, 10, figures)
    assert figures[0] == 5.0
    assert figures[3] == 0.0


@given(TIMES, st.integers(1, 100))
def test_the_fullest_window_is_the_earliest_of_the_fullest(delays: list[int], width: int) -> None:
    delay = np.array(delays, np.int64)
    assert fullest_window(delay, width) == fullest_plainly(delay, width)
