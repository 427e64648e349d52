"""Channel delays: right within their error bars, and no delay where the clicks allow none."""

from __future__ import annotations

import gzip
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qnoded.records import Detector, Receiver
from qnoded.stages.calibration import PairDelay, calibrate_delays, find_peak, fit_delays

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 10**12
LABELS = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))
ALICE, BOB = (
    Receiver(side, tuple(Detector(name, k + first, basis, bit) for k, (name, basis, bit) in enumerate(LABELS)))
    for side, first in (("alice", 0), ("bob", 4))
)
ALICE_PS = np.array([0, 6_000, -2_500, 11_000])
BOB_PS = np.array([800, 4_000, 20_000, -7_000])
SHARES = np.array([[48, 2, 25, 25], [2, 48, 25, 25], [25, 25, 48, 2], [25, 25, 2, 48]]) / 400.0


def simulated(
    seed: int, pairs: int, noise: int, sigma_ps: float = 200.0, tick_ps: int = 1, shares: np.ndarray = SHARES
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clicks of half a second with delays ALICE_PS and BOB_PS."""
    rng = np.random.default_rng(seed)
    cell = rng.choice(16, pairs, p=(shares / shares.sum()).ravel())
    born = rng.integers(0, SECOND // 2, pairs)
    sides = []
    for own, delays in ((cell // 4, ALICE_PS), (cell % 4, BOB_PS)):
        lone = rng.integers(0, 4, noise)
        detector = np.concatenate([own, lone])
        time = np.concatenate([born, rng.integers(0, SECOND // 2, noise)])
        time = time + delays[detector] + rng.normal(0.0, sigma_ps / np.sqrt(2), time.size).round().astype(np.int64)
        time = time // tick_ps * tick_ps
        order = np.argsort(time, kind="stable")
        sides += [detector[order].astype(np.uint8), time[order]]
    return sides[0], sides[1], sides[2], sides[3]


@pytest.fixture(scope="module")
def uiuc(recordings: Path) -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(recordings / "uiuc_entangled_tags" / "tags.txt.gz") as file:
        channel, ticks = np.loadtxt(file, dtype=np.int64, unpack=True)
    return channel, (ticks * 625 + 4) // 8


@pytest.mark.parametrize("echo", [True, False])
def test_recorded_delays_come_out_within_one_tick(uiuc: tuple[np.ndarray, np.ndarray], echo: bool) -> None:
    channel, tag_ps = uiuc
    if not echo:
        own = np.flatnonzero(channel == 0)
        keep = np.ones(channel.size, np.bool_)
        keep[own[1:][np.diff(tag_ps[own]) < 300 * 78]] = False
        channel, tag_ps = channel[keep], tag_ps[keep]
    alice = channel < 4
    tick = Fraction(625, 8)

    found = calibrate_delays(
        ALICE,
        channel[alice].astype(np.uint8),
        tag_ps[alice],
        BOB,
        (channel[~alice] - 4).astype(np.uint8),
        tag_ps[~alice],
        shared_clock=True,
        tick_ps=tick,
    )

    assert found.common_ps == 0
    delays = np.array(found.alice_ps + found.bob_ps, np.float64) / float(tick)
    assert np.all(np.abs(delays - [0, 80, 99, 155, -1, 82, 101, 157]) < 1.0)
    assert found.notes == ()
    assert found.chi_square < 3 * found.degrees_of_freedom
    assert 150.0 < found.width_ps < 350.0


@pytest.mark.parametrize("tick_ps", [1, 81, 500, 2000, 3300, 5000])
@pytest.mark.parametrize(("pairs", "noise"), [(2_000, 50_000), (20_000, 200_000)])
def test_delays_lie_within_their_error_bars(tick_ps: int, pairs: int, noise: int) -> None:
    pulls = []
    for seed in range(6):
        clicks = simulated(seed, pairs, noise, tick_ps=tick_ps)
        found = calibrate_delays(
            ALICE, clicks[0], clicks[1], BOB, clicks[2], clicks[3], shared_clock=True, tick_ps=tick_ps
        )
        assert found.notes == ()
        errors = np.array(found.alice_error_ps[1:] + found.bob_error_ps, np.float64)
        delays = np.array(found.alice_ps[1:] + found.bob_ps, np.float64)
        pulls.append((delays - np.concatenate([ALICE_PS[1:], BOB_PS])) / errors)
        # One pair is known to tick/sqrt(12) at best.
        assert errors.min() > 0.05 * max(tick_ps, 200.0) / np.sqrt(pairs)
    assert np.abs(pulls).max() < 4.5
    # Above the spread of a unit normal it would be wrong, far below it of no use.
    assert 0.15 < np.std(pulls) < 1.4


def test_separate_clocks_put_the_common_part_into_the_offset() -> None:
    clicks = simulated(1, 20_000, 50_000)
    found = calibrate_delays(ALICE, clicks[0], clicks[1], BOB, clicks[2], clicks[3])
    assert found.bob_ps[0] == 0
    assert found.bob_error_ps[0] == 0.0
    assert found.common_ps == pytest.approx(800, abs=40)
    assert np.array(found.bob_ps, np.float64) == pytest.approx(BOB_PS - 800, abs=60)
    assert np.array(found.alice_ps, np.float64) == pytest.approx(ALICE_PS, abs=60)


def test_applied_delays_are_added_and_leave_nothing_behind() -> None:
    alice = replace(ALICE, detectors=tuple(replace(one, delay_ps=100 * k) for k, one in enumerate(ALICE.detectors)))
    a, t, b, u = simulated(2, 20_000, 50_000)
    first = calibrate_delays(alice, a, t, BOB, b, u, shared_clock=True)
    at_alice, at_bob = first.applied(alice, BOB)
    assert at_alice.detectors[1].delay_ps == 100 + (first.alice_ps[1] or 0)
    left = [t - np.array(first.alice_ps, np.int64)[a], u - np.array(first.bob_ps, np.int64)[b]]
    order = [np.argsort(left[0], kind="stable"), np.argsort(left[1], kind="stable")]
    again = calibrate_delays(
        at_alice, a[order[0]], left[0][order[0]], at_bob, b[order[1]], left[1][order[1]], shared_clock=True
    )
    assert np.abs(np.array(again.alice_ps + again.bob_ps, np.float64)).max() <= 2


def test_uncorrelated_clicks_give_no_delays_but_reasons() -> None:
    clicks = simulated(3, 0, 300_000)
    found = calibrate_delays(ALICE, clicks[0], clicks[1], BOB, clicks[2], clicks[3])
    assert found.alice_ps == found.bob_ps == (None,) * 4
    assert found.common_ps == 0
    assert len(found.notes) == 8
    assert all(pair.reason for pair in found.pairs)
    assert found.applied(ALICE, BOB) == (ALICE, BOB)


def test_false_peaks_are_rare_in_many_searches() -> None:
    rng = np.random.default_rng(4)
    for size in (0, 5, 30, 300, 3_000):
        for _ in range(60):
            assert find_peak(np.sort(rng.integers(-100_000, 100_001, size)), 100_000).reason is not None


def test_a_silent_detector_stays_unknown_and_the_others_do_not_mind() -> None:
    shares = SHARES.copy()
    shares[2] = 0.0
    clicks = simulated(5, 20_000, 50_000, shares=shares)
    found = calibrate_delays(ALICE, clicks[0], clicks[1], BOB, clicks[2], clicks[3], shared_clock=True)
    assert found.alice_ps[2] is None
    assert found.alice_error_ps[2] is None
    assert found.notes == ("the delay of alice D is unknown: no peak with any detector of the other side",)
    assert found.alice_ps[3] == pytest.approx(11_000, abs=60)


def test_a_dead_detector_leaves_nothing_to_look_for_but_a_dim_one_does() -> None:
    a, t, b, u = simulated(5, 20_000, 50_000)
    lit = a != 2
    whole = calibrate_delays(ALICE, a, t, BOB, b, u, shared_clock=True)
    dead = calibrate_delays(ALICE, a[lit], t[lit], BOB, b, u, shared_clock=True)
    assert whole.complete
    assert dead.alice_ps[2] is None
    assert dead.complete
    # One that clicks, but in no peak, may show one in a wider or a longer look.
    shares = SHARES.copy()
    shares[2] = 0.0
    a, t, b, u = simulated(5, 20_000, 50_000, shares=shares)
    assert not calibrate_delays(ALICE, a, t, BOB, b, u, shared_clock=True).complete


def test_clicks_that_stand_still_are_looked_at_within_bounds() -> None:
    rng = np.random.default_rng(9)
    still_ps = np.sort(rng.integers(0, 10**6, 2**18))
    detector = rng.integers(0, 4, 2**18).astype(np.uint8)
    # 10**10 pairs within the range.
    found = calibrate_delays(ALICE, detector, still_ps, BOB, detector, still_ps, search_range_ps=10**6)
    assert len(found.pairs) == 16


def test_a_peak_that_contradicts_the_others_is_left_out_and_named() -> None:
    peaks = [
        PairDelay(i, j, float(BOB_PS[j] - ALICE_PS[i]), 5.0, 200.0, 1500.0, None) for i in range(4) for j in range(4)
    ]
    peaks[6] = replace(peaks[6], delay_ps=peaks[6].delay_ps - 17_000.0, error_ps=1.0)
    found = fit_delays(peaks, ALICE, BOB, shared_clock=True)
    assert found.alice_ps == tuple(ALICE_PS)
    assert found.bob_ps == tuple(BOB_PS)
    assert len(found.notes) == 1
    assert "V-D" in found.notes[0]
    assert found.pairs[6].reason is not None
    assert found.degrees_of_freedom == 8
    assert found.chi_square < 1e-9


def test_groups_that_no_peak_ties_together_are_told() -> None:
    peaks = [PairDelay(k, k, 100.0 * k + 7.0, 5.0, 200.0, 1500.0, None) for k in range(2)]
    alice, bob = (replace(side, detectors=side.detectors[:2]) for side in (ALICE, BOB))
    found = fit_delays(peaks, alice, bob, shared_clock=True)
    assert found.alice_ps == (0, 0)
    assert found.bob_ps == (7, 107)
    assert "2 groups" in found.notes[0]


def test_a_double_firing_detector_is_not_taken_at_its_second_click() -> None:
    a, t, b, u = simulated(6, 20_000, 20_000)
    again = np.flatnonzero(a == 1)
    # The second pulse is as sharp as the first: only its place tells them apart.
    t = np.concatenate([t, t[again] + 17_000])
    a = np.concatenate([a, a[again]])
    order = np.argsort(t, kind="stable")
    found = calibrate_delays(ALICE, a[order], t[order], BOB, b, u, shared_clock=True)
    assert found.alice_ps[1] == pytest.approx(6_000, abs=60)
    assert found.notes == ()


def test_clicks_before_the_other_side_begins_do_not_count() -> None:
    a, t, b, u = simulated(8, 20_000, 20_000)
    early = np.arange(-30_000, 0) * 10_000_000
    lone = np.zeros(early.size, np.uint8)
    found = calibrate_delays(
        ALICE, np.concatenate([lone, a]), np.concatenate([early, t]), BOB, b, u, shared_clock=True, most_clicks=20_000
    )
    plain = calibrate_delays(ALICE, a, t, BOB, b, u, shared_clock=True, most_clicks=20_000)
    assert found.notes == plain.notes == ()
    assert found.alice_ps == plain.alice_ps
    empty = np.empty(0, np.int64)
    silent = calibrate_delays(ALICE, a, t, BOB, empty.astype(np.uint8), empty, shared_clock=True)
    assert silent.bob_ps == (None,) * 4


def test_only_the_first_clicks_are_looked_at() -> None:
    a, t, b, u = simulated(7, 20_000, 20_000)
    part = calibrate_delays(ALICE, a, t, BOB, b, u, shared_clock=True, most_clicks=10_000)
    same = calibrate_delays(ALICE, a[:10_000], t[:10_000], BOB, b[:10_000], u[:10_000], shared_clock=True)
    # Undefined numbers are unequal to themselves, but not their text.
    assert repr(part) == repr(same)
