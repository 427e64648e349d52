"""One block under one budget: its key, or why there is none and what would help."""

from __future__ import annotations

import math

import pytest

from qnoded.errors import UsageError
from qnoded.stages.key_length.block import (
    Bound,
    KeyLength,
    Reason,
    SiftedCounts,
    block_key_length,
    tolerance_for,
)
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.key_length.entropy import binary_entropy

BUDGET = SecurityBudget(eps_sec=1e-10, eps_cor=1e-12)


def block(
    bits: int,
    qber: float,
    *,
    tolerance: float | None,
    share: float = 0.5,
    efficiency: float = 1.15,
    authentication_bits: int = 256,
    budget: SecurityBudget = BUDGET,
) -> KeyLength:
    """Key length of a block with this share of test bits, reconciled at this efficiency."""
    k = round(bits * share)
    n = bits - k
    counts = SiftedCounts(n, k, round(qber * k), math.ceil(efficiency * n * binary_entropy(qber)))
    return block_key_length(counts, budget, tolerance=tolerance, authentication_bits=authentication_bits)


@pytest.mark.parametrize("tolerance", [None, 0.02, 0.0275])
def test_ten_thousand_sifted_bits_at_two_percent_hold_a_key(tolerance: float | None) -> None:
    length = block(10_000, 0.02, tolerance=tolerance)
    assert length.reason is Reason.KEY
    assert length.net_bits > 900
    assert (length.advice, length.more_sifted_bits) == ("", 0)


def test_small_blocks_rest_on_the_sharper_bound() -> None:
    assert block(10_000, 0.02, tolerance=0.02).bound is Bound.SMALL_BLOCKS
    assert block(10_000, 0.02, tolerance=None).bound is Bound.SERFLING_VARIABLE


def test_the_budget_is_spent_exactly_and_shown() -> None:
    length = block(10_000, 0.02, tolerance=0.02)
    assert length.eps_estimation + length.eps_amplification == pytest.approx(1e-10, rel=1e-12)
    assert 0 < length.eps_amplification < length.eps_estimation
    assert length.hash_bits == 40
    assert length.budget.eps_total == pytest.approx(1e-10 + 1e-12 + 1e-15)


def test_authentication_is_paid_from_the_key() -> None:
    free, paid = (block(10_000, 0.02, tolerance=0.02, authentication_bits=bits) for bits in (0, 256))
    assert free.bits == paid.bits == paid.net_bits + 256 == free.net_bits


def test_a_key_that_does_not_pay_its_authentication_is_none() -> None:
    length = block(10_000, 0.02, tolerance=0.02, authentication_bits=5_000)
    assert (length.bits, length.net_bits, length.reason) == (0, 0, Reason.TOO_SHORT)


@pytest.mark.parametrize("tolerance", [None, 0.03])
def test_a_short_block_says_how_many_bits_are_missing_and_they_suffice(tolerance: float | None) -> None:
    length = block(3_000, 0.03, tolerance=tolerance)
    assert (length.bits, length.reason) == (0, Reason.TOO_SHORT)
    more = length.more_sifted_bits
    assert more is not None
    assert f"needs {more:,} more sifted bits at this QBER (3.00%)" in length.advice
    assert block(3_000 + more, 0.03, tolerance=tolerance).net_bits > 0
    assert block(3_000 + more * 8 // 10, 0.03, tolerance=tolerance).net_bits == 0


def test_near_the_limit_many_bits_are_missing() -> None:
    length = block(50_000, 0.095, tolerance=0.095, efficiency=1.1)
    assert length.reason is Reason.TOO_SHORT
    assert length.more_sifted_bits is not None
    assert length.more_sifted_bits > 50_000


def test_a_qber_above_the_limit_says_so_whatever_the_block() -> None:
    for bits in (1_000, 10**8):
        length = block(bits, 0.12, tolerance=0.12)
        assert (length.bits, length.reason, length.more_sifted_bits) == (0, Reason.ABOVE_QBER_LIMIT, None)
        assert "12.00% errors" in length.advice
        assert "the limit at this disclosure is 7.6" in length.advice


def test_more_errors_than_agreed_discard_the_block() -> None:
    length = block(10**6, 0.03, tolerance=0.025)
    assert (length.bits, length.net_bits, length.reason) == (0, 0, Reason.ABOVE_TOLERANCE)
    assert "15000 of 500000 test bits are wrong (3.00%), 2.50% were agreed" in length.advice


def test_errors_at_the_tolerance_are_accepted() -> None:
    counts = SiftedCounts(9_000, 1_000, 20, 1_500)
    at, above = (block_key_length(counts, BUDGET, tolerance=rate) for rate in (0.02, 0.0199))
    assert at.reason is not Reason.ABOVE_TOLERANCE
    assert above.reason is Reason.ABOVE_TOLERANCE


def test_a_fixed_length_does_not_depend_on_the_errors_below_its_tolerance() -> None:
    lengths = {
        block_key_length(SiftedCounts(50_000, 50_000, errors, 9_000), BUDGET, tolerance=0.03).bits
        for errors in (0, 500, 1_500)
    }
    assert len(lengths) == 1


def test_lengths_stay_below_the_asymptotic_rate_and_approach_it() -> None:
    fractions = []
    for bits in (10**4, 10**5, 10**6, 10**8, 10**10):
        length = block(bits, 0.02, tolerance=0.02)
        asymptotic = 1 - 2.15 * binary_entropy(0.02)
        fractions.append(length.bits / (bits / 2) / asymptotic)
    assert fractions == sorted(fractions)
    assert 0.99 < fractions[-1] < 1.0


def test_asymmetric_bases_gain_in_large_blocks() -> None:
    assert block(10**7, 0.02, tolerance=0.02, share=0.1).bits > block(10**7, 0.02, tolerance=0.02, share=0.5).bits


def test_a_longer_verification_hash_costs_its_bits() -> None:
    longer = SecurityBudget(eps_sec=1e-10, eps_cor=1e-12, verification_bits=64)
    short, long = (block(10_000, 0.02, tolerance=0.02, budget=budget) for budget in (BUDGET, longer))
    assert short.bits - long.bits == 24


def test_tolerance_seldom_discards_an_undisturbed_block() -> None:
    tolerance = tolerance_for(0.02, 4_000, abort_probability=1e-3)
    # Mean 80, standard deviation 8.85: 3.1 deviations and the skewness of the binomial distribution.
    assert tolerance * 4_000 == pytest.approx(109, abs=1)
    assert tolerance_for(0.0, 4_000) == 0.0
    assert tolerance_for(0.02, 10**12) == pytest.approx(0.02, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SecurityBudget(eps_sec=0.0), "input eps_sec = 0.0"),
        (lambda: SecurityBudget(eps_cor=1e-12, verification_bits=32), "at least log2(1/eps_cor), 40 bits"),
        (lambda: SiftedCounts(0, 10, 0, 0), "input n_key = 0"),
        (lambda: SiftedCounts(10, 10, 11, 0), "input test_errors = 11"),
        (lambda: SiftedCounts(10, 10, 1, -1), "input leak_bits = -1"),
        (lambda: block_key_length(SiftedCounts(9, 9, 1, 1), BUDGET, tolerance=0.5), "input tolerance = 0.5"),
        (lambda: tolerance_for(0.02, 0), "input k_test = 0"),
    ],
)
def test_numbers_that_make_no_sense_are_named(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError) as caught:
        make()
    assert words in str(caught.value)
