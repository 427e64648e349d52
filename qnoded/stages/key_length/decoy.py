# ruff: noqa: N815 - inputs and terms bear the symbols of their papers, capitals included
"""Finite-key lengths of decoy-state BB84: weak pulses of two or three intensities, coherent attacks.

Common assumptions: phases of the pulses are uniformly random; intensities are exact, and an eavesdropper cannot tell
them but by the number of photons; detectors of both bases are equally efficient; the classical channel is
authenticated.
Counts may be expected values of a model, hence not whole.
"""

from __future__ import annotations

from collections.abc import Callable
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
from qnoded.stages.key_length.inputs import LARGEST_COUNT, demand, demand_efficiency, demand_epsilon
from qnoded.stages.key_length.photon_numbers import (
    Counts,
    PulsedSource,
    exact_counts,
    one_decoy_clicks,
    phase_error_rate,
    two_decoy_clicks,
)

LIM_2014_TERMS: Final = 21
RUSCA_2018_TERMS: Final = 19
WIESEMANN_TERMS: Final = 15
"""Into how many equal parts each proof splits eps_sec."""

_PROBABILITY_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True)
class TwoDecoyInputs:
    """Clicks by intensity; X is the key basis, Z the test basis."""

    n_X: tuple[float, ...]
    """[3] sifted bits of the key basis."""
    n_Z: tuple[float, ...]
    """[3] sifted bits of the test basis."""
    m_Z: tuple[float, ...]
    """[3] errors among ``n_Z``."""
    m_X_total: float
    """Errors of the key basis, all intensities."""
    mu: tuple[float, ...]
    """[3] mean photon numbers, mu1 > mu2 + mu3 and mu2 > mu3 >= 0."""
    p: tuple[float, ...]
    """[3] probabilities of the intensities."""
    f_ec: float
    """Reconciliation efficiency; disclosed are f_ec n_X h(QBER of X) bits."""
    eps_sec: float
    eps_cor: float

    def __post_init__(self) -> None:
        _check_intensities(self.mu, self.p, 3)
        _check_counts("n_X", self.n_X, 3)
        _check_errors("m_Z", self.m_Z, self.n_Z, "n_Z", 3)
        some = 0.0 <= self.m_X_total <= sum(self.n_X) / 2
        demand(some, "m_X_total", self.m_X_total, "errors of at least 0, at most half of the clicks n_X")
        mu1, mu2, mu3 = self.mu
        demand(mu1 > mu2 + mu3 and mu2 > mu3, "mu", self.mu, "intensities with mu1 > mu2 + mu3 and mu2 > mu3 >= 0")
        _check_protocol(self.f_ec, self.eps_sec, self.eps_cor)


@dataclass(frozen=True, slots=True)
class TwoDecoyLength:
    """Bounds on vacuum and single-photon clicks, and length."""

    s_X0: float
    """Vacuum clicks of the key basis, at least."""
    s_X1: float
    """Single-photon clicks of the key basis, at least."""
    s_Z1: float
    v_Z1: float
    """Errors of single-photon clicks of the test basis, at most."""
    phi_X: float
    """Phase error rate of single-photon clicks of the key basis, at most."""
    qber_X: float
    leak_ec: float
    ell_real: float
    ell: int


