"""What reconciliation gives, whatever the method, and what of it counts as leaked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qnoded.secret import Secret
from qnoded.stages.key_length.entropy import binary_entropy


class LeakCount(Enum):
    """Which disclosed bits privacy amplification has to pay for.

    For a one-way method both counts are the same. Cascade talks both ways, and Tupkary and Luetkenhaus
    (arXiv:2307.00576) show that counting alice's parities alone is no valid bound *by itself*. Two remedies are proven:

    - ``TRANSCRIPT`` counts every parity of both ends. It holds for any bound on the entropy, and costs twice as much.
    - ``ALICE`` counts alice's parities and leaves bob's to the entropy bound, which must then hold although an
      eavesdropper knows the whole error pattern (bob's parities are alice's plus those of the errors). It does where
      both receivers measure qubits in complementary bases: the pattern of bit errors is the outcome of Z x Z, which
      commutes with X x X, so announcing it does not change the phase errors that the bound counts.
    """

    ALICE = "alice"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Bits that each end told about its block."""

    alice_bits: int
    bob_bits: int

    def counted(self, count: LeakCount) -> int:
        """Return the leaked bits under one way to count."""
        return self.alice_bits + (self.bob_bits if count is LeakCount.TRANSCRIPT else 0)


class Outcome(Enum):
    """How reconciliation of a block ended. Whether the blocks are equal only verification tells."""

    CORRECTED = "all parities agree"
    GIVEN_UP = "more was disclosed than the block holds"


@dataclass(frozen=True, slots=True)
class ReconciledBlock:
    """One end's block after reconciliation; equal to the other end's with high probability, not yet verified."""

    block: Secret
    """Packed bits, the first highest, as ``stages.sifting.pack``; for alice those she came with."""
    block_bits: int
    errors: int
    """Errors that were located; both ends know them."""
    disclosed: Disclosure
    exchanges: int
    """Messages that each end sent for this block. Both send at once, so one takes a one-way delay."""
    outcome: Outcome

    @property
    def round_trips(self) -> int:
        """Time that the block spent on the way, in round-trip delays of the channel, rounded up."""
        return -(-self.exchanges // 2)


def efficiency(leaked_bits: int, block_bits: int, errors: int) -> float | None:
    """Return f, the leaked bits over the n h(Q) of an ideal code at the observed error rate Q.

    None where the block has no errors or more than half: there is nothing to compare with.
    """
    least = block_bits * binary_entropy(errors / block_bits)
    return leaked_bits / least if 0 < 2 * errors < block_bits else None
