"""Closed formulas that the simulated world must obey, and that tell what its recordings should show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from scipy.special import xlogy

from qnoded.records import F64
from qnoded.units import PS_PER_S

IDEAL_RECONCILIATION: Final = 1.0
"""Leakage of error correction in units of the Shannon limit."""


def window_share(window_ps: float, peak_fwhm_ps: float) -> float:
    """Return the share of a Gaussian coincidence peak inside a window of full width ``window_ps`` about its centre.

    Neumann, Scheidl, Selimovic, Pivoluska, Liu, Bohmann, Ursin, Phys. Rev. A 104, 022406 (2021).
    """
    if peak_fwhm_ps == 0.0:
        return 1.0 if window_ps > 0.0 else 0.0
    return math.erf(math.sqrt(math.log(2.0)) * window_ps / peak_fwhm_ps)


@dataclass(frozen=True, slots=True)
class CwExpectation:
    """Rates of a continuously pumped link, per second."""

    singles_alice_hz: float
    singles_bob_hz: float
    window_share: float
    true_hz: float
    """Coincidences of pairs inside the window."""
    accidental_hz: float
    coincidences_hz: float
    car: float
    """True over accidental."""
    qber: float


@dataclass(frozen=True, slots=True)
class CwLink:
    """A continuously pumped source between two receivers; efficiencies include channel and detector."""

    pair_rate_hz: float
    efficiency_alice: float
    efficiency_bob: float
    dark_alice_hz: float
    """Of all detectors of the side together."""
    dark_bob_hz: float
    peak_fwhm_ps: float
    window_ps: float
    """Full width."""
    polarization_error: float
    """Share of pairs in equal bases with wrong outcomes, (1 - visibility) / 2."""

    def expectation(self) -> CwExpectation:
        """Return singles, coincidences, accidentals and errors; model of Neumann et al. 2021."""
        singles_a = self.pair_rate_hz * self.efficiency_alice + self.dark_alice_hz
        singles_b = self.pair_rate_hz * self.efficiency_bob + self.dark_bob_hz
        share = window_share(self.window_ps, self.peak_fwhm_ps)
        true = self.pair_rate_hz * self.efficiency_alice * self.efficiency_bob * share
        accidental = singles_a * singles_b * self.window_ps / PS_PER_S
        total = true + accidental
        errors = true * self.polarization_error + accidental / 2.0
        return CwExpectation(
            singles_a,
            singles_b,
            share,
            true,
            accidental,
            total,
            true / accidental if accidental else math.inf,
            errors / total if total else math.nan,
        )


def binary_entropy(share: float) -> float:
    """Return the entropy of a bit that is 1 with probability ``share``."""
    return float(-(xlogy(share, share) + xlogy(1.0 - share, 1.0 - share)) / math.log(2.0))


def key_share(qber_bit: float, qber_phase: float, inefficiency: float = IDEAL_RECONCILIATION) -> float:
    """Return secret bits per sifted bit for infinitely long keys, below 0 where there is no key.

    ``1 - f h(Q_bit) - h(Q_phase)``; Shor and Preskill, Phys. Rev. Lett. 85, 441 (2000), with the
    reconciliation inefficiency f.
    """
    return 1.0 - inefficiency * binary_entropy(qber_bit) - binary_entropy(qber_phase)


def key_rate_hz(link: CwLink, inefficiency: float = IDEAL_RECONCILIATION) -> float:
    """Return the asymptotic key rate of a link whose two bases are chosen equally often; Neumann et al. 2021."""
    expected = link.expectation()
    return 0.5 * expected.coincidences_hz * key_share(expected.qber, expected.qber, inefficiency)


def largest_qber(inefficiency: float = IDEAL_RECONCILIATION) -> float:
    """Return the QBER, equal in both bases, at which the asymptotic key vanishes; by bisection."""
    low, high = 0.0, 0.5
    while high - low > math.ulp(0.5):
        middle = (low + high) / 2.0
        low, high = (middle, high) if key_share(middle, middle, inefficiency) > 0.0 else (low, middle)
    return low


def rotation_qber(angle_rad: float, axis: tuple[float, float, float]) -> tuple[float, float]:
    """Return the QBER in HV and DA that a relative rotation of the Poincare spheres gives a perfect Phi+ pair.

    A correlation along a Stokes axis shrinks to ``R_ii = cos + n_i**2 (1 - cos)`` (Rodrigues), so the QBER is
    ``(1 - cos) (1 - n_i**2) / 2`` with n the unit axis of rotation.
    """
    unit = np.asarray(axis) / np.linalg.norm(axis)
    half = (1.0 - math.cos(angle_rad)) / 2.0
    return half * (1.0 - float(unit[0]) ** 2), half * (1.0 - float(unit[1]) ** 2)


def visibility_qber(visibility: float) -> float:
    """Return the QBER of a basis with this visibility."""
    return (1.0 - visibility) / 2.0


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
