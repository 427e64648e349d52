"""Polarization from the source to the ports of the analysers, and what each arm lets through.

Stokes vectors are (S1, S2, S3) = (HV, DA, RL); a device is a rotation of the Poincare sphere.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qnoded.records import F64
from qnoded.sim.settings import AnalyserSettings, FibreSettings, SideSettings, SourceSettings
from qnoded.units import FWHM_PER_SIGMA, from_db

SPEED_OF_LIGHT_NM_PER_PS: Final = 299_792.458

BELL_SIGNS: Final = {
    "Phi+": (1.0, 1.0, -1.0),
    "Phi-": (1.0, -1.0, 1.0),
    "Psi+": (-1.0, 1.0, 1.0),
    "Psi-": (-1.0, -1.0, -1.0),
}
"""Signs of the correlations in S1, S2, S3; R. and M. Horodecki, Phys. Rev. A 54, 1838 (1996)."""

LINEAR_DEG: Final = (0.0, 90.0, 45.0, -45.0)
"""Angles of H, V, D, A."""


def correlation(source: SourceSettings) -> F64:
    """Return the correlation matrix of the pair, float64[3, 3], diagonal."""
    return np.diag(np.asarray(BELL_SIGNS[source.state]) * np.asarray(source.visibilities))


def rotation(axis: F64, angle_rad: float) -> F64:
    """Return the rotation by an angle about an axis (float64[3], any length but 0), float64[3, 3]; Rodrigues."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: F64 = np.eye(3) + math.sin(angle_rad) * cross + (1.0 - math.cos(angle_rad)) * (cross @ cross)
    return turned


def fibre_rotation(fibre: FibreSettings) -> F64:
    """Return the static rotation of a fibre, float64[3, 3]."""
    return rotation(np.asarray(fibre.rotation_axis), math.radians(fibre.rotation_deg))


def drifted(turned: F64, diffusion_rad2_per_s: float, step_s: float, normals: F64) -> F64:
    """Return a rotation after one step of its random walk: ``exp([a]x) R`` with ``a ~ N(0, diffusion * step)``.

    A Stokes vector then forgets itself as ``exp(-diffusion * t)``; Czegledi et al., Sci. Rep. 6, 21217 (2016),
    with their 8 pi times polarization linewidth as the diffusion.
    """
    step = math.sqrt(diffusion_rad2_per_s * step_s) * normals
    angle = float(np.linalg.norm(step))
    return turned if angle == 0.0 else rotation(step, angle) @ turned


def mode_dispersion(fibre: FibreSettings, source: SourceSettings) -> F64:
    """Return how polarization-mode dispersion shrinks a Stokes vector, float64[3, 3], diagonal.

    The mean differential delay ``D sqrt(L)`` blurs all but the principal axis, taken along S1 in front of the
    fibre's rotation, by ``exp(-(sigma_omega * delay)**2 / 2)`` for a Gaussian spectrum of rms width sigma_omega.
    """
    delay_ps = fibre.pmd_ps_per_sqrt_km * math.sqrt(fibre.length_km)
    width_per_ps = (
        2.0 * math.pi * SPEED_OF_LIGHT_NM_PER_PS * source.spectral_width_nm / source.wavelength_nm**2 / FWHM_PER_SIGMA
    )  # fmt: skip
    left = math.exp(-0.5 * (width_per_ps * delay_ps) ** 2)
    return np.diag([1.0, left, left])


def analyser_vectors(angle_deg: float) -> F64:
    """Return the Stokes vectors of H, V, D, A of an analyser that is rotated by ``angle_deg``, float64[4, 3]."""
    twice = 2.0 * np.radians(np.asarray(LINEAR_DEG) + angle_deg)
    return np.stack((np.cos(twice), np.sin(twice), np.zeros(4)), axis=1)


def port_mixing(analyser: AnalyserSettings) -> F64:
    """Return what each port gets of each polarization, float64[4, 4], columns sum to 1.

    An extinction of 1:X means one wrong photon for X right ones in that port.
    """
    into_transmitted = 1.0 / (1.0 + analyser.extinction_transmitted)
    into_reflected = 1.0 / (1.0 + analyser.extinction_reflected)
    splitter = np.array([[1.0 - into_reflected, into_transmitted], [into_reflected, 1.0 - into_transmitted]])
    return np.kron(np.eye(2), splitter)


def basis_shares(analyser: AnalyserSettings) -> F64:
    """Return the share of photons sent to the basis of H, V, D, A, float64[4]."""
    other = 1.0 - analyser.hv_share
    return np.array([analyser.hv_share, analyser.hv_share, other, other])


def joint_probabilities(
    source: SourceSettings, alice: SideSettings, bob: SideSettings, turned_a: F64, turned_b: F64
) -> F64:
    """Return the probability of each pair of ports given the two bases, float64[4, 4], each 2 x 2 block sums to 1.

    ``P(a, b) = (1 + m_a^T R_A T R_B^T m_b) / 4`` for a Bell-diagonal pair with correlation matrix T, where the sign
    of an outcome is in its Stokes vector m; then the imperfect beam splitters mix the ports.

    Parameters
    ----------
    turned_a, turned_b : float64[3, 3], rotations of the two fibres at this moment
    """
    arm_a = turned_a @ mode_dispersion(alice.fibre, source)
    arm_b = turned_b @ mode_dispersion(bob.fibre, source)
    seen = arm_a @ correlation(source) @ arm_b.T
    ideal = (1.0 + analyser_vectors(alice.analyser.angle_deg) @ seen @ analyser_vectors(bob.analyser.angle_deg).T) / 4.0
    mixed: F64 = port_mixing(alice.analyser) @ ideal @ port_mixing(bob.analyser).T
    return mixed


def transmission(side: SideSettings) -> float:
    """Return the probability that a photon of a pair reaches the basis splitter."""
    fibre = side.fibre
    return side.heralding * from_db(-(fibre.loss_db_per_km * fibre.length_km + fibre.fixed_loss_db))


def efficiencies(side: SideSettings) -> F64:
    """Return the efficiency of H, V, D, A, float64[4]."""
    return np.array([detector.efficiency for detector in side.detectors])


def dispersion_ps_per_nm(fibre: FibreSettings) -> float:
    """Return how much later a photon comes per nanometre that it is too red."""
    return fibre.dispersion_ps_per_nm_km * fibre.length_km
