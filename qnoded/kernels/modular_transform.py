"""Binary Toeplitz product by a number-theoretic transform: exact on every processor, without special instructions.

Bits are taken as the integers 0 and 1. The product is a stretch of their convolution, read off modulo 2, and the
convolution is computed modulo the prime p = 15 * 2**27 + 1. Each of its terms is a sum of at most n ones: with n < p
no sum reaches p, so its residue *is* the sum and its lowest bit the answer. This is the whole proof of exactness;
longer vectors are refused.

The transform is Pollard's (Math. Comput. 25:365 (1971)), decimation in frequency forward and in time back, so that
nothing is put into bit-reversed order; products modulo p are Montgomery's (Math. Comput. 44:519 (1985)) with radix
2**32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import types

from qnoded.errors import UsageError
from qnoded.kernels.carryless import Word
from qnoded.kernels.compiling import U8_IN, U8_OUT, U32_IN, U32_OUT, kernel
from qnoded.records import U8, U32

PRIME: Final = 15 * 2**27 + 1
"""Below 2**31, so that a sum of two residues fits 32 bits; 2**27 divides PRIME - 1."""
GENERATOR: Final = 31
"""Generates the multiplicative group modulo PRIME."""
LONGEST: Final = 2**26
"""Points of the longest transform: its five arrays take 1.3 GB. PRIME would allow twice as many."""
IN_CACHE: Final = 2**15
"""Points that are transformed level by level: with their roots 256 KiB, a part of the level-2 cache."""
SHORTEST: Final = 16
"""Points of the shortest transform; below, the choice of the length does not matter."""

_RADIX: Final = 2**32
_P: Final = np.uint64(PRIME)
_P32: Final = np.uint32(PRIME)
_NEGATIVE_INVERSE: Final = np.uint32(-pow(PRIME, -1, _RADIX) % _RADIX)
_ONE: Final = _RADIX % PRIME
"""The number 1 in Montgomery's form."""


@kernel(types.uint32, types.uint32, types.uint32)
def _times(a: Word, b: Word) -> Word:
    """Return a b / 2**32 modulo the prime, below it, for a < 2**32 and b below the prime."""
    product = np.uint64(a) * np.uint64(b)
    quotient = np.uint32(np.uint32(product) * _NEGATIVE_INVERSE)
    reduced = np.uint32((product + np.uint64(quotient) * _P) >> np.uint64(32))
    # Of the two candidates the right one is the smaller: the other wrapped around.
    return min(reduced, np.uint32(reduced - _P32))


@kernel(types.void, U32_OUT, types.uint64, types.uint64, types.uint64, U32_IN)
def _forward_level(a: U32, start: Word, stop: Word, h: Word, roots: U32) -> None:
    for begin in range(start, stop, h + h):
        for j in range(h):
            i = begin + j
            u, v = a[i], a[i + h]
            total = np.uint32(u + v)
            a[i] = min(total, np.uint32(total - _P32))
            a[i + h] = _times(np.uint32(u + np.uint32(_P32 - v)), roots[h + j])


@kernel(types.void, U32_OUT, types.uint64, types.uint64, types.uint64, U32_IN)
def _back_level(a: U32, start: Word, stop: Word, h: Word, roots: U32) -> None:
    for begin in range(start, stop, h + h):
        for j in range(h):
            i = begin + j
            u, v = a[i], _times(a[i + h], roots[h + j])
            total, difference = np.uint32(u + v), np.uint32(u - v)
            a[i] = min(total, np.uint32(total - _P32))
            a[i + h] = min(difference, np.uint32(difference + _P32))


@kernel(types.void, U32_OUT, types.uint64, types.uint64, U32_IN)
def _forward(a: U32, start: Word, size: Word, roots: U32) -> None:
    """Transform ``size`` points from ``start`` on, in place; the result is in bit-reversed order."""
    h = size >> np.uint64(1)
    if size > IN_CACHE:
        _forward_level(a, start, start + size, h, roots)
        _forward(a, start, h, roots)
        _forward(a, start + h, h, roots)
        return
    while h:
        _forward_level(a, start, start + size, h, roots)
        h >>= np.uint64(1)


@kernel(types.void, U32_OUT, types.uint64, types.uint64, U32_IN)
def _back(a: U32, start: Word, size: Word, roots: U32) -> None:
    """Undo ``_forward`` up to a factor ``size``."""
    if size > IN_CACHE:
        h = size >> np.uint64(1)
        _back(a, start, h, roots)
        _back(a, start + h, h, roots)
        _back_level(a, start, start + size, h, roots)
        return
    h = np.uint64(1)
    while h < size:
        _back_level(a, start, start + size, h, roots)
        h += h


@kernel(types.void, U32_IN, U32_OUT)
def _fill_roots(root_of_level: U32, roots: U32) -> None:
    """Write w**j to roots[h + j] for h = 2**level up to half the size; w = ``root_of_level[level]``, of order 2 h."""
    roots[1] = np.uint32(_ONE)
    h = np.uint64(1)
    for level in range(1, root_of_level.size):
        for j in range(h):
            even = roots[h + j]
            roots[h + h + j + j] = even
            roots[h + h + j + j + np.uint64(1)] = _times(even, root_of_level[level])
        h += h


