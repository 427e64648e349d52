"""Simulated links, whose truth is known, from photons to sifted bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.result import Analysis, to_json
from qnoded.analysis.run import analyze, silent
from qnoded.analysis.verdict import checks_of
from qnoded.cli.simulate import record
from qnoded.settings import check_channel_map
from qnoded.sim import World
from qnoded.sim.changes import load_world

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3}


def simulated(folder: Path, seconds: float, *changes: str, seed: int = 1) -> tuple[Path, Path, dict[str, Any]]:
    world = World(load_world(None, list(changes)), seed)
    files, truth = record(world, seconds, folder, "npz", silent)
    return Path(files["alice"]), Path(files["bob"]), truth


def assert_true(analysis: Analysis, truth: dict[str, Any]) -> None:
    wrong = [f"{check.what}: {check.numbers}" for check in checks_of(analysis, truth) if not check.holds]
    assert not wrong


@pytest.mark.parametrize("clock", ["ocxo", "rb", "tcxo", "ideal"])
def test_a_link_is_measured_as_it_is_whatever_its_clocks(tmp_path: Path, clock: str) -> None:
    changes = (f"alice.clock.preset={clock}", f"bob.clock.preset={clock}", "bob.clock.frequency_error=3e-6")
    alice, bob, truth = simulated(tmp_path, 3.0, *changes)
    analysis = analyze(alice, bob, AnalysisOptions())
    assert_true(analysis, truth)
    document = to_json(analysis)
    assert document["simulated"]
    assert document["clock"]["locked"]
    assert document["clock"]["residual_rms_ps"] < 100
    assert document["discards"] == {}


def test_chsh_is_violated_where_bob_is_turned_by_22_5_degrees(tmp_path: Path) -> None:
    alice, bob, truth = simulated(tmp_path, 2.0, "bob.analyser.angle_deg=22.5")
    document = to_json(analyze(alice, bob, AnalysisOptions()))
    chsh = document["chsh"]
    assert chsh["value"] == pytest.approx(abs(truth["expected"]["chsh"]), abs=4 * chsh["error"])
    assert chsh["value"] - 5 * chsh["error"] > 2.0


def test_chsh_is_not_claimed_at_equal_settings(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 0.5)
    chsh = to_json(analyze(alice, bob, AnalysisOptions()))["chsh"]
    assert chsh["value"] is None
    assert "22.5" in chsh["reason"]


def test_sifted_bits_of_both_sides_differ_as_the_qber_says(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 1.0)
    document = to_json(analyze(alice, bob, AnalysisOptions(sifted=tmp_path / "keys")))
    bits = [np.loadtxt(tmp_path / "keys" / f"{side}.txt", dtype=np.uint8, ndmin=1) for side in ("alice", "bob")]
    facts = json.loads((tmp_path / "keys" / "sifted.json").read_text())
    assert bits[0].size == bits[1].size == facts["bits"] == document["sifted_bits"]
    assert np.count_nonzero(bits[0] != bits[1]) == facts["errors"]
    assert facts["errors"] / facts["bits"] == pytest.approx(document["sifted_qber"]["value"])
    assert facts["simulated"] is True
    assert facts["secret"] is False
    assert not list((tmp_path / "keys").glob("*.part"))


def test_an_analysis_repeats_bit_for_bit(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 1.0)
    documents = []
    for folder in ("one", "two"):
        document = to_json(analyze(alice, bob, AnalysisOptions(sifted=tmp_path / folder)))
        document.pop("elapsed_s")
        documents.append(document)
    assert documents[0] == documents[1]
    assert (tmp_path / "one" / "alice.txt").read_bytes() == (tmp_path / "two" / "alice.txt").read_bytes()


def test_a_given_clock_needs_no_search(tmp_path: Path) -> None:
    alice, bob, truth = simulated(tmp_path, 1.0, "bob.clock.frequency_error=3e-6")
    clock = ClockOptions(
        offset_ps=truth["clock"]["offset_total_ps"], frequency_error=truth["clock"]["frequency_error"], known=True
    )
    analysis = analyze(alice, bob, AnalysisOptions(clock=clock))
    assert to_json(analysis)["clock"]["source"] == "given"
    assert_true(analysis, truth)


def test_light_that_is_not_entangled_gives_no_lock_but_a_reason(tmp_path: Path) -> None:
    alice, _, _ = simulated(tmp_path, 0.5, seed=1)
    (tmp_path / "other").mkdir()
    _, bob, _ = simulated(tmp_path / "other", 0.5, seed=2)
    near = ClockOptions(offset_ps=300_000_000_000, offset_range_ps=10**9, frequency_range=1e-6)
    analysis = analyze(alice, bob, AnalysisOptions(clock=near))
    clock = to_json(analysis)["clock"]
    assert not analysis.stands
    assert not clock["locked"]
    assert clock["reason"] in {"no_peak", "not_enough_data", "too_much_work"}
    assert clock["advice"]
    assert clock["feasibility"]


def test_a_clock_step_of_a_microsecond_is_found_again(tmp_path: Path) -> None:
    alice, bob, truth = simulated(tmp_path, 8.0)
    with np.load(bob) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"].copy()
    tag_ps[tag_ps > tag_ps[0] + 4 * 10**12] += 10**6
    np.savez(tmp_path / "stepped.npz", channel=channel, tag_ps=tag_ps)
    channels = {"alice": CHANNELS, "bob": CHANNELS}
    document = to_json(
        analyze(alice, tmp_path / "stepped.npz", AnalysisOptions(channels=check_channel_map(channels, "test")))
    )
    assert document["clock"]["relocks"] == 1
    (step,) = document["clock"]["steps"]
    assert step["step_ps"] == pytest.approx(10**6, abs=2000)
    assert document["clock"]["frequency_error"] == pytest.approx(truth["clock"]["frequency_error_mean"], abs=1e-9)
    assert sum(document["discards"].values()) <= 3
    assert document["qber"]["total"]["high"] < 0.02


def test_half_a_minute_without_light_costs_only_itself(tmp_path: Path) -> None:
    alice, bob, truth = simulated(tmp_path, 4.0, "alice.clock.preset=ideal", "bob.clock.preset=ideal")
    dark = []
    for path, rate in ((alice, 1.0), (bob, 1.0 + truth["clock"]["frequency_error"])):
        with np.load(path) as recorded:
            channel, tag_ps = recorded["channel"], recorded["tag_ps"].copy()
        # Both clocks ran on for 30 s in which no photon came.
        tag_ps[tag_ps > tag_ps[0] + 2 * 10**12] += round(rate * 30 * 10**12)
        dark.append(tmp_path / f"dark-{path.name}")
        np.savez(dark[-1], channel=channel, tag_ps=tag_ps)
    channels = check_channel_map({"alice": CHANNELS, "bob": CHANNELS}, "test")
    document = to_json(analyze(dark[0], dark[1], AnalysisOptions(channels=channels)))
    assert document["clock"]["locked"]
    assert document["qber"]["total"]["high"] < 0.02
    assert document["sifted_bits"] > 0.8 * 4.0 * 24_500


def test_a_dead_and_a_swapped_detector_are_named(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 1.0, "alice.detectors.V.efficiency=0", "alice.detectors.V.dark_hz=20")
    found = to_json(analyze(alice, bob, AnalysisOptions()))["artefacts"]
    assert [(one["side"], one["channel"], one["kind"]) for one in found] == [("alice", 1, "dead")]
    swapped = {"alice": {"H": 0, "V": 1, "D": 2, "A": 3}, "bob": {"H": 0, "V": 2, "D": 1, "A": 3}}
    (tmp_path / "good").mkdir()
    alice, bob, _ = simulated(tmp_path / "good", 1.0)
    document = to_json(analyze(alice, bob, AnalysisOptions(channels=check_channel_map(swapped, "test"))))
    assert "swapped-channels" in [one["kind"] for one in document["patterns"]]


def in_one_recording(alice: Path, bob: Path, out: Path) -> Path:
    """Put both sides' tags into one recording of one tagger, bob's inputs after alice's."""
    with np.load(alice) as a, np.load(bob) as b:
        tag_ps = np.concatenate([a["tag_ps"], b["tag_ps"]])
        channel = np.concatenate([a["channel"], b["channel"] + 4])
    order = np.argsort(tag_ps, kind="stable")
    np.savez(out, tag_ps=tag_ps[order], channel=channel[order])
    return out


