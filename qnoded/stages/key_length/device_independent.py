# ruff: noqa: N815 - inputs and terms bear the symbols of their papers, capitals included
"""What a Bell test says: CHSH with its error bar, and the asymptotic device-independent key rate.

Both are diagnostics. A link that closes neither the detection nor the locality loophole may show them, but its key is
not device-independent, and neither number ever sets the length of a key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.key_length.inputs import LARGEST_COUNT, demand, demand_rate

CLASSICAL_BOUND: Final = 2.0
"""Largest S of local hidden variables (Clauser, Horne, Shimony, Holt, Phys. Rev. Lett. 23, 880 (1969))."""

QUANTUM_BOUND: Final = 2.0 * math.sqrt(2.0)
"""Largest S of quantum mechanics (Cirelson, Lett. Math. Phys. 4, 93 (1980))."""

_ROUNDING: Final = 1e-12
"""Relative slack for an S that was itself computed as 2 sqrt 2."""

_SETTING_PAIRS: Final = 4
_OUTCOME_PAIRS: Final = 4


@dataclass(frozen=True, slots=True)
class DeviceIndependentInputs:
    """CHSH parameter and error rate of the key settings."""

    S: float
    Q: float

    def __post_init__(self) -> None:
        limit = QUANTUM_BOUND * (1.0 + _ROUNDING)
        demand(-limit <= self.S <= limit, "S", self.S, "a CHSH parameter within the quantum bound 2 sqrt 2 = 2.828427")
        demand_rate("Q", self.Q)


@dataclass(frozen=True, slots=True)
class DeviceIndependentRate:
    """Secret bits per key pair, asymptotically."""

    chi_S: float
    """Holevo bound on what an eavesdropper knows of a key bit, bits; 1 where no Bell inequality is violated."""
    rate: float
    """1 - h(Q) - chi_S; may be negative."""
    rate_clamped: float
    """The same, at least 0."""


def device_independent_rate(inputs: DeviceIndependentInputs) -> DeviceIndependentRate:
    """Return r = 1 - h(Q) - h((1 + sqrt((S/2)^2 - 1)) / 2).

    One-way reconciliation at the Shannon limit, collective attacks, infinitely many pairs, no loophole open.
    Where S <= 2 the eavesdropper may know everything: chi = 1 and there is no key.

    Source: Acin, Brunner, Gisin, Massar, Pironio and Scarani, Phys. Rev. Lett. 98, 230501 (2007), the
    theorem on chi(B1:E) and the key rate that follows from it.
    """
    if inputs.S <= CLASSICAL_BOUND:
        chi = 1.0
    else:
        chi = binary_entropy((1.0 + math.sqrt(min(1.0, (inputs.S / 2.0) ** 2 - 1.0))) / 2.0)
    rate = 1.0 - binary_entropy(inputs.Q) - chi
    return DeviceIndependentRate(chi, rate, max(0.0, rate))


@dataclass(frozen=True, slots=True)
class ChshInputs:
    """Coincidence counts of the four pairs of settings."""

    counts: tuple[tuple[float, ...], ...]
    """[4][4]: setting pairs 00, 01, 10, 11 (alice, bob); of each the outcomes ++, +-, -+, --."""

    def __post_init__(self) -> None:
        shape = len(self.counts) == _SETTING_PAIRS and all(len(row) == _OUTCOME_PAIRS for row in self.counts)
        demand(shape, "counts", list(self.counts), "four setting pairs with four counts each: ++, +-, -+, --")
        some = all(0 <= count <= LARGEST_COUNT for row in self.counts for count in row)
        demand(some, "counts", list(self.counts), "counts from 0 to 2**53")
        some = all(sum(row) > 0 for row in self.counts)
        demand(some, "counts", list(self.counts), "at least one coincidence in each setting pair")


@dataclass(frozen=True, slots=True)
class ChshResult:
    """Correlations and CHSH parameter with their statistical error."""

    E: tuple[float, ...]
    """Correlation of each setting pair, -1 to 1."""
    S: float
    """E00 - E01 + E10 + E11, with its sign."""
    sigma_S: float
    """One standard deviation of S."""
    n_sigma_above_2: float | None
    """(S - 2) / sigma_S; None where the counts leave no statistical error at all."""


def chsh(inputs: ChshInputs) -> ChshResult:
    """Return S = E00 - E01 + E10 + E11 with E = (N++ + N-- - N+- - N-+) / N and var E = (1 - E^2) / N.

    The error is that of a multinomial distribution of N coincidences per setting pair; it is not a p-value against
    local hidden variables, for which settings must be chosen anew, at random, for each pair.

    Source: Clauser, Horne, Shimony and Holt, Phys. Rev. Lett. 23, 880 (1969), Eq. (1b), as a sum of correlations.
    """
    totals = [sum(row) for row in inputs.counts]
    correlations = tuple((row[0] + row[3] - row[1] - row[2]) / n for row, n in zip(inputs.counts, totals, strict=True))
    s = correlations[0] - correlations[1] + correlations[2] + correlations[3]
    sigma = math.sqrt(sum((1.0 - e * e) / n for e, n in zip(correlations, totals, strict=True)))
    return ChshResult(correlations, s, sigma, (s - CLASSICAL_BOUND) / sigma if sigma > 0.0 else None)
