"""The clock map: exact, monotonic, invertible, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.records import ClockModel
from qnoded.stages.synchronization.clock_map import ClockMap

MODEL = ClockModel(0, 0, 0.0)


def a_map(seed: int, origin: int, knots: int = 6, slope: float = 1e-5) -> ClockMap:
    rng = np.random.Generator(np.random.Philox(seed))
    span = rng.integers(10**8, 10**11, knots)
    link = origin + np.cumsum(span)
    offset = np.cumsum(rng.uniform(-slope, slope, knots) * span) + 3e11
    whole = np.floor(offset)
    return ClockMap(link, whole.astype(np.int64), offset - whole, np.ones(knots), MODEL)


@given(st.integers(0, 50), st.sampled_from([0, 10**17, 8 * 10**18]), st.sampled_from([1e-9, 1e-5, 9e-3]))
def test_there_and_back_again(seed, origin, slope) -> None:
    """A link time, carried to bob by the offset there and back by the map, returns within one ps of rounding."""
    clock_map = a_map(seed, origin, slope=slope)
    rng = np.random.Generator(np.random.Philox(seed + 1000))
    link = np.sort(rng.integers(-(10**11), 7 * 10**11, 500)) + origin
    bob = link + clock_map.offset_at(link)
    back = clock_map.to_link(bob)
    assert np.abs(back - link).max() <= 1


@given(st.integers(0, 50), st.sampled_from([0, 10**17]))
def test_tags_are_never_reordered(seed, origin) -> None:
    """Every single ps around each knot, where the line bends by up to 1 %."""
    clock_map = a_map(seed, origin, slope=9e-3)
    knots = clock_map.knots_link_ps + clock_map.offset_ps
    bob = np.sort((knots[:, None] + np.arange(-300, 300)).ravel())
    link = clock_map.to_link(bob)
    assert np.all(np.diff(link) >= 0)


@given(
    st.integers(-(10**18), 10**18),
    st.integers(-(10**13), 10**13),
    st.floats(-2e-5, 2e-5),
    st.integers(0, 9),
)
def test_a_straight_map_is_the_clock_model(reference, offset, frequency, seed) -> None:
    model = ClockModel(reference, offset, frequency, 5.0, 1e-9)
    clock_map = ClockMap.straight(model, reference, reference + 2**39)
    rng = np.random.Generator(np.random.Philox(seed))
    link = np.sort(rng.integers(reference - 2**38, reference + 2**40, 100))
    expected = np.array([model.offset_at(int(moment)) for moment in link])
    # Halves may round either way.
    assert np.abs(clock_map.offset_at(link) - expected).max() <= 1
    assert np.abs(clock_map.to_link(link + expected) - link).max() <= 1
    assert clock_map.model().offset_ps == offset
    assert clock_map.sigma_ps[-1] == pytest.approx(np.hypot(5.0, 2**39 * 1e-9))


def test_whole_offsets_without_slope_are_exact() -> None:
    clock_map = ClockMap.straight(ClockModel(0, 123_456_789, 0.0), 0, 2**39)
    bob = np.array([0, 1, 2**62, 2**62 + 1], np.int64)
    np.testing.assert_array_equal(clock_map.to_link(bob), bob - 123_456_789)


def test_an_output_array_is_filled_and_returned() -> None:
    clock_map = a_map(1, 0)
    bob = np.arange(0, 10**12, 10**9, dtype=np.int64)
    out = np.empty_like(bob)
    assert clock_map.to_link(bob, out) is out
    np.testing.assert_array_equal(out, clock_map.to_link(bob))
    with pytest.raises(UsageError, match="one place per tag"):
        clock_map.to_link(bob, out[:-1])


def test_no_tags_no_times() -> None:
    assert a_map(1, 0).to_link(np.empty(0, np.int64)).size == 0


@pytest.mark.parametrize(
    ("knots", "offset", "words"),
    [
        ([0], [0], "two knots"),
        ([10, 10], [0, 0], "ascending"),
        ([0, 1000], [0, 500], "no clock"),
    ],
)
def test_what_is_no_clock_is_refused(knots, offset, words) -> None:
    knots, offset = np.array(knots, np.int64), np.array(offset, np.int64)
    zeros = np.zeros(knots.size)
    with pytest.raises(UsageError, match=words):
        ClockMap(knots, offset, zeros, zeros.copy(), MODEL)
