"""Two ordered streams of tags into one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""


@kernel(tuple_of(types.int64, 2), I64_IN, U8_IN, I64_IN, U8_IN, types.boolean, I64_OUT, U8_OUT)
def merge(a: I64, channel_a: U8, b: I64, channel_b: U8, finish: bool, tag_ps: I64, channel: U8) -> tuple[int, int]:
    """Merge two streams; of equal times those of ``a`` come first, and the order within a stream is kept.

    Parameters
    ----------
    a, channel_a : int64[n], ps, ascending, and uint8[n]
    b, channel_b : int64[m], ps, ascending, and uint8[m]
    finish : no tags will follow in either stream; else the merge ends as soon as one of them is used up
    tag_ps, channel : int64[>= n + m], uint8[>= n + m], filled with the sum of the returned numbers of tags

    Returns
    -------
    (int, int)
        Tags used of ``a`` and of ``b``; put the rest in front of the next block.

    See Also
    --------
    numpy.argsort : with ``kind="stable"`` over both streams in a row, the plain twin.
    """
    n, m = U64(a.size), U64(b.size)
    i, j = U64(0), U64(0)
    while i < n and j < m:
        time_a, time_b = a[i], b[j]
        take_b = time_b < time_a
        at = i + j
        tag_ps[at] = time_b if take_b else time_a
        channel[at] = channel_b[j] if take_b else channel_a[i]
        j += U64(take_b)
        i += U64(not take_b)
    if finish:
        while i < n:
            tag_ps[i + j] = a[i]
            channel[i + j] = channel_a[i]
            i += U64(1)
        while j < m:
            tag_ps[i + j] = b[j]
            channel[i + j] = channel_b[j]
            j += U64(1)
    return S64(i), S64(j)
