"""Brightness and loss from counts: coincidences to accidentals, heralding efficiencies, pair rate.

With pairs at rate B and efficiencies eta, singles are ``S = B eta + background`` and true coincidences
``C = B eta_A eta_B``; hence ``eta_A = C / S_B`` and ``B = S_A S_B / C`` need no calibrated detector (Klyshko,
Sov. J. Quantum Electron. 10, 1112 (1980)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaincinv

from qnoded.errors import UsageError
from qnoded.records import F64, I64
from qnoded.stages.estimation.intervals import Measured

ONE_SIDED_CONFIDENCE: Final = 0.95
"""Confidence of the lower limit of the CAR."""


@dataclass(frozen=True, slots=True)
class Car:
    """Coincidences to accidentals ratio; two definitions are in use, both are given."""

    true_to_accidental: float | None
    """``(coincidences - accidentals) / accidentals``, the one meant by CAR here; None without accidentals."""
    total_to_accidental: float | None
    """``coincidences / accidentals``, the other one in use: larger by 1; None without accidentals."""
    error: float | None
    """Standard error of either."""
    at_least: float
    """Lower limit of the first with 95 % confidence in the accidentals; tells also where none were
    counted."""


def car(coincidences: float, accidentals: float, accidental_windows: int = 1) -> Car:
    """Return the ratio of coincidences to accidentals.

    Parameters
    ----------
    coincidences : counts in the window, accidentals included
    accidentals : expected accidentals among them, mean of the displaced windows
    accidental_windows : number of displaced windows that were averaged

    Returns
    -------
    Car

    Raises
    ------
    UsageError
        If a count is negative or there is no window.
    """
    if coincidences < 0.0 or accidentals < 0.0 or accidental_windows < 1:
        problem = f"{coincidences} coincidences, {accidentals} accidentals, {accidental_windows} windows: no counts"
        raise UsageError(problem)
    seen = accidentals * accidental_windows
    most = float(gammaincinv(seen + 1.0, ONE_SIDED_CONFIDENCE)) / accidental_windows
    at_least = max(coincidences - most, 0.0) / most
    if accidentals == 0.0:
        return Car(None, None, None, at_least)
    ratio = coincidences / accidentals
    error = ratio * float(np.sqrt(1.0 / max(coincidences, 1.0) + 1.0 / seen))
    return Car(ratio - 1.0, ratio, error, at_least)


@dataclass(frozen=True, slots=True)
class Heralding:
    """Efficiencies and pair rate from singles and coincidences, background taken off where it is known."""

    alice_efficiency: Measured
    """Probability that alice clicks when bob's photon of a pair did: source to click, both bases."""
    bob_efficiency: Measured
    """The same of bob."""
    alice_partner_share: tuple[Measured, ...]
    """For each of alice's detectors: share of its clicks that have a partner at bob."""
    bob_partner_share: tuple[Measured, ...]
    alice_detector_efficiency: tuple[Measured, ...]
    """For each of alice's detectors: share of bob's clicks whose partner it saw; they add up to her
    efficiency."""
    bob_detector_efficiency: tuple[Measured, ...]
    pair_rate_hz: Measured
    """Pairs that the source gives per second, B."""


def heralding(
    alice_clicks: I64,
    bob_clicks: I64,
    matrix: I64 | F64,
    accidentals: F64,
    duration_s: float,
    *,
    accidental_windows: int = 1,
    alice_dark_hz: F64 | None = None,
    bob_dark_hz: F64 | None = None,
) -> Heralding:
    """Return heralding efficiencies and pair rate.

    The window must hold the whole peak: pairs outside of it count as lost. Double firings and afterpulses in
    the clicks lower the efficiencies; filter them first.

    Parameters
    ----------
    alice_clicks, bob_clicks : int64[n], int64[m], clicks per detector
    matrix : int64 or float64 [n, m], coincidences
    accidentals : float64[n, m], expected accidentals among them
    duration_s : float, s
    accidental_windows : number of displaced windows that ``accidentals`` averages: the more, the better it is known
    alice_dark_hz, bob_dark_hz : float64[n], float64[m], optional, dark counts and stray light per detector,
    1/s

    Returns
    -------
    Heralding
        nan where there is nothing to divide by.

    Raises
    ------
    UsageError
        If the shapes do not fit, the duration is not positive or there is no window.
    """
    counts, floor = np.asarray(matrix, np.float64), np.asarray(accidentals, np.float64)
    if counts.shape != (alice_clicks.size, bob_clicks.size) or floor.shape != counts.shape:
        problem = (
            f"matrix {counts.shape}, accidentals {floor.shape}, {alice_clicks.size} and {bob_clicks.size} "
            "detectors do not belong together"
        )
        raise UsageError(problem)
    if not duration_s > 0.0 or accidental_windows < 1:
        problem = f"{duration_s} s and {accidental_windows} displaced windows are no measurement; give more than 0"
        raise UsageError(problem)
    light = [
        clicks - (0.0 if dark is None else np.asarray(dark) * duration_s)
        for clicks, dark in ((alice_clicks, alice_dark_hz), (bob_clicks, bob_dark_hz))
    ]
    # The floor is a mean, so its own variance is that of one window divided by their number.
    pairs, spread = counts - floor, counts + floor / accidental_windows
    sum_a, sum_b = float(np.sum(light[0])), float(np.sum(light[1]))
    per_alice = list(zip(pairs.sum(axis=1), spread.sum(axis=1), strict=True))
    per_bob = list(zip(pairs.sum(axis=0), spread.sum(axis=0), strict=True))
    true, variance = float(pairs.sum()), float(spread.sum())
    nan = float("nan")
    rate = sum_a * sum_b / true / duration_s if true > 0.0 else nan
    return Heralding(
        alice_efficiency=_share(true, variance, sum_b),
        bob_efficiency=_share(true, variance, sum_a),
        alice_partner_share=tuple(_share(*row, own) for row, own in zip(per_alice, light[0], strict=True)),
        bob_partner_share=tuple(_share(*row, own) for row, own in zip(per_bob, light[1], strict=True)),
        alice_detector_efficiency=tuple(_share(*row, sum_b) for row in per_alice),
        bob_detector_efficiency=tuple(_share(*row, sum_a) for row in per_bob),
        # The singles vary far less than the coincidences.
        pair_rate_hz=Measured(rate, rate * float(np.sqrt(variance)) / true if true > 0.0 else nan),
    )


def _share(pairs: float, variance: float, clicks: float) -> Measured:
    if clicks <= 0.0:
        return Measured(float("nan"), float("nan"))
    return Measured(float(pairs / clicks), float(np.sqrt(variance) / clicks))
