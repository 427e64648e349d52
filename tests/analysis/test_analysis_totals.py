"""What is kept of a long recording: sums of all of it, in bounded room."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from qnoded.analysis import totals as totals_module
from qnoded.analysis.epochs import EpochResult
from qnoded.analysis.totals import Totals
from qnoded.records import ClockModel, SiftedEpoch
from qnoded.stages.differences import TimeDifferences
from qnoded.stages.tagging import MultiClicks
from qnoded.units import EPOCH_PS

NO_BITS = SiftedEpoch(np.empty(0, np.uint8), np.empty(0, np.uint8), "alice")


def epoch(number: int, differences: int = 0, stepped: bool = False, **changes: Any) -> EpochResult:
    """Return epoch ``number`` with one pair in its first cell, bob's clock 2 ppb fast, all differences its number."""
    start_ps = number * EPOCH_PS
    values: dict[str, Any] = {
        "start_ps": start_ps,
        "stop_ps": start_ps + EPOCH_PS,
        "live_ps": EPOCH_PS - 1000,
        "pairs": np.array([[1, number], [0, 0]]),
        "displaced": np.array([[0, 0], [0, 2]]),
        "alice_clicks": np.array([3, 4]),
        "bob_clicks": np.array([5, 6]),
        "sifted": (NO_BITS, NO_BITS),
        "multi_clicks": (MultiClicks(1, 2), MultiClicks(3, 4)),
        "clock": ClockModel(start_ps, round(2e-9 * start_ps), 2e-9),
        "tracking": None,
        "stepped": stepped,
        "differences": TimeDifferences(
            np.full(differences, number), np.zeros(differences, np.uint8), np.zeros(differences, np.uint8)
        ),
    }
    return EpochResult(**(values | changes))


@pytest.mark.parametrize("epochs", [1, 15, 16, 17, 1000])
def test_sums_and_stretches_hold_all_of_it(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals_module, "MOST_STRETCHES", 16)
    totals = Totals((2, 2))
    for number in range(epochs):
        totals.add(epoch(number))
    all_pairs = [[epochs, epochs * (epochs - 1) // 2], [0, 0]]
    assert totals.pairs.tolist() == all_pairs
    assert totals.displaced.tolist() == [[0, 0], [0, 2 * epochs]]
    assert totals.alice_clicks.tolist() == [3 * epochs, 4 * epochs]
    assert totals.bob_clicks.tolist() == [5 * epochs, 6 * epochs]
    assert totals.multi_clicks == (MultiClicks(epochs, 2 * epochs), MultiClicks(3 * epochs, 4 * epochs))
    assert totals.live_ps == epochs * (EPOCH_PS - 1000)
    assert totals.steps == epochs
    stretches = totals.stretches
    assert len(stretches) <= 16
    assert np.sum([one.pairs for one in stretches], axis=0).tolist() == all_pairs
    assert sum(one.live_ps for one in stretches) == totals.live_ps
    assert (stretches[0].start_ps, stretches[-1].stop_ps) == (0, epochs * EPOCH_PS)
    assert all(one.stop_ps == other.start_ps for one, other in pairwise(stretches))
    assert [one.clock.frequency_error for one in stretches] == pytest.approx([2e-9] * len(stretches))
    assert [one.clock.reference_ps for one in stretches] == [one.start_ps for one in stretches]
    # Neighbours are put together as equals: no stretch but the last is shorter than the others.
    assert len({one.stop_ps - one.start_ps for one in stretches[:-1]}) <= 1


def test_the_sample_of_differences_is_spread_over_the_whole_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals_module, "DIFFERENCES_KEPT", 1000)
    totals = Totals((2, 2))
    for number in range(3000):
        totals.add(epoch(number, differences=10 if totals.difference_pairs else 0))
    seen = np.unique(totals.differences.delay_ps)
    assert 500 < len(totals.differences) <= 1000
    assert len(set(np.diff(seen))) == 1
    assert seen[0] == 0
    assert seen[-1] > 0.95 * 3000


def test_a_step_of_the_clock_is_the_jump_from_the_line_before() -> None:
    totals = Totals((2, 2))
    totals.add(epoch(0))
    stepped = ClockModel(EPOCH_PS, round(2e-9 * EPOCH_PS) + 5000, 2e-9)
    totals.add(epoch(1, stepped=True, clock=stepped))
    totals.add(epoch(2))
    assert totals.clock_steps == [(EPOCH_PS, 5000)]


def test_what_was_not_tracked_has_no_scatter() -> None:
    totals = Totals((2, 2))
    totals.add(epoch(0))
    assert math.isnan(totals.stretches[0].phase_sigma_ps)
    assert not totals.stretches[0].tracked
