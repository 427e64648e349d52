"""How little one-way reconciliation can disclose: the yardstick of every code's efficiency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri

from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.key_length.inputs import demand, demand_count, demand_epsilon


@dataclass(frozen=True, slots=True)
class OneWayInputs:
    """One frame of sifted bits with independent, equally likely errors."""

    n: int
    """Bits in the frame."""
    Q: float
    """Error rate."""
    frame_error: float
    """Probability that the frame is not corrected."""

    def __post_init__(self) -> None:
        demand_count("n", self.n)
        demand(0.0 < self.Q < 0.5, "Q", self.Q, "an error rate above 0 and below 0.5")
        demand_epsilon("frame_error", self.frame_error)


@dataclass(frozen=True, slots=True)
class OneWayLimit:
    """Smallest disclosure of one-way reconciliation."""

    v: float
    """Variance of the information density of one bit, bits squared."""
    leak_bits: float
    """Disclosed bits of the frame."""
    f_min: float
    """The same over n h(Q)."""


def one_way_limit(inputs: OneWayInputs) -> OneWayLimit:
    """Return leak = n h(Q) + sqrt(n v) PhiInv(1 - eps) - (1/2) log2 n with v = Q (1-Q) log2^2((1-Q)/Q).

    A normal approximation, good to a few bits: a one-way code that claims less is measured wrongly. Two-way
    reconciliation (Cascade) is not bound by it.

    Source: Tomamichel, Martinez-Mateo, Pacher and Elkouss, Quantum Inf. Process. 16, 280 (2017),
    the second-order expansion for the binary symmetric channel.
    """
    n, q = inputs.n, inputs.Q
    v = q * (1.0 - q) * math.log2((1.0 - q) / q) ** 2
    least = n * binary_entropy(q)
    leak = least - math.sqrt(n * v) * float(ndtri(inputs.frame_error)) - 0.5 * math.log2(n)
    return OneWayLimit(v, leak, leak / least)
