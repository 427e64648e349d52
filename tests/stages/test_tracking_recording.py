"""Tracking on the clicks of a real receiver pair, with bob's clock shifted and sped up by known amounts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qnoded.records import ClockModel
from qnoded.stages.synchronization.tracking import start, track
from qnoded.units import PS_PER_MS

DELAY_TICKS = np.array([0, 80, 99, 155, -1, 82, 101, 157])
OFFSET_PS = 300_000_000_000
FREQUENCY_ERROR = 5e-6
EPOCH_PS = 8 * PS_PER_MS


def test_a_real_recording_with_a_false_clock_is_followed(recordings: Path) -> None:
    """49 ms of 0.2 M pairs/s with one clock for both, then with 0.3 s and 5 ppm on bob's: the same to 15 ps."""
    rows = np.loadtxt(recordings / "uiuc_entangled_tags" / "tags.txt.gz", dtype=np.int64)
    channel, tick = rows[:, 0], rows[:, 1] - rows[0, 1]
    # Tick is 625/8 ps; tags stay whole ps, as after reading.
    tag_ps = (tick - DELAY_TICKS[channel]) * 625 // 8
    alice_ps, true_ps = np.sort(tag_ps[channel < 4]), np.sort(tag_ps[channel >= 4])
    bob_ps = true_ps + OFFSET_PS + np.rint(FREQUENCY_ERROR * true_ps).astype(np.int64)
    shared = start(ClockModel(0, 0, 0.0, 300.0, 1e-8), 500.0, 2e5)
    apart = start(ClockModel(0, OFFSET_PS + 200, FREQUENCY_ERROR + 5e-9, 300.0, 1e-8), 500.0, 2e5)
    for number in range(6):
        begin, end = number * EPOCH_PS, (number + 1) * EPOCH_PS
        together = track(alice_ps, true_ps, shared, begin, end)
        split = track(alice_ps, bob_ps, apart, begin, end)
        shared, apart = together.state, split.state
        assert split.report.reason is None
        assert split.report.locked
        if number > 0:
            here = (true_ps > begin) & (true_ps < end)
            difference = split.clock_map.to_link(bob_ps[here]) - together.clock_map.to_link(true_ps[here])
            assert np.abs(difference).max() < 15
            # Delays are known to a tick, so the shared clock is at 0 to a tick.
            assert np.abs(together.clock_map.offset_at(np.array([begin, end]))).max() < 78
