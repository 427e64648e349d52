"""Closed formulas that tell what the recordings of a simulated world should show."""

from __future__ import annotations

import math
from itertools import product
from typing import Final

import numpy as np

from qnoded.records import F64
from qnoded.units import PS_PER_S

NEIGHBOUR: Final = (1, 0, 3, 2)
"""Place of the other detector in the basis of each of H V D A."""


def window_share(window_ps: float, peak_fwhm_ps: float) -> float:
    """Return the share of a Gaussian coincidence peak inside a window of full width ``window_ps`` about its centre.

    Neumann, Scheidl, Selimovic, Pivoluska, Liu, Bohmann, Ursin, Phys. Rev. A 104, 022406 (2021).
    """
    if peak_fwhm_ps == 0.0:
        return 1.0 if window_ps > 0.0 else 0.0
    return math.erf(math.sqrt(math.log(2.0)) * window_ps / peak_fwhm_ps)


def largest_chsh(correlation: F64) -> float:
    """Return the largest S of all settings for a correlation matrix (float64[3, 3]).

    Twice the root of the sum of its two largest squared singular values; R., P. and M. Horodecki,
    Phys. Lett. A 200, 340 (1995).
    """
    singular = np.sort(np.linalg.svd(correlation, compute_uv=False))
    return 2.0 * math.hypot(float(singular[-1]), float(singular[-2]))


def chsh(correlators: F64) -> float:
    """Return S from the four correlators (float64[2, 2], alice's setting by bob's) with the best place of the minus.

    Clauser, Horne, Shimony, Holt, Phys. Rev. Lett. 23, 880 (1969); which of the four has the minus sign is a matter
    of naming the settings.
    """
    return max(abs(float(correlators.sum() - 2.0 * correlators[i, j])) for i, j in product(range(2), range(2)))


def matrix_correlators(matrix: F64) -> F64:
    """Return the correlators of the four 2 x 2 blocks of a matrix of coincidences, float64[2, 2]."""
    blocks = np.asarray(matrix, dtype=np.float64).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3)
    equal = blocks[:, :, 0, 0] + blocks[:, :, 1, 1]
    total = blocks.sum(axis=(2, 3))
    correlators = np.zeros((2, 2))
    np.divide(2.0 * equal - total, total, out=correlators, where=total > 0)
    return correlators


def matrix_qber(matrix: F64) -> dict[str, float | None]:
    """Return the QBER of HV, DA and both from a 4 x 4 matrix, counted as for Phi+; None where nothing coincides."""
    blocks = {"HV": np.asarray(matrix)[:2, :2], "DA": np.asarray(matrix)[2:, 2:]}
    wrong = {basis: float(block[0, 1] + block[1, 0]) for basis, block in blocks.items()}
    total = {basis: float(block.sum()) for basis, block in blocks.items()}
    wrong["total"], total["total"] = sum(wrong.values()), sum(total.values())
    return {basis: wrong[basis] / total[basis] if total[basis] else None for basis in total}


def counted_rate_hz(rate_hz: float, dead_time_ps: float, paralysable: bool) -> float:
    """Return the clicks per second of a detector that ``rate_hz`` excitations reach at random.

    ``r / (1 + r tau)``, or ``r exp(-r tau)`` where each excitation starts the dead time anew; Knoll, Radiation
    Detection and Measurement, chapter 4, "Dead time".
    """
    busy = rate_hz * dead_time_ps / PS_PER_S
    return rate_hz * math.exp(-busy) if paralysable else rate_hz / (1.0 + busy)


def afterpulsing_rate_hz(
    rate_hz: float, dead_time_ps: float, paralysable: bool, probability: float
) -> tuple[float, float]:
    """Return clicks per second, afterpulses included, and the share of the time in which the detector is ready.

    Each click sends ``probability`` further excitations that come after the dead time; their clustering is
    neglected, so this is good while the detector is mostly ready.
    """
    counted = rate_hz
    for _ in range(100):
        # A contraction while probability < 1: a hundred rounds reach the last bit for any that is allowed.
        counted = counted_rate_hz(rate_hz + probability * counted, dead_time_ps, paralysable)
    reached = rate_hz + probability * counted
    return counted, counted / reached if reached else 1.0


def ready_together(ready_alice: F64, ready_bob: F64, pairs_hz: F64, shared_ps: F64) -> F64:
    """Return the share of the time in which a detector of alice and one of bob are both ready, float64[4, 4].

    More than the product of both: dead times that one pair began at both ends run side by side.

    Parameters
    ----------
    ready_alice, ready_bob : float64[4], share of the time in which each is ready
    pairs_hz : float64[4, 4], pairs per second that reach both
    shared_ps : float64[4, 4], shorter dead time of the two
    """
    alone = np.outer(ready_alice, ready_bob)
    together: F64 = alone * (1.0 + pairs_hz * shared_ps / PS_PER_S)
    return together


def linked_matrix_hz(
    pairs_hz: F64, clicks_hz: tuple[F64, F64], window_ps: float, *, revealer: int, apart_ps: float
) -> F64:
    """Return the coincidences per second that a link counts while it makes key, float64[4, 4].

    A node keeps one of the clicks that several of its detectors show within a window, each as likely as the others: a
    click stays with ``1 / (1 + w r)``, r the rate of the other three. A click without partner that falls beside a pair
    goes, or a photon of the pair does, which takes half of the accidentals between it and the pair's other photon. The
    revealer then drops a click whose neighbour in its basis clicked less than the dead time before, and more than the
    window, within which there is one click only: at most one click of a detector fits into that, so the chance is rate
    times time. All to first order in rate times window; of 8 million clicks a second in 1 ns what is left out is 1e-4.

    Parameters
    ----------
    pairs_hz : float64[4, 4], pairs of which both photons make a click, within the window
    clicks_hz : (alice, bob), float64[4] each
    window_ps : full width of the coincidence window
    revealer : 0 where alice reveals times and bases, 1 where bob does
    apart_ps : least time between two clicks in one basis that the revealer tells; not above its detectors' dead time
    """
    alice_hz, bob_hz = clicks_hz
    window_s = window_ps / PS_PER_S
    kept = [1.0 / (1.0 + window_s * (one.sum() - one)) for one in clicks_hz]
    partner_elsewhere_hz = pairs_hz.sum(axis=0) - pairs_hz, pairs_hz.sum(axis=1)[:, None] - pairs_hz
    beside_hz = alice_hz[:, None] * partner_elsewhere_hz[0] + bob_hz * partner_elsewhere_hz[1]
    matrix_hz = (pairs_hz + window_s * np.outer(alice_hz, bob_hz)) * np.outer(*kept) - window_s / 2.0 * beside_hz
    revealed_hz = clicks_hz[revealer] * kept[revealer]
    near_s = max(apart_ps - window_ps, 0.0) / PS_PER_S
    told = np.maximum(1.0 - revealed_hz.take(NEIGHBOUR) * near_s, 0.0)
    linked: F64 = matrix_hz * (told if revealer else told[:, None])
    return linked
