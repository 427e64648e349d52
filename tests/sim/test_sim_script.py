"""Scripts: every event takes effect when it says, leaves its label in the truth, and a wrong one is told clearly."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conducted import conduct
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counting import PERFECT, Side, matrix

from qnoded.errors import ConfigError
from qnoded.sim.script import MODELS, load_script, read_event, script_errors
from qnoded.sim.theory import matrix_qber

PAIRS = [*PERFECT, "source.pair_rate_hz=1e5", "source.spectral_width_nm=0"]
WINDOW_PS = 10

EVERYTHING: list[dict[str, Any]] = [
    {"what": "fibre_loss", "at_s": 0.03, "for_s": 0.05, "side": "bob", "loss_db": 3.0},
    {"what": "fibre_cut", "at_s": 0.10, "for_s": 0.02, "side": "bob"},
    {"what": "fibre_kick", "at_s": 0.05, "side": "alice", "angle_deg": 40.0, "axis": [1.0, 1.0, 0.0]},
    {"what": "fibre_drift", "at_s": 0.05, "for_s": 0.1, "side": "bob", "drift_rad2_per_s": 2.0},
    {"what": "detector_death", "at_s": 0.06, "for_s": 0.04, "side": "bob", "detectors": ["V"]},
    {"what": "dark_rise", "at_s": 0.02, "for_s": 0.04, "side": "alice", "factor": 30.0},
    {"what": "efficiency_drop", "at_s": 0.12, "side": "alice", "factor": 0.5},
    {"what": "clock_step", "at_s": 0.07, "side": "bob", "step_ps": 5_000_000},
    {"what": "frequency_step", "at_s": 0.08, "side": "bob", "step_ppb": 300.0},
    {"what": "tagger_overflow", "at_s": 0.15, "for_s": 0.02, "side": "alice"},
    {"what": "unplug", "at_s": 0.1, "for_s": 0.1, "side": "alice", "device": "laser"},
    {"what": "network_loss", "at_s": 0.1, "for_s": 0.1},
    {"what": "crystal_temperature", "at_s": 0.11, "for_s": 0.03, "deviation_k": 0.2},
    {"what": "pump_drop", "at_s": 0.12, "for_s": 0.03, "factor": 0.5},
    {"what": "intercept_resend", "at_s": 0.13, "for_s": 0.02, "share": 0.5},
    {"what": "blinding", "at_s": 0.16, "for_s": 0.02},
    {"what": "time_shift", "at_s": 0.18, "shift_ps": 700, "mismatch": 0.5},
]
"""One of each but the power cycle, which drops what was not handed over yet."""


def in_slots(side: Side, start_s: float, stop_s: float) -> int:
    """Return the tags between two moments of an ideal clock."""
    return int(np.count_nonzero((side.tag_ps >= start_s * 1e12) & (side.tag_ps < stop_s * 1e12)))


def counted(found: float, expected: float) -> None:
    assert abs(found - expected) <= 4.0 * math.sqrt(max(expected, 1.0)), f"{found} counts, expected {expected}"


@settings(max_examples=10)
@given(stops_s=st.lists(st.floats(0.0, 0.2), max_size=5))
def test_same_seed_and_script_give_the_same_photons_however_the_time_is_divided(stops_s: list[float]) -> None:
    whole_a, whole_b, whole = conduct(PAIRS, 0.2, *EVERYTHING, seed=3)
    alice, bob, divided = conduct(PAIRS, 0.2, *EVERYTHING, seed=3, stops_s=stops_s)
    for left, right in ((whole_a, alice), (whole_b, bob)):
        np.testing.assert_array_equal(left.tag_ps, right.tag_ps)
        np.testing.assert_array_equal(left.channel, right.channel)
    assert whole.truth == divided.truth
    assert alice.tag_ps.size > 5_000


def test_every_kind_of_event_is_in_the_truth_with_label_and_times() -> None:
    assert {event["what"] for event in EVERYTHING} | {"tagger_power_cycle"} == set(MODELS)
    labelled = [event | {"label": f"test {k}"} for k, event in enumerate(EVERYTHING)]
    _, _, conductor = conduct(PAIRS, 0.3, *labelled)
    told = {entry["label"]: entry for entry in conductor.truth["events"]}
    for k, event in enumerate(EVERYTHING):
        entry = told[f"test {k}"]
        assert entry["what"] == event["what"]
        assert entry["start_s"] == pytest.approx(event["at_s"])
        if "for_s" in event:
            assert entry["stop_s"] == pytest.approx(event["at_s"] + event["for_s"])
    assert told["test 16"]["stop_s"] is None
    assert told["test 0"]["settings"] == {"side": "bob", "loss_db": 3.0}
    json.dumps(conductor.truth, allow_nan=False)


def test_cut_fibre_is_dark_from_slot_to_slot() -> None:
    event = {"what": "fibre_cut", "at_s": 0.095, "for_s": 0.1, "side": "bob"}
    alice, bob, _ = conduct(PAIRS, 0.3, event)
    # 0.095 s lies within a slot: it begins with the next, and lasts until the slot that begins at 0.20 s.
    assert in_slots(bob, 0.10, 0.20) == 0
    counted(in_slots(bob, 0.0, 0.10), 1e4)
    counted(in_slots(bob, 0.20, 0.3), 1e4)
    counted(alice.tag_ps.size, 3e4)


def test_kick_turns_the_polarization_for_good() -> None:
    event = {"what": "fibre_kick", "at_s": 0.0, "side": "bob", "angle_deg": 30.0, "axis": [0.0, 1.0, 0.0]}
    alice, bob, _ = conduct(PAIRS, 1.0, event)
    found = matrix(alice, bob, WINDOW_PS)
    errors = matrix_qber(found)
    expected = (1.0 - math.cos(math.radians(30.0))) / 2.0
    assert abs(errors["HV"] - expected) < 4.0 * math.sqrt(expected / found[:2, :2].sum())
    assert errors["DA"] < 0.001


def test_drift_wanders_while_it_lasts() -> None:
    event = {"what": "fibre_drift", "at_s": 0.1, "for_s": 0.3, "side": "bob", "drift_rad2_per_s": 5.0}
    turned = []
    for seconds in (0.05, 0.35, 0.6, 0.8):
        _, _, conductor = conduct(["source.pair_rate_hz=1e3"], seconds, event)
        turned.append(conductor.world._turned[1])
    assert (turned[0] == np.eye(3)).all()
    # sqrt(5 rad2/s x 0.25 s x 3 axes) = 1.9 rad: far from where it was, and then at rest.
    assert np.trace(turned[1]) < 2.5
    assert (turned[2] == turned[3]).all()


@pytest.mark.parametrize("step_ps", [7_000_001, -20_000_000])
def test_clock_jumps_once(step_ps: int) -> None:
    event = {"what": "clock_step", "at_s": 0.1, "side": "bob", "step_ps": step_ps}
    plain_a, plain_b, _ = conduct(PAIRS, 0.2)
    alice, bob, conductor = conduct(PAIRS, 0.2, event)
    np.testing.assert_array_equal(alice.tag_ps, plain_a.tag_ps)
    assert (np.diff(bob.tag_ps) >= 0).all()
    # The step comes with the first whole millisecond whose tags were not complete yet.
    late = plain_b.tag_ps >= 100_000_000_000
    moved = plain_b.tag_ps + np.where(late, step_ps, 0)
    expected = moved[moved >= np.maximum.accumulate(moved)]
    np.testing.assert_array_equal(bob.tag_ps, expected)
    if step_ps < 0:
        # 20 us at 1e5 clicks/s: two clicks would have been told again.
        assert 0 < plain_b.tag_ps.size - bob.tag_ps.size < 12
    assert conductor.truth["clocks_ps"][15][2] - conductor.truth["clocks_ps"][5][2] == 10**11 + step_ps


def test_frequency_step_runs_away_at_its_rate() -> None:
    event = {"what": "frequency_step", "at_s": 0.1, "side": "bob", "step_ppb": 2000.0}
    _, plain, _ = conduct(PAIRS, 0.5)
    _, bob, _ = conduct(PAIRS, 0.5, event)
    run_ps = bob.tag_ps - plain.tag_ps
    expected = np.maximum(plain.tag_ps - 10**11, 0) * 2e-6
    assert np.abs(run_ps - expected).max() <= 1.0


def test_overflow_loses_exactly_the_stretch_and_the_tags_that_it_tells() -> None:
    event = {"what": "tagger_overflow", "at_s": 0.1, "for_s": 0.05, "side": "bob"}
    _, plain, _ = conduct(PAIRS, 0.3)
    _, _, conductor = conduct(PAIRS, 0.05, event)
    block = conductor.advance(300_000_000_000).blocks[1]
    (gap,) = block.gaps
    lost = np.setdiff1d(plain.tag_ps, np.concatenate([plain.tag_ps[plain.tag_ps < 5 * 10**10], block.tag_ps]))
    assert gap.lost_tags == lost.size
    assert gap.start_ps <= lost.min()
    assert lost.max() < gap.stop_ps
    assert not ((block.tag_ps > gap.start_ps) & (block.tag_ps < gap.stop_ps)).any()


def test_power_cycle_restarts_the_counter_at_zero() -> None:
    event = {"what": "tagger_power_cycle", "at_s": 0.1, "for_s": 0.05, "side": "bob"}
    _, bob, conductor = conduct([*PAIRS, "bob.clock.offset_ps=300_000_000_000"], 0.05, event)
    assert bob.tag_ps[0] >= 3e11
    conductor.advance(150_000_000_000)
    tags = conductor.advance(250_000_000_000).blocks[1].tag_ps
    # 0.15 s to 0.25 s of true time, 0.1 s after the restart.
    assert tags[0] == pytest.approx(5e10, abs=1e9)
    assert tags[-1] == pytest.approx(15e10, abs=1e9)


def test_events_overlap_and_end_each_by_itself() -> None:
    half_db = 10.0 * math.log10(2.0)
    loss = {"what": "fibre_loss", "side": "bob", "loss_db": half_db}
    events = (loss | {"at_s": 0.1, "for_s": 0.2}, loss | {"at_s": 0.2, "for_s": 0.2})
    _, bob, _ = conduct(PAIRS, 0.5, *events)
    for k, expected in enumerate((1.0, 0.5, 0.25, 0.5, 1.0)):
        counted(in_slots(bob, k * 0.1, (k + 1) * 0.1), 1e4 * expected)


def test_file_is_read_in_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text(
        '[[event]]\nwhat = "blinding"\nat_s = 5\n[[event]]\nwhat = "unplug"\nat_s = 1.5\nside = "bob"\n'
        'device = "laser"\nfor_s = 2\nlabel = "cable"\n'
    )
    assert [(event.name, event.at_s, event.for_s) for event in load_script(file)] == [
        ("cable", 1.5, 2.0),
        ("blinding", 5.0, None),
    ]


WRONG = [
    ("[[event]]\nat_s = 1", "event[0].what", "is missing", "one of fibre_loss"),
    ('[[event]]\nwhat = "fibre_cutt"\nat_s = 1', "event[0].what", "'fibre_cutt'", "did you mean fibre_cut?"),
    (
        '[[event]]\nwhat = "fibre_cut"\nat_s = 1',
        "event[0].side",
        "is missing",
        "add it; see fibre_cut in docs/simulator.md",
    ),
    (
        '[[event]]\nwhat = "fibre_cut"\nat_s = 1\nsdie = "bob"\nside = "bob"',
        "event[0].sdie",
        "no such key",
        "did you mean side?",
    ),
    (
        '[[event]]\nwhat = "fibre_cut"\nat_s = -1\nside = "bob"',
        "event[0].at_s",
        "must be at least 0.0 (found -1)",
        "see fibre_cut in docs",
    ),
    (
        '[[event]]\nwhat = "fibre_cut"\nat_s = nan\nside = "bob"',
        "event[0].at_s",
        "(found nan)",
        "see fibre_cut in docs",
    ),
    (
        '[[event]]\nwhat = "fibre_cut"\nat_s = 1\nside = "eve"',
        "event[0].side",
        "must be 'alice' or 'bob' (found 'eve')",
        "see fibre_cut in docs",
    ),
    (
        '[[event]]\nwhat = "blinding"\nat_s = 1\nfor_s = 0',
        "event[0].for_s",
        "must be more than 0.0 (found 0)",
        "see blinding in docs",
    ),
    (
        '[[event]]\nwhat = "clock_step"\nat_s = 1\nside = "bob"\nstep_ps = 5\nfor_s = 1',
        "event[0].for_s",
        "this event happens at once",
        "leave for_s out",
    ),
    (
        '[[event]]\nwhat = "fibre_kick"\nat_s = 1\nside = "bob"\nangle_deg = 5\naxis = [0, 0, 0]',
        "event[0].axis",
        "needs a direction",
        "write for example [0.0, 1.0, 0.0]",
    ),
    ("event = 3", "event", "is not a list", "write [[event]]"),
    ("event = [3]", "event[0]", "is no table (found 3)", "write [[event]]"),
    ("[events]\nwhat = 1", "events", "nothing else", "did you mean [[event]]?"),
    ("[[event", "TOML", "", "write [[event]]"),
]


@pytest.mark.parametrize(("text", "key", "problem", "remedy"), WRONG)
def test_wrong_script_is_told_with_file_key_value_and_remedy(
    text: str, key: str, problem: str, remedy: str, tmp_path: Path
) -> None:
    file = tmp_path / "script.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_script(file)
    assert raised.value.where == str(file)
    assert raised.value.key == key
    assert problem in raised.value.problem
    assert remedy in raised.value.remedy


def test_all_mistakes_are_found_and_the_first_is_told(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text('[[event]]\nwhat = "blinding"\nat_s = -1\nfro_s = 1\n[[event]]\nwhat = "blindin"\nat_s = 1\n')
    _, errors = script_errors(tomllib.loads(file.read_text()), file)
    assert [one.key for one in errors] == ["event[0].fro_s", "event[0].at_s", "event[1].what"]
    with pytest.raises(ConfigError, match=r"fro_s.*did you mean for_s\?.*\(and 2 more: qnoded check"):
        load_script(file)


def test_missing_binary_and_huge_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="check the path"):
        load_script(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\x00\xff")
    with pytest.raises(ConfigError, match="TOML"):
        load_script(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load_script(tmp_path / "huge")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200)
@given(
    table=st.dictionaries(
        st.sampled_from(["what", "at_s", "for_s", "side", "label", "factor", "axis", "detectors", "share", "device"]),
        anything | st.sampled_from([*MODELS, "alice", "bob"]),
    )
)
def test_any_table_is_an_event_or_a_clear_error(table: dict[str, Any]) -> None:
    try:
        event = read_event(table, "test", "event")
    except ConfigError as error:
        refused = error
    else:
        assert event.first_slot >= 0
        json.dumps(event.describe(), allow_nan=False)
        return
    assert refused.key.startswith("event")
    assert refused.remedy
