"""What the reading of a matrix works on: blocks of bases, correlations, and detectors exchanged on trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from qnoded.records import F64, Receiver
from qnoded.stages.estimation.errors_per_basis import Qber, qber
from qnoded.stages.estimation.intervals import THREE_SIGMA
from qnoded.stages.estimation.outcomes import BellState, bases_of, outcome_block

CHANCE_SIGMAS: Final = 3.0
"""Standard errors that a verdict needs."""
CORRELATED: Final = 0.2
"""Correlation between unequal bases certainly above this comes of a turn of the polarization of 6 degrees or more."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of a link: counts, floor of chance, labels and the expected state."""

    counts: F64
    floor: F64 | None
    windows: int
    alice: Receiver
    bob: Receiver
    state: BellState

    def errors(self) -> Qber:
        """Return the errors at three standard errors."""
        return qber(
            self.counts,
            self.alice,
            self.bob,
            state=self.state,
            confidence=THREE_SIGMA,
            accidentals=self.floor,
            accidental_windows=self.windows,
        )

    def blocks(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Return correlation and its standard error for each pair of bases, equal or not."""
        return {
            (a, b): _phi(outcome_block(self.counts, self.alice, self.bob, a, b))
            for a in bases_of(self.alice)
            for b in bases_of(self.bob)
        }

    def turned(self) -> dict[str, float]:
        """Return the correlations between unequal bases that are certainly more than a small misalignment."""
        return {
            f"{a}-{b}": value
            for (a, b), (value, error) in self.blocks().items()
            if a != b and abs(value) - CHANCE_SIGMAS * error > CORRELATED
        }


def _phi(block: F64) -> tuple[float, float]:
    """Return the phi coefficient of a 2x2 block and its error: a correlation free of efficiencies."""
    sums = np.concatenate([block.sum(axis=0), block.sum(axis=1)])
    if np.any(sums <= 0.0):
        return 0.0, float("inf")
    value = (block[0, 0] * block[1, 1] - block[0, 1] * block[1, 0]) / float(np.sqrt(np.prod(sums)))
    # With a weak outcome the few counts of that outcome decide.
    return float(value), float(1.0 / np.sqrt(np.min(sums) * 2.0))


@dataclass(frozen=True, slots=True)
class Exchange:
    """Detectors of unequal bases of one side, to be exchanged in pairs."""

    receiver: Receiver
    axis: int
    pairs: tuple[tuple[int, int], ...]

    def put_right(self, figure: Figure) -> Figure:
        """Return the figure as it would be with the detectors exchanged."""
        order = np.arange(len(self.receiver))
        for i, k in self.pairs:
            order[[i, k]] = order[[k, i]]
        floor = None if figure.floor is None else np.take(figure.floor, order, axis=self.axis)
        return replace(figure, counts=np.take(figure.counts, order, axis=self.axis), floor=floor)

    def named(self) -> str:
        """Return the exchange in words."""
        detectors = self.receiver.detectors
        words = [
            f"{detectors[i].name} (channel {detectors[i].channel}) with "
            f"{detectors[k].name} (channel {detectors[k].channel})"
            for i, k in self.pairs
        ]
        return f"{self.receiver.side} {' and '.join(words)}"


def exchanges(figure: Figure) -> Iterator[Exchange]:
    """Yield exchanges of two detectors of unequal bases, and of whole bases outcome by outcome."""
    for receiver, axis in ((figure.alice, 0), (figure.bob, 1)):
        detectors = receiver.detectors
        across = [
            (i, k)
            for i, one in enumerate(detectors)
            for k, other in enumerate(detectors)
            if i < k and one.basis != other.basis
        ]
        yield from (Exchange(receiver, axis, (pair,)) for pair in across)
        equal_bits = [(i, k) for i, k in across if detectors[i].bit == detectors[k].bit]
        if len(detectors) == 4 and len(equal_bits) == 2:
            yield Exchange(receiver, axis, (equal_bits[0], equal_bits[1]))
