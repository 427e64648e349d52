"""Closed formulas that a simulated link must obey, written down apart from the simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qnoded.sim.theory import window_share
from qnoded.units import PS_PER_S


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


def rotation_qber(angle_rad: float, axis: tuple[float, float, float]) -> tuple[float, float]:
    """Return the QBER in HV and DA that a relative rotation of the Poincare spheres gives a perfect Phi+ pair.

    A correlation along a Stokes axis shrinks to ``R_ii = cos + n_i**2 (1 - cos)`` (Rodrigues), so the QBER is
    ``(1 - cos) (1 - n_i**2) / 2`` with n the unit axis of rotation.
    """
    unit = np.asarray(axis) / np.linalg.norm(axis)
    half = (1.0 - math.cos(angle_rad)) / 2.0
    return half * (1.0 - float(unit[0]) ** 2), half * (1.0 - float(unit[1]) ** 2)
