"""What can happen to a running world: faults, weather and eavesdroppers, each with its label.

An event turns the knobs while it lasts, or does one thing to the world when it begins; some are for the server, which
drops a connection or announces them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from qnoded.records import SIDES
from qnoded.sim.knobs import ArmKnobs, Knobs
from qnoded.sim.settings import NAMES
from qnoded.sim.world import SLOT_PS, World
from qnoded.units import PS_PER_S

LATEST_S: Final = 1e6
"""Eleven days: later events are typing errors."""
Seconds = Annotated[float, Field(ge=0.0, le=LATEST_S)]
Duration = Annotated[float, Field(gt=0.0, le=LATEST_S)]
Side = Literal["alice", "bob"]
Name = Literal["H", "V", "D", "A"]
Factor = Annotated[float, Field(ge=0.0, le=1e6)]


class Event(BaseModel):
    """Something that begins at a moment of true time and lasts a while, or until the end."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    what: str
    at_s: Seconds
    """True time; takes effect at the next border of a slot."""
    for_s: Duration | None = None
    """How long it lasts; unset: until the end."""
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name in the truth record instead of ``what``."""

    @property
    def name(self) -> str:
        """What the truth record calls it."""
        return self.label or self.what

    @property
    def first_slot(self) -> int:
        """Slot from which on it holds."""
        return _slot_from(self.at_s)

    @property
    def last_slot(self) -> int | None:
        """First slot in which it no longer holds, at least one later; None: it holds until the end."""
        if self.for_s is None:
            return None
        return max(_slot_from(self.at_s + self.for_s), self.first_slot + 1)

    def turn(self, knobs: Knobs) -> Knobs:
        """Return the knobs as they stand while it lasts."""
        return knobs

    def begin(self, world: World) -> None:
        """Do to the world what happens once."""

    def describe(self) -> dict[str, Any]:
        """Return its own settings, ready for JSON."""
        return self.model_dump(mode="json", exclude={"what", "at_s", "for_s", "label"})


def _slot_from(true_s: float) -> int:
    """Return the first slot that begins at or after a moment; whole picoseconds, so that 0.1 + 0.02 is 0.12."""
    return -(-round(true_s * PS_PER_S) // SLOT_PS)


class SideEvent(Event):
    """Happens at one node or in its fibre."""

    side: Side

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        """Return the knobs of its side as they stand while it lasts."""
        return arm

    def turn(self, knobs: Knobs) -> Knobs:
        """Turn the knobs of its side."""
        return knobs.with_arm(self.number, self.turn_arm(knobs.arm(self.number)))

    @property
    def number(self) -> int:
        """0 for alice, 1 for bob."""
        return SIDES.index(self.side)


class Instant(SideEvent):
    """Happens at once and leaves its mark for good."""

    @field_validator("for_s")
    @classmethod
    def _has_no_length(cls, for_s: float | None) -> float | None:
        if for_s is not None:
            problem = "this event happens at once; leave for_s out"
            raise ValueError(problem)
        return for_s

    @property
    def last_slot(self) -> int | None:
        """The slot after the one in which it happens."""
        return self.first_slot + 1


class FibreLoss(SideEvent):
    """A bend: the fibre loses more."""

    what: Literal["fibre_loss"]
    loss_db: Annotated[float, Field(ge=0.0, le=200.0)]

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, extra_loss_db=arm.extra_loss_db + self.loss_db)


class FibreCut(SideEvent):
    """A digger: nothing comes through."""

    what: Literal["fibre_cut"]

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, cut=True)


class FibreKick(Instant):
    """Somebody moves the fibre: its polarization turns about a Stokes axis."""

    what: Literal["fibre_kick"]
    angle_deg: Annotated[float, Field(ge=-360.0, le=360.0)]
    axis: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Stokes vector (S1, S2, S3), of any length but 0."""

    @field_validator("axis")
    @classmethod
    def _has_a_direction(cls, axis: tuple[float, float, float]) -> tuple[float, float, float]:
        if not any(axis):
            problem = "an axis of rotation needs a direction; write for example [0.0, 1.0, 0.0]"
            raise ValueError(problem)
        return axis

    def begin(self, world: World) -> None:
        world.kick(self.number, self.axis, math.radians(self.angle_deg))


class FibreDrift(SideEvent):
    """Wind or sun: the polarization diffuses faster."""

    what: Literal["fibre_drift"]
    drift_rad2_per_s: Annotated[float, Field(ge=0.0, le=10.0)]

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, drift_rad2_per_s=self.drift_rad2_per_s)


class _DetectorEvent(SideEvent):
    detectors: tuple[Name, ...] = NAMES
    """Which ones; all unless told otherwise."""

    def _times(self, factors: tuple[float, ...], factor: float) -> tuple[float, ...]:
        return tuple(
            own * factor if name in self.detectors else own for name, own in zip(NAMES, factors, strict=True)
        )  # fmt: skip


