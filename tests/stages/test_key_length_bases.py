"""Unequal shares of the bases: what the bound pays for them, against channels that make the most of them."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from qnoded.errors import UsageError
from qnoded.stages.key_length.bases import phase_error_rate, uneven
from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.key_length.entropy import binary_entropy, precisely

BUDGET = SecurityBudget(1e-10, 1e-15)


@pytest.mark.parametrize("share", [0.52, 0.55, 0.6])
def test_who_touches_one_basis_only_knows_less_than_the_bound_takes_away(share: float) -> None:
    """Errors in the smaller basis alone: she reads the larger one, a bit of which hides 1 - h(D) from her."""
    n, k = 400_000, 44_000
    larger = round(share * (n + k))
    for disturbance in np.arange(0.02, 0.3, 0.02):
        rate = (1 - share) * disturbance
        counts = SiftedCounts(n, k, round(rate * k), 0, (larger, n + k - larger))
        unknown = n * (share * (1 - binary_entropy(disturbance)) + 1 - share)
        assert block_key_length(counts, BUDGET, tolerance=None).bits < unknown


def test_equal_shares_that_were_counted_cost_a_few_percent_and_a_tighter_count_never_helps() -> None:
    n, k = 90_000, 10_000
    lengths = [
        block_key_length(SiftedCounts(n, k, 200, 15_000, shares), BUDGET, tolerance=None).bits
        for shares in ((), (50_000, 50_000), (50_500, 49_500), (55_000, 45_000), (60_000, 40_000), (40_000, 60_000))
    ]
    assert 0.95 * lengths[0] < lengths[1] < lengths[0]
    assert lengths[1] > lengths[2] > lengths[3] > lengths[4] == lengths[5] > 0


@pytest.mark.parametrize("share", [0.5, 0.6])
def test_phase_errors_stay_below_the_bound_as_often_as_it_says(share: float) -> None:
    """Pairs whose errors show in one basis only, by chance in it or not: 20,000 draws at a failure of one percent."""
    rng = np.random.default_rng(4)
    n, k = 1_500, 500
    steepness = n * k * k / ((n + k) * (k + 1))
    nu = math.sqrt(math.log(100) / (2 * steepness))
    wrong_in = rng.permutation(np.repeat([0, 1, 2], [1_800, 20, 180]))  # none, in the larger basis, in the smaller
    failed = 0
    draws = 20_000
    for _ in range(draws):
        basis = np.where(rng.random(n + k) < share, 1, 2)
        key = np.ones(n + k, np.bool_)
        key[rng.choice(n + k, k, replace=False)] = False
        bit_errors, phase_errors = wrong_in == basis, (wrong_in != 0) & (wrong_in != basis)
        delta = Decimal(int(bit_errors[~key].sum())) / k
        with precisely():
            counts = int((basis == 1).sum()), int((basis == 2).sum())
            bound = phase_error_rate(n, k, delta, Decimal(nu), counts)
        failed += phase_errors[key].sum() > n * bound
    assert failed <= 0.01 * draws


def test_three_bases_pay_for_two_counts() -> None:
    with precisely():
        two = phase_error_rate(1_000, 1_000, Decimal(0), Decimal("0.1"), (1_000, 1_000))
        three = phase_error_rate(1_000, 1_000, Decimal(0), Decimal("0.1"), (700, 700, 600))
    assert Decimal("0.1") < two < three * 6 / 7


def test_shares_beyond_the_limit_are_named() -> None:
    assert uneven((60, 40)) == uneven((40, 60)) == ""
    assert uneven((61, 39)) == "the bases have 61 : 39 sifted bits, at most 1.5 to 1 may be"
    assert uneven((100, 0))
    assert uneven((100,))


def test_counts_that_do_not_fit_are_refused() -> None:
    for shares in ((1_000,), (1_000, 0), (900, 99)):
        with pytest.raises(UsageError, match="basis_bits"):
            SiftedCounts(900, 100, 1, 10, shares)
    with pytest.raises(UsageError, match="tolerance"):
        block_key_length(SiftedCounts(900, 100, 1, 10, (500, 500)), BUDGET, tolerance=0.02)