def test_one_tagger_finds_bob_behind_ten_kilometres_of_fibre(tmp_path: Path) -> None:
    ideal = ("alice.clock.preset=ideal", "bob.clock.preset=ideal", "bob.clock.frequency_error=0")
    alice, bob, truth = simulated(tmp_path, 1.0, *ideal, "bob.clock.offset_ps=0")
    channels = check_channel_map(
        {"alice": CHANNELS, "bob": {name: number + 4 for name, number in CHANNELS.items()}}, "test"
    )
    both = in_one_recording(alice, bob, tmp_path / "both.npz")
    document = to_json(analyze(both, None, AnalysisOptions(channels=channels)))
    assert document["clock"]["source"] == "shared"
    absolute = truth["delays_absolute_ps"]
    np.testing.assert_allclose(document["delays_ps"]["bob"], np.array(absolute["bob"]) - absolute["alice"][0], atol=60)
    assert document["qber"]["total"]["high"] < 0.02


def test_a_detector_behind_a_long_cable_is_found(tmp_path: Path) -> None:
    alice, bob, truth = simulated(tmp_path, 2.0, "bob.detectors.D.skew_ps=4000000")
    document = to_json(analyze(alice, bob, AnalysisOptions()))
    np.testing.assert_allclose(document["delays_ps"]["bob"], truth["delays_ps"]["bob"], atol=100)


