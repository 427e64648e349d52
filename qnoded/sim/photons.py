"""Which photons would be absorbed when: clicks are drawn, not photons.

Loss, basis choice and outcome only thin a Poisson process. So the sixteen streams of pairs that both detectors would
absorb, the photons whose partner is lost and the dark counts are independent Poisson processes, and drawing them is
the same as following every pair from its birth; the theorems of superposition, colouring and displacement in
Kingman, Poisson Processes (1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels.detecting import DETECTOR_BITS
from qnoded.records import F64, I64, U8
from qnoded.sim.optics import (
    basis_shares,
    dispersion_ps_per_nm,
    efficiencies,
    joint_probabilities,
    port_mixing,
    transmission,
)
from qnoded.sim.settings import SideSettings, SourceSettings, WorldSettings
from qnoded.units import FWHM_PER_SIGMA, PS_PER_S

LARGEST_SIGMAS: Final = 8.0
"""Gaussian times are cut here (one in 1e15), which bounds how early a click can come."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Excitations per second before any dead time."""

    pairs_hz: F64
    """float64[4, 4]: both photons of a pair, alice's detector by bob's."""
    alice_hz: F64
    """float64[4]: photons without partner, and dark counts."""
    bob_hz: F64


def rates(world: WorldSettings, turned_a: F64, turned_b: F64) -> Rates:
    """Return the rates of all Poisson streams for the present rotations of the fibres (float64[3, 3])."""
    joint = joint_probabilities(world.source, world.alice, world.bob, turned_a, turned_b)
    reach_a, reach_b = _reach(world.alice), _reach(world.bob)
    pairs_hz = world.source.pair_rate_hz * joint * np.outer(reach_a, reach_b)

    def lonely_hz(side: SideSettings, reach: F64, taken_hz: F64) -> F64:
        # One photon of a Bell-diagonal pair is unpolarized, so each port has what it gets of both polarizations.
        photons_hz = world.source.pair_rate_hz * reach * port_mixing(side.analyser).sum(axis=1) / 2.0
        dark_hz = np.array([detector.dark_hz for detector in side.detectors])
        total_hz: F64 = np.maximum(photons_hz - taken_hz, 0.0) + dark_hz
        return total_hz

    return Rates(
        pairs_hz,
        lonely_hz(world.alice, reach_a, pairs_hz.sum(axis=1)),
        lonely_hz(world.bob, reach_b, pairs_hz.sum(axis=0)),
    )


def _reach(side: SideSettings) -> F64:
    """Return transmission times basis share times efficiency, float64[4]."""
    return transmission(side) * basis_shares(side.analyser) * efficiencies(side)


@dataclass(frozen=True, slots=True)
class Timing:
    """How the moments of absorption at one side scatter about the moments of birth."""

    sigma_ps: F64
    """float64[4], Gaussian core of each detector."""
    tail_share: F64
    tail_ps: F64
    red_shift_ps: float
    """Shift for a pair detuned by one standard deviation, with its sign at this side."""
    shift_ps: int = 0
    """By how much an eavesdropper delays some photons, not negative."""
    shifted_share: F64 | None = None
    """float64[4], share of each detector's clicks that she delayed."""

    @property
    def earliest_ps(self) -> int:
        """Lead that no photon exceeds."""
        return int(np.ceil(LARGEST_SIGMAS * (self.sigma_ps.max() + abs(self.red_shift_ps)))) + 1

    def scatter(self, rng: np.random.Generator, birth_ps: I64, detector: U8, detuning: F64 | None) -> I64:
        """Return packed excitations, int64[n]: birth plus jitter, tail and the shift by the pair's detuning."""
        late_ps = _clipped(rng.standard_normal(birth_ps.size)) * self.sigma_ps.take(detector)
        if self.red_shift_ps != 0.0 and detuning is not None:
            late_ps += detuning * self.red_shift_ps
        if self.tail_share.any():
            in_tail = rng.random(birth_ps.size) < self.tail_share.take(detector)
            late_ps += in_tail * rng.standard_exponential(birth_ps.size) * self.tail_ps.take(detector)
        if self.shifted_share is not None:
            late_ps += (rng.random(birth_ps.size) < self.shifted_share.take(detector)) * self.shift_ps
        moment_ps = birth_ps + np.rint(late_ps, out=late_ps).astype(np.int64)
        return (moment_ps << DETECTOR_BITS) | detector


def timing(source: SourceSettings, side: SideSettings, sign: float) -> Timing:
    """Return the timing of a side; photons of a pair are detuned oppositely, so ``sign`` is +1 and -1."""
    sigma_nm = source.spectral_width_nm / FWHM_PER_SIGMA
    return Timing(
        np.array([detector.jitter_fwhm_ps for detector in side.detectors]) / FWHM_PER_SIGMA,
        np.array([detector.jitter_tail_share for detector in side.detectors]),
        np.array([detector.jitter_tail_ps for detector in side.detectors]),
        sign * dispersion_ps_per_nm(side.fibre) * sigma_nm,
    )


@dataclass(frozen=True, slots=True)
class PairBirths:
    """Pairs of which both photons would be absorbed, in no order."""

    birth_ps: I64
    stream: U8
    """uint8[n], alice's detector times 4 plus bob's."""


def draw_pairs(rng: np.random.Generator, pairs_hz: F64, start_ps: int, slot_ps: int) -> PairBirths:
    """Draw the pairs of one slot."""
    counts = rng.poisson(pairs_hz.ravel() * (slot_ps / PS_PER_S))
    stream = np.repeat(np.arange(counts.size, dtype=np.uint8), counts)
    return PairBirths(rng.integers(start_ps, start_ps + slot_ps, stream.size), stream)


def pair_excitations(rng: np.random.Generator, pairs: PairBirths, alice: Timing, bob: Timing) -> tuple[I64, I64]:
    """Return the packed excitations of both sides, int64[n] each, in no order."""
    dispersed = alice.red_shift_ps != 0.0 or bob.red_shift_ps != 0.0
    detuning = _clipped(rng.standard_normal(pairs.birth_ps.size)) if dispersed else None
    return (
        alice.scatter(rng, pairs.birth_ps, pairs.stream // np.uint8(4), detuning),
        bob.scatter(rng, pairs.birth_ps, pairs.stream % np.uint8(4), detuning),
    )


def lonely_excitations(rng: np.random.Generator, lonely_hz: F64, start_ps: int, slot_ps: int) -> I64:
    """Return packed excitations without partner, int64[n], in no order; jitter would not change their statistics."""
    counts = rng.poisson(lonely_hz * (slot_ps / PS_PER_S))
    detector = np.repeat(np.arange(counts.size), counts)
    return (rng.integers(start_ps, start_ps + slot_ps, detector.size) << DETECTOR_BITS) | detector


def _clipped(normals: F64) -> F64:
    return np.clip(normals, -LARGEST_SIGMAS, LARGEST_SIGMAS, out=normals)
