"""What it costs to authenticate a block, and from which length on that is little beside the key that it gives.

Key is used up by the masks of seals, and of the check at the block's commit; the verification hash is taken from the
block itself. Privacy amplification and agreements cost none: their messages lie under the same seals, or are signed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from qnoded.exchange.authenticating import TAG_BYTES
from qnoded.exchange.committing import CHECK_BYTES
from qnoded.exchange.reconciling import METHODS
from qnoded.exchange.terms import LinkTerms
from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.verification import shortest_digest

SEALS_PER_BLOCK: Final = 3
"""Alice's behind ``Offer`` and ``Settled``, bob's behind ``Held``."""
SEALS_PER_SESSION: Final = 4
"""The first in each direction, bob's behind ``OpenBlocks`` and alice's behind ``Verdicts``."""
MOST_SHARE: Final = 0.05
"""Of its key that a block closed early may spend on authentication."""
PLANNED_QBER: Final = 0.05
"""Of such a block: fixed, since where a block ends must not depend on its errors."""
PLANNED_EFFICIENCY: Final = 1.3
"""Disclosed bits over n h(Q): LDPC codes at their shortest blocks (docs/ldpc.md); Cascade stays below 1.1."""
SPREAD: Final = 5.0
"""Standard deviations by which the number of test bits may be off."""


def authentication_bits(blocks: int, sessions: int) -> int:
    """Return the key that seals and checks of so many blocks use up, both directions together.

    Hash keys are not counted: 512 bits for 2^20 seals.

    Parameters
    ----------
    blocks : committed
    sessions : in which at least one of them was
    """
    seals = SEALS_PER_BLOCK * blocks + SEALS_PER_SESSION * sessions
    return 8 * (TAG_BYTES * seals + CHECK_BYTES * blocks)


@lru_cache
def worth_bits(terms: LinkTerms) -> int:
    """Return the sifted bits from which on a block is worth its authentication, even as the only one of its session.

    Seals, check and verification hash are then ``MOST_SHARE`` of its key at most, at ``PLANNED_QBER``.

    Parameters
    ----------
    terms : of the link

    Returns
    -------
    int
        Test bits included; ``block_bits`` where a block of that length is not worth it either.
    """
    low, high = 1, terms.block_bits
    if not _is_worth(terms, high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_worth(terms, middle) else (middle, high)
    return high


def _is_worth(terms: LinkTerms, block_bits: int) -> bool:
    tests = round(terms.test_share * block_bits)
    rest = block_bits - tests
    spread = SPREAD * math.sqrt(block_bits * terms.test_share * (1 - terms.test_share))
    if not tests or rest - spread < METHODS[terms.reconciliation].fewest_bits:
        return False
    hash_bits = 8 * shortest_digest(rest, terms.eps_cor)
    leak_bits = math.ceil(PLANNED_EFFICIENCY * rest * binary_entropy(PLANNED_QBER))
    halves = (block_bits // 2, block_bits - block_bits // 2)
    counts = SiftedCounts(rest, tests, math.ceil(PLANNED_QBER * tests), leak_bits, halves)
    budget = SecurityBudget(terms.eps_sec, terms.eps_cor, verification_bits=hash_bits)
    key_bits = block_key_length(counts, budget, tolerance=None).bits
    return authentication_bits(1, 1) + hash_bits <= MOST_SHARE * key_bits
