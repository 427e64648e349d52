"""Cold acquisition where it must not succeed: it says so, why, and what to do, and never guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from acquisition_streams import link

from qnoded.errors import UsageError
from qnoded.stages.synchronization.acquisition import (
    Acquisition,
    AcquisitionFailure,
    SearchRange,
    acquire,
    predict,
)
from qnoded.stages.synchronization.outcome import ADVICE
from qnoded.units import PS_PER_S

NOTHING = np.empty(0, np.int64)
QUICK = 2e8
"""Effort limit, points: a second or so."""


def refused(found: Acquisition, reason: AcquisitionFailure) -> None:
    assert not found.locked
    assert found.clock is None
    assert found.reason is reason, found.sentence
    assert found.sentence.startswith(reason.value)
    assert found.sentence.endswith(ADVICE[reason])


def test_each_reason_has_advice() -> None:
    assert set(ADVICE) == set(AcquisitionFailure)


@pytest.mark.parametrize("fraction", [None, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_no_pairs_give_no_lock(seed: int, fraction: float | None) -> None:
    alice, bob = link(2e5, 0.0, 2.0, seed).alice_ps, link(2e5, 0.0, 2.0, seed + 100).bob_ps
    found = acquire(alice, bob, pair_fraction=fraction, effort_points=QUICK)
    refused(found, AcquisitionFailure.NO_PEAK)
    assert found.significance < 7.0
    assert found.points <= QUICK


def test_no_pairs_with_bursts_on_both_sides_give_no_lock() -> None:
    # light that flickers on both sides together correlates over milliseconds, not picoseconds
    rng = np.random.default_rng(1)

    def flickering(seed: int) -> np.ndarray:
        tags = link(4e5, 0.0, 2.0, seed, offset_ps=0, frequency_error=0.0).alice_ps
        chance = 0.5 + 0.5 * np.sin(2.0 * np.pi * 100.0 * tags / PS_PER_S)
        return tags[rng.random(tags.size) < chance]

    found = acquire(flickering(1), flickering(2), effort_points=QUICK)
    assert not found.locked
    assert found.reason in {AcquisitionFailure.NO_PEAK, AcquisitionFailure.NOT_CONFIRMED}


def test_empty_and_nearly_empty_streams() -> None:
    pair = link(1e5, 0.1, 1.0, 1)
    refused(acquire(NOTHING, pair.bob_ps), AcquisitionFailure.NO_TAGS)
    refused(acquire(pair.alice_ps, NOTHING), AcquisitionFailure.NO_TAGS)
    refused(acquire(pair.alice_ps[:1], pair.bob_ps), AcquisitionFailure.TOO_FEW_TAGS)
    refused(acquire(pair.alice_ps[:20], pair.bob_ps), AcquisitionFailure.TOO_FEW_TAGS)


def test_streams_that_never_meet() -> None:
    pair = link(1e5, 0.1, 1.0, 2)
    found = acquire(pair.alice_ps, pair.bob_ps + 100 * PS_PER_S)
    refused(found, AcquisitionFailure.NO_OVERLAP)


def test_below_theory_it_says_so_at_once() -> None:
    # 0.05 % needs bins of 5 ns with 2 s of data, and delays of channels alone spread the pairs over 50 ns
    pair = link(5e5, 0.0005, 2.0, 3)
    found = acquire(pair.alice_ps, pair.bob_ps, pair_fraction=0.0005)
    refused(found, AcquisitionFailure.NOT_ENOUGH_DATA)
    assert found.trials == 0
    assert "needs 40 s of data" in found.sentence


def test_beyond_the_effort_it_says_so_at_once() -> None:
    pair = link(2e5, 0.002, 20.0, 4)
    found = acquire(pair.alice_ps, pair.bob_ps, pair_fraction=0.002, effort_points=1e8)
    refused(found, AcquisitionFailure.TOO_MUCH_WORK)
    assert found.trials == 0


def test_an_offset_outside_of_the_range_is_not_found() -> None:
    pair = link(2e5, 0.05, 1.5, 5, offset_ps=600 * 10**9)
    found = acquire(pair.alice_ps, pair.bob_ps, effort_points=QUICK)
    assert not found.locked
    assert found.reason in {AcquisitionFailure.NO_PEAK, AcquisitionFailure.EDGE_OF_RANGE}


@pytest.mark.parametrize("error", [60e-6, 500e-6])
def test_a_frequency_outside_of_the_range_is_missed_or_named(error: float) -> None:
    # on a short stretch a strong peak is not smeared away even so: a right lock is better than none
    pair = link(2e5, 0.05, 1.5, 5, frequency_error=error)
    found = acquire(pair.alice_ps, pair.bob_ps, effort_points=QUICK)
    if found.locked:
        assert abs(pair.errors(found)[0]) < 100
        assert "outside of the range" in found.sentence
    else:
        assert found.reason in {AcquisitionFailure.NO_PEAK, AcquisitionFailure.EDGE_OF_RANGE}


def test_correlation_that_is_no_line_is_not_a_lock() -> None:
    # partners 2 us apart at random: a peak for the coarse search, no clock to the picosecond
    pair = link(2e5, 0.1, 2.0, 6)
    rng = np.random.default_rng(1)
    smeared = np.sort(pair.bob_ps + rng.integers(-1_000_000, 1_000_000, pair.bob_ps.size))
    found = acquire(pair.alice_ps, smeared, effort_points=QUICK)
    assert not found.locked


def test_prediction_speaks_of_data_rates_and_limits() -> None:
    pair = link(1e5, 0.05, 3.0, 7)
    known = predict(pair.alice_ps, pair.bob_ps, pair_fraction=0.05)
    assert known.feasible
    assert known.rate_a_hz == pytest.approx(1e5, rel=0.05)
    assert known.overlap_s == pytest.approx(3.0, rel=0.01)
    assert 0.0 < known.seconds_needed < 1.0
    assert known.sentence().startswith(f"needs {known.seconds_needed:.2g} s of data at these rates")
    unknown = predict(pair.alice_ps, pair.bob_ps)
    assert unknown.pair_fraction == unknown.smallest_pair_fraction
    assert 0.001 < unknown.smallest_pair_fraction < 0.02
    assert unknown.feasible


def test_more_data_or_more_effort_never_finds_less() -> None:
    pair = link(1e5, 0.05, 4.0, 8)
    short = pair.cut(lambda t: t < PS_PER_S // 100, lambda t: t < PS_PER_S // 100)
    smallest = [
        predict(one.alice_ps, one.bob_ps, effort_points=effort).smallest_pair_fraction
        for one, effort in ((short, 1e7), (pair, 1e7), (pair, 1e9), (pair, 1e11))
    ]
    assert smallest == sorted(smallest, reverse=True)
    assert predict(short.alice_ps, short.bob_ps).limited_by == "data"


def test_prediction_without_tags_is_hopeless() -> None:
    nothing = predict(NOTHING, NOTHING)
    assert not nothing.feasible
    assert math.isinf(nothing.smallest_pair_fraction)
    assert "no pair fraction can be found" in nothing.sentence()


@pytest.mark.parametrize(("reach_ps", "reach"), [(0, 1e-6), (-1, 1e-6), (10**9, -1e-6)])
def test_a_range_that_makes_no_sense_is_refused(reach_ps: int, reach: float) -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        SearchRange(0, reach_ps, 0.0, reach)
