"""Correlations, the CHSH value and the fidelity to a Bell state, from counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from qnoded.errors import UsageError
from qnoded.records import F64, I64, Receiver
from qnoded.stages.estimation.intervals import Measured
from qnoded.stages.estimation.outcomes import (
    ANGLE_TOLERANCE_DEG,
    SAME_OUTCOME,
    BellState,
    bases_of,
    checked,
    outcome_block,
    shared_bases,
)

LOCAL_BOUND: Final = 2.0
"""Largest S of any local hidden-variable model (Clauser, Horne, Shimony, Holt, Phys. Rev. Lett. 23, 880
(1969))."""
LEAST_IDEAL_S: Final = 2.05
"""Settings whose perfect pair gives less cannot show a violation with any real visibility (0.976 would be
needed)."""
SETTINGS: Final = ("A1B1", "A1B2", "A2B1", "A2B2")
RIGHT_ANGLE_DEG: Final = 90.0


@dataclass(frozen=True, slots=True)
class Chsh:
    """A measured CHSH value."""

    s: Measured
    """``|S|`` with its standard error from counting."""
    correlations: tuple[Measured, Measured, Measured, Measured]
    """E of A1B1, A1B2, A2B1, A2B2."""
    odd_setting: str
    """The setting whose correlation enters with the opposite sign; chosen so that ``|S|`` is largest."""
    settings: tuple[str, str, str, str]
    """What was measured in each setting, such as ``"0-22.5"``; the order of ``correlations``."""

    @property
    def sigmas_above_local(self) -> float:
        """Standard errors by which S exceeds 2."""
        return (self.s.value - LOCAL_BOUND) / self.s.error if self.s.error else float("nan")


@dataclass(frozen=True, slots=True)
class BellTest:
    """A CHSH value, or why the settings give none."""

    chsh: Chsh | None
    reason: str | None
    """None where there is a value."""


def correlation(block: F64) -> Measured:
    """Return the correlation E of 2x2 counts with its standard error.

    ``E = (N++ + N-- - N+- - N-+) / N`` with the error ``sqrt((1 - E^2) / N)``, which Poisson counts of all
    four outcomes and a binomial split of N give alike.

    Parameters
    ----------
    block : float64[2, 2], rows alice's outcome, columns bob's

    Returns
    -------
    Measured
        nan without counts.
    """
    total = float(block.sum())
    if total <= 0.0:
        return Measured(float("nan"), float("nan"))
    value = float(block[0, 0] + block[1, 1] - block[0, 1] - block[1, 0]) / total
    return Measured(value, float(np.sqrt(max(1.0 - value * value, 0.0) / total)))


def chsh(counts: ArrayLike, settings: tuple[str, str, str, str] = SETTINGS) -> Chsh:
    """Return the CHSH value of four settings.

    ``S`` is the sum of three correlations minus the fourth. Which one is subtracted is a matter of labels;
    the one that makes ``|S|`` largest is taken and named. The choice lifts S by up to its error where S is
    within its error of 0.

    Parameters
    ----------
    counts : [4, 4], settings A1B1, A1B2, A2B1, A2B2 in rows, outcomes ++, +-, -+, -- in columns
    settings : names for people

    Returns
    -------
    Chsh

    Raises
    ------
    UsageError
        If the shape is another, a count is negative, or a setting has no counts.
    """
    table = np.asarray(counts, np.float64)
    if table.shape != (len(SETTINGS), 4) or not np.all(table >= 0.0):
        problem = f"CHSH needs 4 settings with 4 counts from 0 each, not an array of shape {table.shape}"
        raise UsageError(problem)
    if not np.all(table.sum(axis=1) > 0.0):
        problem = "CHSH needs counts in each of the four settings; measure the empty one longer"
        raise UsageError(problem)
    measured = [correlation(row.reshape(2, 2)) for row in table]
    values = np.array([one.value for one in measured])
    sums = values.sum() - 2.0 * values
    odd = int(np.argmax(np.abs(sums)))
    error = float(np.sqrt(sum(one.error**2 for one in measured)))
    return Chsh(
        Measured(float(abs(sums[odd])), error),
        (measured[0], measured[1], measured[2], measured[3]),
        SETTINGS[odd],
        settings,
    )


def chsh_from_matrix(matrix: I64 | F64, alice: Receiver, bob: Receiver) -> BellTest:
    """Return the CHSH value of a matrix whose receivers have two bases a side at angles that suit it.

    Parameters
    ----------
    matrix : int64 or float64 [n, m], coincidences, accidentals included
    alice, bob : Receiver
        With ``angle_deg`` of each detector; the two outcomes of a basis stand at right angles.

    Returns
    -------
    BellTest
        Without a value, and with the reason, where angles are unknown, a side has not two bases, a setting
        has no counts, or a perfect pair could not exceed 2 at these angles, as with 0 and 45 degrees on both
        sides.
    """
    counts = checked(matrix, alice, bob)
    angles: dict[str, dict[str, float]] = {}
    for receiver in (alice, bob):
        if len(bases_of(receiver)) != 2:
            return BellTest(None, f"CHSH needs two bases a side; {receiver.side} has {len(bases_of(receiver))}")
        found, reason = _analyser_angles(receiver)
        if reason:
            return BellTest(None, reason)
        angles[receiver.side] = found
    pairs = [(a, b) for a in bases_of(alice) for b in bases_of(bob)]
    of = [(angles[alice.side][a], angles[bob.side][b]) for a, b in pairs]
    ideal = max(_ideal_s([a - b for a, b in of]), _ideal_s([a + b for a, b in of]))
    if ideal < LEAST_IDEAL_S:
        reason = (
            f"the analysers stand at {_listed(angles[alice.side])} and {_listed(angles[bob.side])} degrees, "
            f"where even a perfect pair gives S = {ideal:.3f}; turn one side by 22.5 degrees"
        )
        return BellTest(None, reason)
    blocks = [outcome_block(counts, alice, bob, a, b) for a, b in pairs]
    if any(block.sum() <= 0.0 for block in blocks):
        empty = next(f"{a}-{b}" for (a, b), block in zip(pairs, blocks, strict=True) if block.sum() <= 0.0)
        return BellTest(None, f"no coincidences with alice and bob in {empty}; take a longer run")
    names = [f"{a:g}-{b:g}" for a, b in of]
    table = np.array([block.reshape(4) for block in blocks])
    return BellTest(chsh(table, (names[0], names[1], names[2], names[3])), None)


def _analyser_angles(receiver: Receiver) -> tuple[dict[str, float], str | None]:
    """Return the angle of bit 0 of each basis, or why it cannot be told."""
    found: dict[str, float] = {}
    for detector in receiver.detectors:
        if detector.angle_deg is None or not isfinite(detector.angle_deg):
            return {}, (f"the analyser angle of {receiver.side} {detector.name} is not known; give angle_deg for CHSH")
        zero = detector.angle_deg - RIGHT_ANGLE_DEG * detector.bit
        known = found.setdefault(detector.basis, zero)
        # Angles of analysers repeat after 180 degrees.
        if abs((zero - known + RIGHT_ANGLE_DEG) % 180.0 - RIGHT_ANGLE_DEG) > ANGLE_TOLERANCE_DEG:
            return {}, f"the two outcomes of {receiver.side} {detector.basis} are not at right angles"
    return found, None


def _ideal_s(differences_deg: list[float]) -> float:
    """Return the largest ``|S|`` of a perfect pair whose correlation is the cosine of twice the angle."""
    values = np.cos(2.0 * np.radians(np.array(differences_deg)))
    return float(np.max(np.abs(values.sum() - 2.0 * values)))


def _listed(angles: Mapping[str, float]) -> str:
    return " and ".join(f"{angle:g}" for angle in angles.values())


def correlations_per_basis(matrix: I64 | F64, alice: Receiver, bob: Receiver) -> dict[str, Measured]:
    """Return the correlation E in each basis that both sides have.

    Parameters
    ----------
    matrix : int64 or float64 [n, m], coincidences
    alice, bob : Receiver

    Returns
    -------
    dict of basis to Measured
    """
    counts = checked(matrix, alice, bob)
    return {basis: correlation(outcome_block(counts, alice, bob, basis, basis)) for basis in shared_bases(alice, bob)}


def bell_state_fidelity(correlations: Mapping[str, Measured], state: BellState = "Phi+") -> Measured | None:
    """Return the fidelity to a Bell state from the correlations in three mutually unbiased bases.

    ``F = (1 +- E_HV +- E_DA +- E_RL) / 4`` with the state's own signs (for Phi+ plus, plus, minus); it needs
    no assumption on the state, only on the analysers (Guehne and Toth, Phys. Rep. 474, 1 (2009)).

    Parameters
    ----------
    correlations : of ``"HV"``, ``"DA"`` and ``"RL"``
    state : the Bell state

    Returns
    -------
    Measured or None
        None where a basis is missing.
    """
    signs = SAME_OUTCOME[state]
    if any(basis not in correlations for basis in signs):
        return None
    value = 1.0 + sum((1.0 if same else -1.0) * correlations[basis].value for basis, same in signs.items())
    error = np.sqrt(sum(correlations[basis].error ** 2 for basis in signs))
    return Measured(value / 4.0, float(error) / 4.0)


def chsh_expected_from_visibilities(hv: Measured, da: Measured) -> Measured:
    """Return the S that a Bell-diagonal state of these visibilities would give at the standard settings.

    ``S = sqrt(2) (V_HV + V_DA)`` at 0, 45 and 22.5, 67.5 degrees. An expectation: no Bell inequality has been
    tested, and none can be with both sides at 0 and 45 degrees.

    Parameters
    ----------
    hv, da : visibilities in the bases HV and DA

    Returns
    -------
    Measured
    """
    return Measured(float(np.sqrt(2.0)) * (hv.value + da.value), float(np.sqrt(2.0) * np.hypot(hv.error, da.error)))
