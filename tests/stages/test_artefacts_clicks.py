"""Faults that clicks show by themselves: found where they are, and not where they are not."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qnoded.records import Detector, Receiver
from qnoded.stages.artefacts import click_artefacts, click_statistics
from qnoded.stages.artefacts.intervals import (
    estimate_afterpulsing,
    estimate_dead_time,
    find_double_firing,
    without_closer_than,
)

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 10**12
LABELS = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))


def receiver(side: str, first_channel: int) -> Receiver:
    return Receiver(
        side, tuple(Detector(name, first_channel + k, basis, bit) for k, (name, basis, bit) in enumerate(LABELS))
    )


def poisson(rng: np.random.Generator, rate_hz: float, clicks: int, dead_time_ps: int = 25_000) -> np.ndarray:
    return np.cumsum(rng.exponential(SECOND / rate_hz, clicks).astype(np.int64) + dead_time_ps)


def with_afterpulses(
    rng: np.random.Generator, tag_ps: np.ndarray, probability: float, tau_ps: float, dead_time_ps: int = 25_000
) -> np.ndarray:
    chosen = tag_ps[rng.random(tag_ps.size) < probability]
    later = chosen + dead_time_ps + rng.exponential(tau_ps, chosen.size).astype(np.int64)
    return without_closer_than(np.sort(np.concatenate([tag_ps, later])), dead_time_ps)


def merged(clicks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    tag_ps = np.concatenate(clicks)
    detector = np.repeat(np.arange(len(clicks)), [own.size for own in clicks]).astype(np.uint8)
    order = np.argsort(tag_ps, kind="stable")
    return detector[order], tag_ps[order]


@pytest.fixture(scope="module")
def uiuc(recordings: Path) -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(recordings / "uiuc_entangled_tags" / "tags.txt.gz") as file:
        channel, ticks = np.loadtxt(file, dtype=np.int64, unpack=True)
    return channel, (ticks * 625 + 4) // 8


def test_recorded_artefacts_are_named_and_nothing_else_is(uiuc: tuple[np.ndarray, np.ndarray]) -> None:
    channel, tag_ps = uiuc
    found = []
    for side, first in (("alice", 0), ("bob", 4)):
        own = (channel >= first) & (channel < first + 4)
        found += click_artefacts(receiver(side, first), (channel[own] - first).astype(np.uint8), tag_ps[own])

    assert [(one.side, one.channel, one.kind) for one in found] == [
        ("alice", 0, "double-firing"),
        ("bob", 7, "long-dead-time"),
    ]
    echo, slow = found
    assert 13_200 <= echo.numbers["clicks"] <= 13_600
    assert 16_000 <= echo.numbers["low_ps"] < echo.numbers["high_ps"] <= 17_600
    # Below the shortest ordinary intervals of all channels, 302 ticks.
    assert 17_600 < echo.numbers["dead_time_ps"] <= 302 * 78
    assert 48_000 < slow.numbers["dead_time_ps"] < 50_000
    assert 23_500 < slow.numbers["sibling_dead_time_ps"] < 25_000


def test_recommended_dead_time_leaves_the_clicks_of_the_reference(
    uiuc: tuple[np.ndarray, np.ndarray],
) -> None:
    channel, tag_ps = uiuc
    own = tag_ps[channel == 0]
    echo = find_double_firing(np.diff(own))
    assert echo is not None
    assert without_closer_than(own, echo.dead_time_ps).size == 13_874


@pytest.mark.parametrize("rate_hz", [3e3, 1e5, 1e6, 1e7])
@pytest.mark.parametrize("clicks", [50, 2_000, 100_000])
def test_random_light_is_never_double_firing(rate_hz: float, clicks: int) -> None:
    for seed in range(5):
        tag_ps = poisson(np.random.default_rng(seed), rate_hz, clicks)
        assert find_double_firing(np.diff(tag_ps)) is None


@pytest.mark.parametrize("tau_ps", [50_000, 300_000, 3_000_000])
@pytest.mark.parametrize("probability", [0.02, 0.05])
def test_afterpulsing_is_not_double_firing(tau_ps: float, probability: float) -> None:
    rng = np.random.default_rng(3)
    tag_ps = with_afterpulses(rng, poisson(rng, 2e5, 100_000), probability, tau_ps)
    assert find_double_firing(np.diff(tag_ps)) is None


@pytest.mark.parametrize("share", [0.05, 0.3, 0.95])
@pytest.mark.parametrize("rate_hz", [2e4, 5e5, 3e6])
@pytest.mark.parametrize("tick_ps", [1, 81, 500])
def test_double_firing_is_found_at_any_rate_share_and_tick(share: float, rate_hz: float, tick_ps: int) -> None:
    rng = np.random.default_rng(11)
    tag_ps = poisson(rng, rate_hz, 20_000, 100_000)
    again = tag_ps[rng.random(tag_ps.size) < share]
    again = again + 30_000 + rng.normal(0.0, 300.0, again.size).astype(np.int64)
    both = np.sort(np.concatenate([tag_ps, again])) // tick_ps * tick_ps

    echo = find_double_firing(np.diff(both))

    assert echo is not None
    assert 0.95 * again.size < echo.clicks <= 1.01 * again.size
    assert echo.share == pytest.approx(echo.clicks / both.size)
    assert 28_000 < echo.low_ps < 30_000 < echo.high_ps < 32_000
    # All ordinary clicks stay, all second ones go.
    assert without_closer_than(both, echo.dead_time_ps).size == pytest.approx(tag_ps.size, rel=0.002)


@pytest.mark.parametrize("dead_time_ps", [20_000, 50_000])
def test_dead_time_is_measured_and_says_how_certain_it_is(dead_time_ps: int) -> None:
    found = estimate_dead_time(np.diff(poisson(np.random.default_rng(5), 5e5, 30_000, dead_time_ps)))
    assert found is not None
    assert dead_time_ps <= found.dead_time_ps < dead_time_ps * 1.1
    assert found.expected_clicks == pytest.approx(30_000 * dead_time_ps / 2e6, rel=0.2)
    assert estimate_dead_time(np.arange(50)) is None


@pytest.mark.parametrize("probability", [0.0, 0.03, 0.15])
@pytest.mark.parametrize("rate_hz", [1e4, 1e5, 1e6])
def test_afterpulse_probability_is_measured_within_its_error(probability: float, rate_hz: float) -> None:
    pulls = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        tag_ps = with_afterpulses(rng, poisson(rng, rate_hz, 40_000), probability, 60_000.0)
        found = estimate_afterpulsing(np.diff(tag_ps), 25_000)
        assert found is not None
        # Each afterpulse is itself a click that seldom has one.
        pulls.append((found.probability - probability / (1.0 + probability)) / found.sigma)
    assert abs(np.mean(pulls)) < 1.5
    assert 0.4 < np.std(pulls) < 1.6


def test_strong_afterpulsing_is_named() -> None:
    rng = np.random.default_rng(8)
    clicks = [poisson(rng, 1e5, 20_000) for _ in range(4)]
    clicks[2] = with_afterpulses(rng, clicks[2], 0.25, 400_000.0)
    found = click_artefacts(receiver("bob", 0), *merged(clicks))
    assert [(one.detector, one.kind) for one in found] == [("D", "afterpulsing")]
    assert found[0].numbers["probability"] == pytest.approx(0.2, abs=0.02)


def test_fluctuating_light_is_no_afterpulsing() -> None:
    rng = np.random.default_rng(13)
    clicks = []
    dark = np.cumsum(rng.exponential(4e6, 20_000))
    for _ in range(4):
        # The light of all detectors is on half of the time, microseconds long each.
        tag_ps = poisson(rng, 4e5, 20_000)
        clicks.append(tag_ps[np.searchsorted(dark, tag_ps) % 2 == 0])
    statistics = click_statistics(clicks[0]).afterpulsing
    assert statistics is not None
    assert statistics.probability > 0.1
    assert click_artefacts(receiver("alice", 0), *merged(clicks)) == ()


@pytest.mark.parametrize("period_ps", [3_125, 12_500, 100_000])
@pytest.mark.parametrize("share", [0.003, 0.05, 0.5])
def test_light_in_pulses_and_clock_signals_are_no_double_firing(period_ps: int, share: float) -> None:
    rng = np.random.default_rng(14)
    pulses = np.cumsum(rng.geometric(share, 30_000)) * period_ps
    tag_ps = np.sort(pulses + rng.normal(0.0, 100.0, pulses.size).astype(np.int64))
    assert find_double_firing(np.diff(without_closer_than(tag_ps, 25_000))) is None
    clock_ps = np.arange(30_000) * period_ps + rng.normal(0.0, 50.0, 30_000).astype(np.int64)
    assert find_double_firing(np.diff(clock_ps)) is None


def test_bunched_light_of_a_recorded_emitter_is_no_fault_of_the_detectors(recordings: Path) -> None:
    records = np.fromfile(
        recordings / "tttr" / "19_qutag_80MHz_HBT_sync_filtered.qutag",
        np.dtype([("tag_ps", "<i8"), ("channel", "<u2")]),
        offset=40,
    )
    order = np.argsort(records["tag_ps"], kind="stable")
    channel, tag_ps = records["channel"][order], np.ascontiguousarray(records["tag_ps"][order])
    inputs = Receiver("alice", tuple(Detector(f"input {c}", c, "none", 0) for c in (1, 2, 5)))
    detector = np.searchsorted([1, 2, 5], channel).astype(np.uint8)
    # Input 5 carries the laser's clock, divided: no detector, but its pause is there.
    found = [(one.detector, one.kind) for one in click_artefacts(inputs, detector, tag_ps)]
    assert found == [("input 5", "long-dead-time")]


def test_a_dead_detector_is_named() -> None:
    rng = np.random.default_rng(9)
    clicks = [poisson(rng, 1e5, 20_000) for _ in range(4)]
    clicks[1] = clicks[1][:7]
    found = click_artefacts(receiver("alice", 0), *merged(clicks))
    assert [(one.detector, one.kind) for one in found] == [("V", "dead")]
    assert "7 clicks" in found[0].sentence


@pytest.mark.parametrize("clicks", [0, 1, 30, 300])
def test_few_clicks_allow_no_statement(clicks: int) -> None:
    rng = np.random.default_rng(10)
    own = [poisson(rng, 1e5, clicks), poisson(rng, 3e4, clicks // 3), poisson(rng, 1e5, clicks)]
    detector, tag_ps = merged([*own, np.empty(0, np.int64)])
    assert click_artefacts(receiver("alice", 0), detector, tag_ps) == ()


def test_unequal_rates_are_no_long_dead_time() -> None:
    rng = np.random.default_rng(12)
    clicks = [poisson(rng, rate, int(rate)) for rate in (1e5, 1e5, 1e5, 2e3)]
    assert click_artefacts(receiver("alice", 0), *merged(clicks)) == ()


def test_statistics_count_all_clicks(uiuc: tuple[np.ndarray, np.ndarray]) -> None:
    channel, tag_ps = uiuc
    for k, count in enumerate((27449, 13805, 8999, 6616, 26471, 29447, 13858, 10818)):
        assert click_statistics(tag_ps[channel == k]).clicks == count
