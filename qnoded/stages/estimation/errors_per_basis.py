"""Quantum bit error rate and visibility per basis and over all: as measured, and less accidentals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import F64, I64, Receiver
from qnoded.stages.estimation.intervals import CONFIDENCE, Measured, Proportion, proportion
from qnoded.stages.estimation.outcomes import (
    SAME_OUTCOME,
    BellState,
    checked,
    outcome_block,
    right_and_wrong,
    shared_bases,
)


@dataclass(frozen=True, slots=True)
class BasisErrors:
    """Errors in one basis, or over all of them."""

    basis: str
    """``"HV"``, ``"DA"``, ``"RL"`` or ``"total"``."""
    qber: Proportion
    """As measured, accidentals included: what the key suffers from. ``hits`` are the errors."""
    visibility: Proportion
    """``1 - 2 qber`` with its interval; ``hits`` is right minus wrong."""
    qber_without_accidentals: Measured | None
    """What the source and optics alone would give; None where the accidentals are not known or leave no
    pair."""


@dataclass(frozen=True, slots=True)
class Qber:
    """Errors of all bases that both sides have."""

    bases: Mapping[str, BasisErrors]
    """In the order of alice's receiver."""
    total: BasisErrors


def qber(
    matrix: I64 | F64,
    alice: Receiver,
    bob: Receiver,
    *,
    state: BellState = "Phi+",
    confidence: float = CONFIDENCE,
    accidentals: F64 | None = None,
    accidental_windows: int = 1,
) -> Qber:
    """Return errors and visibility of the coincidences in equal bases.

    Parameters
    ----------
    matrix : int64 or float64 [n, m], coincidences per pair of detectors, rows alice's, columns bob's
    alice, bob : Receiver
    state : the Bell state that the source should give; it says which outcomes are errors
    confidence : of the Clopper-Pearson intervals
    accidentals : float64[n, m], optional, expected accidentals of ``matrix``
    accidental_windows : int
        Number of displaced windows over which ``accidentals`` was averaged; more make it more certain.

    Returns
    -------
    Qber

    Raises
    ------
    UsageError
        If the shapes do not fit or the sides have no basis in common.
    """
    counts = checked(matrix, alice, bob)
    floor = None if accidentals is None else checked(accidentals, alice, bob)
    shared = shared_bases(alice, bob)
    if not shared:
        problem = "alice and bob have no basis in common, so there is no QBER; correct the channel map"
        raise UsageError(problem)
    bases: dict[str, BasisErrors] = {}
    sums = np.zeros(4)
    for basis in shared:
        same = SAME_OUTCOME[state].get(basis, True)
        pairs = right_and_wrong(outcome_block(counts, alice, bob, basis, basis), same=same)
        chance = (0.0, 0.0)
        if floor is not None:
            chance = right_and_wrong(outcome_block(floor, alice, bob, basis, basis), same=same)
        figures = np.array([*pairs, *chance])
        sums += figures
        bases[basis] = _errors(basis, figures, confidence, 0 if floor is None else accidental_windows)
    return Qber(bases, _errors("total", sums, confidence, 0 if floor is None else accidental_windows))


def _errors(basis: str, figures: F64, confidence: float, windows: int) -> BasisErrors:
    right, wrong, chance_right, chance_wrong = (float(figure) for figure in figures)
    errors = proportion(wrong, right + wrong, confidence)
    visibility = Proportion(
        1.0 - 2.0 * errors.value,
        1.0 - 2.0 * errors.high,
        1.0 - 2.0 * errors.low,
        right - wrong,
        right + wrong,
        confidence,
    )
    corrected = None
    true_right, true_wrong = right - chance_right, wrong - chance_wrong
    if windows and true_right + true_wrong > 0.0:
        true = true_right + true_wrong
        # The mean of several windows varies less than one window does.
        spread_right, spread_wrong = right + chance_right / windows, wrong + chance_wrong / windows
        variance = (true_right**2 * spread_wrong + true_wrong**2 * spread_right) / true**4
        corrected = Measured(true_wrong / true, float(np.sqrt(variance)))
    return BasisErrors(basis, errors, visibility, corrected)
