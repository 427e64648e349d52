"""Recordings that no instrument should make: dense beyond reason, in coarse ticks, faulty; each has an answer."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qnoded.analysis.lone import Correlation, lone_findings
from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.result import to_json
from qnoded.analysis.run import analyze
from qnoded.analysis.survey import survey_clicks
from qnoded.records import Detector, Receiver, TagBlock
from qnoded.settings import check_channel_map

SIDES = check_channel_map(
    {"alice": {"H": 0, "V": 1, "D": 2, "A": 3}, "bob": {"H": 4, "V": 5, "D": 6, "A": 7}}, "the map of this test"
)


def standing_still(path: Path, inputs: int, tags: int = 2**17) -> Path:
    """Write a recording whose tags all lie within 1 us: as many pairs as the product of the inputs' tags."""
    rng = np.random.default_rng(3)
    channel = rng.integers(0, inputs, tags).astype(np.uint8)
    np.savez(path, tag_ps=np.sort(rng.integers(0, 10**6, tags)), channel=channel)
    return path


@pytest.mark.parametrize("inputs", [2, 16])
def test_a_lone_recording_that_stands_still_is_read_to_its_end(tmp_path: Path, inputs: int) -> None:
    analysis = analyze(standing_still(tmp_path / "still.npz", inputs), None, AnalysisOptions())
    assert analysis.lone is not None
    assert len(analysis.lone.correlations) == inputs * (inputs - 1) // 2
    assert sum(analysis.channel_counts[0]) == 2**17


def test_a_recording_of_both_sides_that_stands_still_is_counted(tmp_path: Path) -> None:
    path = standing_still(tmp_path / "still.npz", 8)
    analysis = analyze(path, None, AnalysisOptions(channels=SIDES, window_ps=100))
    assert analysis.link is not None
    assert analysis.link.estimate.matrix.sum() > 10**5


def test_two_recordings_that_stand_still_get_no_lock_but_a_reason(tmp_path: Path) -> None:
    alice, bob = (standing_still(tmp_path / f"{side}.npz", 4) for side in ("alice", "bob"))
    assert to_json(analyze(alice, bob, AnalysisOptions()))["clock"]["reason"] == "bursts"
    known = ClockOptions(known=True)
    assert to_json(analyze(alice, bob, AnalysisOptions(clock=known, window_ps=100)))["clock"]["locked"]


def echoing(dead_time_ps: int | None) -> Detector:
    receiver = Receiver("alice", (Detector("H", 0, "HV", 0, dead_time_ps=dead_time_ps),))
    rng = np.random.default_rng(4)
    first_ps = np.cumsum(rng.exponential(2e6, 20_000)).astype(np.int64)
    tag_ps = np.sort(np.concatenate([first_ps, first_ps[::4] + rng.integers(17_000, 18_000, 5_000)]))
    found, artefacts = survey_clicks(receiver, [TagBlock(np.zeros(tag_ps.size, np.uint8), tag_ps)])
    # The fault is told whatever is done about it.
    assert [one.kind for one in artefacts] == ["double-firing"]
    return found.detectors[0]


def test_a_dead_time_is_measured_where_nobody_has_chosen_one() -> None:
    measured = echoing(None).dead_time_ps
    assert measured is not None
    assert 18_000 < measured < 25_000
    assert echoing(0).dead_time_ps == 0
    assert echoing(40_000).dead_time_ps == 40_000


def test_a_dead_time_of_0_in_the_map_is_a_choice() -> None:
    table = {"H": 0, "V": 1, "dead_time_ps": {"H": 0, "V": 300}}
    receiver = check_channel_map({"alice": table | {"D": 2}}, "the map of this test").alice.receiver("alice")
    assert [one.dead_time_ps for one in receiver.detectors] == [0, 300, None]


@pytest.mark.parametrize(("tick_ps", "fwhm_ps"), [(5_000, 5_000), (12_500, 12_500)])
def test_coarse_ticks_find_delays_and_a_window_of_two_ticks_at_least(
    tmp_path: Path, tick_ps: int, fwhm_ps: int
) -> None:
    rng = np.random.default_rng(5)
    born_ps = rng.integers(0, 10**12, 20_000)
    outcome = rng.integers(0, 4, born_ps.size)
    channel = np.concatenate([outcome, outcome + 4, rng.integers(0, 8, 60_000)])
    # Bob is 52 ns late; lone clicks are on either side.
    tag_ps = np.concatenate([born_ps, born_ps + 52_000, rng.integers(0, 10**12, 60_000)])
    order = np.argsort(tag_ps, kind="stable")
    path = tmp_path / "coarse.csv"
    np.savetxt(path, np.column_stack([channel, tag_ps // tick_ps])[order], fmt="%d", delimiter=",")
    options = AnalysisOptions(channels=SIDES, columns="channel,time", tick_ps=Fraction(tick_ps))
    document = to_json(analyze(path, None, options))
    assert document["delays_ps"]["bob"] == pytest.approx([52_000] * 4, abs=tick_ps / 4)
    assert document["peak_fwhm_ps"] == pytest.approx(fwhm_ps, rel=0.3)
    assert document["window_ps"] >= 2 * tick_ps
    # All pairs, and next to nothing else.
    assert sum(map(sum, document["matrix"])) == pytest.approx(20_000, rel=0.02)


def test_a_lone_recording_says_which_input_comes_first() -> None:
    rng = np.random.default_rng(6)
    early_ps = np.cumsum(rng.exponential(1e8, 2_000)).astype(np.int64)
    tag_ps = np.concatenate([early_ps, early_ps + 235_000])
    channel = np.repeat(np.array([1, 0], np.uint8), early_ps.size)
    order = np.argsort(tag_ps, kind="stable")
    counts = np.bincount(channel, minlength=256)
    found = lone_findings([TagBlock(channel[order], tag_ps[order])], counts, None, Fraction(1))
    (one,) = found.correlations
    assert one.peak_ps == pytest.approx(-235_000, abs=1)
    assert one.sentence is not None
    assert one.sentence.startswith("Input 1 comes 235.000 ns before input 0 ")
    silent = Correlation(0, 1, None, None, 2000, 0, 0, 0)
    assert silent.sentence is None
