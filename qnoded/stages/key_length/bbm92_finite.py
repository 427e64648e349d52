"""Finite-key lengths of entangled-pair keys whose test bits are a random sample (Serfling's bound).

Common assumptions: the m sifted bits come from ideal complementary measurements (overlap 1/2) on whatever the source
and the channel delivered, coherent attacks included; both detectors of a basis, and both bases, are equally efficient;
which of the m bits are test bits is a uniformly random choice that the eavesdropper could not know while the photons
flew (a random sample, or the basis of a random choice); double clicks are assigned at random, not dropped; the
classical channel is authenticated; the tolerated error rate was fixed before the data, and the block is discarded
above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from qnoded.stages.key_length.entropy import (
    entropy_exact,
    exact,
    log2_exact,
    precisely,
    whole_bits,
    worst_entropy,
)
from qnoded.stages.key_length.inputs import demand, demand_count, demand_efficiency, demand_epsilon, demand_rate

SMOOTHING_PUBLISHED: Final = 2
"""Argument of the logarithm as published: secrecy against the best ideal state of the eavesdropper."""
SMOOTHING_STRICT: Final = 4
"""The same where the eavesdropper's own marginal state is kept, so that the smoothing error counts twice."""

_LEAST_SECRECY_SHARE: Final = 1e-9
"""Of eps_qkd, what verification must leave over: less is lost in the rounding of the inputs."""

_BISECTIONS: Final = 200
"""More halvings than a float64 has digits."""


@dataclass(frozen=True, slots=True)
class Tlgr2012Inputs:
    """A fixed block: every number is chosen before the data."""

    n_key: int
    """Sifted bits that the key is made from."""
    k_test: int
    """Sifted bits of the other basis that are compared in public."""
    Q_tol: float
    """Tolerated error rate of the test bits: above it the block is discarded."""
    f_ec: float
    """Reconciliation efficiency; disclosed are f_ec n_key h(Q_tol) bits."""
    eps_sec: float
    """Secrecy: distance of the key from an ideal one."""
    eps_cor: float
    """Correctness: probability that the two ends hold different keys."""
    log_numerator: float = SMOOTHING_PUBLISHED
    """2 as published; 4 for the stricter count of smoothing errors."""

    def __post_init__(self) -> None:
        demand_count("n_key", self.n_key)
        demand_count("k_test", self.k_test)
        demand_rate("Q_tol", self.Q_tol)
        demand_efficiency("f_ec", self.f_ec)
        demand_epsilon("eps_sec", self.eps_sec)
        demand_epsilon("eps_cor", self.eps_cor)
        known = self.log_numerator in (SMOOTHING_PUBLISHED, SMOOTHING_STRICT)
        demand(known, "log_numerator", self.log_numerator, "2 (as published) or 4 (strict)")


@dataclass(frozen=True, slots=True)
class Tlgr2012Length:
    """Terms and length."""

    mu: float
    """Statistical allowance between the test bits and the phase errors of the key bits."""
    leak_ec: float
    """Bits disclosed by reconciliation."""
    ell_real: float
    """Length before rounding; may be negative."""
    ell: int
    """Length, bits, at least 0."""


def tlgr2012_length(inputs: Tlgr2012Inputs) -> Tlgr2012Length:
    """Return l = floor(n (1 - h(Q_tol + mu)) - f n h(Q_tol) - log2(2 / (eps_sec^2 eps_cor))).

    mu = sqrt((n+k)/(n k) (k+1)/k ln(2/eps_sec)). The preparation quality q is 1: ideal complementary bases.
    The key is eps_sec-secret and eps_cor-correct; eps_sec covers smoothing and privacy amplification together, and the
    verification hash of log2(1/eps_cor) bits is part of the last term.

    Source: Tomamichel, Lim, Gisin and Renner, Nat. Commun. 3, 634 (2012), the bound on l and the definition of mu.
    """
    with precisely():
        n, k, tolerance = Decimal(inputs.n_key), Decimal(inputs.k_test), exact(inputs.Q_tol)
        eps_sec, eps_cor = exact(inputs.eps_sec), exact(inputs.eps_cor)
        mu = ((n + k) / (n * k) * (k + 1) / k * (exact(inputs.log_numerator) / eps_sec).ln()).sqrt()
        leak = exact(inputs.f_ec) * n * entropy_exact(tolerance)
        real = n * (1 - worst_entropy(tolerance + mu)) - leak - log2_exact(2 / (eps_sec**2 * eps_cor))
        return Tlgr2012Length(float(mu), float(leak), float(real), whole_bits(real))


@dataclass(frozen=True, slots=True)
class Tl2017Inputs:
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
    """Statistical allowance; the best one if not given."""

    def __post_init__(self) -> None:
        check_fixed_block(self.m_total, self.k_test, self.delta, self.t_hash, self.eps_qkd)
        check_disclosure(self.r_syndrome, self.f_ec)
        if self.nu is not None:
            demand(0.0 < self.nu < 0.5 - self.delta, "nu", self.nu, "a rate above 0 and below 0.5 - delta")


@dataclass(frozen=True, slots=True)
class Tl2017Length:
    """Terms and length."""

    eps_pe: float
    """Part of the distance that parameter estimation takes."""
    eps_pa: float
    """Part left to privacy amplification; at most 0 where nu is too small for the security asked for."""
    ell_real: float | None
    """Length before rounding; may be negative; None without any eps_pa to spend."""
    nu_opt: float
    ell: int
    """Length, bits, at least 0."""