@kernel(types.void, U8_IN, types.uint64, types.uint64, U32_OUT)
def _unpack(packed: U8, first: Word, count: Word, points: U32) -> None:
    """Write bits ``first`` to ``first + count - 1``, first bit of a byte highest, as integers; zeros after them."""
    for i in range(np.uint64(points.size)):
        bit = first + i
        points[i] = np.uint32(0)
        if i < count:
            points[i] = np.uint32(packed[bit >> np.uint64(3)] >> (np.uint64(7) - (bit & np.uint64(7)))) & np.uint32(1)


@kernel(types.void, U32_IN, U32_IN, types.uint32, U32_OUT)
def _add_products(a: U32, b: U32, factor: Word, total: U32) -> None:
    for i in range(np.uint64(total.size)):
        added = np.uint32(total[i] + _times(_times(a[i], b[i]), factor))
        total[i] = min(added, np.uint32(added - _P32))


@kernel(types.void, U32_IN, types.uint64, types.uint64, U8_OUT)
def _pack_parities(sums: U32, first: Word, count: Word, packed: U8) -> None:
    """Pack the lowest bits of ``count`` sums, first bit highest, into zeros."""
    for i in range(count):
        parity = sums[first + i] & np.uint32(1)
        packed[i >> np.uint64(3)] |= np.uint8(parity << np.uint32(np.uint64(7) - (i & np.uint64(7))))


def toeplitz_by_transform(seed: U8, bits: U8, n: int, m: int, *, longest: int = LONGEST) -> U8:
    """Multiply the m by n Toeplitz matrix of ``seed`` with ``bits``, modulo 2; see ``kernels.toeplitz``.

    Where the matrix is larger than the transform it is cut into blocks, and the sums of a row of blocks are formed
    before the transform back, so the bound on n is that of the whole row.

    Parameters
    ----------
    seed
        uint8, n + m - 1 bits packed, first bit highest.
    bits
        uint8, n bits packed likewise.
    n, m
        Columns, 1 to ``PRIME - 1``, and rows, at least 1.
    longest
        Points of the longest transform, a power of two.

    Returns
    -------
    uint8[ceil(m / 8)]

    Raises
    ------
    UsageError
        If n is so large that a sum could reach the prime.
    """
    if n >= PRIME:
        message = f"{n} columns could add up beyond the prime {PRIME}; hash blocks of fewer than {PRIME} bits"
        raise UsageError(message)
    plan = blocking(n, m, longest)
    roots, inverse_roots = _roots(plan.points, 1), _roots(plan.points, -1)
    factor = np.uint32(pow(plan.points, -1, PRIME) * _RADIX**2 % PRIME)
    points_of_seed, points_of_bits, sums = (np.empty(plan.points, np.uint32) for _ in range(3))
    parities = np.zeros(-(-m // 8), np.uint8)
    for row in range(0, m, plan.rows):
        sums[:] = 0
        rows = min(plan.rows, m - row)
        for column in range(0, n, plan.columns):
            columns = min(plan.columns, n - column)
            # Row r and column c of the block meet in bit (r + row) - (c + column) + n - 1 of the seed.
            _unpack(seed, row + n - column - columns, rows + columns - 1, points_of_seed)
            _unpack(bits, column, columns, points_of_bits)
            # The last column of every block lies at the same point, so that the sums of all blocks fall together.
            shift = plan.columns - columns
            if shift:
                points_of_seed[shift:] = points_of_seed[:-shift].copy()
                points_of_seed[:shift] = 0
            _forward(points_of_seed, 0, plan.points, roots)
            _forward(points_of_bits, 0, plan.points, roots)
            _add_products(points_of_seed, points_of_bits, factor, sums)
        _back(sums, 0, plan.points, inverse_roots)
        # Blocks begin at multiples of 8 rows, so each fills bytes of its own.
        _pack_parities(sums, plan.columns - 1, rows, parities[row // 8 :])
    return parities


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a matrix is cut so that a block and what it meets of the seed fit a transform."""

    points: int
    rows: int
    """A multiple of 8 where there are several blocks above each other."""
    columns: int


def blocking(n: int, m: int, longest: int = LONGEST) -> Blocking:
    """Return the cheapest blocks of an m by n matrix for transforms of up to ``longest`` points."""
    best: tuple[int, Blocking] | None = None
    points = min(SHORTEST, longest)
    while points <= longest:
        rows = m if m <= points // 2 or n + m - 1 <= points else points // 2
        columns = min(n, points - rows + 1)
        # Two transforms for each block and one back for each row of blocks.
        transforms = -(-m // rows) * (2 * -(-n // columns) + 1)
        cost = transforms * points * points.bit_length()
        if best is None or cost < best[0]:
            best = cost, Blocking(points, rows, columns)
        points *= 2
    assert best is not None
    return best[1]


def _roots(points: int, sign: int) -> U32:
    """Return the table of roots for ``points``, a power of two; of their inverses for a sign of -1."""
    levels = points.bit_length() - 1
    of_level = [pow(GENERATOR, sign * (PRIME - 1) // 2 ** (level + 1), PRIME) for level in range(levels)]
    table = np.zeros(points, np.uint32)
    _fill_roots(np.array([root * _RADIX % PRIME for root in of_level], np.uint32), table)
    return table
