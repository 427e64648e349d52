"""BBM92 with infinitely many pairs: a figure for plans and displays, never the length of a key."""

from __future__ import annotations

from dataclasses import dataclass

from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.key_length.inputs import demand_efficiency, demand_rate


@dataclass(frozen=True, slots=True)
class AsymptoticInputs:
    """Error rates of both bases without statistical uncertainty."""

    e_z: float
    """QBER of the basis that the key is made from."""
    e_x: float
    """QBER of the complementary basis: the phase error rate of the key."""
    f_ec: float
    """Reconciliation efficiency: disclosed bits over n h(e_z)."""

    def __post_init__(self) -> None:
        demand_rate("e_z", self.e_z)
        demand_rate("e_x", self.e_x)
        demand_efficiency("f_ec", self.f_ec)


@dataclass(frozen=True, slots=True)
class AsymptoticRate:
    """Secret bits per sifted bit of the key basis."""

    rate_per_sifted_bit: float
    """May be negative: the distance to a key."""
    rate_clamped: float
    """The same, at least 0."""


def asymptotic_rate(inputs: AsymptoticInputs) -> AsymptoticRate:
    """Return r = 1 - h(e_x) - f h(e_z); it vanishes at 11.0 % in both bases with f = 1.

    One-way reconciliation, coherent attacks, infinitely many bits, ideal detectors with equal efficiencies.

    Source: Shor and Preskill, Phys. Rev. Lett. 85, 441 (2000), for entangled pairs: Koashi and Preskill, Phys. Rev.
    Lett. 90, 057902 (2003).
    """
    rate = 1.0 - binary_entropy(inputs.e_x) - inputs.f_ec * binary_entropy(inputs.e_z)
    return AsymptoticRate(rate, max(0.0, rate))
