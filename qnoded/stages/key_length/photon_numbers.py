"""What clicks of pulses of known intensities say of the photon numbers behind them, with Hoeffding's bound.

To be used within ``entropy.precisely()``: all numbers are decimals.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from qnoded.stages.key_length.entropy import exact, log2_exact

_HALF: Final = Decimal("0.5")

Counts = tuple[Decimal, ...]
"""Clicks or errors by intensity."""


def exact_counts(counts: tuple[float, ...]) -> Counts:
    """Return counts, intensities or probabilities as the decimal numbers that they were written as."""
    return tuple(exact(count) for count in counts)


class PulsedSource:
    """Intensities, their probabilities, and the failure probability eps_sec / terms of each bound on a count."""

    def __init__(self, mu: tuple[float, ...], p: tuple[float, ...], eps_sec: Decimal, terms: int) -> None:
        self.mu = exact_counts(mu)
        self.p = exact_counts(p)
        self.eps_sec = eps_sec
        self.terms = terms
        self.log_terms = (terms / eps_sec).ln()

    def tau(self, photons: int) -> Decimal:
        """Probability that a pulse holds 0 or 1 photons."""
        parts = (p * (-mu).exp() * (mu if photons else 1) for mu, p in zip(self.mu, self.p, strict=True))
        return sum(parts, Decimal(0))

    def deviation(self, counts: Counts) -> Decimal:
        """Hoeffding's deviation of each count of these."""
        return (sum(counts, Decimal(0)) / 2 * self.log_terms).sqrt()

    def high(self, counts: Counts, intensity: int) -> Decimal:
        """Return e^mu times the expected count if every pulse had this intensity: at most this."""
        return self.per_pulse(intensity, counts[intensity] + self.deviation(counts))

    def low(self, counts: Counts, intensity: int) -> Decimal:
        """As ``high``: at least this."""
        return self.per_pulse(intensity, counts[intensity] - self.deviation(counts))

    def high_within(self, counts: Counts, intensity: int) -> Decimal:
        """As ``high``, but not more clicks than there were."""
        most = sum(counts, Decimal(0))
        return self.per_pulse(intensity, min(most, counts[intensity] + self.deviation(counts)))

    def low_within(self, counts: Counts, intensity: int) -> Decimal:
        """As ``low``, but not fewer than none."""
        return self.per_pulse(intensity, max(Decimal(0), counts[intensity] - self.deviation(counts)))

    def per_pulse(self, intensity: int, count: Decimal) -> Decimal:
        """Return (e^mu / p) count of an intensity."""
        return self.mu[intensity].exp() / self.p[intensity] * count

    def gamma(self, rate: Decimal, test: Decimal, key: Decimal) -> Decimal:
        """Random-sampling allowance of Fung, Ma and Chau, Phys. Rev. A 81, 012318 (2010), from test to key bits."""
        # Without any error the variance would vanish; one error in the sample is the least that is certain.
        spread = (1 - rate) * max(rate, 1 / test)
        scale = (test + key) / (test * key)
        argument = max(scale / spread * (self.terms / self.eps_sec) ** 2, Decimal(1))
        return (scale * spread / Decimal(2).ln() * log2_exact(argument)).sqrt()


def two_decoy_clicks(source: PulsedSource, n: Counts) -> tuple[Decimal, Decimal]:
    """Return the least numbers of vacuum and of single-photon clicks with three intensities."""
    mu1, mu2, mu3 = source.mu
    vacuum = source.tau(0) * (mu2 * source.low(n, 2) - mu3 * source.high(n, 1)) / (mu2 - mu3)
    most = sum(n, Decimal(0))
    vacuum = min(max(vacuum, Decimal(0)), most)
    multi = (mu2**2 - mu3**2) / mu1**2 * (source.high(n, 0) - vacuum / source.tau(0))
    single = source.tau(1) * mu1 * (source.low(n, 1) - source.high(n, 2) - multi)
    single /= mu1 * (mu2 - mu3) - mu2**2 + mu3**2
    # Counts that no such source can give could promise more than there is.
    return vacuum, min(max(single, Decimal(0)), most - vacuum)


def one_decoy_clicks(source: PulsedSource, n: Counts, c: Counts) -> tuple[Decimal, Decimal]:
    """Return the least numbers of vacuum and of single-photon clicks with two intensities."""
    mu1, mu2 = source.mu
    most = sum(n, Decimal(0))
    low, high = source.low_within(n, 1), source.high_within(n, 0)
    vacuum = source.tau(0) / (mu1 - mu2) * (mu1 * low - mu2 * high)
    # Half of all vacuum clicks are errors, so the errors bound them from above.
    vacuum_high = min(2 * (source.tau(0) * source.high_within(c, k) + source.deviation(n)) for k in (0, 1))
    vacuum_high = min(vacuum_high, most)
    multi = mu2**2 / mu1**2 * high + (mu1**2 - mu2**2) / (mu1**2 * source.tau(0)) * vacuum_high
    single = source.tau(1) * mu1 / (mu2 * (mu1 - mu2)) * (low - multi)
    vacuum = min(max(vacuum, Decimal(0)), most)
    return vacuum, min(max(single, Decimal(0)), most - vacuum)


def phase_error_rate(errors: Decimal, test: Decimal, key: Decimal, allowance: Callable[[Decimal], Decimal]) -> Decimal:
    """Return the bound on the phase error rate; 1/2 where the counts say nothing."""
    if test <= 0 or key <= 0 or errors >= test * _HALF:
        return _HALF
    rate = errors / test
    return min(rate + allowance(rate), _HALF)