def lim2014_length(inputs: TwoDecoyInputs) -> TwoDecoyLength:
    """Return l = floor(s_X0 + s_X1 (1 - h(phi_X)) - leak - 6 log2(21/eps_sec) - log2(2/eps_cor)).

    Hoeffding's bound on each count. Single-photon errors cannot exceed all errors, nor vacuum clicks be negative.

    Source: Lim, Curty, Walenta, Xu and Zbinden, Phys. Rev. A 89, 022307 (2014), Eqs. (1) to (5). Its fixed-length
    argument and its conditioning on random counts have gaps, repaired for a smaller length in arXiv:2405.16578.
    """
    with precisely():
        source = PulsedSource(inputs.mu, inputs.p, exact(inputs.eps_sec), LIM_2014_TERMS)
        n_x, n_z, m_z = exact_counts(inputs.n_X), exact_counts(inputs.n_Z), exact_counts(inputs.m_Z)
        mu2, mu3 = source.mu[1], source.mu[2]
        s_x0, s_x1 = two_decoy_clicks(source, n_x)
        s_z1 = two_decoy_clicks(source, n_z)[1]
        v_z1 = source.tau(1) * (source.high(m_z, 1) - source.low(m_z, 2)) / (mu2 - mu3)
        v_z1 = min(max(v_z1, Decimal(0)), sum(m_z, Decimal(0)))
        phi = phase_error_rate(v_z1, s_z1, s_x1, lambda e: source.gamma(e, s_z1, s_x1))
        qber, leak = _leak(exact(inputs.m_X_total), n_x, inputs.f_ec)
        finite = 6 * log2_exact(LIM_2014_TERMS / source.eps_sec) + log2_exact(2 / exact(inputs.eps_cor))
        real = s_x0 + s_x1 * (1 - worst_entropy(phi)) - leak - finite
        return TwoDecoyLength(
            s_X0=float(s_x0),
            s_X1=float(s_x1),
            s_Z1=float(s_z1),
            v_Z1=float(v_z1),
            phi_X=float(phi),
            qber_X=float(qber),
            leak_ec=float(leak),
            ell_real=float(real),
            ell=whole_bits(real),
        )


@dataclass(frozen=True, slots=True)
class OneDecoyInputs:
    """Clicks and errors by intensity."""

    n_key: tuple[float, ...]
    """[2] sifted bits of the key basis."""
    c_key: tuple[float, ...]
    """[2] errors among ``n_key``."""
    n_test: tuple[float, ...]
    """[2] sifted bits of the test basis."""
    c_test: tuple[float, ...]
    """[2] errors among ``n_test``."""
    mu: tuple[float, ...]
    """[2] mean photon numbers, mu1 > mu2 > 0."""
    p: tuple[float, ...]
    """[2] probabilities of the intensities."""
    f_ec: float
    """Reconciliation efficiency; disclosed are f_ec n_key h(QBER) bits."""
    eps_sec: float
    eps_cor: float

    def __post_init__(self) -> None:
        _check_intensities(self.mu, self.p, 2)
        _check_errors("c_key", self.c_key, self.n_key, "n_key", 2)
        _check_errors("c_test", self.c_test, self.n_test, "n_test", 2)
        demand(self.mu[0] > self.mu[1] > 0, "mu", self.mu, "intensities with mu1 > mu2 > 0")
        _check_protocol(self.f_ec, self.eps_sec, self.eps_cor)


@dataclass(frozen=True, slots=True)
class OneDecoyLength:
    """Bounds on vacuum and single-photon clicks, and length."""

    s0_low: float
    """Vacuum clicks of the key basis, at least."""
    s1_low: float
    """Single-photon clicks of the key basis, at least."""
    s1_test: float
    v1_test: float
    """Errors of single-photon clicks of the test basis, at most."""
    phi: float
    """Phase error rate of single-photon clicks of the key basis, at most."""
    qber: float
    leak_ec: float
    ell_real: float
    ell: int


def rusca2018_length(inputs: OneDecoyInputs) -> OneDecoyLength:
    """Return l = floor(s0 + s1 (1 - h(phi)) - leak - 6 log2(19/eps_sec) - log2(2/eps_cor)).

    Source: Rusca, Boaron, Gruenenfelder, Martin and Zbinden, Appl. Phys. Lett. 112, 171104 (2018), arXiv:1801.03443.
    Its fixed-length argument and its conditioning on random counts have gaps, repaired for a smaller length in
    ``wiesemann2024_length``.
    """
    with precisely():
        source = PulsedSource(inputs.mu, inputs.p, exact(inputs.eps_sec), RUSCA_2018_TERMS)
        finite = 6 * log2_exact(RUSCA_2018_TERMS / source.eps_sec) + log2_exact(2 / exact(inputs.eps_cor))
        return _one_decoy_length(inputs, source, source.gamma, finite, vacuum=True)


