"""How many sifted bits to reveal as test bits: the sample that is expected to leave the longest key."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.exchange.distilling import Agreement
from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.reconciliation.cascade import SHORTEST_BLOCK

SIZES_TRIED: Final = 80
LARGEST_SHARE: Final = 0.75
PLANNED_EFFICIENCY: Final = 1.08
"""f that is planned with; a little more than Cascade needs at 1e5 bits. A wrong plan costs length, not security."""
FALLBACK_SHARE: Final = 0.25
"""Where no sample leaves a key: about the best share just above the shortest block with a key."""


def best_test_bits(sifted_bits: int, planned_rate: float, agreement: Agreement) -> int:
    """Return the size of the sample that leaves the longest key at the planned error rate.

    It must not depend on the bits themselves: the rate is one that was known before, not that of this block.

    Parameters
    ----------
    sifted_bits : length of the block before the sample is taken, more than ``SHORTEST_BLOCK``
    planned_rate : error rate that is expected
    agreement : budget and leak count; its own number of test bits is not read
    """
    most = max(1, min(int(LARGEST_SHARE * sifted_bits), sifted_bits - SHORTEST_BLOCK))
    sizes = np.unique(np.geomspace(min(most, 16), most, SIZES_TRIED).astype(np.int64))
    lengths = {int(size): _length(sifted_bits, int(size), planned_rate, agreement) for size in sizes}
    best = max(lengths, key=lambda size: lengths[size])
    return best if lengths[best] else max(1, min(most, round(FALLBACK_SHARE * sifted_bits)))


def _length(sifted_bits: int, test_bits: int, rate: float, agreement: Agreement) -> int:
    key_bits = sifted_bits - test_bits
    leak = PLANNED_EFFICIENCY * key_bits * binary_entropy(rate) * agreement.ends_counted
    counts = SiftedCounts(key_bits, test_bits, min(test_bits, round(rate * test_bits)), round(leak))
    return block_key_length(counts, agreement.at_length(key_bits).budget, tolerance=None).bits
