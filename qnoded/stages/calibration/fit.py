"""From the peaks of all pairs of detectors to one delay each: a weighted fit that says what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qnoded.records import F64, Receiver
from qnoded.stages.calibration.peaks import PairDelay

PEAK_SHAPE_SHARE: Final = 0.05
"""Real peaks are centred to no better than a twentieth of their width, since tails and jitter differ."""
OUTLIER_SIGMAS: Final = 5.0
"""A pair further from the common fit than this is left out; of 16 normal deviates one in 1e5 is."""
ABSOLUTE_ROUNDS: Final = 50
"""Re-weightings of the least-absolute fit that tells which peaks contradict the others."""
ABSOLUTE_CORE: Final = 1e-3
"""Deviations below a thousandth of their error weigh alike: the re-weighting would divide by zero."""


@dataclass(frozen=True, slots=True)
class DelayCalibration:
    """One delay per detector, with error bars and what did not fit."""

    alice_ps: tuple[int | None, ...]
    """Delay of each of alice's detectors; None where no peak tells it."""
    bob_ps: tuple[int | None, ...]
    """The same for bob, without ``common_ps``."""
    alice_error_ps: tuple[float | None, ...]
    """Standard deviations; 0 for a reference, None where the delay is unknown."""
    bob_error_ps: tuple[float | None, ...]
    common_ps: int
    """To be added to the clock offset (bob minus alice); 0 with a shared clock."""
    chi_square: float
    """Of the fit; the errors are those of counting and a twentieth of the width for its shape."""
    degrees_of_freedom: int
    width_ps: float
    """Typical standard deviation of the peaks, pairs-weighted; nan without any."""
    pairs: tuple[PairDelay, ...]
    """All pairs of detectors, row by row."""
    notes: tuple[str, ...]
    """What a person should know, one sentence each."""
    complete: bool
    """True where no delay is missing that a longer or wider look could tell: a dead detector has none."""

    def applied(self, alice: Receiver, bob: Receiver) -> tuple[Receiver, Receiver]:
        """Return the receivers with these delays added to those under which the clicks were taken."""
        return _delayed(alice, self.alice_ps), _delayed(bob, self.bob_ps)


def _delayed(receiver: Receiver, delays_ps: tuple[int | None, ...]) -> Receiver:
    detectors = tuple(
        replace(detector, delay_ps=detector.delay_ps + (delay_ps or 0))
        for detector, delay_ps in zip(receiver.detectors, delays_ps, strict=True)
    )
    return replace(receiver, detectors=detectors)


def fit_delays(peaks: Sequence[PairDelay], alice: Receiver, bob: Receiver, *, shared_clock: bool) -> DelayCalibration:
    """Fit one delay per detector to the peaks of all pairs, leaving out those that contradict the others.

    A wrong peak is found against the least-absolute solution, which one far value cannot bend; the delays are
    those of weighted least squares over the rest. Error bars grow with the square root of chi-square per
    degree of freedom where that is above 1.

    Parameters
    ----------
    peaks : peaks of all pairs of detectors; those with a reason are not used
    alice, bob : Receiver
    shared_clock : bool
        True where one tagger serves both sides: bob's delays are then absolute against alice's first.

    Returns
    -------
    DelayCalibration
    """
    judged, system, notes = _without_outliers(peaks, alice, bob)
    delays, covariance, groups = system.solved()
    known = {node for group in groups for node in group}
    variance = np.diag(covariance)
    common = 0.0
    if not shared_clock and groups:
        of_bob = np.arange(delays.size) >= len(alice)
        tied_bob = [node for node in groups[0] if node >= len(alice)]
        common = float(delays[tied_bob[0]])
        delays = np.where(of_bob, delays - common, delays)
        # Bob's error bars are now against his own first detector, as far as the two are tied together.
        against_first = variance + variance[tied_bob[0]] - 2.0 * covariance[:, tied_bob[0]]
        variance = np.where(np.isin(np.arange(delays.size), tied_bob), against_first, variance)
    notes += _of_the_unknown(known, alice, bob)
    if len(groups) > 1:
        notes.append(f"the peaks tie the detectors into {len(groups)} groups that are not compared with each other")
    error = np.sqrt(np.maximum(variance, 0.0))
    values = tuple(round(float(delay)) if node in known else None for node, delay in enumerate(delays))
    errors = tuple(float(one) if node in known else None for node, one in enumerate(error))
    pairs = np.array([peak.pairs for peak in judged if peak.reason is None])
    widths = np.array([peak.width_ps for peak in judged if peak.reason is None])
    return DelayCalibration(
        alice_ps=values[: len(alice)],
        bob_ps=values[len(alice) :],
        alice_error_ps=errors[: len(alice)],
        bob_error_ps=errors[len(alice) :],
        common_ps=round(common),
        chi_square=system.chi_square,
        degrees_of_freedom=system.degrees_of_freedom,
        width_ps=float(np.average(widths, weights=pairs)) if pairs.size else float("nan"),
        pairs=tuple(judged),
        notes=tuple(notes),
        complete=None not in values,
    )


