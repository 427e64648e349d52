"""Privacy amplification: from a verified block of which something leaked to a shorter key of which nothing is known.

The key is the product of the block with a random binary Toeplitz matrix::

    key[i] = sum over j of seed[i - j + block_bits - 1] * block[j]  modulo 2,  0 <= i < length, 0 <= j < block_bits

Toeplitz matrices are a universal family of hash functions: over the choice of the seed two different blocks give the
same key with probability 2^-length (Carter and Wegman, J. Comput. Syst. Sci. 18:143 (1979); Mansour, Nisan
and Tiwari, Theor.
Comput. Sci. 107:121 (1993)). So the leftover hash lemma holds, also against quantum side information E (Renner, PhD
thesis, ETH Zurich (2005), corollary 5.6.1; Tomamichel, Schaffner, Smith and Renner, IEEE Trans. Inf. Theory 57:5524
(2011)): the key and the seed together are within

    2 eps' + (1/2) 2^(-(H - length) / 2)

of a uniform key that E knows nothing of, where H is the smooth min-entropy H_min^eps'(block | E), everything counted
that was disclosed during reconciliation and verification.

The seed is public. It must be uniformly random, chosen after the block is fixed (after detection, sifting and
reconciliation: an eavesdropper who knew it earlier could attack accordingly) and sent authenticated. It must not be
stretched from a few bits by a shift register: a family of 2^32 matrices is not the family of the lemma. Each block gets
a seed of its own.
"""

from __future__ import annotations

import math

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.toeplitz import toeplitz_product
from qnoded.mapping import Mapper
from qnoded.secret import Octets, Secret, octets


def amplify(block: Octets | Secret, block_bits: int, seed: Octets, length: int, *, over: Mapper = map) -> Secret:
    """Hash a verified block to a key.

    Parameters
    ----------
    block
        Packed bits, first bit highest, the unused bits of the last byte zero (``sifting.pack``).
    block_bits
        Their number.
    seed
        ``seed_bytes(block_bits, length)`` bytes, packed likewise; unused bits of the last byte are ignored.
    length
        Bits of key, 1 to ``block_bits``: what the bound on the smooth min-entropy allows.
    over
        Gives more than one core, such as ``ThreadPoolExecutor.map``; the key does not depend on it.

    Returns
    -------
    Secret
        The key, ceil(length / 8) bytes packed likewise; the unused bits of the last byte are zero.

    Raises
    ------
    UsageError
        If a length does not fit, unused bits of the block are set, or the block was wiped.
    """
    if not 1 <= length <= block_bits:
        message = f"a block of {block_bits} bits cannot give a key of {length} bits; ask for 1 to {block_bits}"
        raise UsageError(message)
    bits = np.frombuffer(octets(block), np.uint8)
    if bits.size != -(-block_bits // 8):
        message = (
            f"{bits.size} bytes do not hold a block of {block_bits} bits; give the bytes and the length of one block"
        )
        raise UsageError(message)
    if block_bits % 8 and bits[-1] & (0xFF >> block_bits % 8):
        message = f"bits beyond the {block_bits} of the block are set; give the bytes and the length of one block"
        raise UsageError(message)
    random = np.frombuffer(octets(seed), np.uint8)
    if random.size != seed_bytes(block_bits, length):
        message = (
            f"the seed has {random.size} bytes, but {block_bits} bits to {length} take "
            f"{seed_bytes(block_bits, length)} ({block_bits + length - 1} random bits); agree on a seed for this block"
        )
        raise UsageError(message)
    return Secret(toeplitz_product(random, bits, block_bits, length, over=over).data)


def seed_bytes(block_bits: int, length: int) -> int:
    """Return the bytes of the seed: one random bit for each diagonal of the matrix, block_bits + length - 1."""
    return -(-(block_bits + length - 1) // 8)


def secrecy_distance(min_entropy_bits: float, length: int) -> float:
    """Return (1/2) 2^(-(H - length)/2), the leftover hash lemma's distance from a perfect key without the smoothing.

    Parameters
    ----------
    min_entropy_bits
        Smooth min-entropy H of the block given all that an eavesdropper holds, bits.
    length
        Bits of key.
    """
    return 0.5 * math.exp2(min(0.0, (length - min_entropy_bits) / 2))
