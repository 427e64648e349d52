"""What authentication and verification have in common: a hash of a message with a proven collision probability.

The message is cut into blocks of 16 bytes, the last one filled up with zeros, and closed by a block that holds its
length in bits and the purpose it is hashed for. So no two messages, lengths or purposes give the same blocks: the
encoding is injective, and the polynomial of ``kernels.polynomial_hash`` differs where the messages do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.carryless import widest
from qnoded.kernels.polynomial_hash import BLOCK_BYTES, POWERS_WORDS, evaluate
from qnoded.secret import Octets, Secret, octets

POINT_BYTES: Final = 16
"""An element of GF(2^128): the point at which the polynomial is taken."""
LONGEST_HASH_BYTES: Final = 16
SHORTEST_HASH_BYTES: Final = 4
"""Shorter ones have no use: 32 bits already collide more often than any security budget allows."""


class Purpose(IntEnum):
    """What a message is hashed for; part of what is hashed, so that no hash serves another purpose."""

    ALICE_TO_BOB = 1
    """Authentication of what alice sends."""
    BOB_TO_ALICE = 2
    """Authentication of what bob sends: a tag that is sent back to its maker does not fit."""
    VERIFICATION = 3
    """Comparison of corrected blocks."""


def universal_hash(
    message: Octets | Secret,
    point: Octets | Secret,
    purpose: Purpose,
    *,
    bits: int | None = None,
    width: int | None = None,
) -> bytes:
    """Return the 16 bytes of the polynomial hash of a message.

    Parameters
    ----------
    message
        Any bytes.
    point
        16 bytes, uniformly random.
    purpose
        What the hash is for.
    bits
        Length of the message in bits where it does not fill its last byte.
    width
        Words per vector, one that ``kernels.carryless.offers``, or 0; None for the best. It does not change the hash.

    Raises
    ------
    UsageError
        If the point has another length or is a wiped secret, or ``bits`` does not fit the message.
    """
    data, key = octets(message), octets(point)
    bits = 8 * len(data) if bits is None else bits
    if len(key) != POINT_BYTES:
        problem = f"the point of a universal hash has {len(key)} bytes; give {POINT_BYTES} random ones"
        raise UsageError(problem)
    if -(-bits // 8) != len(data):
        problem = (
            f"{len(data)} bytes do not hold a message of {bits} bits; give the bytes and the length of one message"
        )
        raise UsageError(problem)
    whole = len(data) // BLOCK_BYTES * BLOCK_BYTES
    body = np.require(np.frombuffer(data[:whole], "<u8"), np.uint64, ["C", "A"])
    rest = bytes(data[whole:])
    ending = rest.ljust(BLOCK_BYTES, b"\0") if rest else b""
    closing = bits.to_bytes(8, "little") + int(purpose).to_bytes(8, "little")
    tail = np.frombuffer(ending + closing, "<u8").astype(np.uint64, copy=False)
    powers = np.empty(POWERS_WORDS, np.uint64)
    key_words = (int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"))
    low, high = evaluate(widest() if width is None else width, body, tail, *key_words, powers)
    powers[:] = 0
    return int(low).to_bytes(8, "little") + int(high).to_bytes(8, "little")


def collision_probability(bits: int, hash_bytes: int = LONGEST_HASH_BYTES) -> float:
    """Return the bound on the probability that two given messages collide, or differ by any given amount.

    A message of b bits has N = ceil(b / 128) + 1 blocks. The difference of two hashes takes a given value only at
        the N roots of a polynomial of degree N without constant term, N of 2^128 points. A hash cut to t bits
    stands for 2^(128 - t)
    values, so the bound is N / 2^t (den Boer, J. Comput. Secur. 2:65 (1993); Taylor, CRYPTO '93).

    Parameters
    ----------
    bits
        Length of the longer message in bits.
    hash_bytes
        Bytes of the hash that are used, 4 to 16.

    Raises
    ------
    UsageError
        If the number of bytes is outside of that range.
    """
    check_hash_bytes(hash_bytes)
    blocks = -(-bits // (8 * BLOCK_BYTES)) + 1
    return min(1.0, blocks * 2.0 ** (-8 * hash_bytes))


def check_hash_bytes(hash_bytes: int) -> None:
    """Refuse hashes of impossible or useless length.

    Raises
    ------
    UsageError
        If the number of bytes is not 4 to 16.
    """
    if not SHORTEST_HASH_BYTES <= hash_bytes <= LONGEST_HASH_BYTES:
        message = (
            f"a hash of {hash_bytes} bytes cannot be used; take {SHORTEST_HASH_BYTES} to {LONGEST_HASH_BYTES} bytes "
            "(8 and more where it guards a key)"
        )
        raise UsageError(message)
