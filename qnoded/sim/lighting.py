"""The Poisson streams of the world for one position of its knobs, eavesdroppers and the alignment laser included."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from qnoded.records import F64
from qnoded.sim.knobs import UNTOUCHED, Knobs, arms_at, settings_at
from qnoded.sim.optics import (
    analyser_vectors,
    basis_shares,
    correlation,
    efficiencies,
    mode_dispersion,
    port_mixing,
    transmission,
)
from qnoded.sim.photons import Rates, Timing, rates
from qnoded.sim.settings import NAMES, SideSettings, WorldSettings

HORIZONTAL: Final = np.array([1.0, 0.0, 0.0])
BLINDED_THRESHOLD: Final = 0.75
"""Share of a faked state's full light that makes a blinded detector click: the eavesdropper sets it so that the half
that reaches each detector of the other basis does not."""
TIED: Final = 1e-6
"""Two detectors that get the same light within this share of it click equally often."""


def lit(settings: WorldSettings, knobs: Knobs, fibres: tuple[F64, F64], true_ps: int) -> Rates:
    """Return the rates of all streams at a moment of true time, for the rotations of the fibres (float64[3, 3])."""
    if knobs == UNTOUCHED:
        return rates(settings, *fibres)
    present = settings_at(settings, knobs)
    arms = arms_at(settings, knobs, fibres, true_ps)
    if knobs.mismatch:
        present = _mismatched(present, knobs.mismatch)
    streams = _blinded(settings, present, arms) if knobs.blinded else rates(present, *arms)
    if knobs.alignment_mw and not knobs.blinded:
        streams = replace(streams, bob_hz=streams.bob_hz + _alignment_hz(present, knobs, true_ps))
    return streams


def _alignment_hz(present: WorldSettings, knobs: Knobs, true_ps: int) -> F64:
    """Return what bob's detectors get of his alignment laser, which joins behind the fibre, float64[4]."""
    controlled = arms_at(present, replace(UNTOUCHED, bob=knobs.bob), (np.eye(3), np.eye(3)), true_ps)[1]
    bob = present.bob
    port = port_mixing(bob.analyser) @ _port_shares(bob, controlled @ HORIZONTAL)
    shares = port * basis_shares(bob.analyser) * efficiencies(bob)
    attenuated = 0.0 if knobs.bob.blocked else 10.0 ** (-knobs.bob.attenuation_db / 10.0)
    alignment_hz: F64 = shares * present.alignment_hz * knobs.alignment_mw * attenuated
    return alignment_hz


def _port_shares(side: SideSettings, stokes: F64) -> F64:
    """Return the share of light in each port given the basis, before the splitters mix them, float64[4]."""
    shares: F64 = (1.0 + analyser_vectors(side.analyser.angle_deg) @ stokes) / 2.0
    return shares


def _mismatched(present: WorldSettings, mismatch: float) -> WorldSettings:
    """Return the settings with what bob's detectors lose on average by the time shift: half of the mismatch each."""
    detectors = {
        name: one.model_copy(update={"efficiency": one.efficiency * (1.0 - mismatch / 2.0)})
        for name, one in zip(NAMES, present.bob.detectors, strict=True)
    }
    bob = present.bob.model_copy(update={"detectors": present.bob.detectors.model_copy(update=detectors)})
    return present.model_copy(update={"bob": bob})


def shifted(timing: Timing, knobs: Knobs) -> Timing:
    """Return bob's timing while the eavesdropper delays half of his photons.

    Of the clicks of bit 0, photons in time are ``1 / (2 - mismatch)``; of those of bit 1, delayed ones are. Qi, Fung,
    Lo, Ma, Quantum Inf. Comput. 7, 73 (2007).
    """
    likely, unlikely = 1.0 / (2.0 - knobs.mismatch), (1.0 - knobs.mismatch) / (2.0 - knobs.mismatch)
    return replace(
        timing, shift_ps=knobs.time_shift_ps, shifted_share=np.array([unlikely, likely, unlikely, likely])
    )  # fmt: skip


def _blinded(settings: WorldSettings, present: WorldSettings, arms: tuple[F64, F64]) -> Rates:
    """Return the rates while bob's detectors are blinded; Lydersen et al., Nature Photonics 4, 686 (2010).

    The eavesdropper measures bob's photons at the source in HV or DA, as often as bob would click, and sends bright
    light in the polarization that she found. It makes bob's detector of that polarization click, whatever the loss; no
    dark count is left, and no two detectors click together.
    """
    efficiency = float(efficiencies(settings.bob).mean()) * transmission(settings.bob)
    eve = analyser_vectors(0.0)
    seen = arms[0] @ mode_dispersion(present.alice.fibre, present.source) @ correlation(present.source)
    alice = present.alice
    joint = port_mixing(alice.analyser) @ (1.0 + analyser_vectors(alice.analyser.angle_deg) @ seen @ eve.T) / 4.0
    reach_a = transmission(alice) * basis_shares(alice.analyser) * efficiencies(alice)
    found_hz = present.source.pair_rate_hz * efficiency / 2.0
    answers = _faked(present.bob, eve @ arms[1].T)
    pairs_hz = found_hz * (reach_a[:, None] * joint) @ answers
    alice_hz = rates(present, *arms)
    clicks_hz = found_hz / 2.0 * answers.sum(axis=0)
    total_a_hz = alice_hz.alice_hz + alice_hz.pairs_hz.sum(axis=1)
    return Rates(
        pairs_hz,
        np.maximum(total_a_hz - pairs_hz.sum(axis=1), 0.0),
        np.maximum(clicks_hz - pairs_hz.sum(axis=0), 0.0),
    )


def _faked(bob: SideSettings, stokes: F64) -> F64:
    """Return which of bob's detectors each faked state makes click, float64[4, 4]: rows sum to 1 or 0."""
    alive = np.array([detector.efficiency > 0.0 for detector in bob.detectors])
    answers = np.zeros((len(NAMES), len(NAMES)))
    for state, vector in enumerate(stokes):
        light = np.where(alive, _port_shares(bob, vector), 0.0)
        brightest = light >= light.max() - TIED
        if light.max() > BLINDED_THRESHOLD:
            answers[state] = brightest / brightest.sum()
    return answers