def wiesemann2024_length(inputs: OneDecoyInputs) -> OneDecoyLength:
    """Return l = floor(s1 (1 - h(phi)) - leak - log2(2/eps_cor) - 4 log2(15 / (eps_sec 2^(1/4)))), vacuum left out.

    phi = v1/s1_test + sqrt((s1_test + s1)/(s1_test s1) (s1_test + 1)/s1_test ln(15/eps_sec)), by Serfling's bound.
    Holds for blocks of fixed and of variable length; the default for decoy-state links.

    Source: Wiesemann, Krause, Tupkary, Luetkenhaus, Rusca and Walenta, arXiv:2405.16578v3 (2026), Sections 4 and 6.
    """
    with precisely():
        source = PulsedSource(inputs.mu, inputs.p, exact(inputs.eps_sec), WIESEMANN_TERMS)
        quarter = Decimal("0.25")
        finite = 4 * (log2_exact(WIESEMANN_TERMS / source.eps_sec) - quarter) + log2_exact(2 / exact(inputs.eps_cor))

        def serfling(_: Decimal, test: Decimal, key: Decimal) -> Decimal:
            return ((test + key) / (test * key) * (test + 1) / test * source.log_terms).sqrt()

        return _one_decoy_length(inputs, source, serfling, finite, vacuum=False)


def _one_decoy_length(
    inputs: OneDecoyInputs,
    source: PulsedSource,
    allowance: Callable[[Decimal, Decimal, Decimal], Decimal],
    finite: Decimal,
    *,
    vacuum: bool,
) -> OneDecoyLength:
    n_key, c_key = exact_counts(inputs.n_key), exact_counts(inputs.c_key)
    n_test, c_test = exact_counts(inputs.n_test), exact_counts(inputs.c_test)
    s0, s1 = one_decoy_clicks(source, n_key, c_key)
    s0 = s0 if vacuum else Decimal(0)
    s1_test = one_decoy_clicks(source, n_test, c_test)[1]
    v1 = source.tau(1) / (source.mu[0] - source.mu[1]) * (source.high_within(c_test, 0) - source.low_within(c_test, 1))
    v1 = min(max(v1, Decimal(0)), sum(n_test, Decimal(0)))
    phi = phase_error_rate(v1, s1_test, s1, lambda rate: allowance(rate, s1_test, s1))
    qber, leak = _leak(sum(c_key, Decimal(0)), n_key, inputs.f_ec)
    real = s0 + s1 * (1 - worst_entropy(phi)) - leak - finite
    return OneDecoyLength(
        s0_low=float(s0),
        s1_low=float(s1),
        s1_test=float(s1_test),
        v1_test=float(v1),
        phi=float(phi),
        qber=float(qber),
        leak_ec=float(leak),
        ell_real=float(real),
        ell=whole_bits(real),
    )


def _leak(errors: Decimal, n: Counts, f_ec: float) -> tuple[Decimal, Decimal]:
    """Return the QBER and the bits that reconciliation discloses."""
    total = sum(n, Decimal(0))
    qber = errors / total
    return qber, exact(f_ec) * total * entropy_exact(qber)


def _check_intensities(mu: tuple[float, ...], p: tuple[float, ...], number: int) -> None:
    demand(len(mu) == number, "mu", mu, f"{number} mean photon numbers, the largest first")
    demand(all(0.0 <= one <= 10.0 for one in mu), "mu", mu, "mean photon numbers from 0 to 10")
    demand(len(p) == number, "p", p, f"{number} probabilities, one for each intensity")
    whole = all(one > 0.0 for one in p) and abs(sum(p) - 1.0) <= _PROBABILITY_SLACK
    demand(whole, "p", p, "probabilities above 0 that add up to 1")


def _check_counts(name: str, counts: tuple[float, ...], number: int) -> None:
    demand(len(counts) == number, name, counts, f"{number} counts, one for each intensity")
    some = all(0.0 <= count <= LARGEST_COUNT for count in counts) and sum(counts) > 0.0
    demand(some, name, counts, "counts from 0 to 2**53 that are not all 0")


def _check_errors(name: str, errors: tuple[float, ...], counts: tuple[float, ...], counted: str, number: int) -> None:
    _check_counts(counted, counts, number)
    demand(len(errors) == number, name, errors, f"{number} counts, one for each intensity")
    some = all(0.0 <= e <= n for e, n in zip(errors, counts, strict=True)) and sum(errors) <= sum(counts) / 2
    demand(some, name, errors, f"errors of at least 0, at most half of the clicks {counted}")


def _check_protocol(f_ec: float, eps_sec: float, eps_cor: float) -> None:
    demand_efficiency("f_ec", f_ec)
    demand_epsilon("eps_sec", eps_sec)
    demand_epsilon("eps_cor", eps_cor)
