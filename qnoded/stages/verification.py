"""Error verification: whether both ends hold the same block after reconciliation.

Alice draws a seed *after* reconciliation has ended and sends it with her digest of the corrected block; bob compares.
The hash family is almost universal: two blocks that differ pass with the probability ``failure_probability`` at most,
whatever the errors are, as long as they were fixed before the seed was drawn (Carter and Wegman, J. Comput. Syst. Sci.
18:143 (1979)). The seed is public, and seed and digest travel authenticated.

The digest tells an eavesdropper at most its own length: 8 ``digest_bytes`` bits must be added to the leak. A block that
fails is discarded at both ends; what was disclosed for it stays disclosed.
"""

from __future__ import annotations

import hmac
from typing import Final

from qnoded.errors import UsageError
from qnoded.secret import Octets, Secret
from qnoded.stages.universal_hash import (
    LONGEST_HASH_BYTES,
    POINT_BYTES,
    SHORTEST_HASH_BYTES,
    Purpose,
    check_hash_bytes,
    collision_probability,
    universal_hash,
)

SEED_BYTES: Final = POINT_BYTES
LONGEST_DIGEST_BYTES: Final = LONGEST_HASH_BYTES


def digest(block: Octets | Secret, block_bits: int, seed: Octets, digest_bytes: int = LONGEST_DIGEST_BYTES) -> bytes:
    """Return the digest of a corrected block.

    Parameters
    ----------
    block
        Packed bits, first bit highest, the unused bits of the last byte zero (``sifting.pack``).
    block_bits
        Their number.
    seed
        16 bytes, public and uniformly random, drawn after reconciliation.
    digest_bytes
        4 to 16.

    Raises
    ------
    UsageError
        If one of the lengths is impossible.
    """
    check_hash_bytes(digest_bytes)
    return universal_hash(block, seed, Purpose.VERIFICATION, bits=block_bits)[:digest_bytes]


def agrees(
    block: Octets | Secret,
    block_bits: int,
    seed: Octets,
    peers_digest: bytes,
    digest_bytes: int = LONGEST_DIGEST_BYTES,
) -> bool:
    """Tell in constant time whether the peer's digest is that of this block; see ``digest``.

    ``digest_bytes`` is what both ends agreed on; a digest of another length does not agree.
    """
    return hmac.compare_digest(digest(block, block_bits, seed, digest_bytes), peers_digest)


def failure_probability(block_bits: int, digest_bytes: int = LONGEST_DIGEST_BYTES) -> float:
    """Return the bound on the probability that different blocks of this length agree.

    It is (ceil(bits / 128) + 1) / 2^(8 digest_bytes).

    Raises
    ------
    UsageError
        If the digest has an impossible length.
    """
    return collision_probability(block_bits, digest_bytes)


def shortest_digest(block_bits: int, allowed: float) -> int:
    """Return the bytes of the shortest digest whose failure probability is at most ``allowed``.

    Raises
    ------
    UsageError
        If no digest reaches it.
    """
    for digest_bytes in range(SHORTEST_HASH_BYTES, LONGEST_DIGEST_BYTES + 1):
        if failure_probability(block_bits, digest_bytes) <= allowed:
            return digest_bytes
    best = failure_probability(block_bits)
    message = f"no digest of a block of {block_bits} bits fails with probability {allowed:g}; allow at least {best:.2g}"
    raise UsageError(message)
