"""Quasi-cyclic codes made from a seed: the same code on any machine, so only its name has to be agreed.

A code has ``COLUMNS`` columns of circulants and as many rows as its family discloses. The columns' degrees are the
family's; three rules place the edges.

- Columns of degree 2 form a zig-zag through all rows, lap after lap, each lap in another order. Such columns are the
  weakest: a cycle through them alone is a set of bits that can turn together without any check noticing. So their
  shifts close cycles as late as can be: of all shifts the one is taken whose two checks are farthest apart so far
  (progressive edge growth, Hu, Eleftheriou and Arnold, IEEE Trans. Inf. Theory 51:386 (2005)).
- All other columns take the rows with the fewest edges so far, ties broken at random, so that the rows' degrees differ
  by one or two, as the families' density evolution takes for granted.
- Shifts are drawn at random until no cycle of length four arises (Fossorier, IEEE Trans. Inf. Theory 50:1788 (2004):
  two columns that share two rows do so with different differences of shifts). Where a short circulant leaves no such
  shift, the draw with the fewest repeated differences is taken.

Numbers come from ``numpy.random.PCG64``'s raw stream, which numpy keeps stable for ever, and are turned into integers
here, because the methods of ``numpy.random.Generator`` may change from release to release.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from qnoded.kernels.code_cycles import ANY_CHECK, walk
from qnoded.kernels.ldpc import LANES
from qnoded.records import I64, frozen
from qnoded.stages.reconciliation.ldpc.families import COLUMNS, FAMILIES

SEED: Final = 20090628
"""Seed of all codes of this release; part of what both sides agree upon."""
SMALLEST_SIZE: Final = 2 * LANES
"""Smallest circulant that the decoder takes."""
DRAWS: Final = 60
"""Draws of a column's rows and shifts before the best of them is taken."""
SHIFT_DRAWS: Final = 60
"""Draws of one shift before its rows are given up."""
FARTHEST: Final = 14
"""Columns between two checks that count as far enough: so many errors in one chain, half of them made, do not occur."""
MOST_VISITED: Final = 3_000
"""Checks on a walk after which it ends: where so many are near, no shift can close cycles much later."""
STEP_DRAWS: Final = 6
"""Draws of a zig-zag column's step before the best of them is taken."""
CODES_KEPT: Final = 64
"""Codes kept in memory, some 60 kB each."""


@dataclass(frozen=True, slots=True)
class Code:
    """One code as the decoder reads it: its circulants, row by row."""

    family: int
    """Index into ``FAMILIES``."""
    size: int
    """Rows and columns of a circulant."""
    row_start: I64
    """int64[rows + 1], first edge of each row."""
    column: I64
    """int64[edges], column of each edge, ascending within a row."""
    shift: I64
    """int64[edges], 0 to ``size`` - 1."""

    def __post_init__(self) -> None:
        for array in (self.row_start, self.column, self.shift):
            frozen(array)

    @property
    def bits(self) -> int:
        """Length of a code word."""
        return COLUMNS * self.size

    @property
    def checks(self) -> int:
        """Length of a syndrome."""
        return (self.row_start.size - 1) * self.size


