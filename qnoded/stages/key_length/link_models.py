"""Key rates of modelled links: what a source, a loss and a detector should give, for plans and checks.

No number of this module is a key length. The models take reconciliation at the Shannon limit, leave the sifting factor
out where it says so, and spend nothing on correctness or hashing; even the one that calls itself finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.key_length.inputs import demand, demand_count, demand_rate
from qnoded.units import from_db

BACKGROUND_ERROR: Final = 0.5
"""A dark count is right as often as wrong."""

ABORT_PROBABILITY: Final = 2.0**-50
PHASE_ERROR_EPSILON: Final = 1e-12
"""Both fixed in the finite model."""

MIDDLE_SOURCE: Final = "PDC in the middle, half the loss per side"


@dataclass(frozen=True, slots=True)
class ModelRate:
    """What the model predicts."""

    gain: float
    """Probability of a (coincident) click per pulse."""
    qber: float
    rate_per_pulse: float
    """Secret bits per pulse, before sifting where both bases are used; may be negative."""


@dataclass(frozen=True, slots=True)
class PairInputs:
    """Pulsed parametric down-conversion half-way between two equal receivers."""

    mu: float
    """Mean number of pairs per pulse."""
    attenuation_db: float
    """Loss of both channels together, half of it on each side."""
    dark_count_prob: float
    """Per pulse and side."""
    misalignment: float
    """Probability that a pair gives unequal bits without any dark count."""
    efficiency_each_side: float
    source: str = MIDDLE_SOURCE
    """A word on where the source is; only this place is modelled."""

    def __post_init__(self) -> None:
        _check_link(self.attenuation_db, self.dark_count_prob, self.efficiency_each_side, "efficiency_each_side")
        demand(0.0 < self.mu <= 10.0, "mu", self.mu, "a mean number of pairs above 0, at most 10")
        demand_rate("misalignment", self.misalignment)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiniteInputs(PairInputs):
    """The same with a number of pulses and a probability of the key basis."""

    p_x: float
    """Share of the coincidences that become key."""
    pulses: int

    def __post_init__(self) -> None:
        # Zero-argument super() does not work in a slotted dataclass of Python 3.11.
        PairInputs.__post_init__(self)
        demand(0.0 < self.p_x <= 1.0, "p_x", self.p_x, "a probability above 0, at most 1")
        demand_count("pulses", self.pulses)


def pair_gain_and_qber(
    half_mu: float,
    efficiency_alice: float,
    efficiency_bob: float,
    dark_alice: float,
    dark_bob: float,
    misalignment: float,
) -> tuple[float, float]:
    """Return coincidence probability and QBER per pulse of parametric down-conversion.

    With lambda = mu/2, A = a lambda, B = b lambda, D = A + B - a b lambda:
    Q = 1 - (1-ya)/(1+A)^2 - (1-yb)/(1+B)^2 + (1-ya)(1-yb)/(1+D)^2, summed here from its three click probabilities, and
    E Q = Q/2 - 2 (1/2 - ed) a b lambda (1+lambda) / ((1+A)(1+B)(1+D)).

    Source: Ma, Fung and Lo, Phys. Rev. A 76, 012307 (2007), the gain and QBER summed over all photon numbers.
    """
    a, b = efficiency_alice * half_mu, efficiency_bob * half_mu
    either = a + b - efficiency_alice * efficiency_bob * half_mu
    gain = _click(a, dark_alice) + _click(b, dark_bob) - _click(either, dark_alice + dark_bob - dark_alice * dark_bob)
    right = 2.0 * (BACKGROUND_ERROR - misalignment) * efficiency_alice * efficiency_bob * half_mu * (1.0 + half_mu)
    right /= (1.0 + a) * (1.0 + b) * (1.0 + either)
    return gain, BACKGROUND_ERROR - right / gain if gain > 0.0 else BACKGROUND_ERROR


def pair_asymptotic(inputs: PairInputs) -> ModelRate:
    """Return R = Q (1 - 2 h(E)), both bases, before sifting.

    Source: Ma, Fung and Lo, Phys. Rev. A 76, 012307 (2007), with f = 1 and without their sifting factor 1/2.
    """
    gain, qber = _middle_source(inputs)
    return ModelRate(gain, qber, gain * (1.0 - 2.0 * binary_entropy(qber)))


def pair_finite(inputs: PairFiniteInputs) -> ModelRate:
    """Return R = (1 - 2^-50) p_x Q (1 - h(E + d) - h(E)) with d = 2 sqrt(E (1-E) ln(1e12) / (Q pulses)).

    A Gaussian-like allowance on all coincidences, no correctness and no hashing term: not a composable length.

    Source: the BBM92 model of Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021), as TNO publishes it.
    """
    gain, qber = _middle_source(inputs)
    if gain <= 0.0:
        return ModelRate(gain, qber, 0.0)
    spread = math.sqrt(qber * (1.0 - qber) * -math.log(PHASE_ERROR_EPSILON) / (gain * inputs.pulses))
    phase = min(0.5, qber + 2.0 * spread)
    kept = (1.0 - ABORT_PROBABILITY) * inputs.p_x * gain
    return ModelRate(gain, qber, kept * (1.0 - binary_entropy(phase) - binary_entropy(qber)))


@dataclass(frozen=True, slots=True)
class SinglePhotonInputs:
    """One photon per pulse, one receiver with two detectors."""

    attenuation_db: float
    dark_count_prob: float
    """Per pulse and detector."""
    polarisation_drift_sin2: float
    """sin^2 of the angle by which the channel turns the polarization."""
    efficiency: float

    def __post_init__(self) -> None:
        _check_link(self.attenuation_db, self.dark_count_prob, self.efficiency, "efficiency")
        demand_rate("polarisation_drift_sin2", self.polarisation_drift_sin2)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakPulseInputs(SinglePhotonInputs):
    """Weak pulses with infinitely many decoy intensities."""

    mu: float
    """Mean photon number of the signal."""

    def __post_init__(self) -> None:
        # Zero-argument super() does not work in a slotted dataclass of Python 3.11.
        SinglePhotonInputs.__post_init__(self)
        demand(0.0 < self.mu <= 10.0, "mu", self.mu, "a mean photon number above 0, at most 10")


def single_photon_asymptotic(inputs: SinglePhotonInputs) -> ModelRate:
    """Return R = Q (1 - 2 h(E)) for an ideal single-photon source, before sifting.

    Source: Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021), the detector model, with one photon.
    """
    gain, qber = _single_photon(inputs)
    return ModelRate(gain, qber, gain * (1.0 - 2.0 * binary_entropy(qber)))


def weak_pulse_asymptotic(inputs: WeakPulseInputs) -> ModelRate:
    """Return R = e^-mu Y0 + mu e^-mu Y1 (1 - h(e1)) - Q h(E), before sifting.

    Source: Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021), with infinitely many decoy intensities.
    """
    no_dark = 1.0 - inputs.dark_count_prob
    mean = inputs.mu * inputs.efficiency * from_db(-inputs.attenuation_db)
    wrong, right = mean * inputs.polarisation_drift_sin2, mean * (1.0 - inputs.polarisation_drift_sin2)
    gain = 1.0 - no_dark**2 * math.exp(-mean)
    if gain <= 0.0:
        return ModelRate(0.0, BACKGROUND_ERROR, 0.0)
    qber = (gain + no_dark * (math.exp(-right) - math.exp(-wrong))) / (2.0 * gain)
    vacuum_yield = 1.0 - no_dark**2
    single_yield, single_qber = _single_photon(inputs)
    kept = vacuum_yield + inputs.mu * single_yield * (1.0 - binary_entropy(single_qber))
    return ModelRate(gain, qber, math.exp(-inputs.mu) * kept - gain * binary_entropy(qber))


def _middle_source(inputs: PairInputs) -> tuple[float, float]:
    efficiency = inputs.efficiency_each_side * from_db(-inputs.attenuation_db / 2.0)
    dark = inputs.dark_count_prob
    return pair_gain_and_qber(inputs.mu / 2.0, efficiency, efficiency, dark, dark, inputs.misalignment)


def _single_photon(inputs: SinglePhotonInputs) -> tuple[float, float]:
    no_dark = 1.0 - inputs.dark_count_prob
    efficiency = inputs.efficiency * from_db(-inputs.attenuation_db)
    gain = 1.0 - no_dark**2 * (1.0 - efficiency)
    if gain <= 0.0:
        return 0.0, BACKGROUND_ERROR
    return gain, (gain - no_dark * efficiency * (1.0 - 2.0 * inputs.polarisation_drift_sin2)) / (2.0 * gain)


def _click(mean: float, dark: float) -> float:
    """Return 1 - (1 - dark)/(1 + mean)^2 without the difference of two numbers near 1."""
    return (2.0 * mean + mean * mean + dark) / (1.0 + mean) ** 2


def _check_link(attenuation_db: float, dark_count_prob: float, efficiency: float, efficiency_name: str) -> None:
    demand(0.0 <= attenuation_db <= 200.0, "attenuation_db", attenuation_db, "a loss from 0 to 200 dB")
    demand(0.0 <= dark_count_prob < 1.0, "dark_count_prob", dark_count_prob, "a probability from 0 to below 1")
    demand(0.0 < efficiency <= 1.0, efficiency_name, efficiency, "an efficiency above 0, at most 1")
