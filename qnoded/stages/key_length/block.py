"""The secret key of one block of an entangled-pair link: its length, or why there is none and what would help.

The block's sifted bits are of two kinds: key bits (one basis, or those outside a random sample) and test bits (the
other basis, or the sample). With a tolerance that was fixed before the data the block is one of fixed length, and the
longer of two bounds counts: both hold for the same protocol. Without one, the observed error rate takes its place and
only Serfling's bound is used, as the proof for variable lengths demands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final

from scipy.special import betainc

from qnoded.stages.key_length.bases import phase_error_rate
from qnoded.stages.key_length.bbm92_finite import best_allowance, serfling_length
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.key_length.entropy import binary_entropy, error_rate_at, exact, precisely, whole_bits
from qnoded.stages.key_length.inputs import demand, demand_count, demand_epsilon
from qnoded.stages.key_length.small_blocks import best_allowances, two_step_length

LARGEST_BLOCK: Final = 1 << 44
"""Sifted bits beyond which no link waits for a block: a year at 500 kbit/s."""

_ADVICE_DIGITS: Final = 2
"""Significant digits of an advised number of bits, rounded up."""


class Bound(Enum):
    """The bound that a length rests on."""

    SMALL_BLOCKS = "Lim-Xu-Pan-Ekert 2021, fixed length"
    SERFLING = "Tomamichel-Leverrier 2017, fixed length"
    SERFLING_VARIABLE = "Serfling with the observed error rate, variable length (arXiv:2408.17349)"


class Reason(Enum):
    """Why a block has the length that it has."""

    KEY = "the bound is positive"
    ABOVE_TOLERANCE = "the test bits have more errors than was agreed before the data"
    ABOVE_QBER_LIMIT = "at these error rates no block is long enough"
    TOO_SHORT = "the block is too short for its statistical uncertainty and its fixed costs"


@dataclass(frozen=True, slots=True)
class SiftedCounts:
    """What is known in public of a block after reconciliation and verification."""

    n_key: int
    """Bits that the key is made from."""
    k_test: int
    """Bits whose errors are counted."""
    test_errors: int
    """Errors among the test bits."""
    leak_bits: float
    """Bits that reconciliation disclosed of the key bits, in both directions if it is two-way."""
    basis_bits: tuple[int, ...] = ()
    """Bits of each basis, key and test bits together, where both are mixed of all bases; empty: in equal shares by
    construction, or key in one basis and tests in the other."""

    def __post_init__(self) -> None:
        demand_count("n_key", self.n_key)
        demand_count("k_test", self.k_test)
        demand(0 <= self.test_errors <= self.k_test, "test_errors", self.test_errors, "from 0 to k_test")
        demand_count("leak_bits", self.leak_bits, least=0)
        if self.basis_bits:
            fits = len(self.basis_bits) > 1 and min(self.basis_bits) > 0
            fits = fits and sum(self.basis_bits) == self.n_key + self.k_test
            demand(fits, "basis_bits", self.basis_bits, "some of each of several bases, n_key + k_test in all")


@dataclass(frozen=True, slots=True)
class KeyLength:
    """The length of a block's key and everything it rests on."""

    bits: int
    """Secret bits that privacy amplification may leave; 0 where there is no key."""
    authentication_bits: int
    """Key bits that authenticating the block's transcript consumed, at both ends together."""
    net_bits: int
    """``bits`` less ``authentication_bits``: what the block adds to the key store; 0 where there is no key."""
    reason: Reason
    advice: str
    """One line with numbers; empty where there is a key."""
    more_sifted_bits: int | None
    """Sifted bits missing at the same error rate and split; 0 where there is a key, None where no number would do."""
    bound: Bound
    test_error_rate: float
    """Observed."""
    assumed_error_rate: float
    """The one that the bound starts from: the tolerance, or the observed one."""
    phase_error_rate: float
    """Upper bound for the key bits, statistical allowance included."""
    eps_estimation: float
    """Share of ``budget.eps_sec`` that parameter estimation took."""
    eps_amplification: float
    """Share that privacy amplification took."""
    hash_bits: int
    """Disclosed by verification."""
    budget: SecurityBudget


