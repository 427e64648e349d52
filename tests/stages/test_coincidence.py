"""Coincidences of an epoch: window, displacement, shape, slices and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest

from qnoded.errors import UsageError
from qnoded.records import DetectionEpoch
from qnoded.stages import coincidence
from qnoded.stages.tagging import MultiClick, choice_key, list_multi_clicks, resolve_multi_clicks


def epoch(times: list[int] | np.ndarray, detectors: list[int] | np.ndarray | int = 0) -> DetectionEpoch:
    tag_ps = np.array(times, np.int64)
    labels = np.broadcast_to(np.array(detectors, np.uint8), tag_ps.shape).copy()
    return DetectionEpoch(labels, tag_ps, 0, 2**39)


def pair_epochs(clicks: int, rate_hz: float, heralding: float, seed: int) -> tuple[DetectionEpoch, DetectionEpoch]:
    """Two detectors a side with perfect correlation, 50 ps of jitter, and uniform background."""
    random = np.random.default_rng(seed)
    span_ps, pairs = clicks / rate_hz * 1e12, int(clicks * heralding)
    true_ps, outcome = random.uniform(0, span_ps, pairs), random.integers(0, 2, pairs)
    sides = []
    for _ in range(2):
        tag_ps = np.append(true_ps + random.normal(0, 50, pairs), random.uniform(0, span_ps, clicks - pairs))
        labels = np.append(outcome, random.integers(0, 2, clicks - pairs))
        order = np.argsort(tag_ps)
        sides.append(epoch(np.rint(tag_ps[order]), labels[order]))
    return sides[0], sides[1]


@pytest.mark.parametrize(("window_ps", "distance_ps", "meets"), [
    (1000, 500, True), (1000, 501, False), (1000, -500, True), (1000, -501, False),
    (1001, 500, True), (1001, 501, False), (0, 0, True), (0, 1, False),
])  # fmt: skip
def test_the_window_is_the_full_width(window_ps: int, distance_ps: int, meets: bool) -> None:
    index = coincidence.find(epoch([10_000]), epoch([10_000 + distance_ps]), window_ps, (1, 1))
    assert index.matrix.tolist() == [[int(meets)]]
    assert coincidence.all_pairs(epoch([10_000]), epoch([10_000 + distance_ps]), window_ps, (1, 1)) == int(meets)
    assert index.window_ps == window_ps


def test_a_click_is_used_once_and_all_pairs_are_counted_by_their_own_function() -> None:
    alice, bob = epoch([1000, 1100], [0, 1]), epoch([1050, 9000], [2, 0])
    index = coincidence.find(alice, bob, 1000, (2, 3))
    assert (index.alice.tolist(), index.bob.tolist()) == ([0], [0])
    assert index.matrix.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert coincidence.all_pairs(alice, bob, 1000, (2, 3)).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_a_displaced_window_stands_at_bob_minus_alice() -> None:
    alice, bob = epoch([10**6], [1]), epoch([10**6 + 40_000], [0])
    later = coincidence.find(alice, bob, 1000, (2, 2), displacements_ps=(40_000, 80_000))
    earlier = coincidence.find(alice, bob, 1000, (2, 2), displacements_ps=(-40_000,))
    assert later.displaced.tolist() == [[0, 0], [1, 0]]
    assert later.displaced_windows == 2
    assert later.accidentals.tolist() == [[0, 0], [0.5, 0]]
    assert earlier.displaced.sum() == 0


@pytest.mark.parametrize(("window_ps", "nearest_ps"), [(1000, 10**6), (500_000, 10**6), (10**9, 2 * 10**9)])
def test_displaced_windows_stand_clear_of_the_coincidence_window(window_ps: int, nearest_ps: int) -> None:
    assert coincidence.displacements(window_ps) == (-nearest_ps, nearest_ps)
    assert coincidence.displacements(window_ps, 2) == (-2 * nearest_ps, -nearest_ps, nearest_ps, 2 * nearest_ps)
    index = coincidence.find(epoch([5]), epoch([5]), window_ps, (1, 1))
    assert (index.matrix.sum(), index.displaced.sum(), index.displaced_windows) == (1, 0, 2)


def pulsed_epochs(period_ps: Fraction, pulses: int, seed: int) -> tuple[DetectionEpoch, DetectionEpoch, int]:
    """Pairs of 0.05 a pulse, 30 % of their photons seen, 100 ps of jitter; with how many pairs were seen whole."""
    random = np.random.default_rng(seed)
    number = np.sort(random.integers(0, pulses, random.poisson(0.05 * pulses)))
    pulse_ps = number * period_ps.numerator // period_ps.denominator
    seen = random.random((2, pulse_ps.size)) < 0.3
    alice, bob = (epoch(np.sort(pulse_ps[one] + random.normal(0, 100, one.sum()).astype(np.int64))) for one in seen)
    return alice, bob, int(seen.all(axis=0).sum())


@pytest.mark.parametrize("period_ps", [Fraction(13_000), Fraction(10**6, 76), Fraction(2_000_001)])
def test_accidentals_of_a_pulsed_source_are_those_of_other_pulses(period_ps: Fraction) -> None:
    # 0.015 clicks a pulse and side: 900 pairs by chance in 4 M pulses, which two windows on pulses know within
    # 5 standard deviations; windows between pulses see next to none.
    alice, bob, pairs = pulsed_epochs(period_ps, 4_000_000, 6)
    chance = coincidence.all_pairs(alice, bob, 1000, (1, 1)).sum() - pairs
    places = coincidence.displacements(1000, 1, period_ps)
    assert places == (-places[1], places[1])
    assert abs(places[1] - round(places[1] / period_ps) * period_ps) <= 0.5
    assert 10**6 <= places[1] < 10**6 + period_ps
    displaced = coincidence.displaced_pairs(alice, bob, 1000, (1, 1), places).sum()
    assert chance == pytest.approx(900, abs=5 * 30)
    assert displaced / 2 == pytest.approx(chance, abs=5 * (1.5 * chance) ** 0.5)
    between = round(places[1] + period_ps / 2)
    assert coincidence.displaced_pairs(alice, bob, 1000, (1, 1), (-between, between)).sum() < 0.02 * displaced


def test_accidentals_are_those_of_the_rates() -> None:
    # 3.88 M/s a side, 25 % pairs, 1 ns window, 0.5 M clicks: chance pairs N^2 w / T in each displaced window,
    # here 1940; the mean over four windows is within 5 standard deviations of that.
    clicks, rate_hz = 500_000, 3.88e6
    alice, bob = pair_epochs(clicks, rate_hz, 0.25, 1)
    index = coincidence.find(alice, bob, 1000, (2, 2))
    expected = clicks * rate_hz * 1e-9
    assert index.accidentals.sum() == pytest.approx(expected, abs=5 * (expected / 4) ** 0.5)
    assert index.alice.size == index.matrix.sum() == pytest.approx(0.25 * clicks + 0.75 * expected, rel=0.01)


def test_accidentals_are_counted_like_the_pairs_that_they_are_taken_off() -> None:
    # No pairs at all, 2 Mcps and 20 ns: the count of all pairs is chance alone, and displaced windows say how much,
    # within 5 standard deviations (2 %); counted one-to-one they fell short by 7 %.
    clicks, window_ps = 2_000_000, 20_000
    alice, bob = pair_epochs(clicks, 2e6, 0.0, 3)
    pairs = coincidence.all_pairs(alice, bob, window_ps, (2, 2)).sum()
    displaced = coincidence.displaced_pairs(alice, bob, window_ps, (2, 2), coincidence.displacements(window_ps)).sum()
    assert displaced / 2 == pytest.approx(pairs, abs=5 * (1.5 * pairs) ** 0.5)


@pytest.mark.parametrize("rate_hz", [3.88e6, 1e9, 1e11])
def test_slices_and_threads_change_nothing(rate_hz: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # From lists that can be cut anywhere to such that cannot be cut at all.
    alice, bob = pair_epochs(50_000, rate_hz, 0.25, 2)
    whole = coincidence.find(alice, bob, 1000, (2, 2))
    pairs = coincidence.all_pairs(alice, bob, 1000, (2, 2))
    monkeypatch.setattr(coincidence, "SLICE_CLICKS", 777)
    with ThreadPoolExecutor(2) as pool:
        for over in (map, pool.map):
            sliced = coincidence.find(alice, bob, 1000, (2, 2), over=over)
            for name in ("alice", "bob", "matrix", "displaced"):
                np.testing.assert_array_equal(getattr(sliced, name), getattr(whole, name))
            np.testing.assert_array_equal(coincidence.all_pairs(alice, bob, 1000, (2, 2), over=over), pairs)
            displaced = coincidence.displaced_pairs(alice, bob, 1000, (2, 2), (-(10**6), 10**6), over=over)
            np.testing.assert_array_equal(displaced, whole.displaced)


@pytest.mark.parametrize("rate_hz", [3.88e6, 1e9, 1e11])
@pytest.mark.parametrize("policy", MultiClick)
def test_one_pass_counts_all_and_matches_what_multi_clicks_leave(
    rate_hz: float, policy: MultiClick, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From clicks that mostly stand alone to 100 in each window.
    alice, bob = pair_epochs(20_000, rate_hz, 0.25, 5)
    keys = choice_key(0), choice_key(1)
    sides = tuple(zip((alice, bob), keys, strict=True))
    left_out = tuple(list_multi_clicks(side, 1000, policy, key)[0] for side, key in sides)
    singles = [resolve_multi_clicks(side, 1000, policy, key)[0] for side, key in sides]
    index = coincidence.find(*singles, 1000, (2, 2), displacements_ps=())
    left = [np.delete(np.arange(len(side)), out) for side, out in zip((alice, bob), left_out, strict=True)]
    first = np.searchsorted(bob.tag_ps, alice.tag_ps - 500)
    pairs = (np.searchsorted(bob.tag_ps, alice.tag_ps + 500, "right") - first).sum()
    for slice_clicks in (coincidence.SLICE_CLICKS, 777):
        monkeypatch.setattr(coincidence, "SLICE_CLICKS", slice_clicks)
        with ThreadPoolExecutor(2) as pool:
            matrix, matched = coincidence.count_and_match(
                alice, bob, 1000, (2, 2), left_out=(left_out[0], left_out[1]), over=pool.map
            )
        assert matrix.sum() == pairs
        np.testing.assert_array_equal(matched.alice, left[0][index.alice])
        np.testing.assert_array_equal(matched.bob, left[1][index.bob])


@pytest.mark.parametrize(("alice", "bob"), [([], []), ([5], []), ([], [5])])
def test_an_empty_epoch_has_no_coincidence(alice: list[int], bob: list[int]) -> None:
    index = coincidence.find(epoch(alice), epoch(bob), 1000, (4, 4))
    assert index.alice.size == index.bob.size == index.matrix.sum() == index.displaced.sum() == 0
    assert index.accidentals.shape == (4, 4)
    assert coincidence.all_pairs(epoch(alice), epoch(bob), 1000, (4, 4)).sum() == 0


def test_no_displaced_windows_on_request() -> None:
    index = coincidence.find(epoch([5]), epoch([5]), 1000, (1, 1), displacements_ps=())
    assert index.displaced_windows == 0
    assert index.accidentals.tolist() == [[0.0]]


def test_clicks_that_stand_still_are_refused_before_their_pairs_are_counted() -> None:
    # 200 000 clicks a side within one window are 4 * 10**10 pairs.
    still = epoch(np.arange(200_000) // 1000)
    for count in (coincidence.all_pairs, lambda *request: coincidence.displaced_pairs(*request, (-5000, 5000))):
        with pytest.raises(UsageError, match="8192 clicks of bob and more lie within one window of 1000 ps"):
            count(still, still, 1000, (1, 1))


def test_what_cannot_be_right_is_refused() -> None:
    one = epoch([5], [3])
    with pytest.raises(UsageError, match="window of -1 ps"):
        coincidence.find(one, one, -1, (4, 4))
    with pytest.raises(UsageError, match="displaced by 1000 ps overlaps"):
        coincidence.find(one, one, 1000, (4, 4), displacements_ps=(1000,))
    with pytest.raises(UsageError, match="0 x 4"):
        coincidence.find(one, one, 1000, (0, 4))
    with pytest.raises(UsageError, match="label outside the matrix of 4 x 3"):
        coincidence.find(one, one, 1000, (4, 3))
    with pytest.raises(UsageError, match="label outside the matrix of 3 x 4"):
        coincidence.all_pairs(one, one, 1000, (3, 4))
