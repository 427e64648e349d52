"""What two ends say to each other while they distil a block: frozen records with arrays, sizes limited.

All of it is public. Arrays are packed bits (uint8, first bit highest, unused bits of the last byte zero) and read-only.
``__post_init__`` holds what is true of every such message; what must fit the block at hand the scripts check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.errors import RemoteProtocolError
from qnoded.records import U8, frozen

MOST_BITS: Final = 1 << 30
"""Longest block or seed, and most parities of one message: 128 MiB packed."""
SEED_BYTES: Final = 32
DIGEST_BYTES: Final = 16
LONGEST_METHOD_NAME: Final = 16
PPB: Final = 10**9
"""Rates travel as whole parts per billion, so that both ends compute with the same number."""


class Message:
    """Anything that one end may send to the other."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PackedBits:
    """Some bits and their number."""

    packed: U8
    """uint8[ceil(count / 8)]"""
    count: int

    def __post_init__(self) -> None:
        _demand(0 <= self.count <= MOST_BITS, f"{self.count} bits are more than a message may hold ({MOST_BITS})")
        _demand(
            self.packed.dtype == np.uint8 and self.packed.shape == (-(-self.count // 8),),
            f"an array of {self.packed.dtype} and shape {self.packed.shape} does not hold {self.count} packed bits",
        )
        spare = -self.count % 8
        _demand(not spare or not self.packed[-1] & ((1 << spare) - 1), "bits beyond the last of a message are set")
        frozen(self.packed)

    @classmethod
    def of(cls, bits: U8) -> PackedBits:
        """Pack uint8[n] of 0 and 1."""
        return cls(np.packbits(bits), bits.size)

    def unpacked(self) -> U8:
        """Return uint8[count] of 0 and 1."""
        return np.unpackbits(self.packed, count=self.count)


@dataclass(frozen=True, slots=True)
class Sample(Message):
    """Alice to bob: which sifted bits are test bits (ones), and what hers are."""

    chosen: PackedBits
    bits: PackedBits


@dataclass(frozen=True, slots=True)
class SampleBits(Message):
    """Bob to alice: his test bits."""

    bits: PackedBits


@dataclass(frozen=True, slots=True)
class ReconciliationOpening(Message):
    """Alice to bob: what both ends' reconciliation starts from."""

    method: str
    """At most 16 characters."""
    blocks: int
    block_bits: int
    error_rate_ppb: int
    """Expected error rate, 0 to 5e8."""
    seed: bytes
    """32 public random bytes, drawn after the sifted bits were fixed."""

    def __post_init__(self) -> None:
        _demand(0 < len(self.method) <= LONGEST_METHOD_NAME, f"a method name has {len(self.method)} characters")
        _demand(self.blocks > 0 and 0 < self.block_bits <= MOST_BITS, f"{self.blocks} blocks of {self.block_bits} bits")
        _demand(0 <= self.error_rate_ppb <= PPB // 2, f"an error rate of {self.error_rate_ppb} ppb")
        _demand(len(self.seed) == SEED_BYTES, f"a seed of {len(self.seed)} bytes, {SEED_BYTES} are due")


@dataclass(frozen=True, slots=True)
class Parities(Message):
    """Both ways at once: the sender's parities of what both ends know is due."""

    number: int
    """Counts from 0; the peer's has the same number."""
    parities: PackedBits


@dataclass(frozen=True, slots=True)
class VerificationDigest(Message):
    """Alice to bob: a hash of her corrected block, and its seed, drawn after reconciliation ended."""

    seed: bytes
    """16 bytes."""
    digest: bytes

    def __post_init__(self) -> None:
        _demand(len(self.seed) == DIGEST_BYTES, f"a seed of {len(self.seed)} bytes, {DIGEST_BYTES} are due")
        _demand(0 < len(self.digest) <= DIGEST_BYTES, f"a digest of {len(self.digest)} bytes")


@dataclass(frozen=True, slots=True)
class Verdict(Message):
    """Bob to alice: whether his corrected block has the same hash."""

    equal: bool


@dataclass(frozen=True, slots=True)
class AmplificationSeed(Message):
    """Alice to bob: the length of the key, which bob has computed too, and the Toeplitz matrix."""

    length: int
    seed: PackedBits
    """block bits + length - 1 bits."""


def _demand(holds: bool, problem: str) -> None:
    if not holds:
        message = f"{problem}; the message is garbled or made by another version"
        raise RemoteProtocolError(message)
