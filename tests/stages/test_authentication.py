"""Wegman-Carter tags: known answers, every tampering found, and the bound that the budget counts with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.kernels.carryless import offers
from qnoded.secret import Secret
from qnoded.stages.authentication import forgery_probability, key_bits, tag, verify
from qnoded.stages.universal_hash import Purpose, universal_hash

HASH_KEY = Secret(bytes(range(1, 17)))
MASK = Secret(bytes(range(100, 116)))


def test_known_answer_by_hand() -> None:
    # Empty message: one closing block, length 0 and purpose 1 at x^64. Times x that is x^65: bit 1 of byte 8.
    by_x = Secret(b"\x02" + bytes(15))
    assert tag(b"", by_x, Secret(bytes(16)), "alice") == bytes(8) + b"\x02" + bytes(7)
    # One byte 0x01 at point 1: block 1, plus closing block of length 8 and purpose 2 (bob).
    assert tag(b"\x01", Secret(b"\x01" + bytes(15)), Secret(bytes(16)), "bob") == b"\x09" + bytes(7) + b"\x02" + bytes(
        7
    )
    # The mask is added.
    assert tag(b"", by_x, Secret(b"\xff" * 16), "alice") == b"\xff" * 8 + b"\xfd" + b"\xff" * 7


@given(st.binary(max_size=1200), st.integers(4, 16), st.data())
def test_right_tags_verify_and_tampered_ones_do_not(message: bytes, size: int, data: st.DataObject) -> None:
    mask = Secret(bytes(range(size)))
    right = tag(message, HASH_KEY, mask, "alice")
    assert len(right) == size
    assert verify(message, right, HASH_KEY, mask, "alice")
    flipped = bytearray(right)
    flipped[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not verify(message, bytes(flipped), HASH_KEY, mask, "alice")
    assert not verify(message, right[:-1], HASH_KEY, mask, "alice")
    for other in (message + b"\0", message[:-1] if message else b"x", b"\0" + message):
        assert not verify(other, right, HASH_KEY, mask, "alice")
    assert not verify(message, right, HASH_KEY, mask, "bob")
    assert not verify(message, right, Secret(bytes(16)), mask, "alice")


def test_hash_does_not_depend_on_the_way_nor_on_where_the_message_lies() -> None:
    message = bytes(range(256)) * 9
    ways = {
        universal_hash(message, HASH_KEY, Purpose.ALICE_TO_BOB, width=w) for w in (0, 2, 4, 8) if not w or offers(w)
    }
    shifted = memoryview(b"abc" + message)[3:]
    assert {*ways, universal_hash(shifted, HASH_KEY, Purpose.ALICE_TO_BOB)} == ways
    assert len(ways) == 1


def test_bound_and_key_cost() -> None:
    assert forgery_probability(0) == 2.0**-128
    assert forgery_probability(16) == 2 * 2.0**-128
    assert forgery_probability(17, 8) == 3 * 2.0**-64
    assert forgery_probability(2**20) == 65537 * 2.0**-128
    assert forgery_probability(2**40, 4) == 1.0
    assert key_bits(10) == 1280
    assert key_bits(10, 8) == 640
    assert key_bits(10, 8, fresh_hash_key=True) == 1920


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="sender 'eve'"):
        tag(b"", HASH_KEY, MASK, "eve")
    with pytest.raises(UsageError, match="has 15 bytes"):
        tag(b"", Secret(bytes(15)), MASK, "alice")
    with pytest.raises(UsageError, match="hash of 17 bytes"):
        tag(b"", HASH_KEY, Secret(bytes(17)), "alice")
    used = Secret(bytes(16))
    used.wipe()
    with pytest.raises(UsageError, match="was wiped"):
        tag(b"", HASH_KEY, used, "alice")
