"""Product of a binary Toeplitz matrix of any size and a vector: exact, on any processor the same bits.

Definition, with rows i < m, columns j < n and all arithmetic modulo 2::

    product[i] = sum over j of seed[i - j + n - 1] * bits[j]

The first row of the matrix is seed[n-1], seed[n-2], ..., seed[0]; its first column is seed[n-1], ..., seed[n+m-2].
Each diagonal is constant and every one of the n + m - 1 seed bits is used. Packed arrays hold the first bit highest,
as ``numpy.packbits`` does: bit i is bit 7 - i % 8 of byte i // 8.

Two ways lead there. With carry-less multiplication the matrix is covered with square tiles (``kernels.tile``,
n^1.585). Without it the product is read off a convolution of integers modulo a prime larger than any of its sums
(``kernels.modular_transform``, n log n). Neither rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.errors import UsageError
from qnoded.kernels.carryless import U64_IN, U64_OUT, WORD_BITS, Word, offers, widest
from qnoded.kernels.compiling import kernel
from qnoded.kernels.modular_transform import toeplitz_by_transform
from qnoded.kernels.tile import LEAF_VECTORS, add_tile
from qnoded.mapping import Mapper
from qnoded.records import U8

U64 = NDArray[np.uint64]

LEAF_COST: Final = {3: 6, 4: 9}
"""Vectors on a side of a leaf -> its products, which is what its time goes by; only the ratio matters."""

PAIRS: Final = np.uint64(0x5555555555555555)
NIBBLES: Final = np.uint64(0x3333333333333333)
BYTES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a matrix is covered with square tiles."""

    width: int
    """Words per vector of the processor."""
    leaf: int
    """Words on a side of the smallest tile."""
    side: int
    """Words on a side of a tile, ``leaf`` times a power of two."""
    rows: int
    columns: int


def tiling(n: int, m: int, width: int) -> Tiling:
    """Return the cheapest tiling of an m by n matrix of bits on a processor with vectors of ``width`` words."""
    n_words, m_words = -(-n // WORD_BITS), -(-m // WORD_BITS)
    best: tuple[int, Tiling] | None = None
    for vectors in LEAF_VECTORS:
        leaf, cost = width * vectors, LEAF_COST[vectors]
        side = leaf
        while True:
            rows, columns = -(-m_words // side), -(-n_words // side)
            if best is None or cost * rows * columns < best[0]:
                best = cost * rows * columns, Tiling(width, leaf, side, rows, columns)
            if rows == columns == 1:
                break
            side, cost = 2 * side, 3 * cost
    assert best is not None
    return best[1]


def toeplitz_product(seed: U8, bits: U8, n: int, m: int, *, width: int | None = None, over: Mapper = map) -> U8:
    """Multiply the m by n Toeplitz matrix of ``seed`` with ``bits``, modulo 2.

    Parameters
    ----------
    seed
        uint8[ceil((n + m - 1) / 8)], packed, first bit highest.
    bits
        uint8[ceil(n / 8)], packed likewise; bits beyond the first n are ignored, of the seed too.
    n, m
        Columns and rows, at least 1.
    width
        Words per vector, one that ``carryless.offers``; 0 for the way without carry-less multiplication; None for the
        best. The result does not depend on it.
    over
        How tiles are shared out, such as ``ThreadPoolExecutor.map``; the transform is one task.

    Returns
    -------
    uint8[ceil(m / 8)]
        The product, packed likewise; bits beyond the first m are zero.

    Raises
    ------
    UsageError
        If the processor does not offer ``width``, or without carry-less multiplication n is 2**31 or so and more.

    See Also
    --------
    tests.kernels.test_kernel_toeplitz.toeplitz_plainly : the plain twin.
    """
    width = widest() if width is None else width
    if width and not offers(width):
        message = f"this processor has no carry-less products of {width} words; use {widest()}, or 0 which always works"
        raise UsageError(message)
    n_bytes, seed_bytes = -(-n // 8), -(-(n + m - 1) // 8)
    bits, seed = bits[:n_bytes], seed[:seed_bytes]
    if width == 0:
        return toeplitz_by_transform(seed, bits, n, m)
    plan = tiling(n, m, width)
    side = plan.side
    x = np.zeros(plan.columns * side, np.uint64)
    place(_as_words(bits, n), 0, x)
    # The seed is moved up so that each tile begins at a word: tile (r, c) at word (columns - 1 - c + r) * side.
    t = np.zeros((plan.rows + plan.columns) * side, np.uint64)
    place(_as_words(seed, n + m - 1), x.size * WORD_BITS - (n - 1), t)

    def tile(place_in_grid: tuple[int, int]) -> U64:
        row, column = place_in_grid
        part = np.zeros(side, np.uint64)
        start = (plan.columns - 1 - column + row) * side
        add_tile(plan.width, plan.leaf, t, start, x, column * side, part, 0, side, np.empty(4 * side, np.uint64))
        return part

    product = np.zeros(plan.rows * side, np.uint64)
    grid = [(row, column) for row in range(plan.rows) for column in range(plan.columns)]
    for (row, _), part in zip(grid, over(tile, grid), strict=True):
        product[row * side : (row + 1) * side] ^= part
    return _as_bytes(product, m)


@kernel(types.void, U64_IN, types.uint64, U64_OUT)
def place(packed: U64, shift: Word, words: U64) -> None:
    """Reverse the bits of each byte and write them ``shift`` bits further up into ``words``.

    Turns bytes with the first bit highest into words with the first bit lowest and, with shift 0, back.

    Parameters
    ----------
    packed
        uint64[k], the bytes in order, lowest first.
    shift
        Bits by which the first one is moved up.
    words
        uint64, zeros; words beyond the end are dropped.
    """
    whole, part = shift >> np.uint64(6), shift & np.uint64(63)
    size, room = np.uint64(packed.size), np.uint64(words.size)
    carried = np.uint64(0)
    for i in range(size):
        word = packed[i]
        word = (word >> np.uint64(1)) & PAIRS | (word & PAIRS) << np.uint64(1)
        word = (word >> np.uint64(2)) & NIBBLES | (word & NIBBLES) << np.uint64(2)
        word = (word >> np.uint64(4)) & BYTES | (word & BYTES) << np.uint64(4)
        if whole + i < room:
            words[whole + i] = word << part | carried
        # Two shifts, because one by 64 is undefined.
        carried = (word >> np.uint64(1)) >> (np.uint64(63) - part)
    if whole + size < room:
        words[whole + size] = carried


def _as_words(packed: U8, n: int) -> U64:
    """Return the first n bits, padded with zeros to words, as they lie in memory."""
    padded = np.zeros(-(-n // WORD_BITS) * 8, np.uint8)
    padded[: packed.size] = packed
    if n % 8:
        padded[n // 8] &= _kept(n)
    return padded.view("<u8").astype(np.uint64, copy=False)


def _as_bytes(words: U64, m: int) -> U8:
    """Return the first m bits packed, first bit highest, the rest of the last byte zero."""
    reversed_bits = np.zeros_like(words)
    place(words, 0, reversed_bits)
    packed = reversed_bits.astype("<u8", copy=False).view(np.uint8)[: -(-m // 8)].copy()
    if m % 8:
        packed[-1] &= _kept(m)
    return packed


def _kept(bits: int) -> np.uint8:
    """Return the mask of the bits in use in the last byte."""
    return np.uint8(0xFF << (-bits % 8) & 0xFF)
