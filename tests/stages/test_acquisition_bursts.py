"""Bursts of tags that are no light: they must not take the search's memory, its time or its clock."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_streams import OFFSET_PS, link
from hypothesis import given
from hypothesis import strategies as st

from qnoded.stages.synchronization.acquisition import AcquisitionFailure, acquire
from qnoded.stages.synchronization.bursts import BURST_PS, BURST_TAGS, without_bursts


def with_burst(tag_ps: np.ndarray, at_ps: int, tags: int, length_ps: int, seed: int) -> np.ndarray:
    burst_ps = at_ps + np.random.default_rng(seed).integers(0, length_ps, tags)
    return np.sort(np.concatenate([tag_ps, burst_ps]))


@given(st.lists(st.tuples(st.integers(0, 3 * BURST_PS // BURST_TAGS), st.integers(1, 100)), max_size=12))
def test_exactly_the_tags_of_crowded_windows_are_left_out(runs: list[tuple[int, int]]) -> None:
    tag_ps = np.cumsum(np.array([gap for gap, times in runs for _ in range(times)], np.int64))
    crowded = np.zeros(tag_ps.size, bool)
    for first in range(tag_ps.size - BURST_TAGS + 1):
        if tag_ps[first + BURST_TAGS - 1] - tag_ps[first] <= BURST_PS:
            crowded[first : first + BURST_TAGS] = True
    np.testing.assert_array_equal(without_bursts(tag_ps), tag_ps[~crowded])


def test_light_of_100_mcps_is_no_burst() -> None:
    tag_ps = np.cumsum(np.random.default_rng(1).exponential(10_000, 10**6)).astype(np.int64)
    assert without_bursts(tag_ps) is tag_ps


# The last one would list 350,000 million pairs.
@pytest.mark.parametrize(("tags", "length_ps"), [(2**10, 10**6), (2**17, 10**6), (2**20, 10**9), (2**20, 10**6)])
def test_a_burst_on_both_sides_does_not_hide_the_clock(tags: int, length_ps: int) -> None:
    pair = link(5e4, 0.2, 4.0, 31)
    # The bursts agree with each other, but not with the pairs.
    alice_ps = with_burst(pair.alice_ps, 2 * 10**12, tags, length_ps, 1)
    bob_ps = with_burst(pair.bob_ps, 2 * 10**12 + OFFSET_PS + 10**8, tags, length_ps, 2)
    found = acquire(alice_ps, bob_ps)
    assert found.locked, found.sentence
    off_ps, off_ppb = pair.errors(found)
    assert abs(off_ps) < 100
    assert abs(off_ppb) < 1


def test_nothing_but_bursts_is_told_as_such() -> None:
    still_ps = np.sort(np.random.default_rng(2).integers(0, 10**6, 2**17))
    found = acquire(still_ps, still_ps)
    assert found.reason is AcquisitionFailure.BURSTS
    assert "tick and format" in found.sentence
