"""The orders in which Cascade looks at a key, and the parities of all ranges in an order.

See ``kernels.cascade`` for what they are for. An order is a permutation that costs a few instructions for 64 bits and
that both ends, and both directions, work out from as many numbers as a row has bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types
from numba.extending import register_jitable
from numpy.typing import NDArray

from qnoded.kernels.compiling import kernel

U64 = NDArray[np.uint64]

_WORDS_IN = types.Array(types.uint64, 1, "C", readonly=True)
_WORDS_OUT = types.Array(types.uint64, 1, "C")

_0, _1, _6, _63, _64 = (np.uint64(number) for number in (0, 1, 6, 63, 64))
_HALVES: Final = tuple(
    (np.uint64(half), np.uint64(low))
    for half, low in (
        (32, 0x00000000FFFFFFFF),
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    )
)
"""Sides of the quarters that are swapped, and the lower half of each stretch of twice that many bits."""


@register_jitable
def _transpose(tile: U64) -> None:
    """Turn a square of 64 words about its diagonal, in place: swap its off-diagonal quarters, then theirs (Eklundh)."""
    for half, low in _HALVES:
        for top in range(_0, _64, half + half):
            for i in range(top, top + half):
                swapped = ((tile[i] >> half) ^ tile[i + half]) & low
                tile[i] ^= swapped << half
                tile[i + half] ^= swapped


@kernel(types.void, _WORDS_IN, _WORDS_IN, types.uint64, _WORDS_OUT)
def interleave(words: U64, shifts: U64, lanes: int, interleaved: U64) -> None:
    """Turn each lane of the rows of bits by its shift: row i, lane j is taken from row (i + shift[j]) mod rows.

    The twin is ``numpy.roll`` of each column of unpacked bits. Squares of 64 rows and 64 lanes are turned about, so
    that 64 bits of a lane stand in a word and move together.

    Parameters
    ----------
    words : uint64[rows * lanes / 64], bit i of an order is bit i % 64 of word i // 64
    shifts : uint64[lanes], below the number of rows
    lanes : bits in a row, a multiple of 64
    interleaved : uint64, same shape as ``words``, overwritten
    """
    step = lanes >> _6
    rows = np.uint64(words.size) // step
    tiles = (rows + _63) >> _6
    tile = np.empty(64, np.uint64)
    lane = np.empty((64, tiles + _1), np.uint64)
    for place in range(step):
        # One tile more than there are rows: a lane goes on with its beginning.
        for t in range(tiles + _1):
            for i in range(_64):
                tile[i] = words[((t << _6) + i) % rows * step + place]
            _transpose(tile)
            for i in range(_64):
                lane[i, t] = tile[i]
        for t in range(tiles):
            for i in range(_64):
                first = ((t << _6) + shifts[(place << _6) + i]) % rows
                low, at = first & _63, first >> _6
                tile[i] = (lane[i, at] >> low) | ((lane[i, at + _1] << _1) << (_63 - low))
            _transpose(tile)
            for i in range(min(_64, rows - (t << _6))):
                interleaved[((t << _6) + i) * step + place] = tile[i]


@kernel(types.void, _WORDS_IN, _WORDS_OUT)
def prefix_parities(words: U64, prefix: U64) -> None:
    """Write at bit i the parity of all bits before i.

    The twin is a cumulative sum modulo 2.

    Parameters
    ----------
    words : uint64[w]
    prefix : uint64[w + 1], overwritten; all bits of the last word are the parity of all bits
    """
    carried = _0
    for i in range(np.uint64(words.size)):
        up_to = words[i]
        for shift in range(np.uint64(6)):
            up_to ^= up_to << (_1 << shift)
        prefix[i] = (up_to << _1) ^ carried
        carried ^= _0 - (up_to >> _63)
    prefix[np.uint64(words.size)] = carried