class Draw:
    """Integers from a seed, the same in every release of numpy."""

    def __init__(self, *seed: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence(seed))

    def below(self, limit: int) -> int:
        """Return an integer from 0 to ``limit`` - 1."""
        return int(self._source.random_raw()) % limit

    def keys(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """Return random keys to sort by, uint64[count]."""
        return np.asarray(self._source.random_raw(count), dtype=np.uint64)

    def order(self, count: int) -> I64:
        """Return the integers from 0 to ``count`` - 1 in random order, int64[count]."""
        return np.argsort(self.keys(count), kind="stable").astype(np.int64)


@lru_cache(maxsize=CODES_KEPT)
def code(family: int, size: int, seed: int = SEED) -> Code:
    """Build a code; the last ones built are kept.

    Parameters
    ----------
    family : index into ``FAMILIES``
    size : of a circulant, a multiple of 32 and at least ``SMALLEST_SIZE``
    seed : another seed, another code of the same quality
    """
    assert size % LANES == 0
    assert size >= SMALLEST_SIZE
    kind = FAMILIES[family]
    draw = Draw(seed, family, size)
    placement = _Placement(kind.rows, kind.columns[2], size, draw)
    degrees = [degree for degree, count in sorted(kind.columns.items()) for _ in range(count)]
    placed = [placement.add(degree) for degree in degrees]
    names = draw.order(len(placed))
    edges = sorted(
        (row, int(names[i]), shift)
        for i, (rows, shifts) in enumerate(placed)
        for row, shift in zip(rows, shifts, strict=True)
    )
    row, column, shift = np.array(edges, dtype=np.int64).T
    row_start = np.searchsorted(row, np.arange(kind.rows + 1)).astype(np.int64)
    return Code(family, size, row_start, np.ascontiguousarray(column), np.ascontiguousarray(shift))


class _Placement:
    """The edges placed so far, and where the next column may go."""

    def __init__(self, rows: int, zigzag_columns: int, size: int, draw: Draw) -> None:
        self._rows, self._size, self._draw = rows, size, draw
        self._degree = np.zeros(rows, np.int64)
        self._differences: dict[tuple[int, int], set[int]] = {}
        self._zigzag = _Zigzag(rows, zigzag_columns, size, draw)

    def add(self, degree: int) -> tuple[list[int], list[int]]:
        """Place a column; return its rows and their shifts."""
        if degree == 2:
            rows, shifts = self._zigzag.add()
        else:
            best: tuple[int, list[int], list[int]] | None = None
            for _ in range(DRAWS):
                rows = self._emptiest(degree)
                repeated, shifts = self._shifts(rows)
                if best is None or repeated < best[0]:
                    best = repeated, rows, shifts
                if repeated == 0:
                    break
            assert best is not None
            _, rows, shifts = best
        for i, row in enumerate(rows):
            self._degree[row] += 1
            for j in range(i):
                key, difference = self._difference(rows[j], shifts[j], row, shifts[i])
                self._differences.setdefault(key, set()).add(difference)
        return rows, shifts

    def _emptiest(self, degree: int) -> list[int]:
        order = np.lexsort((self._draw.keys(self._rows), self._degree))
        return [int(row) for row in order[:degree]]

    def _shifts(self, rows: list[int]) -> tuple[int, list[int]]:
        """Draw shifts; return how many differences they repeat, and the shifts."""
        shifts: list[int] = []
        total = 0
        for i, row in enumerate(rows):
            fewest, kept = len(rows), 0
            for _ in range(SHIFT_DRAWS):
                shift = self._draw.below(self._size)
                repeated = 0
                for j in range(i):
                    key, difference = self._difference(rows[j], shifts[j], row, shift)
                    repeated += difference in self._differences.get(key, ())
                if repeated < fewest:
                    fewest, kept = repeated, shift
                if fewest == 0:
                    break
            total += fewest
            shifts.append(kept)
        return total, shifts

    def _difference(self, row: int, shift: int, other: int, other_shift: int) -> tuple[tuple[int, int], int]:
        if row < other:
            return (row, other), (shift - other_shift) % self._size
        return (other, row), (other_shift - shift) % self._size


class _Zigzag:
    """Columns of degree 2 as a graph of checks: each bit joins check z of one row with check z + step of another."""

    def __init__(self, rows: int, columns: int, size: int, draw: Draw) -> None:
        self._rows, self._size, self._draw = rows, size, draw
        self._path: list[int] = []
        # Each lap of the zig-zag joins a row twice.
        width = 2 * (columns // rows + 2)
        self._neighbour = np.zeros((rows, width), np.int64)
        self._turn = np.zeros((rows, width), np.int64)
        self._joined = np.zeros(rows, np.int64)

    def add(self) -> tuple[list[int], list[int]]:
        """Place the next column; return its two rows and their shifts."""
        row, other = self._next_rows()
        farthest, _ = self._walk(row, other)
        best = 0, 0
        for _ in range(STEP_DRAWS):
            step = int(farthest[self._draw.below(farthest.size)])
            self._join(row, other, step)
            _, cycle = self._walk(row, other, step)
            best = max(best, (cycle, step))
            if cycle > FARTHEST:
                break
            self._joined[[row, other]] -= 1
        else:
            step = best[1]
            self._join(row, other, step)
        shift = self._draw.below(self._size)
        return [row, other], [shift, (shift - step) % self._size]

    def _join(self, row: int, other: int, step: int) -> None:
        for here, there, turn in ((row, other, step), (other, row, self._size - step)):
            place = here, self._joined[here]
            self._neighbour[place], self._turn[place] = there, turn
            self._joined[here] += 1

    def _next_rows(self) -> tuple[int, int]:
        if len(self._path) < 2:
            following = [int(row) for row in self._draw.order(self._rows)]
            if self._path and following[0] == self._path[0]:
                following.reverse()
            self._path += following
        return self._path.pop(0), self._path[0]

    def _walk(self, row: int, other: int, step: int = ANY_CHECK) -> tuple[I64, int]:
        """Walk from check 0 of ``row`` until row ``other`` is reached, all of it or its check ``step``.

        With ``step`` the newest column, which joins just those two, is not taken as the first one: its copies make
        short cycles where a few turns around the circulant come to nothing.

        Returns
        -------
        (farthest, walked)
            Checks of ``other`` reached last or not at all, int64[n], and the columns walked, above ``FARTHEST`` if
            the walk ended before.
        """
        last = np.empty(self._size, np.int64)
        count, walked = walk(
            self._neighbour.reshape(-1),
            self._turn.reshape(-1),
            self._joined,
            self._size,
            row,
            other,
            step,
            FARTHEST,
            MOST_VISITED,
            last,
        )
        return last[:count], walked
