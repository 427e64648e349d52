"""The world as a whole: the same photons however they are asked for, and a truth that the tags bear out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counting import PERFECT, Side, matrix, record, residuals

from qnoded.errors import UsageError
from qnoded.sim import World, WorldSettings
from qnoded.sim import world as world_module
from qnoded.sim.changes import load_world

RICH = [
    "source.pair_rate_hz=3e5",
    "bob.fibre.length_km=300",
    "bob.fibre.loss_db_per_km=0.03",
    "bob.fibre.polarization_drift_rad2_per_s=1",
    "bob.clock.preset=tcxo",
    "alice.clock.preset=white-rabbit",
    "alice.tagger.bin_ps=625/8",
    *(
        f"{side}.detectors.{change}"
        for side in ("alice", "bob")
        for change in ("preset=ingaas", "dead_time_ps=300_000", "double_firing_probability=0.3", "recovery_ps=5e5")
    ),
    "bob.detectors.D.paralysable=true",
]
"""Everything that carries state from slot to slot."""
SPAN_S = 0.05


def tags_of(blocks) -> list[np.ndarray]:
    return [
        np.concatenate([getattr(pair[side], name) for pair in blocks])
        for side in (0, 1)
        for name in ("tag_ps", "channel")
    ]


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, int(SPAN_S * 1e12)), max_size=6))
def test_any_division_of_the_time_gives_the_same_tags_and_truth(cuts: list[int]) -> None:
    whole, divided = World(load_world(None, RICH), 7), World(load_world(None, RICH), 7)
    expected = tags_of([whole.run_until(int(SPAN_S * 1e12))])
    found = tags_of([divided.run_until(cut) for cut in [*sorted(cuts), int(SPAN_S * 1e12)]])
    for left, right in zip(expected, found, strict=True):
        np.testing.assert_array_equal(left, right)
    assert divided.truth == whole.truth
    assert expected[0].size > 1000


def test_tags_ascend_and_belong_to_the_time_asked_for() -> None:
    alice, bob, world = record([*RICH, "bob.clock.offset_ps=5_000_000_000_000", "bob.clock.frequency_error=0"], 0.2)
    for side in (alice, bob):
        assert (np.diff(side.tag_ps) >= 0).all()
        assert set(side.channel.tolist()) == {0, 1, 2, 3}
    assert alice.tag_ps[0] >= 0
    # Lead of a quartz by noise after 0.2 s: 0.45 ns rms.
    assert bob.tag_ps[0] >= 5e12 - 2e3
    assert bob.tag_ps[-1] <= 5.2e12 + 2e3
    assert world.truth["tags"]["bob"] == np.bincount(bob.channel).tolist()


def test_light_was_on_before_the_first_tag() -> None:
    # 1000 km are 4.9 ms of flight: bob's first 4 ms hold as many clicks as any other.
    changes = [*PERFECT, "source.pair_rate_hz=1e5", "bob.fibre.length_km=1000", "bob.fibre.loss_db_per_km=0"]
    _, bob, _ = record([*changes, "bob.fibre.dispersion_ps_per_nm_km=0"], 0.008)
    early = np.count_nonzero(bob.tag_ps < 4e9)
    assert abs(early - 400) < 4 * np.sqrt(400)


def test_seed_decides() -> None:
    first, _, _ = record([], 0.02, seed=1)
    again, _, _ = record([], 0.02, seed=1)
    other, _, _ = record([], 0.02, seed=2)
    np.testing.assert_array_equal(first.tag_ps, again.tag_ps)
    assert first.tag_ps.size != other.tag_ps.size or (first.tag_ps != other.tag_ps).any()


def test_sides_do_not_share_their_noise() -> None:
    # Without pairs nothing coincides but by accident: 4e5 x 4e5 x 2 ns = 320 per second.
    alice, bob, _ = record([*PERFECT, "source.pair_rate_hz=0", *(
        f"{side}.detectors.dark_hz=1e5" for side in ("alice", "bob"))], 1.0)  # fmt: skip
    found = matrix(alice, bob, 2000).sum()
    assert abs(found - 320) < 4 * np.sqrt(320)


def test_time_does_not_run_backwards() -> None:
    world = World(WorldSettings(), 1)
    world.run_until(10**9)
    with pytest.raises(UsageError, match="cannot go back to 1 ps"):
        world.run_until(1)


def test_dark_world_is_silent() -> None:
    alice, bob, world = record([*PERFECT, "source.pair_rate_hz=0"], 0.1)
    assert alice.tag_ps.size == bob.tag_ps.size == 0
    assert world.truth["expected"]["qber"] == {"HV": None, "DA": None, "total": None}
    json.dumps(world.truth, allow_nan=False)


def test_truth_at_the_very_beginning() -> None:
    truth = World(WorldSettings(), 1).truth
    assert truth["duration_s"] == 0.0
    assert truth["clock"]["frequency_error_mean"] is None
    assert truth["pairs_absorbed"] == [[0] * 4] * 4
    json.dumps(truth, allow_nan=False)


def test_settings_come_back_from_the_truth() -> None:
    world = World(load_world(None, RICH), 1)
    assert WorldSettings.model_validate(json.loads(json.dumps(world.truth["settings"]))) == world.settings


@pytest.mark.parametrize("preset", ["tcxo", "ocxo", "rb", "gpsdo", "white-rabbit"])
def test_pairs_lie_where_the_truth_says(preset: str) -> None:
    # The truth tells the offset every 10 ms; a straight line between is off by what a pair of quartz clocks wanders
    # in that time, 70 ps rms in its middle, and by far less for the others. 4,900 pairs in each tenth of a second.
    alice, bob, world = record([f"{side}.clock.preset={preset}" for side in ("alice", "bob")], 3.0)
    truth = world.truth
    trace = np.array(truth["clock"]["trace"])
    middle = int(truth["clock"]["offset_total_ps"])
    wander = np.interp(bob.tag_ps - middle, trace[:, 0], trace[:, 1] - middle)
    skew_a, skew_b = (np.array(truth["delays_ps"][side]) for side in ("alice", "bob"))
    moved = alice.tag_ps - skew_a[alice.channel]
    order = np.argsort(moved, kind="stable")
    a = Side(moved[order], alice.channel[order])
    b = Side(bob.tag_ps - middle - np.rint(wander).astype(np.int64) - skew_b[bob.channel], bob.channel)
    dt, of_a, of_b = residuals(a, b, 1000)
    # Dead time takes 0.5 % of the pairs that could be absorbed.
    assert dt.size > 0.99 * np.sum(truth["pairs_absorbed"])
    in_time = np.argsort(b.tag_ps[of_b], kind="stable")
    assert max(abs(np.median(part)) for part in np.array_split(dt[in_time], 30)) < 100
    # The same for each pair of detectors, where 1,900 to 19,000 pairs fix the median to about a picosecond.
    for k in range(16):
        own = (a.channel[of_a] == k // 4) & (b.channel[of_b] == k % 4)
        assert own.sum() > 50
        assert abs(np.median(dt[own])) < (25 if own.sum() > 1000 else 60)


def test_clock_alone_and_clock_with_fibre_are_told_apart() -> None:
    world = World(load_world(None, ["bob.detectors.H.skew_ps=700", "alice.detectors.H.skew_ps=-300"]), 1)
    world.run_until(10**12)
    clock = world.truth["clock"]
    assert clock["offset_ps"] == 300_000_000_000
    # 10 km are 48.97 us; 2e-8 of that is a picosecond.
    assert clock["offset_total_ps"] == pytest.approx(300_000_000_000 + 48_970_000 + 700 + 300, abs=2)
    assert clock["reference_ps"] == -300
    assert clock["frequency_error"] == pytest.approx(4e-8)
    assert clock["frequency_error_mean"] == pytest.approx(4e-8, abs=1e-10)
    assert world.truth["delays_ps"]["bob"] == [0, -1950, 2260, -4340]


def test_long_trace_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "LONGEST_TRACE", 10)
    world = World(load_world(None, [*PERFECT, "source.pair_rate_hz=0", "bob.clock.frequency_error=1e-6"]), 1)
    world.run_until(10**12)
    # 100 slots of 10 ms: every sixteenth remains, and all lie on the line of the clock.
    trace = np.array(world.truth["clock"]["trace"])
    assert trace[:, 0].tolist() == [k * 160_000_000_000 for k in range(7)]
    assert trace[:, 1].tolist() == [k * 160_000 for k in range(7)]


def test_memory_does_not_grow_with_time() -> None:
    world = World(load_world(None, ["source.pair_rate_hz=1e3"]), 1)
    for _ in world.blocks(2.0):
        pass
    for station in world._stations:
        # Two stretches of a grid of milliseconds, and the tags of the slot in work.
        assert station.clock._lead_ps.size <= 250
        assert len(station._held) <= 1
    assert len(world._uncounted) <= 2
