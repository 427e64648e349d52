"""Two ends of a live link on simulated photons: what both sift is the same, and is what theory says."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from live_streams import BRIGHT, EPOCH_S, TERMS, Ends, photons, receiver

from qnoded.errors import LocalProtocolError
from qnoded.exchange.epoch_work import Setup
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.reports import (
    BlockSifted,
    ClockAcquired,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    Reason,
    ResolutionChosen,
    Revealed,
)
from qnoded.exchange.terms import LinkTerms
from qnoded.stages import revealing
from qnoded.testing.live import LiveLink, converse_live


def agree(told: LiveLink) -> None:
    """Both ends sifted the same epochs with the same counts, bases and test bits, and reported no epoch twice."""
    alice, bob = (told.of(end, EpochSifted) for end in (0, 1))
    theirs = {epoch.epoch: epoch for epoch in bob}
    assert len(theirs) == len(bob)
    for mine in alice:
        if mine.epoch in theirs:
            other = theirs[mine.epoch]
            np.testing.assert_array_equal(mine.sifted.basis, other.sifted.basis)
            assert (mine.tests, mine.clicks, mine.coincidences) == (other.tests, other.clicks, other.coincidences)
    for end in (0, 1):
        # Between two sessions each end counts by its own clock.
        lost = [one.epoch for one in told.of(end, EpochDiscarded) if one.numbers != "no session"]
        assert len(set(lost)) == len(lost)


def errors(told: LiveLink) -> tuple[int, int]:
    """Return wrong and all sifted bits, test bits left out: the truth, which neither end knows."""
    pairs = zip(told.of(0, EpochSifted), told.of(1, EpochSifted), strict=True)
    wrong = [np.count_nonzero(alice.sifted.bits != bob.sifted.bits) for alice, bob in pairs]
    return int(sum(wrong)), int(sum(epoch.sifted.bits.size for epoch in told.of(0, EpochSifted)))


def qber(told: LiveLink, end: int) -> tuple[int, int]:
    tests = [test for epoch in told.of(end, EpochSifted) for test in epoch.tests]
    return sum(test.errors for test in tests), sum(test.bits for test in tests)


def test_both_ends_sift_the_same_from_a_cold_start() -> None:
    """8 s, 300 ms and 1 ppm off, the hosts' clocks 20 ms off: 13 whole epochs, all sifted, from the first on."""
    events, _ = photons(8.0)
    told = converse_live(Ends().makers, events)
    agree(told)
    assert told.endings == []
    sifted = [epoch.epoch for epoch in told.of(0, EpochSifted)]
    assert sifted == [epoch.epoch for epoch in told.of(1, EpochSifted)] == list(range(1, 14))
    assert [one.reason for one in told.of(0, EpochDiscarded)] == [Reason.GAP]
    assert [one.reason for one in told.of(1, EpochDiscarded)] == [Reason.REFUSED]
    (acquired,) = told.of(1, ClockAcquired)
    assert acquired.acquisition.locked
    assert acquired.cold


def test_rate_and_errors_are_those_of_theory() -> None:
    """Sifted: half of the true pairs; QBER of the test bits and of all others within 3 sigma of each other."""
    events, world = photons(8.0)
    told = converse_live(Ends().makers, events)
    wrong, bits = errors(told)
    tested_wrong, tested = qber(told, 0)
    assert (tested_wrong, tested) == qber(told, 1)
    # One in twenty is a test.
    assert tested == pytest.approx((bits + tested) / 20, abs=3 * math.sqrt((bits + tested) * 0.05 * 0.95))
    rate = wrong / bits
    assert tested_wrong / tested == pytest.approx(rate, abs=3 * math.sqrt(rate / tested))
    expected = world.truth["expected"]
    assert rate == pytest.approx(expected["qber"]["total"], abs=3 * math.sqrt(rate / bits))
    pairs = sum(epoch.coincidences for epoch in told.of(0, EpochSifted))
    matrix_hz = np.array(expected["matrix_hz"])
    due = (matrix_hz[:2, :2].sum() + matrix_hz[2:, 2:].sum()) * 13 * EPOCH_S
    # The resolution adds 1 % at most to what leaves the window.
    assert 0.99 * due - 3 * math.sqrt(due) < pairs < due + 3 * math.sqrt(due)


def test_the_matcher_may_be_alice() -> None:
    events, _ = photons(4.0)
    terms = replace(TERMS, revealer="bob")
    told = converse_live(Ends(terms, seed=2).makers, events)
    agree(told)
    assert [epoch.epoch for epoch in told.of(0, EpochSifted)] == [epoch.epoch for epoch in told.of(1, EpochSifted)]
    assert len(told.of(0, EpochSifted)) >= 5
    assert told.of(0, ClockTracked)
    wrong, bits = errors(told)
    assert wrong / bits < 0.02