def block_key_length(
    counts: SiftedCounts,
    budget: SecurityBudget,
    *,
    tolerance: float | None,
    authentication_bits: int = 0,
) -> KeyLength:
    """Return the length of a block's key, or 0 with the reason and what would help.

    Assumptions as in ``bbm92_finite``. With a ``tolerance`` the numbers of bits and the leak must not have been chosen
    after looking at the errors; without one they may, and one more bit is spent on verification.

    Parameters
    ----------
    counts : the block
    budget : eps_sec, eps_cor and eps_auth of this block
    tolerance : error rate of the test bits above which both ends had agreed to discard the block; None: variable length
    authentication_bits : key bits that the block's message authentication codes consumed

    Notes
    -----
    Fixed length: the longer of Lim, Xu, Pan and Ekert, Phys. Rev. Lett. 126, 100501 (2021) and Tomamichel and
    Leverrier, Quantum 1, 14 (2017). Variable length: Tupkary, Nahar, Sinha and Luetkenhaus, arXiv:2408.17349, for
    detectors without efficiency mismatch: the same Serfling allowance on the observed rate,
    eps_sec = 2 eps_AT + eps_PA. With ``basis_bits`` the phase errors are those of ``bases``.
    """
    demand(tolerance is None or 0.0 <= tolerance < 0.5, "tolerance", tolerance, "an error rate from 0 to below 0.5")
    demand_count("authentication_bits", authentication_bits, least=0)
    demand(tolerance is None or not counts.basis_bits, "tolerance", tolerance, "none where the bases are counted")
    observed = counts.test_errors / counts.k_test
    assumed = observed if tolerance is None else tolerance
    best = _bound(
        counts.n_key, counts.k_test, assumed, counts.leak_bits, budget, counts.basis_bits, variable=tolerance is None
    )
    reason, advice = Reason.KEY, ""
    more: int | None = 0
    if tolerance is not None and observed > tolerance:
        reason, more = Reason.ABOVE_TOLERANCE, None
        advice = (
            f"{counts.test_errors} of {counts.k_test} test bits are wrong ({observed:.2%}), {tolerance:.2%} were "
            "agreed; realign the polarization, or agree on a higher tolerance for the blocks to come"
        )
    elif whole_bits(best.length) - authentication_bits <= 0:
        reason, advice, more = _missing(counts, budget, assumed, authentication_bits, variable=tolerance is None)
    bits = whole_bits(best.length) if reason is Reason.KEY else 0
    return KeyLength(
        bits=bits,
        authentication_bits=authentication_bits,
        net_bits=bits - authentication_bits if bits else 0,
        reason=reason,
        advice=advice,
        more_sifted_bits=more,
        bound=best.bound,
        test_error_rate=observed,
        assumed_error_rate=assumed,
        phase_error_rate=min(0.5, best.phase),
        eps_estimation=best.eps_estimation,
        eps_amplification=budget.eps_sec - best.eps_estimation,
        hash_bits=budget.hash_bits,
        budget=budget,
    )


def tolerance_for(error_rate: float, k_test: int, abort_probability: float = 1e-3) -> float:
    """Return the smallest tolerance at which an undisturbed link of this error rate seldom discards a block.

    Parameters
    ----------
    error_rate : expected of the test bits, known before the block
    k_test : number of test bits
    abort_probability : how often the errors of a block may exceed the tolerance by chance (binomial distribution)
    """
    demand(0.0 <= error_rate < 0.5, "error_rate", error_rate, "an error rate from 0 to below 0.5")
    demand_count("k_test", k_test)
    demand_epsilon("abort_probability", abort_probability)
    low, high = -1, k_test
    # The regularized incomplete beta function is the upper tail of the binomial distribution.
    while high - low > 1:
        errors = (low + high) // 2
        low, high = (
            (low, errors) if betainc(errors + 1, k_test - errors, error_rate) <= abort_probability else (errors, high)
        )
    return high / k_test


