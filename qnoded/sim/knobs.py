"""What can be turned while the world runs, and what the optics are for one position of all knobs.

A position is one frozen record; the world takes a new one at the border of a slot and holds it until the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from qnoded.records import F64
from qnoded.sim.optics import rotation
from qnoded.sim.settings import NAMES, SideSettings, SourceSettings, WorldSettings

ELEMENT_AXES: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Stokes axes of a controller's retarders at 0, 45 and 0 degrees, in the order in which light passes them."""
ALL: Final = (1.0,) * len(NAMES)
NOTHING: Final = 0.0
"""Transmission of a fibre that is cut."""
SINC_HALF: Final = 2.78
"""``2 x`` at which ``(sin x / x)**2`` is a half: phase matching over its full width at half maximum."""


@dataclass(frozen=True, slots=True)
class Move:
    """The retarders of a polarization controller on their way, all at a steady pace, or at rest."""

    start_ps: int = 0
    """True time at which they began."""
    settling_ps: int = 0
    origin_deg: tuple[float, ...] = (0.0, 0.0, 0.0)
    target_deg: tuple[float, ...] = (0.0, 0.0, 0.0)

    def at(self, true_ps: int) -> tuple[float, ...]:
        """Return the retardances at a moment of true time."""
        if self.resting(true_ps):
            return self.target_deg
        share = max(true_ps - self.start_ps, 0) / self.settling_ps
        return tuple(
            origin + share * (target - origin)
            for origin, target in zip(self.origin_deg, self.target_deg, strict=True)
        )  # fmt: skip

    def resting(self, true_ps: int) -> bool:
        """Return whether they have arrived."""
        return self.settling_ps == 0 or true_ps >= self.start_ps + self.settling_ps

    def towards(self, target_deg: tuple[float, ...], true_ps: int, settling_ps: int) -> Move:
        """Return the move that leads from the present place to another."""
        return Move(true_ps, settling_ps, self.at(true_ps), target_deg)


@dataclass(frozen=True, slots=True)
class ArmKnobs:
    """What can be turned between the source and one node's tags."""

    extra_loss_db: float = 0.0
    """Of the fibre, beyond its settings."""
    attenuation_db: float = 0.0
    """Of the node's own attenuator."""
    cut: bool = False
    """The fibre lets nothing through."""
    blocked: bool = False
    """The node's own switch leads the light elsewhere."""
    move: Move = Move()
    drift_rad2_per_s: float | None = None
    """Diffusion of the polarization instead of the settings' one."""
    efficiency: tuple[float, ...] = ALL
    """Factors of H, V, D, A by faults."""
    dark: tuple[float, ...] = ALL
    biased: tuple[float, ...] = ALL
    """Share of the nominal bias of H, V, D, A, at most 1; without bias there are neither clicks nor dark counts."""
    overflowing: bool = False
    """The tagger loses its tags."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything that can be turned; as made, the world is as its settings say."""

    pump_mw: float = 1.0
    """The pair rate of the settings belongs to 1 mW."""
    crystal_k: float = 0.0
    """Temperature of the crystal above its optimum."""
    alignment_mw: float = 0.0
    """Bob's alignment laser."""
    alice: ArmKnobs = ArmKnobs()
    bob: ArmKnobs = ArmKnobs()
    intercepted: float = 0.0
    """Share of bob's photons that an eavesdropper measures and sends again."""
    blinded: bool = False
    """Bob's detectors are blinded and click when the eavesdropper wants."""
    time_shift_ps: int = 0
    """By how much she delays one half of bob's photons, chosen at random."""
    mismatch: float = 0.0
    """Share of the efficiency that a detector loses: bit 1 for photons in time, bit 0 for delayed ones."""

    def arm(self, side: int) -> ArmKnobs:
        """Return the knobs of alice (0) or bob (1)."""
        return self.bob if side else self.alice

    def with_arm(self, side: int, arm: ArmKnobs) -> Knobs:
        """Return these knobs with those of one side replaced."""
        return replace(self, bob=arm) if side else replace(self, alice=arm)


UNTOUCHED: Final = Knobs()


def brightness(source: SourceSettings, crystal_k: float) -> float:
    """Return the pair rate over that at the optimum: phase matching of a crystal, ``(sin x / x)**2``."""
    x = SINC_HALF * crystal_k / source.crystal_fwhm_k
    return float(np.sinc(x / math.pi) ** 2)


def settings_at(settings: WorldSettings, knobs: Knobs) -> WorldSettings:
    """Return the settings of a world that stands still in this position of the knobs, as far as settings can tell."""
    source = settings.source
    pair_rate_hz = source.pair_rate_hz * knobs.pump_mw * brightness(source, knobs.crystal_k)
    return settings.model_copy(
        update={
            "source": source.model_copy(update={"pair_rate_hz": pair_rate_hz}),
            "alice": _side_at(settings.alice, knobs.alice),
            "bob": _side_at(settings.bob, knobs.bob),
        }
    )


def _side_at(side: SideSettings, arm: ArmKnobs) -> SideSettings:
    detectors = {}
    for k, name in enumerate(NAMES):
        detector = getattr(side.detectors, name)
        alive = arm.biased[k] > 0.0
        detectors[name] = detector.model_copy(
            update={
                "efficiency": min(detector.efficiency * arm.efficiency[k] * arm.biased[k], 1.0),
                "dark_hz": detector.dark_hz * arm.dark[k] * arm.biased[k] if alive else 0.0,
            }
        )
    loss_db = side.fibre.fixed_loss_db + arm.extra_loss_db + arm.attenuation_db
    return side.model_copy(
        update={
            "heralding": NOTHING if arm.cut or arm.blocked else side.heralding,
            "fibre": side.fibre.model_copy(update={"fixed_loss_db": loss_db}),
            "detectors": side.detectors.model_copy(update=detectors),
        }
    )


def controller_rotation(retardance_deg: tuple[float, ...]) -> F64:
    """Return the rotation of the Poincare sphere by a controller's retarders, float64[3, 3]."""
    turned = np.eye(3)
    for axis, angle_deg in zip(ELEMENT_AXES, retardance_deg, strict=True):
        turned = rotation(np.asarray(axis), math.radians(angle_deg)) @ turned
    return turned


def arms_at(settings: WorldSettings, knobs: Knobs, fibres: tuple[F64, F64], true_ps: int) -> tuple[F64, F64]:
    """Return what lies between source and analysers of both sides as maps of Stokes vectors, float64[3, 3] each.

    The phase of the crystal and the eavesdropper stand at the beginning of bob's arm, the controllers at the ends.

    A crystal away from its optimum gives the pair the phase ``slope * (T - T0)``: a rotation of one arm about S1, which
    takes visibility from DA and leaves HV. A photon measured in HV or DA at random and sent again keeps half of its
    correlation in both and none in RL.
    """
    left = 1.0 - knobs.intercepted
    phase_rad = settings.source.crystal_phase_rad_per_k * knobs.crystal_k
    measured = np.diag([(1.0 + left) / 2.0, (1.0 + left) / 2.0, left])
    before = measured @ rotation(np.asarray(ELEMENT_AXES[0]), phase_rad)
    alice = controller_rotation(knobs.alice.move.at(true_ps)) @ fibres[0]
    bob = controller_rotation(knobs.bob.move.at(true_ps)) @ fibres[1] @ before
    return alice, bob