def tl2017_length(inputs: Tl2017Inputs) -> Tl2017Length:
    """Return the largest l with 2^-t + eps_pe(nu) + eps_pa(nu, l) <= eps_qkd for the best (or the given) nu.

    With n = m - k: eps_pe = 2 exp(-n k^2 nu^2 / (m (k+1))) and
    eps_pa = (1/2) sqrt(2^(-n (1 - h(delta + nu)) + r + t + l)), so
    l = n (1 - h(delta + nu)) - r - t + 2 log2(2 eps_pa).

    Source: Tomamichel and Leverrier, Quantum 1, 14 (2017), Theorems 2 and 3 with Eqs. (56) to (59), overlap 1/2;
    Serfling's bound is their Lemma 6. The proof covers every step of the protocol, discarded blocks included.
    """
    n = inputs.m_total - inputs.k_test
    with precisely():
        eps_sec = exact(inputs.eps_qkd) - Decimal(2) ** -exact(inputs.t_hash)
        disclosed = disclosed_bits(n, inputs.delta, inputs.r_syndrome, inputs.f_ec) + exact(inputs.t_hash)
        nu = best_allowance(n, inputs.k_test, inputs.delta, float(eps_sec)) if inputs.nu is None else inputs.nu
        eps_pe, eps_pa, real = serfling_length(
            n, inputs.k_test, exact(inputs.delta) + exact(nu), exact(nu), disclosed, eps_sec
        )
        ell = whole_bits(real)
        return Tl2017Length(float(eps_pe), float(eps_pa), None if real is None else float(real), nu, ell)


def serfling_length(
    n: int, k: int, phase: Decimal, nu: Decimal, disclosed: Decimal, eps_sec: Decimal
) -> tuple[Decimal, Decimal, Decimal | None]:
    """Return eps_pe, eps_pa = eps_sec - eps_pe, and the length before rounding (None if eps_pa <= 0).

    To be called within ``precisely()``.

    Parameters
    ----------
    n, k : key bits and test bits
    phase : bound on the phase error rate: that of the test bits, tolerated or observed, and the allowance
    nu : statistical allowance
    disclosed : bits of syndromes, parities and hashes
    eps_sec : secrecy
    """
    eps_pe = 2 * (-(n * k * k * nu * nu) / ((n + k) * (k + Decimal(1)))).exp()
    eps_pa = eps_sec - eps_pe
    if eps_pa <= 0:
        return eps_pe, eps_pa, None
    return eps_pe, eps_pa, n * (1 - worst_entropy(phase)) - disclosed + 2 * log2_exact(2 * eps_pa)


def best_allowance(n: int, k: int, delta: float, eps_sec: float) -> float:
    """Return the nu at which the length of ``serfling_length`` stops growing, found on its derivative.

    Below it privacy amplification starves of its share of eps_sec, above it the entropy falls.
    """
    steepness = n * k * k / ((n + k) * (k + 1.0))
    low, high = math.sqrt(math.log(2.0 / eps_sec) / steepness) if eps_sec > 0.0 else 0.5, 0.5 - delta
    if low >= high:
        return max(high, 0.0)
    for _ in range(_BISECTIONS):
        nu = (low + high) / 2
        eps_pe = 2.0 * math.exp(-steepness * nu * nu)
        eps_pa = eps_sec - eps_pe
        gain = math.inf if eps_pa <= 0.0 else 4.0 * steepness * nu * eps_pe / (eps_pa * math.log(2.0))
        rate = delta + nu
        low, high = (nu, high) if gain > n * math.log2((1.0 - rate) / rate) else (low, nu)
    return high


def disclosed_bits(n: int, delta: float, r_syndrome: float | None, f_ec: float | None) -> Decimal:
    """Return what reconciliation discloses, given as bits or as an efficiency at the tolerated error rate."""
    if r_syndrome is not None:
        return exact(r_syndrome)
    assert f_ec is not None
    return exact(f_ec) * n * entropy_exact(exact(delta))


def check_fixed_block(m_total: int, k_test: int, delta: float, t_hash: float, eps_qkd: float) -> None:
    """Check what the two bounds with one total epsilon have in common."""
    demand_count("m_total", m_total, least=2)
    demand(1 <= k_test < m_total, "k_test", k_test, "at least 1 and less than m_total")
    demand(0.0 <= delta < 0.5, "delta", delta, "an error rate from 0 to below 0.5")
    demand_epsilon("eps_qkd", eps_qkd)
    enough = 2.0**-t_hash < eps_qkd * (1.0 - _LEAST_SECRECY_SHARE) if 0.0 < t_hash <= 1024.0 else False
    demand(enough, "t_hash", t_hash, f"more than log2(1/eps_qkd) = {-math.log2(eps_qkd):.2f} bits, at most 1024")


def check_disclosure(r_syndrome: float | None, f_ec: float | None) -> None:
    """Check that reconciliation is described, and once."""
    once = (r_syndrome is None) != (f_ec is None)
    demand(once, "r_syndrome, f_ec", (r_syndrome, f_ec), "one of them: disclosed bits or reconciliation efficiency")
    if r_syndrome is not None:
        demand_count("r_syndrome", r_syndrome, least=0)
    if f_ec is not None:
        demand_efficiency("f_ec", f_ec)
