"""Syndrome of alice's block, decoding at bob's, and what alice discloses when that fails. Pure.

Alice's side is ``encode`` and ``disclosed``; bob's is ``decode``, called again with more disclosed bits until it holds.
Nothing here proves that the blocks are equal: a word with the right syndrome may be another one, and only the
verification that follows tells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels import ldpc as kernels
from qnoded.records import I64, U8, frozen
from qnoded.stages.reconciliation.ldpc.adaptation import FramePlan, layout
from qnoded.stages.reconciliation.ldpc.construction import Draw

MOST_ITERATIONS: Final = 150
"""Iterations before more bits are asked for; a word that decodes does so in 20 to 80."""
LEAST_QBER: Final = 1e-4
"""Error rates below are decoded as this one, so that a wrong estimate never makes a bit all but certain."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What bob's decoder found."""

    bits: U8
    """uint8[payload_bits], 0 or 1: bob's block with the errors turned that were found."""
    converged: bool
    """Whether the word has alice's syndrome. If not, the bits are of no use."""
    iterations: int

    def __post_init__(self) -> None:
        frozen(self.bits)


def encode(plan: FramePlan, bits: U8, private: U8) -> U8:
    """Return alice's syndrome.

    Parameters
    ----------
    plan : as agreed
    bits : uint8[payload_bits], 0 or 1, alice's block
    private : uint8[punctured_bits], 0 or 1, fresh random bits that alice keeps; a used one must never come again

    Returns
    -------
    uint8[syndrome_bits], 0 or 1
    """
    return _syndrome(plan, _word(plan, bits, private))


def disclosed(plan: FramePlan, bits: U8, private: U8, start: int, stop: int) -> U8:
    """Return the bits number ``start`` to ``stop`` - 1 of the order in which alice discloses.

    Parameters
    ----------
    plan, bits, private : as given to ``encode``
    start, stop : of ``most_disclosed(plan)``

    Returns
    -------
    uint8[stop - start], 0 or 1; each one more bit of leak
    """
    return np.ascontiguousarray(_word(plan, bits, private)[disclosure_order(plan)[start:stop]])


def most_disclosed(plan: FramePlan) -> int:
    """Return how many bits alice can disclose beyond the syndrome: all that are not shortened."""
    return plan.punctured_bits + plan.payload_bits


def disclosure_order(plan: FramePlan) -> I64:
    """Return the positions that alice discloses one after the other, int64[punctured_bits + payload_bits]."""
    where = layout(plan)
    mixed = where.payload[Draw(plan.seed, plan.family, plan.size, 2).order(plan.payload_bits)]
    return np.concatenate([where.punctured[::-1], mixed])


def decode(
    plan: FramePlan,
    bits: U8,
    qber: float,
    syndrome: U8,
    known: U8 | None = None,
    *,
    most_iterations: int = MOST_ITERATIONS,
) -> Decoded:
    """Search alice's block near bob's.

    Parameters
    ----------
    plan : as agreed
    bits : uint8[payload_bits], 0 or 1, bob's block
    qber : estimated error rate, above 0 and below 1/2
    syndrome : uint8[syndrome_bits], 0 or 1, alice's
    known : uint8[j], the first j bits of alice's disclosure, where there was any
    most_iterations : iterations before it gives up

    Returns
    -------
    Decoded
        Depends on nothing but the arguments, whatever the processor.
    """
    built, where = plan.code, layout(plan)
    ratio = log_likelihood_ratio(qber)
    prior = np.zeros(plan.word_bits, np.int16)
    prior[where.payload] = ratio - 2 * ratio * bits.astype(np.int16)
    prior[where.shortened] = kernels.CERTAIN
    if known is not None and known.size:
        places = disclosure_order(plan)[: known.size]
        prior[places] = kernels.CERTAIN - 2 * kernels.CERTAIN * known.astype(np.int16)
    word = np.empty(plan.word_bits, np.uint8)
    iterations = kernels.decode(
        prior, syndrome, built.row_start, built.column, built.shift, plan.size, most_iterations, word
    )
    converged = bool(np.array_equal(_syndrome(plan, word), syndrome)) and not np.any(word[where.shortened])
    return Decoded(word[where.payload], converged, abs(int(iterations)))


def log_likelihood_ratio(qber: float) -> np.int16:
    """Return ln((1 - Q)/Q) in the decoder's units, at least one."""
    certain = min(max(qber, LEAST_QBER), 0.5)
    return np.int16(max(1, round(kernels.UNITS_PER_NAT * math.log((1 - certain) / certain))))


def _word(plan: FramePlan, bits: U8, private: U8) -> U8:
    assert bits.size == plan.payload_bits
    assert private.size == plan.punctured_bits
    where = layout(plan)
    word = np.zeros(plan.word_bits, np.uint8)
    word[where.payload] = bits
    word[where.punctured] = private
    return word


def _syndrome(plan: FramePlan, word: U8) -> U8:
    built = plan.code
    syndrome = np.empty(plan.syndrome_bits, np.uint8)
    kernels.syndrome(word, built.row_start, built.column, built.shift, plan.size, syndrome)
    return syndrome