class DetectorDeath(_DetectorEvent):
    """Detectors latch: neither photons nor dark counts."""

    what: Literal["detector_death"]

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, efficiency=self._times(arm.efficiency, 0.0), dark=self._times(arm.dark, 0.0))


class DarkRise(_DetectorEvent):
    """Detectors warm up or somebody opens the door: more dark counts."""

    what: Literal["dark_rise"]
    factor: Factor

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, dark=self._times(arm.dark, self.factor))


class EfficiencyDrop(_DetectorEvent):
    """Detectors see less."""

    what: Literal["efficiency_drop"]
    factor: Annotated[float, Field(ge=0.0, le=1.0)]

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, efficiency=self._times(arm.efficiency, self.factor))


class ClockStep(Instant):
    """The node's clock jumps; a counter never runs backwards, so a step back loses what would be told again."""

    what: Literal["clock_step"]
    step_ps: Annotated[int, Field(ge=-PS_PER_S, le=PS_PER_S)]

    def begin(self, world: World) -> None:
        world.step_clock(self.number, self.step_ps)


class FrequencyStep(Instant):
    """The node's clock changes its rate."""

    what: Literal["frequency_step"]
    step_ppb: Annotated[float, Field(ge=-1e5, le=1e5)]

    def begin(self, world: World) -> None:
        world.step_clock(self.number, 0, self.step_ppb * 1e-9)


class TaggerOverflow(SideEvent):
    """The tagger's buffer runs over: its tags are lost, and it says so."""

    what: Literal["tagger_overflow"]
    for_s: Duration = 0.1

    def turn_arm(self, arm: ArmKnobs) -> ArmKnobs:
        return replace(arm, overflowing=True)


class TaggerPowerCycle(SideEvent):
    """The tagger loses its power: its counter begins at 0 and it can be reached again after ``for_s``."""

    what: Literal["tagger_power_cycle"]
    for_s: Duration = 1.0

    def begin(self, world: World) -> None:
        world.restart_tagger(self.number)


class Unplug(SideEvent):
    """An instrument's cable is pulled."""

    what: Literal["unplug"]
    device: Literal[
        "tagger", "laser", "polarization", "power-meter", "attenuator", "switch", "detector-supply", "oven"
    ]  # fmt: skip


class NetworkLoss(Event):
    """The classical channel is down; the world only announces it, whoever carries the channel acts on it."""

    what: Literal["network_loss"]
    delay_s: Annotated[float, Field(ge=0.0, le=10.0)] | None = None
    """Set: messages are late by this much instead of lost."""


class CrystalTemperature(Event):
    """The crystal leaves its optimum: fewer pairs, and a phase that takes visibility from DA."""

    what: Literal["crystal_temperature"]
    deviation_k: Annotated[float, Field(ge=-50.0, le=50.0)]

    def turn(self, knobs: Knobs) -> Knobs:
        return replace(knobs, crystal_k=knobs.crystal_k + self.deviation_k)


class PumpDrop(Event):
    """The pump loses power, whatever the laser believes."""

    what: Literal["pump_drop"]
    factor: Annotated[float, Field(ge=0.0, le=1.0)]

    def turn(self, knobs: Knobs) -> Knobs:
        return replace(knobs, pump_mw=knobs.pump_mw * self.factor)


class InterceptResend(Event):
    """An eavesdropper measures a share of bob's photons in HV or DA at random and sends them again."""

    what: Literal["intercept_resend"]
    share: Annotated[float, Field(gt=0.0, le=1.0)]

    def turn(self, knobs: Knobs) -> Knobs:
        return replace(knobs, intercepted=self.share)


class Blinding(Event):
    """An eavesdropper blinds bob's detectors and makes them click as she likes."""

    what: Literal["blinding"]

    def turn(self, knobs: Knobs) -> Knobs:
        return replace(knobs, blinded=True)


class TimeShift(Event):
    """An eavesdropper delays half of bob's photons, and his detectors' efficiency depends on when they come."""

    what: Literal["time_shift"]
    shift_ps: Annotated[int, Field(ge=1, le=10_000)]
    mismatch: Annotated[float, Field(gt=0.0, le=1.0)]

    def turn(self, knobs: Knobs) -> Knobs:
        return replace(knobs, time_shift_ps=self.shift_ps, mismatch=self.mismatch)


EVENTS: Final[tuple[type[Event], ...]] = (
    FibreLoss,
    FibreCut,
    FibreKick,
    FibreDrift,
    DetectorDeath,
    DarkRise,
    EfficiencyDrop,
    ClockStep,
    FrequencyStep,
    TaggerOverflow,
    TaggerPowerCycle,
    Unplug,
    NetworkLoss,
    CrystalTemperature,
    PumpDrop,
    InterceptResend,
    Blinding,
    TimeShift,
)
