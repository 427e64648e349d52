"""Epochs without a peak of their own: measured while the clock holds, left out once it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.result import Analysis, to_json
from qnoded.analysis.run import analyze, silent
from qnoded.cli.simulate import record
from qnoded.settings import check_channel_map
from qnoded.sim import World
from qnoded.sim.changes import load_world
from qnoded.units import PS_PER_S

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3}
MAP = check_channel_map({"alice": CHANNELS, "bob": CHANNELS}, "test")


def simulated(folder: Path, seconds: float, *changes: str, seed: int = 1) -> tuple[Path, Path, float]:
    """Return both recordings and the true pair rate."""
    files, truth = record(World(load_world(None, list(changes)), seed), seconds, folder, "npz", silent)
    return Path(files["alice"]), Path(files["bob"]), float(truth["expected"]["pairs_hz"])


def pairs_of(analysis: Analysis) -> float:
    assert analysis.link is not None
    return float(analysis.link.estimate.matrix.sum() - analysis.link.estimate.accidentals.sum())


@pytest.mark.parametrize(("clock", "seed"), [("ocxo", 1), ("ocxo", 2), ("tcxo", 3)])
def test_a_dim_link_shows_its_true_rate(tmp_path: Path, clock: str, seed: int) -> None:
    # 4 pairs/s for two minutes, two in an epoch: 475 pairs, known to 4.6 %. To leave out the epochs that show no peak
    # makes it 35 % too many; to lose the lock, too few.
    dim = ("source.pair_rate_hz=80", f"alice.clock.preset={clock}", f"bob.clock.preset={clock}")
    alice, bob, pairs_hz = simulated(tmp_path, 120.0, *dim, seed=seed)
    near = ClockOptions(offset_ps=300_000_000_000, offset_range_ps=10**9, frequency_range=5e-6)
    analysis = analyze(alice, bob, AnalysisOptions(clock=near))
    document = to_json(analysis)
    assert document["clock"]["locked"]
    assert document["clock"]["vain_searches"] == 0
    assert document["discards"] == {}
    assert document["duration_s"] == pytest.approx(120.0, abs=0.1)
    expected = pairs_hz * document["duration_s"]
    assert pairs_of(analysis) == pytest.approx(expected, abs=3 * expected**0.5)


def test_a_source_that_is_lost_is_sought_ever_more_seldom_and_its_time_does_not_count(tmp_path: Path) -> None:
    # From 4 s on bob's clock is 1 s ahead, a hundred times further than a lost lock is sought: 8 s, 15 epochs.
    alice, bob, pairs_hz = simulated(tmp_path, 12.0, "alice.clock.preset=ideal", "bob.clock.preset=ideal")
    with np.load(bob) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"].copy()
    tag_ps[tag_ps > tag_ps[0] + 4 * PS_PER_S] += PS_PER_S
    np.savez(tmp_path / "lost.npz", channel=channel, tag_ps=tag_ps)
    analysis = analyze(alice, tmp_path / "lost.npz", AnalysisOptions(channels=MAP))
    document = to_json(analysis)
    assert 2 <= document["clock"]["vain_searches"] <= 5
    assert document["clock"]["relocks"] == 0
    # Bob's second without a click is measured time; what follows, without a peak, is not.
    assert 4.0 <= document["duration_s"] <= 5.2
    assert sum(document["discards"].values()) >= 12
    assert pairs_of(analysis) == pytest.approx(4.0 * pairs_hz, rel=0.02)


def test_a_step_too_small_to_lose_the_lock_is_named(tmp_path: Path) -> None:
    # 0.3 ns at 3.6 s, inside an epoch: an oven-controlled quartz wanders by 0.01 ns in that time.
    alice, bob, _ = simulated(tmp_path, 6.0, "source.pair_rate_hz=2e4")
    with np.load(bob) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"].copy()
    tag_ps[tag_ps > tag_ps[0] + 36 * PS_PER_S // 10] += 300
    np.savez(tmp_path / "stepped.npz", channel=channel, tag_ps=tag_ps)
    near = ClockOptions(offset_ps=300_000_000_000, offset_range_ps=10**9, frequency_range=3e-6)
    document = to_json(analyze(alice, tmp_path / "stepped.npz", AnalysisOptions(channels=MAP, clock=near)))
    assert document["clock"]["relocks"] == 0
    (step,) = document["clock"]["steps"]
    assert step["step_ps"] == pytest.approx(300, abs=100)
    assert 3 * PS_PER_S < step["at_ps"] < 6 * PS_PER_S
    # What was found between the step and the proof of it stands beside its window, and does not count.
    assert sum(document["discards"].values()) <= 3
