"""Real tags of an entangled-photon receiver pair, with nothing given but which input is which detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.result import Analysis, to_json
from qnoded.analysis.run import analyze
from qnoded.settings import check_channel_map

TICK_PS = 625 / 8
DELAYS_TICKS = {"alice": [0, 80, 99, 155], "bob": [-1, 82, 101, 157]}
MATRIX = np.array([[2017, 107, 551, 403], [123, 1826, 486, 432], [384, 534, 577, 10], [669, 488, 13, 414]])
"""All pairs within +-13 ticks, echo removed, by brute force."""
WINDOWS = {13: (5.65, 2.27, 4.97), 6: (5.26, 1.63, 4.57), 26: (6.10, 2.72, 5.42)}
"""Half window in ticks: QBER of the two bases and of all, percent."""
CHANNELS = check_channel_map(
    {
        "tick_ps": "625/8",
        "alice": {"H": 0, "V": 1, "D": 2, "A": 3},
        "bob": {"H": 4, "V": 5, "D": 6, "A": 7},
    },
    "test",
)


def options(half_window_ticks: int, **changes: object) -> AnalysisOptions:
    return AnalysisOptions(
        channels=CHANNELS, tick_ps=CHANNELS.tick_ps, window_ps=round(2 * half_window_ticks * TICK_PS) + 2, **changes
    )


@pytest.fixture(scope="module")
def together(recordings: Path) -> Path:
    return recordings / "uiuc_entangled_tags" / "tags.txt.gz"


@pytest.fixture(scope="module")
def apart(together: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same tags as two recordings, bob's clock shifted by 0.3 s and 5 ppm."""
    rows = np.loadtxt(together, dtype=np.int64)
    channel, tag_ps = rows[:, 0].astype(np.uint8), (rows[:, 1] * 625 + 4) // 8
    folder = tmp_path_factory.mktemp("apart")
    of_bob = channel >= 4
    bob_ps = tag_ps[of_bob]
    bob_ps = bob_ps + 300_000_000_000 + np.rint(bob_ps * 5e-6).astype(np.int64)
    np.savez(folder / "alice.npz", tag_ps=tag_ps[~of_bob], channel=channel[~of_bob])
    np.savez(folder / "bob.npz", tag_ps=bob_ps, channel=channel[of_bob])
    return folder / "alice.npz", folder / "bob.npz"


def assert_matrix_and_qber(analysis: Analysis, half_window_ticks: int) -> None:
    document = to_json(analysis)
    if half_window_ticks == 13:
        np.testing.assert_allclose(document["matrix"], MATRIX, rtol=0.02, atol=1)
    for basis, percent in zip(("HV", "DA", "total"), WINDOWS[half_window_ticks], strict=True):
        assert 100 * document["qber"][basis]["value"] == pytest.approx(percent, abs=0.2)


def assert_double_firing_is_named(analysis: Analysis) -> None:
    (echo,) = [one for one in to_json(analysis)["artefacts"] if one["kind"] == "double-firing"]
    assert (echo["side"], echo["channel"]) == ("alice", 0)
    assert 16_000 <= echo["low_ps"] < echo["high_ps"] <= 17_700


@pytest.mark.parametrize("half_window_ticks", WINDOWS)
def test_one_recording_of_both_sides(together: Path, half_window_ticks: int) -> None:
    analysis = analyze(together, None, options(half_window_ticks))
    assert to_json(analysis)["tags"] == {
        "alice": {"0": 27449, "1": 13805, "2": 8999, "3": 6616},
        "bob": {"4": 26471, "5": 29447, "6": 13858, "7": 10818},
    }
    for side, ticks in DELAYS_TICKS.items():
        np.testing.assert_allclose(to_json(analysis)["delays_ps"][side], np.array(ticks) * TICK_PS, atol=TICK_PS)
    assert_double_firing_is_named(analysis)
    assert_matrix_and_qber(analysis, half_window_ticks)
    assert analysis.duration_s == pytest.approx(0.0492, abs=2e-4)


@pytest.mark.parametrize("half_window_ticks", WINDOWS)
def test_two_recordings_with_clocks_of_their_own(apart: tuple[Path, Path], half_window_ticks: int) -> None:
    analysis = analyze(*apart, options(half_window_ticks))
    document = to_json(analysis)
    assert document["clock"]["locked"]
    assert document["clock"]["offset_ps"] == pytest.approx(3e11, abs=300)
    assert document["clock"]["frequency_error"] == pytest.approx(5e-6, abs=3e-9)
    for side, ticks in DELAYS_TICKS.items():
        relative = np.array(ticks) - ticks[0]
        # Bob's first detector is the reference of his clock, so one tick of quantisation comes in twice.
        np.testing.assert_allclose(document["delays_ps"][side], relative * TICK_PS, atol=2 * TICK_PS)
    assert_double_firing_is_named(analysis)
    assert_matrix_and_qber(analysis, half_window_ticks)


def test_swapping_the_sides_flips_the_clock_and_nothing_else(apart: tuple[Path, Path]) -> None:
    swapped = check_channel_map(
        {"alice": {"H": 4, "V": 5, "D": 6, "A": 7}, "bob": {"H": 0, "V": 1, "D": 2, "A": 3}}, "test"
    )
    forward = to_json(analyze(*apart, options(13)))
    back = to_json(analyze(apart[1], apart[0], AnalysisOptions(channels=swapped, window_ps=options(13).window_ps)))
    assert back["clock"]["frequency_error"] == pytest.approx(-forward["clock"]["frequency_error"], abs=2e-9)
    assert back["clock"]["offset_ps"] == pytest.approx(-forward["clock"]["offset_ps"], abs=2e6)
    np.testing.assert_allclose(np.transpose(back["matrix"]), forward["matrix"], rtol=0.02, atol=3)


def test_a_known_clock_is_taken_as_it_is(apart: tuple[Path, Path]) -> None:
    clock = ClockOptions(offset_ps=300_000_000_000, frequency_error=5e-6, known=True)
    analysis = analyze(*apart, options(13, clock=clock))
    assert to_json(analysis)["clock"]["source"] == "given"
    assert_matrix_and_qber(analysis, 13)
