"""The orders in which Cascade looks at a key, and the parities of all ranges in an order.

See ``kernels.cascade`` for what they are for. An order is a permutation that costs a few instructions for 64 bits and
that both ends, and both directions, work out from as many numbers as a row has bits.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.kernels.compiling import kernel

U64 = NDArray[np.uint64]

_WORDS_IN = types.Array(types.uint64, 1, "C", readonly=True)
_WORDS_OUT = types.Array(types.uint64, 1, "C")

_0, _1, _6, _63 = (np.uint64(number) for number in (0, 1, 6, 63))


@kernel(types.void, _WORDS_IN, _WORDS_IN, types.uint64, _WORDS_OUT)
def interleave(words: U64, shifts: U64, lanes: int, interleaved: U64) -> None:
    """Turn each lane of the rows of bits by its shift: row i, lane j is taken from row (i + shift[j]) mod rows.

    The twin is ``numpy.roll`` of each column of unpacked bits.

    Parameters
    ----------
    words : uint64[rows * lanes / 64], bit i of an order is bit i % 64 of word i // 64
    shifts : uint64[lanes], below the number of rows
    lanes : bits in a row, a multiple of 64
    interleaved : uint64, same shape as ``words``, overwritten
    """
    step = lanes >> _6
    rows = np.uint64(words.size) // step
    for i in range(np.uint64(interleaved.size)):
        interleaved[i] = _0
    for lane in range(lanes):
        bit, place = _1 << (lane & _63), lane >> _6
        shift = shifts[lane]
        source = shift * step + place
        for i in range(rows - shift):
            interleaved[i * step + place] |= words[source + i * step] & bit
        target = (rows - shift) * step + place
        for i in range(shift):
            interleaved[target + i * step] |= words[i * step + place] & bit


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
