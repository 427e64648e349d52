"""Verification: equal blocks agree, different ones do not, and the digest is as long as the budget asks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.secret import Secret
from qnoded.stages.verification import agrees, digest, failure_probability, shortest_digest

SEED = bytes(range(7, 23))


@given(st.binary(min_size=1, max_size=600), st.integers(0, 7), st.integers(8, 16), st.data())
def test_one_wrong_bit_is_found(block: bytes, unused: int, size: int, data: st.DataObject) -> None:
    bits = 8 * len(block) - unused
    mine = digest(block, bits, SEED, size)
    assert len(mine) == size
    assert agrees(Secret(block), bits, SEED, mine, size)
    wrong = bytearray(block)
    wrong[data.draw(st.integers(0, len(block) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not agrees(bytes(wrong), bits, SEED, mine, size)
    assert not agrees(block, bits, SEED, mine[:-1], size)
    assert not agrees(block, bits, SEED[::-1], mine, size)


def test_length_in_bits_is_part_of_the_digest() -> None:
    assert digest(b"\0", 7, SEED) != digest(b"\0", 8, SEED)


def test_short_hash_collides_no_more_often_than_the_bound() -> None:
    # 4000 random points, digests cut to 4 bytes: by the bound even one collision has a probability of 2e-6.
    rng = np.random.default_rng(11)
    points = [rng.bytes(16) for _ in range(4000)]
    assert all(digest(b"\x01", 8, point, 4) != digest(b"\x02", 8, point, 4) for point in points)


def test_shortest_digest_meets_the_budget() -> None:
    for bits, allowed in ((10**4, 1e-10), (10**6, 1e-15), (10**8, 1e-12)):
        size = shortest_digest(bits, allowed)
        assert failure_probability(bits, size) <= allowed < failure_probability(bits, size - 1)
    with pytest.raises(UsageError, match="allow at least"):
        shortest_digest(10**6, 1e-40)


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="do not hold a message of 9 bits"):
        digest(b"\0", 9, SEED)
    with pytest.raises(UsageError, match="has 3 bytes"):
        digest(b"\0", 8, b"abc")
    with pytest.raises(UsageError, match="hash of 3 bytes"):
        digest(b"\0", 8, SEED, 3)
