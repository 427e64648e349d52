"""Privacy amplification: both ends get the same key, it is what the definition says, and wrong use is named."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qnoded.errors import UsageError
from qnoded.secret import Secret
from qnoded.stages.amplification import amplify, secrecy_distance, seed_bytes


def test_known_answer_by_hand() -> None:
    # Rows of the matrix for seed 1011: (1, 0, 1) and (1, 1, 0); times (1, 1, 0) is (1, 0).
    assert amplify(b"\xc0", 3, b"\xb0", 2).reveal() == b"\x80"
    # The unused bits of the seed's last byte do not matter.
    assert amplify(b"\xc0", 3, b"\xbf", 2) == amplify(b"\xc0", 3, b"\xb0", 2)


def test_both_ends_agree_whatever_they_hold_the_block_in() -> None:
    rng, n, m = np.random.default_rng(2), 100_000, 31_234
    block, seed = rng.bytes(n // 8), rng.bytes(seed_bytes(n, m))
    with ThreadPoolExecutor(2) as pool:
        alice, bob = amplify(block, n, seed, m), amplify(Secret(block), n, bytearray(seed), m, over=pool.map)
    assert alice == bob
    assert len(alice) == -(-m // 8)
    ones = int.from_bytes(alice.reveal()).bit_count()
    assert abs(ones - m / 2) < 5 * math.sqrt(m) / 2


def test_one_flipped_bit_changes_half_of_the_key() -> None:
    rng, n, m = np.random.default_rng(3), 20_000, 8_000
    block, seed = bytearray(rng.bytes(n // 8)), rng.bytes(seed_bytes(n, m))
    before = amplify(block, n, seed, m)
    block[100] ^= 4
    after = amplify(block, n, seed, m)
    changed = (int.from_bytes(before.reveal()) ^ int.from_bytes(after.reveal())).bit_count()
    assert abs(changed - m / 2) < 5 * math.sqrt(m) / 2


def test_leftover_hash_distance() -> None:
    assert secrecy_distance(1000, 1000) == 0.5
    assert secrecy_distance(1000, 2000) == 0.5
    assert secrecy_distance(1066, 1000) == 0.5 * 2.0**-33
    assert secrecy_distance(1e9, 1) == 0.0


@pytest.mark.parametrize(
    ("block", "bits", "seed", "length", "words"),
    [
        (b"\xc0", 3, b"\xb0", 4, "cannot give a key of 4 bits"),
        (b"\xc0", 3, b"\xb0", 0, "cannot give a key of 0 bits"),
        (b"\xc0\0", 3, b"\xb0", 2, "2 bytes do not hold a block of 3 bits"),
        (b"\xd0", 3, b"\xb0", 2, "bits beyond the 3 of the block are set"),
        (b"\xc0", 3, b"\xb0\0", 2, r"the seed has 2 bytes, but 3 bits to 2 take 1 \(4 random bits\)"),
    ],
)
def test_wrong_use_is_named(block: bytes, bits: int, seed: bytes, length: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        amplify(block, bits, seed, length)
