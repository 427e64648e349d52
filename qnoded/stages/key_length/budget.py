"""The one security budget of a link: what may go wrong, how often, and which step pays for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qnoded.stages.key_length.inputs import demand, demand_epsilon


@dataclass(frozen=True, slots=True)
class SecurityBudget:
    """Failure probabilities of one block; those of several blocks add up (they are composable).

    ``eps_sec`` is shared by parameter estimation and privacy amplification; ``block`` finds the best shares and its
    result shows them. Reconciliation may fail at no cost in security: verification notices, which ``eps_cor`` pays for.
    """

    eps_sec: float = 1e-10
    """Secrecy: distance of the key from one that is uniform and unknown to the eavesdropper."""
    eps_cor: float = 1e-15
    """Correctness: probability that the ends hold different keys after verification."""
    eps_auth: float = 1e-15
    """Probability that an altered transcript of the block passes authentication."""
    verification_bits: int | None = None
    """Disclosed bits of the verification hash; the fewest that eps_cor allows if not given."""

    def __post_init__(self) -> None:
        demand_epsilon("eps_sec", self.eps_sec)
        demand_epsilon("eps_cor", self.eps_cor)
        demand_epsilon("eps_auth", self.eps_auth)
        if self.verification_bits is not None:
            least = math.ceil(-math.log2(self.eps_cor))
            accepted = f"at least log2(1/eps_cor), {least} bits, at most 1024"
            demand(least <= self.verification_bits <= 1024, "verification_bits", self.verification_bits, accepted)

    @property
    def eps_total(self) -> float:
        """Distance of a block's key from an ideal one, everything included."""
        return self.eps_sec + self.eps_cor + self.eps_auth

    @property
    def hash_bits(self) -> int:
        """Disclosed bits of the verification hash."""
        return math.ceil(-math.log2(self.eps_cor)) if self.verification_bits is None else self.verification_bits
