"""Labelling against its plain twins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qnoded.kernels.tagging import CHANNELS, NO_DETECTOR, count_channels, label


@given(hnp.arrays(np.uint8, st.integers(0, 200)))
def test_counts_equal_bincount(channel: np.ndarray) -> None:
    counts = np.zeros(CHANNELS, np.int64)
    count_channels(channel, counts)
    np.testing.assert_array_equal(counts, np.bincount(channel, minlength=CHANNELS))


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 10**17)), max_size=100),
    st.lists(st.integers(-(10**6), 10**6), min_size=8, max_size=8),
)
def test_label_keeps_known_inputs_and_subtracts_their_delays(tags: list[tuple[int, int]], delays: list[int]) -> None:
    channel = np.array([c for c, _ in tags], np.uint8)
    tag_ps = np.array([t for _, t in tags], np.int64)
    detector_of = np.full(CHANNELS, NO_DETECTOR, np.uint8)
    detector_of[[2, 5, 7]] = [1, 0, 2]
    delay_ps = np.zeros(CHANNELS, np.int64)
    delay_ps[:8] = delays
    detector, corrected_ps = np.empty(len(tags), np.uint8), np.empty(len(tags), np.int64)

    kept = label(channel, tag_ps, detector_of, delay_ps, detector, corrected_ps)

    known = np.isin(channel, [2, 5, 7])
    assert kept == known.sum()
    np.testing.assert_array_equal(detector[:kept], detector_of[channel[known]])
    np.testing.assert_array_equal(corrected_ps[:kept], tag_ps[known] - delay_ps[channel[known]])
