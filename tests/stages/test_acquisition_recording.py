"""A real recording of 49 ms, its clock put off by 0.3 s and 5 ppm, delays of channels unknown."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from qnoded.stages.synchronization.acquisition import SearchRange, acquire

OFFSET_PS, FREQUENCY_ERROR = 300_000_000_000, 5e-6
DELAYS_TICKS = (0, 80, 99, 155, -1, 82, 101, 157)
"""Published delays of the recording's channels, 78.125 ps each."""


@pytest.fixture(scope="module")
def rows(recordings: Path) -> np.ndarray:
    with gzip.open(recordings / "uiuc_entangled_tags" / "tags.txt.gz", "rt") as text:
        return np.loadtxt(text, dtype=np.int64)


def streams(rows: np.ndarray, delays_ticks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    ticks = rows[:, 1] - np.array(delays_ticks)[rows[:, 0]]
    tags = (ticks * 625 + 4) // 8
    alice, bob = np.sort(tags[rows[:, 0] < 4]), np.sort(tags[rows[:, 0] >= 4])
    start = int(rows[0, 1]) * 625 // 8
    return alice, bob + OFFSET_PS + np.rint((bob - start) * FREQUENCY_ERROR).astype(np.int64), start


@pytest.mark.parametrize("reach_ps", [350 * 10**9, 500 * 10**9, 10**12])
def test_the_recording_locks_within_its_channel_delays(rows: np.ndarray, reach_ps: int) -> None:
    alice, bob, start = streams(rows, (0,) * 8)
    found = acquire(alice, bob, SearchRange(0, reach_ps))
    assert found.clock is not None, found.sentence
    truth = OFFSET_PS + round(FREQUENCY_ERROR * (found.clock.reference_ps - start))
    assert abs(found.clock.offset_ps - truth) < 13_000
    assert abs(found.clock.frequency_error - FREQUENCY_ERROR) < 5e-9


def test_once_delays_are_known_the_offset_is_good_to_a_tick(rows: np.ndarray) -> None:
    alice, bob, _ = streams(rows, (0,) * 8)
    coarse = acquire(alice, bob).clock
    assert coarse is not None
    alice, bob, start = streams(rows, DELAYS_TICKS)
    found = acquire(alice, bob, SearchRange(coarse.offset_ps, 100_000, coarse.frequency_error, 1e-8))
    assert found.clock is not None, found.sentence
    truth = OFFSET_PS + round(FREQUENCY_ERROR * (found.clock.reference_ps - start))
    assert abs(found.clock.offset_ps - truth) < 78
    assert abs(found.clock.frequency_error - FREQUENCY_ERROR) < 1e-9
    assert found.peak_share > 0.6