@pytest.mark.parametrize("state", ["Psi-", "Psi+", "Phi-"])
def test_other_bell_states_give_equal_bits_as_well(state: str) -> None:
    events, _ = photons(2.5, (*BRIGHT, f"source.state={state}"))
    told = converse_live(Ends(replace(TERMS, state=state)).makers, events)
    agree(told)
    wrong, bits = errors(told)
    assert bits > 5_000
    assert wrong / bits < 0.02


def test_circular_bases_follow_the_terms() -> None:
    """Phi+ is opposite in the circular basis; an end whose detectors are not those of the terms is refused."""
    terms = LinkTerms("test", True, ("R", "L"), ("R", "L"))
    assert Setup.of(terms, "bob", terms.receiver("bob"), "alice", os.urandom).alphabet.bit_of[:2].tolist() == [1, 0]
    assert Setup.of(terms, "alice", terms.receiver("alice"), "alice", os.urandom).alphabet.bit_of[:2].tolist() == [0, 1]
    with pytest.raises(LocalProtocolError, match="'R', 'L'"):
        Setup.of(terms, "alice", receiver("alice"), "alice", os.urandom)


def test_the_resolution_follows_the_peak_at_less_than_a_percent_of_the_coincidences() -> None:
    """Peak of 25 ps: times get finer from 128 to 32 ps, and what the coarse ones cost the window of 200 ps shows."""
    sharp = tuple(change for change in BRIGHT if "jitter" not in change)
    terms = replace(TERMS, window_ps=200)
    events, _ = photons(5.0, sharp)
    told = converse_live(Ends(terms).makers, events)
    chosen = told.of(0, ResolutionChosen)
    assert chosen
    assert chosen[-1].resolution_ps <= 32
    fine = [epoch for epoch in told.of(0, EpochSifted) if epoch.epoch >= chosen[-1].from_epoch]
    assert len(fine) >= 4
    # 128 ps would push 10 % out of this window, 64 ps 1 %.
    assert revealing.lost_share(chosen[-1].resolution_ps, 20.0, 200) < 0.01


def test_what_is_revealed_costs_little_more_than_its_entropy() -> None:
    events, _ = photons(4.0)
    told = converse_live(Ends().makers, events)
    for one in told.of(0, Revealed):
        assert one.entropy_bits < one.payload_bits < one.entropy_bits + 0.15 * one.detections


def test_blocks_of_both_ends_are_the_same() -> None:
    events, _ = photons(8.0)
    terms = replace(TERMS, block_bits=10_000)
    told = converse_live(Ends(terms).makers, events)
    mine, theirs = told.of(0, BlockSifted), told.of(1, BlockSifted)
    assert len(mine) == len(theirs) == 3
    assert [block.block for block in mine] == [0, 1, 2]
    for alice, bob in zip(mine, theirs, strict=True):
        assert (alice.epochs, alice.tests, alice.public_digest) == (bob.epochs, bob.tests, bob.public_digest)
        assert alice.sifted.bits.size == bob.sifted.bits.size >= 10_000
        assert np.count_nonzero(alice.sifted.bits != bob.sifted.bits) < 0.02 * alice.sifted.bits.size


def test_a_known_clock_of_other_streams_is_searched_with_its_frequency() -> None:
    events, _ = photons(4.0)
    first = converse_live(Ends().makers, events)
    state = first.of(1, ClockTracked)[-1].state
    ends = Ends(known=KnownClock(state, same_streams=False, offset_ps=300_000_000_000 + 20_000_000_000))
    told = converse_live(ends.makers, events)
    agree(told)
    (acquired,) = told.of(1, ClockAcquired)
    assert acquired.acquisition.locked
    assert len(told.of(0, EpochSifted)) == len(first.of(0, EpochSifted))


def test_a_tagger_with_coarse_ticks_reveals_times_that_lie_on_no_lattice() -> None:
    """Ticks of 156.25 ps at alice, who reveals: both ends sift the same epochs with as few errors as without."""
    events, _ = photons(5.0)
    plain, coarse = (converse_live(Ends(tick_ps=tick_ps).makers, events) for tick_ps in (Fraction(1), Fraction(625, 4)))
    agree(coarse)
    bits, fewer = (sum(one.sifted.bits.size for one in told.of(0, EpochSifted)) for told in (plain, coarse))
    assert fewer == pytest.approx(bits, rel=0.01)
    wrong, total = errors(coarse)
    assert wrong / total < 0.02
