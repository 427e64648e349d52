"""How soon a further column would close a cycle in a quasi-cyclic code whose columns all have two edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, kernel

if TYPE_CHECKING:
    from qnoded.records import I64

tuple_of: Final[Any] = types.UniTuple
ANY_CHECK: Final = -1
"""In place of one check where the walk ends: it ends once all of the row are reached."""


@kernel(
    tuple_of(types.int64, 2),
    I64_IN,
    I64_IN,
    I64_IN,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    I64_OUT,
)
def walk(
    neighbour: I64,
    turn: I64,
    joined: I64,
    size: int,
    row: int,
    other: int,
    step: int,
    farthest: int,
    most_visited: int,
    last: I64,
) -> tuple[int, int]:
    """Walk from check 0 of ``row``, column by column in all directions, until row ``other`` is reached.

    Parameters
    ----------
    neighbour, turn : int64[rows * width], the rows that columns join each row with, and what they add to a check's
        number there; the oldest column first
    joined : int64[rows], how many of them each row has
    size : checks of a row
    row, other : where the walk begins and ends
    step : check of ``other`` at which it ends, and then the newest column of ``row`` is not taken as the first; or
        ``ANY_CHECK``
    farthest : most columns that are walked
    most_visited : checks after which the walk goes no farther
    last : int64[size], filled with the checks of ``other`` that were reached last, or not at all, in order

    Returns
    -------
    (count, walked)
        How many of ``last`` are filled, and the columns walked; ``farthest`` + 1 where the walk ended before.
    """
    rows = joined.size
    width = neighbour.size // rows
    seen = np.zeros(rows * size, np.uint8)
    queue = np.empty(rows * size, np.int64)
    queue[0] = row * size
    seen[row * size] = 1
    for check in range(size):
        last[check] = check
    count, begin, end = size, 0, 1
    for walked in range(1, farthest + 1):
        following = end
        for place in range(begin, end):
            here, check = queue[place] // size, queue[place] % size
            ways = joined[here]
            if step >= 0 and walked == 1:
                ways -= 1
            for way in range(here * width, here * width + ways):
                there = neighbour[way] * size + (check + turn[way]) % size
                if not seen[there]:
                    seen[there] = 1
                    queue[following] = there
                    following += 1
        begin, end = end, following
        left = 0
        for check in range(size):
            left += not seen[other * size + check]
        if left == 0 or (step >= 0 and seen[other * size + step]):
            return count, walked
        count = 0
        for check in range(size):
            if not seen[other * size + check]:
                last[count] = check
                count += 1
        if begin == end or end > most_visited:
            break
    return count, farthest + 1
