"""The polynomial hash over GF(2^128): both ways against Horner's rule on Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.carryless import offers
from qnoded.kernels.polynomial_hash import POWERS_WORDS, evaluate

WIDTHS = [0, *(width for width in (2, 4, 8) if offers(width))]
MODULUS = 1 << 128 | 1 << 7 | 1 << 2 | 1 << 1 | 1
words = st.lists(st.integers(0, 2**128 - 1), max_size=70)


def product_plainly(a: int, b: int) -> int:
    result = 0
    for bit in range(128):
        if b >> bit & 1:
            result ^= a
        a <<= 1
        if a >> 128:
            a ^= MODULUS
    return result


def horner_plainly(blocks: list[int], point: int) -> int:
    value = 0
    for block in blocks:
        value = product_plainly(value ^ block, point)
    return value


def evaluated(body: list[int], tail: list[int], point: int, width: int) -> int:
    low = 2**64 - 1
    arrays = [np.array([w for b in blocks for w in (b & low, b >> 64)], np.uint64) for blocks in (body, tail)]
    lower, upper = evaluate(width, *arrays, point & low, point >> 64, np.empty(POWERS_WORDS, np.uint64))
    return int(lower) | int(upper) << 64


@given(words, st.lists(st.integers(0, 2**128 - 1), max_size=2), st.integers(0, 2**128 - 1))
def test_every_way_equals_the_plain_twin(body: list[int], tail: list[int], point: int) -> None:
    expected = horner_plainly(body + tail, point)
    for width in WIDTHS:
        assert evaluated(body, tail, point, width) == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_known_answers_by_hand(width: int) -> None:
    assert evaluated([], [], 5, width) == 0
    assert evaluated([1], [], 2, width) == 2  # 1 * x = x
    assert evaluated([1 << 127], [], 2, width) == 0x87  # x^127 * x = x^7 + x^2 + x + 1
    assert evaluated([3], [], 3, width) == 5  # (x + 1)^2 = x^2 + 1
    assert evaluated([1], [1], 2, width) == 6  # x^2 + x
    assert evaluated([2**128 - 1], [], 1, width) == 2**128 - 1
    assert evaluated([1, 2, 3], [], 0, width) == 0
    # x^254 reduced twice: x^126 (x^7+x^2+x+1) = x^133+x^128+x^127+x^126, x^133 = x^12+x^7+x^6+x^5.
    expected = 1 << 127 | 1 << 126 | (1 << 12 | 1 << 7 | 1 << 6 | 1 << 5) ^ 0x87
    assert evaluated([1 << 127], [], 1 << 127, width) == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_linear_in_the_message(width: int) -> None:
    rng = np.random.default_rng(3)
    a, b = ([int.from_bytes(rng.bytes(16)) for _ in range(40)] for _ in range(2))
    point = int.from_bytes(rng.bytes(16))
    both = [x ^ y for x, y in zip(a, b, strict=True)]
    assert evaluated(both, [], point, width) == evaluated(a, [], point, width) ^ evaluated(b, [], point, width)
