"""Finite-key lengths of small blocks of entangled-pair keys, by a sharper bound on sampling without replacement.

Assumptions as in ``bbm92_finite``. Serfling's bound does not profit from errors being rare; this one splits the
allowance in two, first from the sample to the whole block (xi), then from the whole block to the key bits (nu - xi),
and needs 14 to 17 % fewer bits for the first secret bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from qnoded.stages.key_length.bbm92_finite import check_disclosure, check_fixed_block, disclosed_bits
from qnoded.stages.key_length.entropy import (
    binary_entropy,
    exact,
    log2_exact,
    precisely,
    whole_bits,
    worst_entropy,
)
from qnoded.stages.key_length.inputs import demand

_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0
_STEPS: Final = 40
"""Golden sections: the interval shrinks by 4e-9, well below what moves a length by a bit."""
_LOGIT_RANGE: Final = (-4.0, 40.0)
"""Odds, as powers of e, at which a budget is split in two: from 2 % to 98 %, up to 4e-18 for the smaller part."""
_EVEN_RANGE: Final = (-30.0, 30.0)
"""The same where either part may be the smaller one."""


@dataclass(frozen=True, slots=True)
class Lim2021Inputs:
    """A fixed block; one of ``r_syndrome`` and ``f_ec`` says what reconciliation discloses."""

    m_total: int
    """Sifted bits, test bits included."""
    k_test: int
    """Of these, a random sample that is compared in public."""
    delta: float
    """Tolerated error rate of the sample: above it the block is discarded."""
    t_hash: float
    """Bits of the verification hash; the keys differ with probability 2^-t_hash at most."""
    eps_qkd: float
    """Total distance from an ideal key exchange, correctness and secrecy together."""
    r_syndrome: float | None = None
    """Bits disclosed by reconciliation."""
    f_ec: float | None = None
    """Instead of them: r = f_ec n h(delta)."""
    nu: float | None = None
    """Allowance from the sample to the key bits; the best one if neither it nor ``xi`` is given."""
    xi: float | None = None
    """Allowance from the sample to the whole block."""

    def __post_init__(self) -> None:
        check_fixed_block(self.m_total, self.k_test, self.delta, self.t_hash, self.eps_qkd)
        check_disclosure(self.r_syndrome, self.f_ec)
        both = (self.nu is None) == (self.xi is None)
        demand(both, "nu, xi", (self.nu, self.xi), "both of them, or neither for the best ones")
        if self.nu is not None and self.xi is not None:
            demand(0.0 < self.nu < 0.5 - self.delta, "nu", self.nu, "a rate above 0 and below 0.5 - delta")
            demand(0.0 < self.xi < self.nu, "xi", self.xi, "a rate above 0 and below nu")


@dataclass(frozen=True, slots=True)
class Lim2021Length:
    """Terms and length."""

    Gamma: float
    """1/(x+1) + 1/(m-x+1) at x = m (delta + xi): how the step to the whole block spreads."""
    eps_pe: float
    """Half of what parameter estimation takes of the total: eps_qkd = 2^-t + 2 eps_pe + eps_pa."""
    eps_pa: float
    """Part left to privacy amplification; at most 0 where nu, xi are too small for the security asked for."""
    ell_real: float | None
    """Length before rounding; may be negative; None without any eps_pa to spend."""
    ell: int
    """Length, bits, at least 0."""
    nu: float
    xi: float


def lim2021_length(inputs: Lim2021Inputs) -> Lim2021Length:
    """Return the largest l with 2^-t + 2 eps_pe + eps_pa <= eps_qkd for the best (or the given) nu and xi.

    With n = m - k and 0 < xi < nu < 1/2 - delta:
    eps_pe^2 = exp(-2 m k xi^2 / (n+1)) + exp(-2 Gamma ((n (nu - xi))^2 - 1)) and
    l = n (1 - h(delta + nu)) - r - t + 2 log2(2 eps_pa).

    Source: Lim, Xu, Pan and Ekert, Phys. Rev. Lett. 126, 100501 (2021), arXiv:2009.04882, the main result; the rest of
    the proof is Tomamichel and Leverrier, Quantum 1, 14 (2017).
    """
    n = inputs.m_total - inputs.k_test
    with precisely():
        eps_sec = exact(inputs.eps_qkd) - Decimal(2) ** -exact(inputs.t_hash)
        disclosed = disclosed_bits(n, inputs.delta, inputs.r_syndrome, inputs.f_ec) + exact(inputs.t_hash)
        if inputs.nu is None or inputs.xi is None:
            nu, xi = best_allowances(n, inputs.k_test, inputs.delta, float(eps_sec))
        else:
            nu, xi = inputs.nu, inputs.xi
        gamma, eps_pe, eps_pa, real = two_step_length(
            n, inputs.k_test, exact(inputs.delta), exact(nu), exact(xi), disclosed, eps_sec
        )
        numbers = float(gamma), float(eps_pe), float(eps_pa), None if real is None else float(real)
        return Lim2021Length(*numbers, whole_bits(real), nu, xi)


def two_step_length(
    n: int, k: int, delta: Decimal, nu: Decimal, xi: Decimal, disclosed: Decimal, eps_sec: Decimal
) -> tuple[Decimal, Decimal, Decimal, Decimal | None]:
    """Return Gamma, eps_pe, eps_pa = eps_sec - 2 eps_pe, and the length before rounding (None if eps_pa <= 0).

    To be called within ``precisely()``.

    Parameters
    ----------
    n, k : key bits and test bits
    delta : tolerated error rate of the test bits, fixed before the data
    nu, xi : allowances from the test bits to the key bits, and to the whole block
    disclosed : bits of syndromes, parities and hashes
    eps_sec : secrecy
    """
    m = n + k
    # More errors than bits means an allowance that is too large for any key, not a sharper bound.
    errors = min(m * (delta + xi), Decimal(m))
    gamma = 1 / (errors + 1) + 1 / (m - errors + 1)
    to_block = (-2 * m * k * xi * xi / (n + 1)).exp()
    to_key = (-2 * gamma * ((n * (nu - xi)) ** 2 - 1)).exp()
    eps_pe = (to_block + to_key).sqrt()
    eps_pa = eps_sec - 2 * eps_pe
    if eps_pa <= 0:
        return gamma, eps_pe, eps_pa, None
    return gamma, eps_pe, eps_pa, n * (1 - worst_entropy(delta + nu)) - disclosed + 2 * log2_exact(2 * eps_pa)


def best_allowances(n: int, k: int, delta: float, eps_sec: float) -> tuple[float, float]:
    """Return (nu, xi) close to where the length of ``two_step_length`` is largest.

    Two splits are searched: of eps_sec between estimation and amplification, and of estimation's part between the two
    steps; for each split nu and xi follow in closed form. Any pair is a valid bound, a better one is merely longer.
    """
    m = n + k

    def allowances(estimation_log: float, split: float) -> tuple[float, float]:
        """Nu and xi that spend ln(eps_pe^2) = ``estimation_log``, odds e**split for the first step."""
        xi = math.sqrt((_log_one_plus_exp(-split) - estimation_log) * (n + 1) / (2.0 * m * k))
        errors = min(m * (delta + xi), float(m))
        gamma = 1.0 / (errors + 1.0) + 1.0 / (m - errors + 1.0)
        return xi + math.sqrt(1.0 + (_log_one_plus_exp(split) - estimation_log) / (2.0 * gamma)) / n, xi

    def estimation_log(odds: float) -> float:
        """ln(eps_pe^2) where 2 eps_pe takes the part of eps_sec that has odds e**odds."""
        return 2.0 * (math.log(eps_sec / 2.0) - _log_one_plus_exp(-odds))

    def best_split(odds: float) -> float:
        return _argmax(lambda split: -allowances(estimation_log(odds), split)[0], *_EVEN_RANGE)

    def length(odds: float) -> float:
        nu = allowances(estimation_log(odds), best_split(odds))[0]
        return -n * binary_entropy(min(0.5, delta + nu)) - 2.0 * _log_one_plus_exp(odds) / math.log(2.0)

    odds = _argmax(length, *_LOGIT_RANGE)
    return allowances(estimation_log(odds), best_split(odds))


def _log_one_plus_exp(x: float) -> float:
    """Return ln(1 + e^x) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _argmax(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one maximum has it, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_STEPS):
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