def test_a_late_bob_with_a_quartz_clock_has_his_delays_right(tmp_path: Path) -> None:
    quartz = ("alice.clock.preset=tcxo", "bob.clock.preset=tcxo")
    alice, bob, truth = simulated(tmp_path, 6.0, *quartz)
    with np.load(bob) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"]
    late = tag_ps > tag_ps[0] + 4 * 10**12
    np.savez(tmp_path / "late.npz", channel=channel[late], tag_ps=tag_ps[late])
    channels = check_channel_map({"alice": CHANNELS, "bob": CHANNELS}, "test")
    document = to_json(analyze(alice, tmp_path / "late.npz", AnalysisOptions(channels=channels)))
    for side in ("alice", "bob"):
        np.testing.assert_allclose(document["delays_ps"][side], truth["delays_ps"][side], atol=20)
    assert document["qber"]["total"]["high"] < 0.02


def test_circular_bits_of_phi_plus_are_turned_so_that_both_ends_agree(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 1.0)
    # D and A stand in for R and L, exchanged at bob: opposite outcomes, as Phi+ has them in the circular basis.
    circular = {"alice": {"H": 0, "V": 1, "R": 2, "L": 3}, "bob": {"H": 0, "V": 1, "L": 2, "R": 3}}
    document = to_json(analyze(alice, bob, AnalysisOptions(channels=check_channel_map(circular, "test"))))
    assert document["qber"]["RL"]["high"] < 0.03
    assert document["sifted_qber"]["high"] < 0.03


def test_a_basis_without_both_outcomes_is_not_measured(tmp_path: Path) -> None:
    alice, bob, _ = simulated(tmp_path, 0.5)
    one_bit = check_channel_map({"alice": {"H": 0}, "bob": {"H": 0}}, "test")
    document = to_json(analyze(alice, bob, AnalysisOptions(channels=one_bit)))
    assert document["matrix"][0][0] > 1000
    assert document["qber"] is None
    assert document["asymptotic_key_rate"] is None
