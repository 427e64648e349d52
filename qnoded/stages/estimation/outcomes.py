"""From a matrix of coincidences to 2x2 blocks of outcomes, and what a Bell state gives in each basis."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import F64, I64, Receiver

ANGLE_TOLERANCE_DEG: Final = 5.0
"""Angles that differ by more are meant to: alignment is better, and 22.5 degrees is what CHSH asks for."""

BellState = Literal["Phi+", "Phi-", "Psi+", "Psi-"]

SAME_OUTCOME: Final[dict[BellState, dict[str, bool]]] = {
    "Phi+": {"HV": True, "DA": True, "RL": False},
    "Phi-": {"HV": True, "DA": False, "RL": True},
    "Psi+": {"HV": False, "DA": True, "RL": True},
    "Psi-": {"HV": False, "DA": False, "RL": False},
}
"""Whether both sides see the same bit in a basis: the signs of the correlations along S1, S2, S3."""


def bases_of(receiver: Receiver) -> tuple[str, ...]:
    """Return the bases of a receiver in the order in which they first appear."""
    return tuple(dict.fromkeys(detector.basis for detector in receiver.detectors))


def shared_bases(alice: Receiver, bob: Receiver) -> tuple[str, ...]:
    """Return the bases in which both receivers have both outcomes, in alice's order: only there can errors be seen."""

    def outcomes(receiver: Receiver, basis: str) -> set[int]:
        return {detector.bit for detector in receiver.detectors if detector.basis == basis}

    return tuple(basis for basis in bases_of(alice) if outcomes(alice, basis) == outcomes(bob, basis) == {0, 1})


def turned_on_purpose(alice: Receiver, bob: Receiver) -> bool:
    """Return whether analysers of the same name stand at different angles on the two sides, as they do for CHSH."""
    return any(
        mine.angle_deg is not None
        and theirs.angle_deg is not None
        and abs((mine.angle_deg - theirs.angle_deg + 90.0) % 180.0 - 90.0) > ANGLE_TOLERANCE_DEG
        for mine in alice.detectors
        for theirs in bob.detectors
        if (mine.basis, mine.bit) == (theirs.basis, theirs.bit)
    )


def checked(matrix: I64 | F64, alice: Receiver, bob: Receiver) -> F64:
    """Return a matrix of counts as float64 after a check of its shape and sign.

    Raises
    ------
    UsageError
        If the matrix has another shape than the receivers, or negative or undefined counts.
    """
    counts = np.asarray(matrix, np.float64)
    if counts.shape != (len(alice), len(bob)):
        problem = (
            f"a matrix of shape {counts.shape} does not belong to {len(alice)} detectors of alice and "
            f"{len(bob)} of bob; rows are alice's, columns bob's"
        )
        raise UsageError(problem)
    if not np.all(counts >= 0.0) or not np.all(np.isfinite(counts)):
        problem = "a matrix of coincidences holds negative or undefined counts; give counts from 0"
        raise UsageError(problem)
    return counts


def outcome_block(counts: F64, alice: Receiver, bob: Receiver, alice_basis: str, bob_basis: str) -> F64:
    """Return the 2x2 counts of one basis a side.

    Parameters
    ----------
    counts : float64[n, m]
    alice, bob : Receiver
    alice_basis, bob_basis : str

    Returns
    -------
    float64[2, 2], rows alice's bit, columns bob's bit; several detectors of one outcome are summed
    """
    block = np.zeros((2, 2))
    for i, mine in enumerate(alice.detectors):
        for j, theirs in enumerate(bob.detectors):
            if mine.basis == alice_basis and theirs.basis == bob_basis:
                block[mine.bit, theirs.bit] += counts[i, j]
    return block


def right_and_wrong(block: F64, *, same: bool) -> tuple[float, float]:
    """Return the counts of a 2x2 block that agree with the expectation, and those that do not."""
    equal, unequal = float(block[0, 0] + block[1, 1]), float(block[0, 1] + block[1, 0])
    return (equal, unequal) if same else (unequal, equal)
