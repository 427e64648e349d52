"""Tick scaling and unwrapping against exact integers of any size."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.ticks import LARGEST_PS, scaled_floor, ticks_to_ps, unwrap

TICKS = st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=30)
POSITIVE = st.integers(1, 2**63 - 1) | st.integers(1, 10_000)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), POSITIVE)
def test_scaled_floor_equals_big_integers(factor: int, numerator: int, denominator: int) -> None:
    assert scaled_floor(factor, numerator, denominator) == min(factor * numerator // denominator, LARGEST_PS)


@given(TICKS, POSITIVE, POSITIVE)
def test_ticks_equal_fractions_rounded_half_up(ticks: list[int], numerator: int, denominator: int) -> None:
    ratio = Fraction(numerator, denominator)
    array = np.array(ticks, np.int64)
    out = np.zeros(array.size, np.int64)

    late = ticks_to_ps(array, ratio.numerator, ratio.denominator, out)

    expected = [floor(tick * ratio + Fraction(1, 2)) for tick in ticks]
    good = len(ticks) if late < 0 else late
    assert out[:good].tolist() == expected[:good]
    if late >= 0:
        # A tick is refused only where its time, or that of the tick after it, has no int64.
        assert (abs(ticks[late]) + 1) * ratio + Fraction(1, 2) > LARGEST_PS
    assert all(abs(time) <= LARGEST_PS for time in expected[:good])


def test_ticks_may_be_scaled_in_place_and_known_ticks_are_exact() -> None:
    ticks = np.array([0, 1, 2, 3, 8, 10**15], np.int64)
    assert ticks_to_ps(ticks, 625, 8, ticks) == -1
    assert ticks.tolist() == [0, 78, 156, 234, 625, 78_125_000_000_000_000]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=100), st.integers(1, 7))
def test_unwrap_equals_the_time_that_was_wrapped(steps: list[int], block: int) -> None:
    span = 1024
    true = np.cumsum(np.array(steps, np.int64))
    true -= true[0] // span * span
    counter, state, found = true % span, np.array([0, 0], np.int64), []
    for first in range(0, counter.size, block):
        part = counter[first : first + block].copy()
        assert unwrap(part, span, state, part) == -1
        found.extend(part.tolist())
    assert found == true.tolist()
    assert state[0] == true.max() // span


def test_a_reading_from_before_the_roll_over_is_put_back_before_it() -> None:
    counter = np.array([1000, 1020, 3, 1022, 10], np.int64)
    assert unwrap(counter, 1024, np.array([0, 0], np.int64), counter) == -1
    assert counter.tolist() == [1000, 1020, 1027, 1022, 1034]


def test_endless_roll_overs_stop_before_an_int64_overflows() -> None:
    span = 2**54
    counter = np.tile(np.array([0, 2 * span // 5, 4 * span // 5], np.int64), 600)
    out = np.empty_like(counter)
    late = unwrap(counter, span, np.array([0, 0], np.int64), out)
    assert 1500 < late < 1600
    assert out[:late].min() >= 0
