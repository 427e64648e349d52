"""Whether bits and bases come out even, and by how much not: chance or a detector.

A key bit that is 0 with probability p has a min-entropy of ``-log2 max(p, 1-p)``; unequal efficiencies of the
two detectors of a basis are the usual cause, ``p0 = eta0 / (eta0 + eta1)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import erfc

from qnoded.errors import UsageError
from qnoded.records import F64, I64, Receiver
from qnoded.stages.estimation.intervals import CONFIDENCE, Proportion, proportion
from qnoded.stages.estimation.outcomes import bases_of, checked, outcome_block, shared_bases

EVEN: Final = 0.5
SIGNIFICANT: Final = 1e-3
"""A p-value below this is taken for more than chance: a handful of tests a run then cry wolf once in a
hundred runs."""
NOTABLE_EFFECT: Final = 0.01
"""A share within 1 % of its expectation costs no key worth a remark, however significant many counts make
it."""


@dataclass(frozen=True, slots=True)
class BiasTest:
    """One share against its expectation."""

    side: str
    """``"alice"`` or ``"bob"``."""
    of: Literal["bit", "basis"]
    basis: str
    """The basis whose bit 0, or whose choice, is counted."""
    share: Proportion
    """Measured share of bit 0, or of the basis, with its interval."""
    expected: float
    z: float
    """Deviation in standard deviations of the expectation; nan without counts."""
    p_value: float
    """Probability of such a deviation or a larger one by chance, two-sided; 1 without counts."""
    effect: float
    """``share - expected``; nan without counts."""
    min_entropy: float
    """``-log2 max(share, 1 - share)``, bits per bit; for a bit that is what it is worth at most."""

    @property
    def notable(self) -> bool:
        """True where the deviation is both beyond chance and large enough to matter."""
        return self.p_value < SIGNIFICANT and abs(self.effect) > NOTABLE_EFFECT


def bias_test(
    side: str,
    of: Literal["bit", "basis"],
    basis: str,
    hits: float,
    total: float,
    *,
    expected: float = EVEN,
    confidence: float = CONFIDENCE,
) -> BiasTest:
    """Test one share against its expectation (normal approximation of the binomial).

    Parameters
    ----------
    side, of, basis : what is tested, for the answer
    hits, total : counts
    expected : float, above 0 and below 1
    confidence : of the interval

    Returns
    -------
    BiasTest

    Raises
    ------
    UsageError
        If the expectation is not between 0 and 1 or the counts are no proportion.
    """
    if not 0.0 < expected < 1.0:
        problem = f"an expected share of {expected} is not between 0 and 1"
        raise UsageError(problem)
    share = proportion(hits, total, confidence)
    nan = float("nan")
    if not total:
        return BiasTest(side, of, basis, share, expected, nan, 1.0, nan, nan)
    z = (hits - total * expected) / float(np.sqrt(total * expected * (1.0 - expected)))
    p_value = float(erfc(abs(z) / np.sqrt(2.0)))
    entropy = -float(np.log2(max(share.value, 1.0 - share.value)))
    return BiasTest(side, of, basis, share, expected, z, p_value, share.value - expected, entropy)


def bias_tests(
    matrix: I64 | F64,
    alice: Receiver,
    bob: Receiver,
    *,
    basis_share: float = EVEN,
    confidence: float = CONFIDENCE,
) -> tuple[BiasTest, ...]:
    """Test bits and bases of both sides in the coincidences.

    Bits are counted in equal bases, where a Bell state gives each outcome half of the time; the share of bit
    0 is then the efficiency mismatch ``eta0 / (eta0 + eta1)`` of that basis, since dark counts hardly make
    coincidences. Bases are counted in all coincidences.

    Parameters
    ----------
    matrix : int64 or float64 [n, m], coincidences
    alice, bob : Receiver
    basis_share : expected share of each side's first basis
    confidence : of the intervals

    Returns
    -------
    tuple of BiasTest
        For each side: one test per common basis, then one of the first basis where the side has two.
    """
    counts = checked(matrix, alice, bob)
    tests: list[BiasTest] = []
    for receiver, axis in ((alice, 1), (bob, 0)):
        for basis in shared_bases(alice, bob):
            bits = outcome_block(counts, alice, bob, basis, basis).sum(axis=axis)
            tests.append(
                bias_test(receiver.side, "bit", basis, float(bits[0]), float(bits.sum()), confidence=confidence)
            )
        bases = bases_of(receiver)
        if len(bases) == 2:
            clicks = counts.sum(axis=axis)
            first = sum(float(clicks[k]) for k, detector in enumerate(receiver.detectors) if detector.basis == bases[0])
            total = float(clicks.sum())
            tests.append(
                bias_test(
                    receiver.side,
                    "basis",
                    bases[0],
                    first,
                    total,
                    expected=basis_share,
                    confidence=confidence,
                )
            )
    return tuple(tests)
