"""Privacy amplification: alice draws the Toeplitz matrix after the block is verified, both ends hash with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import AmplificationSeed, PackedBits
from qnoded.exchange.sampling import Randomness
from qnoded.secret import Secret
from qnoded.stages.amplification import amplify, seed_bytes

Mapper = Callable[..., Iterable[Any]]


def alice(block: Secret, block_bits: int, length: int, randomness: Randomness, *, over: Mapper = map) -> Script[Secret]:
    """Return the key.

    Parameters
    ----------
    block : verified, packed
    block_bits : its length
    length : bits of key, which both ends computed from public numbers
    randomness : of the seed, drawn now and not before
    over : gives the computation more than one core
    """
    seed = np.frombuffer(randomness(seed_bytes(block_bits, length)), np.uint8).copy()
    spare = -(block_bits + length - 1) % 8
    seed[-1] &= 0xFF << spare & 0xFF
    yield from send(AmplificationSeed(length, PackedBits(seed, block_bits + length - 1)))
    return (yield from compute(amplify, block, block_bits, seed.data, length, over=over))


def bob(block: Secret, block_bits: int, length: int, *, over: Mapper = map) -> Script[Secret]:
    """Return the key, hashed with alice's seed; parameters as for alice.

    Raises
    ------
    RemoteProtocolError
        If alice computed another length: then the ends do not agree on the public numbers.
    """
    theirs = yield from receive(AmplificationSeed)
    demand(
        theirs.length == length and theirs.seed.count == block_bits + length - 1,
        f"alice amplifies to {theirs.length} bits with {theirs.seed.count} seed bits, here it is {length} with "
        f"{block_bits + length - 1}; both ends need one security budget",
    )
    return (yield from compute(amplify, block, block_bits, theirs.seed.packed.data, length, over=over))