def _without_outliers(
    peaks: Sequence[PairDelay], alice: Receiver, bob: Receiver
) -> tuple[list[PairDelay], _System, list[str]]:
    judged = list(peaks)
    notes: list[str] = []
    while True:
        system = _System.of([peak for peak in judged if peak.reason is None], len(alice), len(bob))
        if not system.measured.size:
            return judged, system, notes
        away = np.abs(system.measured - system.design @ system.least_absolute()) / system.error
        worst = int(np.argmax(away))
        if away[worst] <= OUTLIER_SIGMAS:
            return judged, system, notes
        k = [n for n, peak in enumerate(judged) if peak.reason is None][worst]
        reason = f"its peak at {judged[k].delay_ps:.0f} ps contradicts the others by {away[worst]:.1f} sigma"
        judged[k] = replace(judged[k], reason=reason)
        names = f"{alice.names[judged[k].alice]}-{bob.names[judged[k].bob]}"
        notes.append(f"pair {names} is left out of the delays: {reason}")


def _of_the_unknown(known: set[int], alice: Receiver, bob: Receiver) -> list[str]:
    names = [f"alice {name}" for name in alice.names] + [f"bob {name}" for name in bob.names]
    return [
        f"the delay of {name} is unknown: no peak with any detector of the other side"
        for node, name in enumerate(names)
        if node not in known
    ]


@dataclass(frozen=True, slots=True)
class _System:
    """The linear system ``design @ delays = measured``; nodes are alice's detectors, then bob's."""

    design: F64
    measured: F64
    error: F64

    @classmethod
    def of(cls, peaks: Sequence[PairDelay], alices: int, bobs: int) -> _System:
        design = np.zeros((len(peaks), alices + bobs))
        for k, peak in enumerate(peaks):
            design[k, peak.alice], design[k, alices + peak.bob] = -1.0, 1.0
        measured = np.array([peak.delay_ps for peak in peaks], np.float64)
        error = np.array([np.hypot(peak.error_ps, PEAK_SHAPE_SHARE * peak.width_ps) for peak in peaks], np.float64)
        return cls(design, measured, error)

    def weighted(self, weight: F64) -> F64:
        """Return the solution of least norm of the weighted least squares."""
        solution = np.linalg.lstsq(self.design * weight[:, None], self.measured * weight, rcond=None)[0]
        return np.asarray(solution, np.float64)

    def least_absolute(self) -> F64:
        """Return the solution of least summed absolute deviations, by re-weighted squares."""
        solution = self.weighted(1.0 / self.error)
        for _ in range(ABSOLUTE_ROUNDS):
            away = np.abs(self.measured - self.design @ solution) / self.error
            solution = self.weighted(1.0 / (self.error * np.sqrt(np.maximum(away, ABSOLUTE_CORE))))
        return solution

    @property
    def degrees_of_freedom(self) -> int:
        """Peaks in excess of the delays that they determine."""
        return int(self.measured.size - np.linalg.matrix_rank(self.design)) if self.measured.size else 0

    @property
    def chi_square(self) -> float:
        """Squared deviations from the weighted least squares, in units of the errors."""
        if not self.measured.size:
            return 0.0
        away = (self.measured - self.design @ self.weighted(1.0 / self.error)) / self.error
        return float(away @ away)

    def groups(self) -> list[list[int]]:
        """Return the sets of nodes that peaks tie together, the largest first."""
        nodes = self.design.shape[1]
        touched: NDArray[np.int64] = np.abs(self.design).astype(np.int64)
        ties = touched.T @ touched
        rest, found = set(np.flatnonzero(np.diag(ties)).tolist()), []
        while rest:
            group = {min(rest)}
            while True:
                grown = group | {n for n in range(nodes) if any(ties[n, member] for member in group)}
                if grown == group:
                    break
                group = grown
            rest -= group
            found.append(sorted(group))
        return sorted(found, key=lambda group: (-len(group), group[0]))

    def solved(self) -> tuple[F64, F64, list[list[int]]]:
        """Return delays, covariance and groups; a group's first detector of alice is its reference."""
        nodes = self.design.shape[1]
        groups = self.groups()
        if not groups:
            return np.zeros(nodes), np.zeros((nodes, nodes)), groups
        to_reference = np.eye(nodes)
        for group in groups:
            to_reference[group, group[0]] -= 1.0
        normal = self.design.T @ (self.design / self.error[:, None] ** 2)
        excess = self.chi_square / self.degrees_of_freedom if self.degrees_of_freedom else 1.0
        covariance: F64 = to_reference @ np.linalg.pinv(normal, hermitian=True) @ to_reference.T * max(excess, 1.0)
        return to_reference @ self.weighted(1.0 / self.error), covariance, groups
