"""Reports to the numbers of a link's status."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from keys_made import ACCOUNT

from qnoded.exchange import reports
from qnoded.exchange.reports import (
    BlockDiscarded,
    BlockSifted,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    EpochWithdrawn,
    KeyMade,
    NoKey,
    Reason,
    Revealed,
    ServiceMeasured,
)
from qnoded.exchange.terms import LinkTerms
from qnoded.node.status import Rates
from qnoded.node.tally import RECENT_EPOCHS, RECENT_S, Tally
from qnoded.records import SiftedEpoch
from qnoded.stages.synchronization.lock import LockLoss
from qnoded.units import EPOCH_PS, seconds

TERMS = LinkTerms("alice-bob", True, ("H", "V", "D", "A"), ("H", "V", "D", "A"))
EPOCH_S = seconds(EPOCH_PS)


def sifted(number: int, bits: int = 1000, errors: int = 2) -> EpochSifted:
    held = SiftedEpoch(np.zeros(bits, np.uint8), np.zeros(bits, np.uint8), "alice")
    tests = (reports.Tests("HV", errors, 100), reports.Tests("DA", 0, 100))
    return EpochSifted(number, held, tests, (5000, 3000), bits + 200, 1.0, bytes(32))


def test_rates_and_errors_are_of_the_last_epochs_and_totals_of_all() -> None:
    tally = Tally(TERMS, "alice")
    for number in range(10):
        tally.add(sifted(number, 10, 50), 0.0)
    for number in range(10, 10 + RECENT_EPOCHS):
        tally.add(sifted(number), 0.0)
    rates, qber = tally.rates(0.0), tally.qber(0.0)
    assert (rates.alice_hz, rates.bob_hz) == pytest.approx((5000 / EPOCH_S, 3000 / EPOCH_S))
    assert (rates.coincidences_hz, rates.sifted_hz) == pytest.approx((1200 / EPOCH_S, 1000 / EPOCH_S))
    assert qber["HV"].value == pytest.approx(0.02)
    assert qber["DA"].value == 0.0
    assert qber["total"].value == pytest.approx(0.01)
    assert qber["total"].low < 0.01 < qber["total"].high
    assert (tally.epochs, tally.sifted_bits) == (10 + RECENT_EPOCHS, 100 + 1000 * RECENT_EPOCHS)


def test_nothing_is_zero_before_it_is_known() -> None:
    tally = Tally(TERMS, "alice")
    assert tally.rates(0.0).alice_hz is None
    assert tally.qber(0.0) == {}
    assert tally.bits_per_detection is None
    assert not tally.clock(0.0, locked=False).locked
    assert tally.clock(0.0, locked=True).locked


def test_a_link_that_rests_shows_its_own_clicks_alone() -> None:
    tally = Tally(TERMS, "bob")
    for number in range(5):
        tally.add(sifted(number), 0.0)
    resting_s = RECENT_S + 1.0
    assert tally.rates(RECENT_S).alice_hz == pytest.approx(5000 / EPOCH_S)
    assert tally.rates(resting_s) == Rates()
    assert tally.qber(resting_s) == {}
    tally.detected(700, RECENT_S)
    tally.detected(900, RECENT_S)
    assert tally.rates(resting_s) == Rates(bob_hz=pytest.approx(800 / EPOCH_S))
    assert tally.rates(RECENT_S).bob_hz == pytest.approx(800 / EPOCH_S)
    assert tally.rates(2 * RECENT_S + 1.0) == Rates()


def test_dark_epochs_are_not_mixed_with_sifted_ones() -> None:
    """20 s of light, 10 s dark, light again: 5500 clicks an epoch, of which 5000 are told, 5 in the dark."""
    tally, shown = Tally(TERMS, "alice"), {}
    for second in range(33):
        lit = not 20 <= second < 30
        tally.detected(5500 if lit else 5, float(second))
        if lit:
            tally.add(sifted(second), second + 0.1)
        shown[second] = tally.rates(second + 0.2).alice_hz
    assert [shown[second] for second in (5, 19, 31, 32)] == pytest.approx([5500 / EPOCH_S] * 4)
    assert [shown[second] for second in range(24, 30)] == pytest.approx([5 / EPOCH_S] * 6)
    assert shown[30] == pytest.approx(5000 / EPOCH_S)


def test_discards_blocks_and_the_cost_of_revealing_are_counted() -> None:
    tally = Tally(TERMS, "alice")
    for reason in (Reason.GAP, Reason.LATE, Reason.GAP):
        tally.add(EpochDiscarded(1, reason, ""), 0.0)
    for number in range(2):
        tally.add(sifted(number), 0.0)
        tally.add(EpochWithdrawn(number, Reason.PEER_LOST, 700, ""), 0.0)
    tally.add(Revealed(1, 1000, 17_000, 16_700.0), 0.0)
    tally.add(Revealed(2, 3000, 51_000, 50_100.0), 0.0)
    none = SiftedEpoch(np.empty(0, np.uint8), np.empty(0, np.uint8), "alice")
    tally.add(BlockSifted(0, (1,), none, (), b""), 0.0)
    assert tally.discards == {Reason.GAP: 2, Reason.LATE: 1}
    assert tally.withdrawn == {Reason.PEER_LOST: 2}
    assert (tally.withdrawn_bits, tally.epochs, tally.sifted_bits) == (1400, 2, 2000)
    assert tally.bits_per_detection == 17.0
    assert tally.blocks == 1


def test_keys_and_blocks_without_one_are_counted() -> None:
    tally = Tally(TERMS, "alice")
    for number in range(3):
        tally.add(KeyMade(number, replace(ACCOUNT, key_bits=1_000)), 0.0)
    tally.add(BlockDiscarded(3, NoKey.NO_LENGTH, ""), 0.0)
    assert (tally.blocks_distilled, tally.secret_bits) == (3, 3_000)
    assert tally.keyless == {NoKey.NO_LENGTH: 1}


def test_a_clock_that_is_held_without_light_shows_when_photons_last_confirmed_it() -> None:
    def tracked(number: int, reason: LockLoss | None) -> ClockTracked:
        state = SimpleNamespace(offset_ps=1, frequency_error=0.0, peak_sigma_ps=60.0)
        return ClockTracked(number, state, SimpleNamespace(locked=True, reason=reason))

    tally = Tally(TERMS, "alice")
    tally.add(tracked(0, LockLoss.NO_LIGHT), 1.0)
    assert tally.clock(2.0, locked=True).age_s is None
    tally.add(tracked(1, None), 2.0)
    for number in range(2, 9):
        tally.add(tracked(number, LockLoss.NO_LIGHT), 1.0 + number)
    assert tally.clock(10.0, locked=True).age_s == 8.0


def test_an_interlude_gives_s_from_all_its_epochs() -> None:
    tally = Tally(TERMS, "alice")
    # Correlations of +-1/sqrt(2) with one odd setting: S = 2 sqrt(2) but for rounding.
    right, wrong = 85, 15
    plus, minus = np.array([[right, wrong], [wrong, right]]), np.array([[wrong, right], [right, wrong]])
    matrix = np.block([[plus, plus], [minus, plus]]).astype(np.int64)
    for number in range(4):
        tally.add(ServiceMeasured(number, matrix.copy(), np.zeros((4, 4), np.int64), 4), 0.0)
    assert tally.chsh is not None
    assert tally.chsh.s == pytest.approx(4 * 0.7)
    assert tally.chsh.sigma == pytest.approx(2 * np.sqrt((1 - 0.49) / 800))
    assert tally.chsh.epoch == 3
