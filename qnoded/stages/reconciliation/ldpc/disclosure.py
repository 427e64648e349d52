"""How much alice discloses: at first, by the error rate, and again whenever bob's decoder gives up."""

from __future__ import annotations

import math
from typing import Final

from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.reconciliation.ldpc.adaptation import MOST_PAYLOAD_BITS, FramePlan, plan_frame

FIRST_ORDER: Final = 1.10
"""Disclosed bits over n h(Q) for an endless block: 1.03 to 1.12 where the families stop working, and room for what
the decoder's integers and the mismatch of the family cost. Measured at 0.5 to 11 %."""
SECOND_ORDER: Final = 6.5
"""Standard deviations of a block's information content that are disclosed on top. An ideal code needs 2.3 for 1 %
failures; the rest is what finite codes of this kind lack. Measured with 1e5 and 8e5 bits."""
STEP: Final = 0.02
"""What is disclosed more at a time, as a share of what the syndrome gave away."""


def first_leak(payload_bits: int, qber: float) -> int:
    """Return how many bits to disclose so that about one block in a hundred at most asks for more.

    The form is that of the best possible code, n h(Q) + c sqrt(n v) with v = Q (1 - Q) log2^2((1 - Q)/Q) (Tomamichel,
    Martinez-Mateo, Pacher and Elkouss, Quantum Inf. Process. 16:280 (2017)); the factors are those of these codes.

    Parameters
    ----------
    payload_bits : length of the block
    qber : error rate that is expected, 0 to 1/2; where it is an estimate from a sample, its upper end
    """
    rate = min(max(qber, 1 / max(payload_bits, 2)), 0.5)
    spread = math.sqrt(payload_bits * rate * (1 - rate)) * math.log2((1 - rate) / rate)
    leak = FIRST_ORDER * payload_bits * binary_entropy(rate) + SECOND_ORDER * spread
    return min(payload_bits, math.ceil(leak))


def plan_block(payload_bits: int, qber: float) -> FramePlan:
    """Choose the code for a block of this length and expected error rate.

    Raises
    ------
    UsageError
        If the block is too short or too long for these codes.
    """
    return plan_frame(payload_bits, first_leak(payload_bits, qber))


def split(block_bits: int) -> tuple[int, ...]:
    """Return the lengths of the frames that a long block is cut into: as few as can be, and nearly equal."""
    frames = max(1, -(-block_bits // MOST_PAYLOAD_BITS))
    return tuple(block_bits * (i + 1) // frames - block_bits * i // frames for i in range(frames))


def next_step(plan: FramePlan, disclosed_bits: int) -> int:
    """Return how many bits alice has disclosed beyond the syndrome after one more step.

    Parameters
    ----------
    plan : as agreed
    disclosed_bits : bits disclosed so far beyond the syndrome

    Returns
    -------
    int
        ``disclosed_bits`` where nothing is left: the whole block is public and the block is lost.
    """
    step = max(1, math.ceil(STEP * plan.leaked_bits))
    return min(plan.punctured_bits + plan.payload_bits, disclosed_bits + step)


def leak(plan: FramePlan, disclosed_bits: int) -> int:
    """Return all bits that alice gave away: the syndrome's, less the punctured ones, and those disclosed since."""
    return plan.leaked_bits + disclosed_bits
