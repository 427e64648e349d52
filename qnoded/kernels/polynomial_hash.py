"""Polynomial hash over GF(2^128): a message of blocks becomes the value of one polynomial at a secret point.

A block is 16 bytes, lowest byte and lowest bit first: bit i is the coefficient of x^i of an element of GF(2)[x] modulo
x^128 + x^7 + x^2 + x + 1. The hash of blocks M_1 ... M_N at the point K is::

    M_1 K^N + M_2 K^(N-1) + ... + M_N K

It has no constant term, so for two messages and any difference of hashes the points that give it are the roots of one
non-zero polynomial of degree N at most: N points of 2^128. Sums are exclusive ors and products carry-less, so both
ways through this file, with the processor's carry-less multiplication and without, give the same bits. Neither has a
branch or an index that depends on key or message.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from qnoded.kernels.carryless import INSTRUCTIONS, U64_IN, U64_OUT, Word, offers
from qnoded.kernels.compiling import kernel

U64 = NDArray[np.uint64]

BLOCK_BYTES: Final = 16
GROUP_BLOCKS: Final = 32
"""Blocks multiplied with their own power of the point before the sum is reduced; the reduction is what takes time."""
POWERS_WORDS: Final = 2 * GROUP_BLOCKS

tuple_of: Final[Any] = types.UniTuple
instruction: Final[Any] = cgutils.get_or_insert_function
_WORD: Final = ir.IntType(64)
_PAIR: Final = tuple_of(types.uint64, 2)
_QUADRUPLE: Final = tuple_of(types.uint64, 4)

SPREAD: Final = tuple(np.uint64(0x1111111111111111 << shift) for shift in range(4))
"""Every fourth bit. In an integer product of two such words bit 4 k counts k + 1 pairs at most: no more than 15, which
three free bits hold, but for bit 60, whose carry leaves the word."""
SWAPS: Final = tuple(
    (np.uint64(distance), np.uint64(sum(((1 << distance) - 1) << at for at in range(0, 64, 2 * distance))))
    for distance in (1, 2, 4, 8, 16, 32)
)
"""Swapping neighbours of these numbers of bits, under these masks, reverses a word."""


def _sum_of_products(width: int, blocks: int) -> Any:
    """Return the kernel part that multiplies ``blocks`` blocks with as many powers and adds, not yet reduced."""
    vector = ir.VectorType(_WORD, width)
    vectors = 2 * blocks // width

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if not offers(width):
            return context.make_tuple(builder, signature.return_type, [ir.Constant(_WORD, 0)] * 4)
        multiply = instruction(
            builder.module, ir.FunctionType(vector, [vector, vector, ir.IntType(8)]), INSTRUCTIONS[width]
        )

        def load(number: int, offset: int) -> Any:
            array = context.make_array(signature.args[number])(context, builder, arguments[number])
            start = builder.gep(array.data, [builder.add(arguments[number + 1], ir.Constant(_WORD, offset))])
            return builder.load(builder.bitcast(start, ir.PointerType(vector)), align=8)

        zero = ir.Constant(vector, [0] * width)
        low, middle, high = zero, zero, zero
        carried = builder.insert_element(zero, arguments[4], ir.Constant(ir.IntType(32), 0))
        carried = builder.insert_element(carried, arguments[5], ir.Constant(ir.IntType(32), 1))
        for i in range(vectors):
            message, power = load(0, width * i), load(2, width * i)
            if i == 0:
                message = builder.xor(message, carried)
            # Bit 0 of the selector takes the high word of the first factor's blocks, bit 4 that of the second's.
            low_word, first, second, high_word = (
                builder.call(multiply, [message, power, ir.Constant(ir.IntType(8), words)])
                for words in (0x00, 0x01, 0x10, 0x11)
            )
            low, high = builder.xor(low, low_word), builder.xor(high, high_word)
            middle = builder.xor(middle, builder.xor(first, second))

        def word(total: Any, lane: int) -> Any:
            words = [builder.extract_element(total, ir.Constant(ir.IntType(32), i)) for i in range(lane, width, 2)]
            result = words[0]
            for other in words[1:]:
                result = builder.xor(result, other)
            return result

        return context.make_tuple(builder, signature.return_type, [
            word(low, 0),
            builder.xor(word(low, 1), word(middle, 0)),
            builder.xor(word(high, 0), word(middle, 1)),
            word(high, 1),
        ])  # fmt: skip

    @intrinsic
    def products(
        _typing_context: Any, message: Any, message_at: Any, powers: Any, powers_at: Any, low: Any, high: Any
    ) -> tuple[Any, Any]:
        """Return the four words of the sum of products; (low, high) is added to the first block before."""
        return _QUADRUPLE(message, message_at, powers, powers_at, low, high), generate

    return products


_group_of_8, _group_of_4, _group_of_2 = (_sum_of_products(width, GROUP_BLOCKS) for width in (8, 4, 2))
_one = _sum_of_products(2, 1)


@kernel(types.uint64, types.uint64)
def _reversed(word: Word) -> Word:
    for distance, mask in SWAPS:
        word = (word >> distance) & mask | (word & mask) << distance
    return word


@kernel(types.uint64, types.uint64, types.uint64)
def _low_product(a: Word, b: Word) -> Word:
    """Return the lower 64 bits of the carry-less product, by integer products of words with gaps for the carries."""
    a0, a1, a2, a3 = a & SPREAD[0], a & SPREAD[1], a & SPREAD[2], a & SPREAD[3]
    b0, b1, b2, b3 = b & SPREAD[0], b & SPREAD[1], b & SPREAD[2], b & SPREAD[3]
    return (
        ((a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1)) & SPREAD[0]
        | ((a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2)) & SPREAD[1]
        | ((a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3)) & SPREAD[2]
        | ((a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0)) & SPREAD[3]
    )


@kernel(_PAIR, types.uint64, types.uint64)
def _product_plainly(a: Word, b: Word) -> tuple[Word, Word]:
    """Return the low and the high word of a carry-less product; the high one is a low one seen in a mirror."""
    return _low_product(a, b), _reversed(_low_product(_reversed(a), _reversed(b))) >> np.uint64(1)


@kernel(_PAIR, types.uint64, types.uint64, types.uint64, types.uint64)
def _reduced(c0: Word, c1: Word, c2: Word, c3: Word) -> tuple[Word, Word]:
    """Return c3:c2:c1:c0 modulo the polynomial: x^128 is x^7 + x^2 + x + 1."""
    # What the shifts below push out at the top is once more a multiple of x^128.
    c2 ^= (c3 >> np.uint64(63)) ^ (c3 >> np.uint64(62)) ^ (c3 >> np.uint64(57))
    low = c0 ^ c2 ^ (c2 << np.uint64(1)) ^ (c2 << np.uint64(2)) ^ (c2 << np.uint64(7))
    high = c1 ^ c3 ^ (c3 << np.uint64(1)) ^ (c3 << np.uint64(2)) ^ (c3 << np.uint64(7))
    return low, high ^ (c2 >> np.uint64(63)) ^ (c2 >> np.uint64(62)) ^ (c2 >> np.uint64(57))


@kernel(_PAIR, U64_IN, types.uint64, types.uint64, types.uint64, types.uint64)
def _absorb_plainly(blocks: U64, key_low: Word, key_high: Word, low: Word, high: Word) -> tuple[Word, Word]:
    """Continue the polynomial from (low, high), one block after the other, without carry-less multiplication."""
    for i in range(np.uint64(0), np.uint64(blocks.size), np.uint64(2)):
        low ^= blocks[i]
        high ^= blocks[i + np.uint64(1)]
        # Karatsuba: three products of words for four.
        c0, c1 = _product_plainly(low, key_low)
        c2, c3 = _product_plainly(high, key_high)
        m0, m1 = _product_plainly(low ^ high, key_low ^ key_high)
        low, high = _reduced(c0, c1 ^ m0 ^ c0 ^ c2, c2 ^ m1 ^ c1 ^ c3, c3)
    return low, high


@kernel(types.void, U64_OUT, types.uint64)
def _fill_powers(powers: U64, first: Word) -> None:
    """Write the powers of the point, which is the last entry, from the last but one down to entry ``first``."""
    last = np.uint64(GROUP_BLOCKS - 1)
    for k in range(last - first):
        i = last - k
        c0, c1, c2, c3 = _one(powers, i + i, powers, last + last, np.uint64(0), np.uint64(0))
        i -= np.uint64(1)
        powers[i + i], powers[i + i + np.uint64(1)] = _reduced(c0, c1, c2, c3)


@kernel(_PAIR, types.uint64, U64_IN, U64_IN, types.uint64, types.uint64, U64_OUT)
def evaluate(width: Word, body: U64, tail: U64, key_low: Word, key_high: Word, powers: U64) -> tuple[Word, Word]:
    """Return the polynomial of the blocks of ``body`` and then of ``tail`` at the point ``key``.

    The twin is Horner's rule with Python's integers, bit by bit.

    Parameters
    ----------
    width
        Words per vector, 8, 4 or 2 where the processor offers it (``carryless.offers``), else 0.
    body, tail
        uint64, two words a block, low word first.
    key_low, key_high
        The point.
    powers
        uint64[POWERS_WORDS], overwritten with powers of the key: as secret as the key.

    Returns
    -------
    (int, int)
        Low and high word of the hash, uint64.
    """
    low, high = np.uint64(0), np.uint64(0)
    if width == 0:
        low, high = _absorb_plainly(body, key_low, key_high, low, high)
        return _absorb_plainly(tail, key_low, key_high, low, high)
    step, last, none = np.uint64(2 * GROUP_BLOCKS), np.uint64(2 * GROUP_BLOCKS - 2), np.uint64(0)
    size = np.uint64(body.size)
    powers[last], powers[last + np.uint64(1)] = key_low, key_high
    if size >= step:
        _fill_powers(powers, none)
    at = none
    while at + step <= size:
        if width == 8:
            c0, c1, c2, c3 = _group_of_8(body, at, powers, none, low, high)
        elif width == 4:
            c0, c1, c2, c3 = _group_of_4(body, at, powers, none, low, high)
        else:
            c0, c1, c2, c3 = _group_of_2(body, at, powers, none, low, high)
        low, high = _reduced(c0, c1, c2, c3)
        at += step
    while at < size:
        c0, c1, c2, c3 = _one(body, at, powers, last, low, high)
        low, high = _reduced(c0, c1, c2, c3)
        at += np.uint64(2)
    for i in range(none, np.uint64(tail.size), np.uint64(2)):
        c0, c1, c2, c3 = _one(tail, i, powers, last, low, high)
        low, high = _reduced(c0, c1, c2, c3)
    return low, high
