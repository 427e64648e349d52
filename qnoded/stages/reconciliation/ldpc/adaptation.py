"""A code cut to measure: how many bits of the word are payload, punctured or shortened, and where they lie.

A block of k bits at error rate Q is to disclose about f k h(Q) bits, and no family discloses just that. So the word of
n bits holds, besides the payload, p punctured bits, which only alice knows because she draws them, and s shortened
bits, which both know to be 0 (Elkouss, Martinez-Mateo and Martin, Quantum Inf. Comput. 11:226 (2011))::

    n = k + p + s,    disclosed = m - p

A punctured bit hides one bit of the syndrome, as long as the columns of the punctured bits are linearly independent.
Here they are, by the way they are chosen: no two of them share a check ("untainted", Elkouss, Martinez-Mateo and
Martin, IEEE Wireless Commun. Lett. 1:585 (2012)), so each masks a parity of its own with a coin that nobody else has
seen. A shortened bit says nothing and is never key. The m - p bits are therefore the whole leak, and exact.

Should the word still not decode, alice discloses more: first the punctured bits, which turns the code back into its
mother step by step, then bits of the payload (blind reconciliation, Martinez-Mateo, Elkouss and Martin, Quantum Inf.
Comput. 12:791 (2012)). Each is one more bit of leak. Which come when is fixed beforehand and depends on no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import UsageError
from qnoded.kernels.ldpc import LANES
from qnoded.records import I64, frozen
from qnoded.stages.reconciliation.ldpc.construction import CODES_KEPT, SEED, SMALLEST_SIZE, Code, Draw, code
from qnoded.stages.reconciliation.ldpc.families import COLUMNS, FAMILIES

FEWEST_PAYLOAD_BITS: Final = 40_000
"""Shortest block: the smallest word has 51,200 bits, and Cascade discloses less of a short block anyway."""
MOST_PAYLOAD_BITS: Final = 1_600_000
"""Longest block: longer words gain nothing in what they disclose and no longer fit in a processor's cache."""
SHORTENED_WEIGHT: Final = 0.1
"""Decoding power that a shortened share of the word costs beside an equal punctured share of the checks; measured, and
only the choice of the family goes by it."""
MOST_PUNCTURED: Final = 0.25
"""Greatest punctured share of the checks; the untainted columns of every family offer more."""
LAYOUTS_KEPT: Final = 8
"""As large as 8 bytes a bit, and seldom of use to a second block: its error rate is another one."""


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How a block is laid into a word of a code; both sides work it out alike from the first four numbers."""

    family: int
    """Index into ``FAMILIES``."""
    size: int
    """Of a circulant."""
    payload_bits: int
    punctured_bits: int
    seed: int = SEED

    @property
    def code(self) -> Code:
        """The code itself."""
        return code(self.family, self.size, self.seed)

    @property
    def word_bits(self) -> int:
        """Length of the word."""
        return COLUMNS * self.size

    @property
    def syndrome_bits(self) -> int:
        """Number of parities that alice sends."""
        return FAMILIES[self.family].rows * self.size

    @property
    def shortened_bits(self) -> int:
        """Bits of the word that both sides know to be 0."""
        return self.word_bits - self.payload_bits - self.punctured_bits

    @property
    def leaked_bits(self) -> int:
        """Bits of the payload's entropy that the syndrome gives away."""
        return self.syndrome_bits - self.punctured_bits


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bits of a plan lie; positions in the word as the decoder sees it, column after column."""

    payload: I64
    """int64[payload_bits], position of each bit of the block: neighbours lie in different columns."""
    punctured: I64
    """int64[punctured_bits], in the order in which they were chosen; disclosed from the last to the first."""
    shortened: I64
    """int64[shortened_bits]."""

    def __post_init__(self) -> None:
        for array in (self.payload, self.punctured, self.shortened):
            frozen(array)


def plan_frame(payload_bits: int, leak_bits: int) -> FramePlan:
    """Choose the code for a block and how to adapt it so that it discloses ``leak_bits``.

    Of all families and sizes that can be brought to this leak the one with the least puncturing and shortening is
    taken. Where even the families at the ends of the table cannot reach it, the nearest leak is taken.

    Parameters
    ----------
    payload_bits : length of the block, ``FEWEST_PAYLOAD_BITS`` to ``MOST_PAYLOAD_BITS``
    leak_bits : bits to disclose, 0 to ``payload_bits``

    Raises
    ------
    UsageError
        If the block is too short or too long.
    """
    if not FEWEST_PAYLOAD_BITS <= payload_bits <= MOST_PAYLOAD_BITS:
        problem = (
            f"a block of {payload_bits} bits does not suit the LDPC codes; they take {FEWEST_PAYLOAD_BITS} to "
            f"{MOST_PAYLOAD_BITS} bits; gather more, split it, or choose cascade"
        )
        raise UsageError(problem)
    assert 0 <= leak_bits <= payload_bits
    plans = [_adapted(family, payload_bits, leak_bits) for family in range(len(FAMILIES))]
    return min(plans, key=lambda plan: _cost(plan, leak_bits))


def _adapted(family: int, payload_bits: int, leak_bits: int) -> FramePlan:
    rows = FAMILIES[family].rows
    for_leak = -(-leak_bits // rows)
    for_payload = -(-(payload_bits - leak_bits) // (COLUMNS - rows))
    size = max(for_leak, for_payload, SMALLEST_SIZE)
    size = -(-size // LANES) * LANES
    punctured = min(rows * size - leak_bits, int(MOST_PUNCTURED * rows * size))
    return FramePlan(family, size, payload_bits, punctured)


def _cost(plan: FramePlan, leak_bits: int) -> tuple[int, float]:
    missed = plan.leaked_bits - leak_bits
    punctured = plan.punctured_bits / plan.syndrome_bits
    return missed, punctured + SHORTENED_WEIGHT * plan.shortened_bits / plan.word_bits


@lru_cache(maxsize=CODES_KEPT)
def untainted_columns(family: int, size: int, seed: int) -> tuple[int, ...]:
    """Return columns of degree 2 no two of which share a row, in random order.

    Puncturing such a column's bit merges its two checks into one: the gentlest way to disclose one bit less.
    """
    built = code(family, size, seed)
    rows = np.repeat(np.arange(built.row_start.size - 1), np.diff(built.row_start))
    degree = np.bincount(built.column, minlength=COLUMNS)
    lowest = np.flatnonzero(degree == 2)
    taken: set[int] = set()
    chosen = []
    for column in lowest[Draw(seed, family, size, 1).order(lowest.size)]:
        met = set(rows[built.column == column].tolist())
        if not met & taken:
            taken |= met
            chosen.append(int(column))
    return tuple(chosen)


@lru_cache(maxsize=LAYOUTS_KEPT)
def layout(plan: FramePlan) -> Layout:
    """Return where the bits of a plan lie; the last layouts are kept.

    All kinds are spread evenly over the lanes of the circulants and, but for the punctured ones, over the columns.
    """
    places = np.arange(plan.word_bits).reshape(COLUMNS, plan.size)
    columns = np.array(untainted_columns(plan.family, plan.size, plan.seed))
    assert columns.size * plan.size >= plan.punctured_bits
    punctured = places[columns].T.reshape(-1)[: plan.punctured_bits]
    free = np.ones(places.shape, np.bool_)
    free.reshape(-1)[punctured] = False
    across = places.T.reshape(-1)[free.T.reshape(-1)]
    shortened = _spread(across.size, plan.shortened_bits)
    payload = np.ones(across.size, np.bool_)
    payload[shortened] = False
    return Layout(across[payload], punctured.astype(np.int64), across[shortened])


def _spread(length: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` of the numbers below ``length``, as evenly as integers allow."""
    return np.arange(count, dtype=np.int64) * length // max(count, 1)
