"""What a forger's one try is worth against a one-time message authentication code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from qnoded.errors import UsageError
from qnoded.stages.key_length.inputs import demand, demand_count

BLOCK_BYTES: Final = 16
"""Both hashes take the message in blocks of 128 bits."""

FULL_TAG_BITS: Final = 128
SHORTEST_TAG_BITS: Final = 32
"""Below it a forger succeeds by chance within a day on a fast link."""

POLY1305: Final = "poly1305"
GHASH128: Final = "ghash128"


@dataclass(frozen=True, slots=True)
class MacInputs:
    """One message, one hash, a mask of fresh key bits for its tag."""

    message_bytes: int
    hash: str
    """``poly1305`` or ``ghash128``."""
    tag_bits: int = FULL_TAG_BITS

    def __post_init__(self) -> None:
        demand_count("message_bytes", self.message_bytes)
        if self.hash not in (POLY1305, GHASH128):
            message = f"input hash = {self.hash} is not known; give {POLY1305} or {GHASH128}"
            raise UsageError(message)
        if self.hash == POLY1305:
            demand(self.tag_bits == FULL_TAG_BITS, "tag_bits", self.tag_bits, "128: Poly1305 has no shorter tag")
        whole = SHORTEST_TAG_BITS <= self.tag_bits <= FULL_TAG_BITS
        demand(whole, "tag_bits", self.tag_bits, f"a length from {SHORTEST_TAG_BITS} to {FULL_TAG_BITS} bits")


@dataclass(frozen=True, slots=True)
class MacBound:
    """Probability that one altered message passes."""

    eps: float
    log2_eps: float


def mac_bound(inputs: MacInputs) -> MacBound:
    """Return the probability that a forger who saw one message and tag substitutes another message.

    ``poly1305``: 8 ceil(L/16) / 2^106 with L the bytes of the message. ``ghash128``, a polynomial over GF(2^128) with
    the message's length as its last block: (ceil(L/16) + 1) / 2^tag_bits. Information-theoretic only if hash key and
    mask are secret key bits and no mask is used twice.

    Sources: Bernstein, FSE 2005, LNCS 3557, 32 (Theorem 3.3); Wegman and Carter, J. Comput. Syst. Sci. 22, 265 (1981)
    for the masked tag; Krawczyk, EUROCRYPT '95, LNCS 921, 301 for almost-XOR-universal hashes.
    """
    blocks = -(-inputs.message_bytes // BLOCK_BYTES)
    poly1305 = inputs.hash == POLY1305
    eps = Fraction(8 * blocks, 2**106) if poly1305 else Fraction(blocks + 1, 2**inputs.tag_bits)
    return MacBound(float(eps), math.log2(eps.numerator) - math.log2(eps.denominator))