@dataclass(frozen=True, slots=True)
class _Best:
    """The best of the bounds that apply."""

    bound: Bound
    length: Decimal
    phase: float
    eps_estimation: float


def _bound(
    n: int,
    k: int,
    rate: float,
    leak_bits: float,
    budget: SecurityBudget,
    basis_bits: tuple[int, ...],
    *,
    variable: bool,
) -> _Best:
    """Return the best bound; the length may be negative."""
    with precisely():
        # A variable length needs log2(2/eps_cor) bits for verification where a fixed one needs log2(1/eps_cor).
        disclosed = exact(leak_bits) + budget.hash_bits + (1 if variable else 0)
        eps_sec, start = exact(budget.eps_sec), exact(rate)
        nu = best_allowance(n, k, rate, budget.eps_sec)
        phase = phase_error_rate(n, k, start, exact(nu), basis_bits)
        eps_pe, _, real = serfling_length(n, k, phase, exact(nu), disclosed, eps_sec)
        name = Bound.SERFLING_VARIABLE if variable else Bound.SERFLING
        candidates = [_Best(name, -disclosed if real is None else real, float(phase), float(eps_pe))]
        if not variable:
            nu, xi = best_allowances(n, k, rate, budget.eps_sec)
            # Beyond 1/2 - rate the bound does not hold; there is nothing to gain there either.
            if rate + nu < 0.5:
                _, half, _, real = two_step_length(n, k, start, exact(nu), exact(xi), disclosed, eps_sec)
                if real is not None:
                    candidates.append(_Best(Bound.SMALL_BLOCKS, real, rate + nu, float(2 * half)))
        return max(candidates, key=lambda candidate: candidate.length)


def _missing(
    counts: SiftedCounts, budget: SecurityBudget, rate: float, authentication_bits: int, *, variable: bool
) -> tuple[Reason, str, int | None]:
    """Say how many sifted bits are missing at the same error rate, leak per key bit and split, or that none will do."""
    total = counts.n_key + counts.k_test
    leak_per_bit = counts.leak_bits / counts.n_key

    def has_key(block: int) -> bool:
        n = min(block - 1, max(1, round(block * (counts.n_key / total))))
        best = _bound(n, block - n, rate, math.ceil(n * leak_per_bit), budget, counts.basis_bits, variable=variable)
        return whole_bits(best.length) > authentication_bits

    limit = error_rate_at(1.0 - leak_per_bit)
    nothing_left = (
        f"at {rate:.2%} errors and {leak_per_bit:.3f} bits disclosed per key bit no block holds a key; "
        f"the limit at this disclosure is {limit:.2%}: realign the polarization or lower the pair rate"
    )
    ratio = max(counts.basis_bits) / min(counts.basis_bits) if counts.basis_bits else 1.0
    if binary_entropy(min(0.5, ratio * rate)) + leak_per_bit >= 1.0:
        return Reason.ABOVE_QBER_LIMIT, nothing_left, None
    low, high = total, 2 * total
    while not has_key(high):
        low, high = high, 2 * high
        if high > LARGEST_BLOCK:
            return Reason.ABOVE_QBER_LIMIT, nothing_left, None
    while high - low > max(1, (high - total) // 10 ** (_ADVICE_DIGITS + 1)):
        middle = (low + high) // 2
        low, high = (low, middle) if has_key(middle) else (middle, high)
    more = _round_up(high - total)
    return Reason.TOO_SHORT, f"needs {more:,} more sifted bits at this QBER ({rate:.2%}); lengthen the block", more


def _round_up(number: int) -> int:
    """Return the number rounded up to two significant digits."""
    unit = int(10 ** max(0, len(str(number)) - _ADVICE_DIGITS))
    return -(-number // unit) * unit
